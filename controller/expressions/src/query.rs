//! Queries in PromQL: whether Prometheus would take them, asked when a Release is written and without asking Prometheus.
//!
//! In: a query, after variables of ours were put in. Out: nothing, or one line that says what is wrong and where. Never here: what
//! a query means; whether a metric exists.
//!
//! A checker of our own, after the grammar of Prometheus. The crate `promql-parser` (0.11) names no place, has only "invalid promql
//! query" for most mistakes of grammar, refuses one in seven of the queries that Prometheus 3.16 takes in its own tests, and brings
//! twenty crates, among them a generator of parsers and chrono with its clock. Compared with promtool 2.42 and the parser of 3.16 on
//! the test cases of Prometheus and on some hundred thousand mutations of them.

mod duration;
mod functions;
mod lexer;
mod parser;
mod text;
mod words;

use std::fmt;

use regex::RegexBuilder;

use crate::place::{Place, line};

/// Characters. The CRD has 4096, and names take the place of variables.
pub const MAX_QUERY: usize = 8192;
/// Levels of parentheses, functions and signs.
const MAX_DEPTH: usize = 64;

/// What a part of a query gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Scalar,
    Vector,
    Range,
    Text,
}

impl Gives {
    /// With its article, as in a sentence.
    fn name(self) -> &'static str {
        match self {
            Self::Scalar => "a number",
            Self::Vector => "an instant vector",
            Self::Range => "a range vector",
            Self::Text => "a text",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Scalar | Self::Vector)
    }
}

/// Whether Prometheus, from 2.42 to 3.16, would take this query for a number or an instant vector.
pub fn check_query(text: &str) -> Result<(), QueryError> {
    if text.chars().nth(MAX_QUERY).is_some() {
        return Err(QueryError { message: format!("a query has at most {MAX_QUERY} characters"), place: None, newer: false });
    }
    parser::check(text)
}

/// Whether a pattern of a label fits the empty text; not if this library cannot say.
fn fits_nothing(pattern: &str) -> bool {
    let translated = format!("^(?s:{})$", crate::re2::translated(pattern));
    RegexBuilder::new(&translated).size_limit(1 << 20).nest_limit(64).build().is_ok_and(|regex| regex.is_match(""))
}

/// A query that Prometheus would refuse, on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    message: String,
    place: Option<Place>,
    newer: bool,
}

impl QueryError {
    fn new(text: &str, at: usize, message: impl Into<String>) -> Self {
        Self { message: line(&message.into()), place: Some(Place::of(text, at)), newer: false }
    }

    fn newer(self) -> Self {
        Self { newer: true, ..self }
    }

    /// None if it is about the text as a whole.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// Whether a newer Prometheus may take it all the same: a function that is not known here. A reason to warn rather than to
    /// refuse.
    pub fn may_be_newer(&self) -> bool {
        self.newer
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.place.iter().try_for_each(|place| write!(f, " ({place})"))
    }
}

impl std::error::Error for QueryError {}
