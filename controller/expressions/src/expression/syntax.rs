//! An expression as it is written, before anybody has asked what its names mean.
//!
//! In: nothing. Out: the tree between parser and check. Never here: types, values.

use crate::place::Span;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub part: Part,
    /// How many nodes there are on the longest way down, this one counted.
    pub depth: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
    Name(String),
    /// `of.field`
    Select(Box<Node>, Field),
    /// `has(of.field)`
    Has(Box<Node>, Field),
    /// `of[index]`
    Index(Box<Node>, Box<Node>),
    /// `name(…)` or `target.name(…)`
    Call {
        target: Option<Box<Node>>,
        name: Field,
        arguments: Vec<Node>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// `a && b && …`: as long as it likes, without getting deep.
    And(Vec<Node>),
    /// `a || b || …`
    Or(Vec<Node>),
    /// `condition ? yes : no`
    Choose(Box<Node>, Box<Node>, Box<Node>),
    /// `of.all(name, body)` and its like.
    Each {
        kind: Macro,
        of: Box<Node>,
        name: String,
        /// Of `map` with three arguments.
        filter: Option<Box<Node>>,
        body: Box<Node>,
    },
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl Macro {
    pub const NAMES: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "exists" => Some(Self::Exists),
            "exists_one" => Some(Self::ExistsOne),
            "map" => Some(Self::Map),
            "filter" => Some(Self::Filter),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// How tightly it binds; all of them from left to right.
    pub fn power(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Remainder => 5,
            _ => 3,
        }
    }
}

impl Part {
    /// What is directly below.
    pub fn children(&self) -> impl Iterator<Item = &Node> {
        let (boxes, lists): ([Option<&Node>; 3], &[Node]) = match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::String(_) | Self::Name(_) | Self::Map(_) => {
                ([None; 3], &[])
            }
            Self::Select(of, _) | Self::Has(of, _) | Self::Not(of) | Self::Negate(of) => ([Some(of), None, None], &[]),
            Self::Index(left, right) | Self::Binary(_, left, right) => ([Some(left), Some(right), None], &[]),
            Self::Call { target, arguments, .. } => ([target.as_deref(), None, None], arguments),
            Self::List(nodes) | Self::And(nodes) | Self::Or(nodes) => ([None; 3], nodes),
            Self::Choose(condition, yes, no) => ([Some(condition), Some(yes), Some(no)], &[]),
            Self::Each { of, filter, body, .. } => ([Some(of), filter.as_deref(), Some(body)], &[]),
        };
        let entries: &[(Node, Node)] = if let Self::Map(entries) = self { entries } else { &[] };
        boxes.into_iter().flatten().chain(lists).chain(entries.iter().flat_map(|(key, value)| [key, value]))
    }
}
