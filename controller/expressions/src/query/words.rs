//! Words of PromQL that mean something, and the operators.
//!
//! In: a word in small letters, or a sign. Out: what it stands for. Never here: where it may stand.

use super::Gives;

/// A word that aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregation {
    Plain,
    /// Takes a number first.
    Ranked,
    /// Takes a label first.
    Counted,
}

pub(super) const AGGREGATIONS: [&str; 14] = [
    "sum",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
];

impl Aggregation {
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "topk" | "bottomk" | "quantile" | "limitk" | "limit_ratio" => Some(Self::Ranked),
            "count_values" => Some(Self::Counted),
            _ => AGGREGATIONS.contains(&word).then_some(Self::Plain),
        }
    }

    pub fn takes(self) -> &'static [Gives] {
        match self {
            Self::Plain => &[Gives::Vector],
            Self::Ranked => &[Gives::Scalar, Gives::Vector],
            Self::Counted => &[Gives::Text, Gives::Vector],
        }
    }
}

/// Whether this word can be a metric; most keywords can, where nothing else is meant.
pub(super) fn is_metric(word: &str) -> bool {
    !matches!(word, "bool" | "on" | "ignoring" | "group_left" | "group_right" | "atan2" | "inf" | "nan")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Unless,
    Compare,
    /// `</` and `>/` cut histograms: of the precedence of comparisons, without being one.
    Trim,
    Add,
    Multiply,
    Power,
}

impl Operator {
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "or" => Self::Or,
            "and" => Self::And,
            "unless" => Self::Unless,
            "==" | "!=" | "<" | "<=" | ">" | ">=" => Self::Compare,
            "</" | ">/" => Self::Trim,
            "+" | "-" => Self::Add,
            "*" | "/" | "%" | "atan2" => Self::Multiply,
            "^" => Self::Power,
            _ => return None,
        })
    }

    /// How tightly it binds.
    pub fn power(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Compare | Self::Trim => 3,
            Self::Add => 4,
            Self::Multiply => 5,
            Self::Power => 6,
        }
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    pub fn compares(self) -> bool {
        self == Self::Compare
    }
}
