//! A gate's condition, held against what was answered.
//!
//! In: an expression and the answer. Out: yes, no, or why it cannot be said. Never here: what follows from that; the thread of a request:
//! an evaluation is bounded, but an author who wants to can make it take long.

use bascule_expressions::{Expression, Kind, Values};

use super::words;

/// A condition, compiled once.
pub(super) struct Condition {
    text: String,
    expression: Result<Expression, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
    /// The answer is not what the condition speaks about.
    Nothing(String),
    /// It is our fault.
    Mistake,
}

impl Condition {
    pub(super) fn new(text: &str, kind: Kind) -> Self {
        let expression = Expression::parse(text, kind).map_err(|why| format!("expect cannot be used: {why}"));
        Self { text: text.to_owned(), expression }
    }

    /// The decision has checked it; it holds whatever comes in.
    pub(super) fn usable(&self) -> Result<(), String> {
        self.expression.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// As a message has it.
    pub(super) fn shown(&self) -> String {
        words::expression(&self.text)
    }

    pub(super) async fn holds(&self, values: Values) -> Held {
        let expression = match &self.expression {
            Ok(expression) => expression.clone(),
            Err(why) => return Held::Nothing(why.clone()),
        };
        match tokio::task::spawn_blocking(move || expression.evaluate(&values)).await {
            Ok(Ok(true)) => Held::Yes,
            Ok(Ok(false)) => Held::No,
            Ok(Err(why)) => Held::Nothing(words::sentence(&why.to_string())),
            Err(_) => Held::Mistake,
        }
    }
}
