//! Which functions and operators there are, for which sorts, and what they give.
//!
//! In: a name, the sorts of arguments. Out: a signature, or words for what is missing. Never here: what they do.

use super::syntax::Operator;
use super::types::{Sort, Sorts, Type};
use crate::nearest::{listed, nearest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Int,
    Double,
    String,
    Bool,
    Duration,
    Dyn,
    Contains,
    StartsWith,
    EndsWith,
    /// Its pattern is compiled by the check.
    Matches,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `f(x)`
    Free,
    /// `x.f()`
    Method,
    Both,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub name: &'static str,
    pub function: Function,
    style: Style,
    /// Of a method the first one stands before the dot.
    pub takes: &'static [Sorts],
    pub gives: Type,
}

const TEXT: Sorts = Sorts::of(&[Sort::String]);
const SPAN: Sorts = Sorts::of(&[Sort::Duration]);

static SIGNATURES: [Signature; 15] = [
    new("size", Function::Size, Style::Both, &[Sorts::of(&[Sort::String, Sort::List, Sort::Map])], Type::INT),
    new("int", Function::Int, Style::Free, &[Sorts::of(&[Sort::Int, Sort::Double, Sort::String, Sort::Duration])], Type::INT),
    new("double", Function::Double, Style::Free, &[Sorts::of(&[Sort::Int, Sort::Double, Sort::String])], Type::DOUBLE),
    new(
        "string",
        Function::String,
        Style::Free,
        &[Sorts::of(&[Sort::Bool, Sort::Int, Sort::Double, Sort::String, Sort::Duration])],
        Type::STRING,
    ),
    new("bool", Function::Bool, Style::Free, &[Sorts::of(&[Sort::Bool, Sort::String])], Type::BOOL),
    new("duration", Function::Duration, Style::Free, &[Sorts::of(&[Sort::Duration, Sort::String])], Type::DURATION),
    new("dyn", Function::Dyn, Style::Free, &[Sorts::ANY], Type::Dyn),
    new("contains", Function::Contains, Style::Method, &[TEXT, TEXT], Type::BOOL),
    new("startsWith", Function::StartsWith, Style::Method, &[TEXT, TEXT], Type::BOOL),
    new("endsWith", Function::EndsWith, Style::Method, &[TEXT, TEXT], Type::BOOL),
    new("matches", Function::Matches, Style::Both, &[TEXT, TEXT], Type::BOOL),
    new("getHours", Function::Hours, Style::Method, &[SPAN], Type::INT),
    new("getMinutes", Function::Minutes, Style::Method, &[SPAN], Type::INT),
    new("getSeconds", Function::Seconds, Style::Method, &[SPAN], Type::INT),
    new("getMilliseconds", Function::Milliseconds, Style::Method, &[SPAN], Type::INT),
];

const fn new(name: &'static str, function: Function, style: Style, takes: &'static [Sorts], gives: Type) -> Signature {
    Signature { name, function, style, takes, gives }
}

/// The function of this name, called in this way.
pub(super) fn find(name: &str, method: bool) -> Result<&'static Signature, String> {
    let fits = |each: &&Signature| if method { each.style != Style::Free } else { each.style != Style::Method };
    let Some(signature) = SIGNATURES.iter().find(|each| each.name == name) else {
        let macros: &[&str] = if method { &super::syntax::Macro::NAMES } else { &["has"] };
        let known = || SIGNATURES.iter().filter(fits).map(|each| each.name).chain(macros.iter().copied());
        return Err(match nearest(name, known()) {
            Some(near) => format!("there is no function `{name}`; did you mean `{near}`?"),
            None if method => format!("there is no function `{name}` behind a dot, only {}", listed(known())),
            None => format!("there is no function `{name}`, only {}", listed(known())),
        });
    };
    match (fits(&signature), method) {
        (true, _) => Ok(signature),
        (false, true) => Err(format!("`{name}` stands before its argument: `{name}(…)`")),
        (false, false) => Err(format!("`{name}` stands behind a dot: `body.{name}(…)`")),
    }
}

impl Signature {
    /// As in "`contains` takes a string before the dot and a string".
    pub fn wants(&self, method: bool) -> String {
        let names: Vec<String> = self.takes.iter().map(|each| each.names()).collect();
        match (method, names.split_first()) {
            (true, Some((target, []))) => format!("`{}` stands behind {target} and takes nothing", self.name),
            (true, Some((target, rest))) => format!("`{}` stands behind {target} and takes {}", self.name, rest.join(" and ")),
            _ => format!("`{}` takes {}", self.name, names.join(" and ")),
        }
    }
}

type Row = (Sort, Sort, Type);

const ORDER: [Row; 7] = [
    (Sort::Int, Sort::Int, Type::BOOL),
    (Sort::Int, Sort::Double, Type::BOOL),
    (Sort::Double, Sort::Int, Type::BOOL),
    (Sort::Double, Sort::Double, Type::BOOL),
    (Sort::String, Sort::String, Type::BOOL),
    (Sort::Bool, Sort::Bool, Type::BOOL),
    (Sort::Duration, Sort::Duration, Type::BOOL),
];
const INTS: Row = (Sort::Int, Sort::Int, Type::INT);
const DOUBLES: Row = (Sort::Double, Sort::Double, Type::DOUBLE);
const DURATIONS: Row = (Sort::Duration, Sort::Duration, Type::DURATION);
/// What a list is made of is for the check.
const LISTS: Row = (Sort::List, Sort::List, Type::Dyn);
const ADD: [Row; 5] = [INTS, DOUBLES, (Sort::String, Sort::String, Type::STRING), DURATIONS, LISTS];
const SUBTRACT: [Row; 3] = [INTS, DOUBLES, DURATIONS];
const MULTIPLY: [Row; 2] = [INTS, DOUBLES];
const REMAINDER: [Row; 1] = [INTS];

/// Which pairs an operator takes; equality and `in` take any, and the check asks them something else.
fn rows(operator: Operator) -> &'static [Row] {
    match operator {
        Operator::Equal | Operator::Unequal | Operator::In => &[],
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => &ORDER,
        Operator::Add => &ADD,
        Operator::Subtract => &SUBTRACT,
        Operator::Multiply | Operator::Divide => &MULTIPLY,
        Operator::Remainder => &REMAINDER,
    }
}

/// What an operator of arithmetic or order gives for these types; none if no values of them fit.
pub(super) fn result(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    if let (Operator::Add, Type::List(left), Type::List(right)) = (operator, left, right) {
        return Some(Type::list(left.as_ref().clone().either(right.as_ref().clone()).unwrap_or(Type::Dyn)));
    }
    let mut fitting = rows(operator).iter().filter(|(first, second, _)| left.may_be(*first) && right.may_be(*second));
    let (_, _, gives) = fitting.next()?;
    if fitting.all(|(_, _, each)| each == gives) {
        return Some(gives.clone());
    }
    Some(if *left == Type::Json && *right == Type::Json { Type::Json } else { Type::Dyn })
}
