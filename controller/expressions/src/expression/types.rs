//! Types: what a part of an expression can be, as far as it is known before it is evaluated.
//!
//! In: nothing. Out: sorts of values, sets of them, and types that know about elements. Never here: values.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Null = 1,
    Bool = 2,
    Int = 4,
    Double = 8,
    String = 16,
    Duration = 32,
    List = 64,
    Map = 128,
}

impl Sort {
    pub const EVERY: [Self; 8] =
        [Self::Null, Self::Bool, Self::Int, Self::Double, Self::String, Self::Duration, Self::List, Self::Map];

    /// With its article, as in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Double => "a double",
            Self::String => "a string",
            Self::Duration => "a duration",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

/// A set of sorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sorts(u8);

impl Sorts {
    pub const ANY: Self = Self(u8::MAX);

    pub const fn of(sorts: &[Sort]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < sorts.len() {
            bits |= sorts[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    pub fn has(self, sort: Sort) -> bool {
        self.0 & sort as u8 != 0
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As in "a string, a list or a map".
    pub fn names(self) -> String {
        let names: Vec<&str> = Sort::EVERY.into_iter().filter(|each| self.has(*each)).map(Sort::name).collect();
        match names.split_last() {
            None => "nothing".to_owned(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }
}

/// What is known of a value before it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A scalar; lists and maps have types of their own.
    Of(Sort),
    List(Box<Self>),
    /// Keys are strings.
    Map(Box<Self>),
    /// One of `samples`: `labels` and `value`.
    Sample,
    /// Any part of a JSON document: never an int and never a duration.
    Json,
    Dyn,
}

impl Type {
    pub const BOOL: Self = Self::Of(Sort::Bool);
    pub const INT: Self = Self::Of(Sort::Int);
    pub const DOUBLE: Self = Self::Of(Sort::Double);
    pub const STRING: Self = Self::Of(Sort::String);
    pub const DURATION: Self = Self::Of(Sort::Duration);

    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    pub fn map(value: Self) -> Self {
        Self::Map(Box::new(value))
    }

    /// What it can turn out to be.
    pub fn sorts(&self) -> Sorts {
        match self {
            Self::Of(sort) => Sorts::of(&[*sort]),
            Self::List(_) => Sorts::of(&[Sort::List]),
            Self::Map(_) | Self::Sample => Sorts::of(&[Sort::Map]),
            Self::Json => Sorts::of(&[Sort::Null, Sort::Bool, Sort::Double, Sort::String, Sort::List, Sort::Map]),
            Self::Dyn => Sorts::ANY,
        }
    }

    pub fn may_be(&self, sort: Sort) -> bool {
        self.sorts().has(sort)
    }

    /// Only known when it is there.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Json | Self::Dyn)
    }

    /// With its article, as in a sentence.
    pub fn name(&self) -> String {
        match self {
            Self::Of(sort) => sort.name().to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
            Self::Sample => "a sample".to_owned(),
            Self::Json => "a part of a JSON document".to_owned(),
            Self::Dyn => "a value of any type".to_owned(),
        }
    }

    /// Whether a value of the one can equal a value of the other.
    pub fn can_equal(&self, other: &Self) -> bool {
        const NUMBERS: Sorts = Sorts::of(&[Sort::Int, Sort::Double]);
        match (self, other) {
            (Self::List(left), Self::List(right)) | (Self::Map(left), Self::Map(right)) => left.can_equal(right),
            _ => {
                let (left, right) = (self.sorts(), other.sorts());
                left.meets(right) || (left.meets(NUMBERS) && right.meets(NUMBERS))
            }
        }
    }

    /// The type of something that is one or the other; none if they have nothing in common.
    pub fn either(self, other: Self) -> Option<Self> {
        match (self, other) {
            (left, right) if left == right => Some(left),
            (left, right) if left.is_open() || right.is_open() => Some(Self::Dyn),
            (Self::List(left), Self::List(right)) => Some(Self::list(left.either(*right).unwrap_or(Self::Dyn))),
            (Self::Map(left), Self::Map(right)) => Some(Self::map(left.either(*right).unwrap_or(Self::Dyn))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_number_can_equal_an_int_and_a_string_cannot() {
        assert!(Type::Json.can_equal(&Type::INT));
        assert!(Type::DOUBLE.can_equal(&Type::INT));
        assert!(!Type::STRING.can_equal(&Type::INT));
        assert!(!Type::list(Type::STRING).can_equal(&Type::list(Type::INT)));
        assert!(!Type::Json.can_equal(&Type::DURATION));
    }

    #[test]
    fn sorts_are_named_as_in_a_sentence() {
        assert_eq!(Sorts::of(&[Sort::String, Sort::List, Sort::Map]).names(), "a string, a list or a map");
    }
}
