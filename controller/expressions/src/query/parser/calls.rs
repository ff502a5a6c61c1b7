//! Functions and aggregations: their arguments, and whether each gives what is asked for.
//!
//! In: a name with a parenthesis behind it. Out: what the call gives. Never here: what a function does.

use super::super::functions::Function;
use super::super::lexer::Token;
use super::super::words::{AGGREGATIONS, Aggregation};
use super::super::{Gives, QueryError};
use super::{Form, Parsed, Parser, Part};
use crate::nearest::suggestion;

impl Parser<'_> {
    pub(super) fn aggregation(&mut self, aggregation: Aggregation) -> Parsed {
        let start = self.advance();
        let before = self.grouping()?;
        self.expect("(", "`(`")?;
        let arguments = self.arguments(|_, _| ())?;
        if !before {
            self.grouping()?;
        }
        let span = start.to(self.last());
        let name = self.shown(start);
        let wanted = aggregation.takes();
        if arguments.len() != wanted.len() {
            let wants = if wanted.len() == 1 {
                "an instant vector".to_owned()
            } else {
                format!("{} and an instant vector", wanted[0].name())
            };
            return self.error(start, format!("`{name}` takes {wants}, and here are {} arguments", arguments.len()));
        }
        for (argument, wanted) in arguments.iter().zip(wanted) {
            self.fits(&name, argument, *wanted)?;
        }
        Ok(Part { span, gives: Gives::Vector, form: Form::Other })
    }

    /// `by (…)` or `without (…)`
    fn grouping(&mut self) -> Parsed<bool> {
        if !self.eat_word("by") && !self.eat_word("without") {
            return Ok(false);
        }
        self.labels()?;
        Ok(true)
    }

    pub(super) fn labels(&mut self) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        self.expect("(", "labels in parentheses")?;
        while !self.eat(")") {
            let (Token::Word(label) | Token::Text(label)) = self.token().clone() else {
                return self.unexpected("a label or `)`");
            };
            let word = self.word().unwrap_or_default();
            if label.is_empty() || matches!(word.as_str(), "without" | "inf" | "nan") {
                return self.unexpected("a label");
            }
            labels.push(label);
            self.advance();
            if !self.eat(",") && !self.is(")") {
                return self.unexpected("`,` or `)`");
            }
        }
        Ok(labels)
    }

    /// Until the closing parenthesis, which is behind us then; what is told before each with its number.
    fn arguments(&mut self, before: impl Fn(&mut Self, usize)) -> Parsed<Vec<Part>> {
        let mut arguments = Vec::new();
        if self.eat(")") {
            return Ok(arguments);
        }
        loop {
            before(self, arguments.len());
            arguments.push(self.expression(1)?);
            if !self.eat(",") {
                self.expect(")", "`)` or `,`")?;
                return Ok(arguments);
            }
        }
    }

    pub(super) fn call(&mut self, name: &str) -> Parsed {
        let start = self.advance();
        let Some(function) = Function::named(name) else {
            let known = Function::names().chain(AGGREGATIONS);
            let hint = suggestion(name, known);
            let newer = if hint.is_empty() { "; it may be one of a newer Prometheus" } else { "" };
            return Err(QueryError::new(self.text, start.start, format!("there is no function `{name}`{hint}{newer}")).newer());
        };
        self.advance();
        let info = function.name == "info";
        let arguments = self.arguments(|parser, number| parser.labels_only = info && number == 1)?;
        self.labels_only = false;
        let count = arguments.len();
        if count < function.least || count > function.most {
            let wants = match (function.least, function.most) {
                (least, most) if least == most => least.to_string(),
                (least, usize::MAX) => format!("{least} or more"),
                (least, most) => format!("{least} to {most}"),
            };
            return self.error(start, format!("`{name}` takes {wants} arguments, and here are {count}"));
        }
        for (number, argument) in arguments.iter().enumerate() {
            if let Some(wanted) = function.takes.get(number).or(function.takes.last()) {
                self.fits(name, argument, *wanted)?;
            }
        }
        Ok(Part { span: start.to(self.last()), gives: function.gives, form: Form::Other })
    }

    fn fits(&self, name: &str, argument: &Part, wanted: Gives) -> Parsed<()> {
        if argument.gives == wanted {
            return Ok(());
        }
        let shown = self.shown(argument.span);
        let hint = match (wanted, argument.gives, argument.form) {
            (Gives::Range, Gives::Vector, Form::Selector(_)) => format!(": write `{shown}[5m]`"),
            (Gives::Range, Gives::Vector, _) => format!(": a subquery is one, `{shown}[5m:]`"),
            (Gives::Vector, Gives::Range, _) => format!(": wrap it, as in `rate({shown})`"),
            (Gives::Text, _, _) => ", in quotes".to_owned(),
            (Gives::Vector, Gives::Scalar, _) => format!(": write `vector({shown})`"),
            (Gives::Scalar, Gives::Vector, _) => format!(": write `scalar({shown})`"),
            _ => String::new(),
        };
        let message = format!("`{name}` takes {} here, and `{shown}` is {}{hint}", wanted.name(), argument.gives.name());
        self.error(argument.span, message)
    }
}
