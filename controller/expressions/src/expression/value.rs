//! Values while an expression is evaluated, and JSON as such a value.
//!
//! In: what was answered. Out: values that are cheap to clone. Never here: operations that cost more the longer a value is; the
//! evaluation counts those.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Enough to see what it is; a status line has room for a few of these.
const SHOWN: usize = 60;

/// Lists and maps are shared: a clone costs the same whatever is in them.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Arc<str>),
    /// In nanoseconds, as in Go: 292 years.
    Duration(i64),
    List(Arc<[Value]>),
    Map(Arc<BTreeMap<Arc<str>, Value>>),
}

impl Value {
    pub fn string(text: &str) -> Self {
        Self::String(Arc::from(text))
    }

    /// The sort and, where it is short, the value: "the int 5", "a list of 3".
    pub fn described(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(_) | Self::List(_) | Self::Map(_) => self.shown(),
            Self::Int(_) => format!("the int {}", self.shown()),
            Self::Double(_) => format!("the double {}", self.shown()),
            Self::String(_) => format!("the string {}", self.shown()),
            Self::Duration(_) => format!("the duration {}", self.shown()),
        }
    }

    /// The value as a person would note it down, shortened.
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Double(value) => super::convert::double_to_text(*value),
            Self::String(text) => format!("\"{}\"", quoted(text)),
            Self::Duration(nanos) => super::duration::to_text(*nanos),
            Self::List(elements) => format!("a list of {}", elements.len()),
            Self::Map(entries) => format!("a map of {}", entries.len()),
        }
    }

    /// A JSON document. The reader itself limits how deep it nests (128).
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        // Some servers write a mark of the byte order, and a reader is free to skip it (RFC 8259, 8.1).
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map(Self::of_json)
    }

    fn of_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            // Always a double, as CEL maps JSON. A number too large for one is refused by the reader.
            serde_json::Value::Number(number) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(elements) => Self::List(elements.into_iter().map(Self::of_json).collect()),
            serde_json::Value::Object(entries) => {
                Self::Map(Arc::new(entries.into_iter().map(|(key, value)| (key.into(), Self::of_json(value))).collect()))
            }
        }
    }
}

/// The beginning of a text, on one line.
fn quoted(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for each in characters.by_ref().take(SHOWN) {
        if each.is_control() {
            shown.extend(each.escape_default());
        } else {
            shown.push(each);
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}
