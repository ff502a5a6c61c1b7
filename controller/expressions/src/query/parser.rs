//! The grammar of PromQL with its types: what stands where, and whether it gives what is asked for there.
//!
//! In: the text of a query. Out: nothing, or the first thing that Prometheus would refuse. Never here: a tree; nobody needs one.
//!
//! Follows `generated_parser.y` and `checkAST` of Prometheus. Where its versions differ the one that takes more is followed.

mod calls;
mod modifiers;

use super::lexer::{Token, tokens};
use super::words::{Aggregation, Operator, is_metric};
use super::{Gives, MAX_DEPTH, QueryError};
use crate::place::Span;
use modifiers::Modifiers;

pub(super) fn check(text: &str) -> Result<(), QueryError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, labels_only: false };
    if *parser.token() == Token::End {
        return parser.error(parser.span(), "the query is empty");
    }
    let part = parser.expression(1)?;
    if *parser.token() != Token::End {
        return parser.unexpected("the end, or an operator");
    }
    match part.gives {
        Gives::Scalar | Gives::Vector => Ok(()),
        Gives::Range => parser.error(
            part.span,
            "the query gives a range vector, and a gate needs a number or an instant vector: use a function such as `rate(…)`",
        ),
        Gives::Text => parser.error(part.span, "the query gives a text, and a gate needs a number or an instant vector"),
    }
}

/// What was read, as far as it matters for what may follow.
#[derive(Clone, Copy)]
struct Part {
    span: Span,
    gives: Gives,
    form: Form,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A selector, with or without a range: it takes modifiers.
    Selector(Modifiers),
    Subquery(Modifiers),
    Other,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
    /// The second argument of `info`: a selector that may select everything.
    labels_only: bool,
}

type Parsed<T = Part> = Result<T, QueryError>;

impl Parser<'_> {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn after(&self, count: usize) -> &Token {
        self.tokens.get(self.at + count).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(Span::new(self.text.len(), self.text.len()), |(_, span)| *span)
    }

    fn last(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or_else(|| self.span(), |(_, span)| *span)
    }

    fn advance(&mut self) -> Span {
        let span = self.span();
        self.at += 1;
        span
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(found) if *found == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str, expected: &str) -> Parsed<()> {
        if self.eat(sign) { Ok(()) } else { self.unexpected(expected) }
    }

    /// The word that stands here, in small letters: keywords have no case.
    fn word(&self) -> Option<String> {
        if let Token::Word(word) = self.token() { Some(word.to_ascii_lowercase()) } else { None }
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        let found = self.word().is_some_and(|word| word == wanted);
        self.at += usize::from(found);
        found
    }

    fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(QueryError::new(self.text, span.start, message))
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let message = match self.token() {
            Token::End => format!("the query ends where {expected} is expected"),
            Token::Sign("=") => "`=` compares labels only: write `==`".to_owned(),
            _ => format!("`{}` where {expected} is expected", self.span().shown(self.text)),
        };
        self.error(self.span(), message)
    }

    fn shown(&self, span: Span) -> String {
        span.shown(self.text)
    }

    /// Operators that bind at least as tightly as this, from left to right; only `^` from right to left.
    fn expression(&mut self, least: u8) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(self.span(), format!("nested more than {MAX_DEPTH} times"));
        }
        let mut left = self.unary()?;
        while let Some(operator) = self.operator().filter(|operator| operator.power() >= least) {
            let sign = self.advance();
            let matching = self.matching(operator)?;
            let right = self.expression(operator.power() + u8::from(operator != Operator::Power))?;
            left = self.binary(left, operator, sign, &matching, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<Operator> {
        match self.token() {
            Token::Sign(sign) => Operator::named(sign),
            Token::Word(word) => Operator::named(&word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span();
        let mut signs = 0_usize;
        while self.eat("-") || self.eat("+") {
            signs += 1;
        }
        if signs == 0 {
            return self.postfix();
        }
        // A sign binds like `*`: `-2^2` is -4.
        let operand = self.expression(Operator::Power.power())?;
        if !operand.gives.is_number() {
            let message = format!("a sign before `{}`, which is {}", self.shown(operand.span), operand.gives.name());
            return self.error(start, message);
        }
        Ok(Part { span: start.to(operand.span), form: Form::Other, ..operand })
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        let part = |gives| Part { span, gives, form: Form::Other };
        match self.token().clone() {
            Token::Number(_) | Token::Duration(_) => {
                self.advance();
                Ok(part(Gives::Scalar))
            }
            Token::Text(_) => {
                self.advance();
                Ok(part(Gives::Text))
            }
            Token::Sign("(") => {
                self.advance();
                let inner = self.expression(1)?;
                self.expect(")", "`)`")?;
                Ok(Part { span: span.to(self.last()), gives: inner.gives, form: Form::Other })
            }
            Token::Sign("{") => self.selector(false),
            Token::Word(word) => self.named(&word),
            _ => self.unexpected("a metric, a function or a number"),
        }
    }

    fn named(&mut self, word: &str) -> Parsed {
        let lower = word.to_ascii_lowercase();
        let open = matches!(self.after(1), Token::Sign("("));
        if matches!(lower.as_str(), "inf" | "nan") {
            let span = self.advance();
            return Ok(Part { span, gives: Gives::Scalar, form: Form::Other });
        }
        let grouped =
            matches!(self.after(1), Token::Word(next) if matches!(next.to_ascii_lowercase().as_str(), "by" | "without"));
        if let Some(aggregation) = Aggregation::named(&lower).filter(|_| open || grouped) {
            return self.aggregation(aggregation);
        }
        if open && !matches!(lower.as_str(), "fill" | "fill_left" | "fill_right") {
            return self.call(word);
        }
        if !is_metric(&lower) {
            return self.unexpected("a metric, a function or a number");
        }
        self.advance();
        self.selector(true)
    }

    /// What may stand between braces, if there are any.
    fn selector(&mut self, named: bool) -> Parsed {
        let start = if named { self.last() } else { self.span() };
        let mut some = named || std::mem::take(&mut self.labels_only);
        if self.eat("{") {
            while !self.eat("}") {
                some |= self.matcher(named)?;
                if !self.eat(",") && !self.is("}") {
                    return self.unexpected("`,` or `}`");
                }
            }
        }
        let span = start.to(self.last());
        if !some {
            return self.error(span, "a selector needs a metric, or a label that is not empty: this one selects everything");
        }
        Ok(Part { span, gives: Gives::Vector, form: Form::Selector(Modifiers::default()) })
    }

    /// `label="value"` or `"metric"`; whether it leaves anything out.
    fn matcher(&mut self, named: bool) -> Parsed<bool> {
        let twice = "the metric is named twice, before the braces and within";
        let name = match self.token().clone() {
            Token::Word(name) => name,
            Token::Text(name) => {
                if matches!(self.after(1), Token::Sign("," | "}")) {
                    let span = self.advance();
                    return if named { self.error(span, twice) } else { Ok(!name.is_empty()) };
                }
                name
            }
            _ => return self.unexpected("a label or `}`"),
        };
        let label = self.advance();
        if named && name == "__name__" {
            return self.error(label, twice);
        }
        let sign = match self.token() {
            Token::Sign(sign @ ("=" | "!=" | "=~" | "!~")) => *sign,
            Token::Sign("==") => return self.error(self.span(), "labels are compared by `=`"),
            _ => return self.unexpected("`=`, `!=`, `=~` or `!~`"),
        };
        self.advance();
        let Token::Text(value) = self.token().clone() else { return self.unexpected("a value in quotes") };
        let span = self.advance();
        let fits_nothing = match sign {
            "=" | "!=" => value.is_empty(),
            _ => {
                crate::re2::check(&value).or_else(|message| self.error(span, format!("not a valid pattern: {message}")))?;
                super::fits_nothing(&value)
            }
        };
        Ok(matches!(sign, "!=" | "!~") == fits_nothing)
    }

    /// What may stand between an operator and its right side.
    fn matching(&mut self, operator: Operator) -> Parsed<Matching> {
        let mut matching = Matching::default();
        let bool_at = self.span();
        if self.eat_word("bool") {
            if !operator.compares() {
                return self.error(bool_at, "`bool` stands behind comparisons only");
            }
            matching.bool = true;
        }
        let start = self.span();
        let on = self.eat_word("on");
        if on || self.eat_word("ignoring") {
            matching.labels = self.labels()?;
            matching.at = Some(start).filter(|_| !matching.labels.is_empty());
            let group = self.span();
            if self.eat_word("group_left") || self.eat_word("group_right") {
                if operator.is_set() {
                    return self.error(group, format!("`{}` knows no groups", self.shown(group)));
                }
                let include = if self.is("(") { self.labels()? } else { Vec::new() };
                if let Some(label) = include.iter().find(|label| on && matching.labels.contains(label)) {
                    return self.error(group, format!("the label `{label}` is both in `on` and in the group"));
                }
            }
        }
        let mut filled: Vec<String> = Vec::new();
        while let Some(word @ ("fill" | "fill_left" | "fill_right")) = self.word().as_deref()
            && matches!(self.after(1), Token::Sign("("))
        {
            let at = self.advance();
            if operator.is_set() {
                return self.error(at, "`and`, `or` and `unless` fill nothing");
            }
            if filled.iter().any(|before| before == word || before == "fill" || word == "fill") {
                return self.error(at, "a side is filled once: by `fill`, or by `fill_left` and `fill_right`");
            }
            filled.push(word.to_owned());
            matching.at = Some(at);
            self.fill()?;
        }
        Ok(matching)
    }

    /// A number in parentheses.
    fn fill(&mut self) -> Parsed<()> {
        self.expect("(", "`(`")?;
        if !self.eat("-") {
            self.eat("+");
        }
        let number = matches!(self.token(), Token::Number(_) | Token::Duration(_));
        if !number && !self.word().is_some_and(|word| matches!(word.as_str(), "inf" | "nan")) {
            return self.unexpected("a number");
        }
        self.advance();
        self.expect(")", "`)`")
    }

    fn binary(&self, left: Part, operator: Operator, sign: Span, matching: &Matching, right: Part) -> Parsed {
        for part in [left, right] {
            if !part.gives.is_number() {
                let message = format!("`{}` beside an operator is {}", self.shown(part.span), part.gives.name());
                return self.error(part.span, message);
            }
        }
        let scalars = [left, right].iter().filter(|part| part.gives == Gives::Scalar).count();
        if scalars == 2 && operator.compares() && !matching.bool {
            return self.error(sign, format!("between two numbers write `{} bool`", self.shown(sign)));
        }
        if scalars > 0 && operator.is_set() {
            return self.error(sign, format!("`{}` needs an instant vector on both sides", self.shown(sign)));
        }
        if let Some(at) = matching.at.filter(|_| scalars > 0) {
            return self.error(at, format!("`{}` needs an instant vector on both sides", self.shown(at)));
        }
        let gives = if scalars == 2 { Gives::Scalar } else { Gives::Vector };
        Ok(Part { span: left.span.to(right.span), gives, form: Form::Other })
    }
}

/// How series of both sides find each other.
#[derive(Default)]
struct Matching {
    bool: bool,
    labels: Vec<String>,
    /// Where something stands that only vectors can have.
    at: Option<Span>,
}
