//! Conditions in CEL: compiled and checked once, evaluated as often as an answer comes.
//!
//! In: a text and the kind of its gate; then answers. Out: true or false, what it was looked at, or one line that says what is
//! wrong and where. Never here: what a gate does with it.
//!
//! An evaluator of our own. The crate `cel` (0.15) has no limit of cost, names no place in an error of evaluation, compares an int
//! with a string to false without a word, overflows the stack of an unoptimised build at fifty nested brackets, and needs chrono
//! with its clock for durations.

mod check;
mod convert;
mod duration;
mod escape;
mod evaluate;
mod facts;
mod functions;
mod lexer;
mod operators;
mod parser;
mod pattern;
mod program;
mod syntax;
mod types;
mod value;
mod values;

use std::fmt;
use std::sync::Arc;

use evaluate::{Evaluation, Fault};
use program::Term;
pub use values::{Body, Headers, Sample, Values};

use crate::place::{Place, line};

/// Characters of an expression, as the CRD has it.
pub const MAX_TEXT: usize = 2048;
/// Levels of an expression: parentheses, operators within them, members one after another. `&&` and `||` are as long as they like.
pub const MAX_DEPTH: usize = 40;
/// Steps of one evaluation. Usual conditions need less than a hundred.
pub const MAX_STEPS: u64 = 1_000_000;
/// Bytes of a body.
pub const MAX_BODY: usize = 64 << 10;
/// Elements of a vector.
pub const MAX_SAMPLES: usize = 1000;

/// Which variables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `status`, `headers`, `body`, `json`, `latency`
    Http,
    /// `status`, `headers`, `body`, `json`
    Webhook,
    /// `value`, `values`, `samples`
    Prometheus,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Webhook => "webhook",
            Self::Prometheus => "prometheus",
        })
    }
}

/// A condition that is ready to be asked. Cheap to clone; equal if text and kind are.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

struct Compiled {
    text: String,
    kind: Kind,
    term: Term,
}

impl Expression {
    pub fn parse(text: &str, kind: Kind) -> Result<Self, ExpressionError> {
        if text.chars().nth(MAX_TEXT).is_some() {
            return Err(ExpressionError { message: format!("an expression has at most {MAX_TEXT} characters"), place: None });
        }
        let node = parser::parse(text)?;
        let term = check::check(text, kind, &node)?;
        Ok(Self { compiled: Arc::new(Compiled { text: text.to_owned(), kind, term }) })
    }

    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    pub fn kind(&self) -> Kind {
        self.compiled.kind
    }

    /// Whether the answer is as expected.
    pub fn evaluate(&self, values: &Values) -> Result<bool, EvaluationError> {
        self.measured(values).0
    }

    /// The values that the expression asks for, for a person who wants to know why it was false; empty if it asks for none.
    /// Texts are shortened. A secret that the endpoint answers would show here, if the expression asks for it.
    pub fn facts(&self, values: &Values) -> String {
        facts::told(&self.compiled.text, &self.compiled.term, values)
    }

    /// The verdict, and how many steps it took.
    fn measured(&self, values: &Values) -> (Result<bool, EvaluationError>, u64) {
        let Compiled { text, kind, term } = self.compiled.as_ref();
        if values.kind() != *kind {
            let message = format!("an expression of a {kind} gate, and an answer of a {} gate", values.kind());
            return (Err(EvaluationError { message, part: None, place: None }), 0);
        }
        let mut evaluation = Evaluation::new(values);
        let verdict = evaluation.truth(term).map_err(|fault| EvaluationError::new(text, &fault));
        (verdict, evaluation.steps())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() && self.kind() == other.kind()
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text()).field(&self.kind()).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// An expression that cannot be used, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    message: String,
    place: Option<Place>,
}

impl ExpressionError {
    fn new(text: &str, at: usize, message: impl Into<String>) -> Self {
        Self { message: line(&message.into()), place: Some(Place::of(text, at)) }
    }

    /// None if it is about the text as a whole.
    pub fn place(&self) -> Option<Place> {
        self.place
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.place.iter().try_for_each(|place| write!(f, " ({place})"))
    }
}

impl std::error::Error for ExpressionError {}

/// An answer that the expression cannot say anything about, on one line. Neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationError {
    message: String,
    part: Option<String>,
    place: Option<Place>,
}

impl EvaluationError {
    fn new(text: &str, fault: &Fault) -> Self {
        Self { message: line(&fault.message), part: Some(fault.span.shown(text)), place: Some(Place::of(text, fault.span.start)) }
    }

    pub fn place(&self) -> Option<Place> {
        self.place
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.iter().try_for_each(|part| write!(f, "`{part}`: "))?;
        f.write_str(&self.message)?;
        self.place.iter().try_for_each(|place| write!(f, " ({place})"))
    }
}

impl std::error::Error for EvaluationError {}

#[cfg(test)]
mod tests;
