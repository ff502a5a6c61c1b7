//! A checked expression: every name is known, every pattern compiled.
//!
//! In: nothing. Out: the tree between check and evaluation. Never here: text.

use std::sync::Arc;

use super::Kind;
use super::functions::Function;
use super::pattern::Pattern;
use super::syntax::{Macro, Operator};
use super::types::Type;
use super::value::Value;
use crate::place::Span;

#[derive(Clone, Debug)]
pub(super) struct Term {
    pub span: Span,
    pub step: Step,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Constant(Value),
    Variable(Variable),
    /// Of a macro, counted from the outermost one.
    Local(usize),
    Select(Box<Term>, Arc<str>),
    Has(Box<Term>, Arc<str>),
    Index(Box<Term>, Box<Term>),
    Call(Function, Vec<Term>),
    Matches(Box<Term>, Pattern),
    List(Vec<Term>),
    Map(Vec<(Term, Term)>),
    Not(Box<Term>),
    Negate(Box<Term>),
    Binary(Operator, Box<Term>, Box<Term>),
    And(Vec<Term>),
    Or(Vec<Term>),
    Choose(Box<Term>, Box<Term>, Box<Term>),
    Each {
        kind: Macro,
        of: Box<Term>,
        filter: Option<Box<Term>>,
        body: Box<Term>,
    },
}

/// What a gate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Status,
    Headers,
    Body,
    Json,
    Latency,
    Value,
    Values,
    Samples,
}

impl Variable {
    const EVERY: [Self; 8] =
        [Self::Status, Self::Headers, Self::Body, Self::Json, Self::Latency, Self::Value, Self::Values, Self::Samples];

    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Json => "json",
            Self::Latency => "latency",
            Self::Value => "value",
            Self::Values => "values",
            Self::Samples => "samples",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|each| each.name() == name)
    }

    pub fn of(kind: Kind) -> impl Iterator<Item = Self> {
        Self::EVERY.into_iter().filter(move |each| each.is_in(kind))
    }

    pub fn is_in(self, kind: Kind) -> bool {
        match self {
            Self::Status | Self::Headers | Self::Body | Self::Json => kind != Kind::Prometheus,
            Self::Latency => kind == Kind::Http,
            Self::Value | Self::Values | Self::Samples => kind == Kind::Prometheus,
        }
    }

    pub fn type_of(self) -> Type {
        match self {
            Self::Status => Type::INT,
            Self::Headers => Type::map(Type::STRING),
            Self::Body => Type::STRING,
            Self::Json => Type::Json,
            Self::Latency => Type::DURATION,
            Self::Value => Type::DOUBLE,
            Self::Values => Type::list(Type::DOUBLE),
            Self::Samples => Type::list(Type::Sample),
        }
    }
}
