//! Where two records of the same sequence differ.
//!
//! In: two lists of normal answers. Out: nothing, or the first step that differs and what differs in it. Never here: knowledge of any kind.

use std::fmt;

use serde_json::Value;

/// The first step at which two servers differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) place: usize,
    /// Path, what the first said, what the second said.
    pub(crate) fields: Vec<(String, String, String)>,
}

/// More would not be read.
const SHOWN: usize = 12;

pub(crate) fn first(one: &[Value], other: &[Value]) -> Option<Difference> {
    let place = one.iter().zip(other).position(|(one, other)| one != other)?;
    let mut fields = Vec::new();
    walk("", Some(&one[place]), Some(&other[place]), &mut fields);
    Some(Difference { place, fields })
}

fn walk(path: &str, one: Option<&Value>, other: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    if one == other {
        return;
    }
    match (one, other) {
        (Some(Value::Object(these)), Some(Value::Object(those))) => {
            for (key, value) in these {
                walk(&format!("{path}/{key}"), Some(value), those.get(key), found);
            }
            for (key, value) in those.iter().filter(|(key, _)| !these.contains_key(*key)) {
                walk(&format!("{path}/{key}"), None, Some(value), found);
            }
        }
        (Some(Value::Array(these)), Some(Value::Array(those))) if these.len() == those.len() => {
            for (place, (one, other)) in these.iter().zip(those).enumerate() {
                walk(&format!("{path}/{place}"), Some(one), Some(other), found);
            }
        }
        _ => found.push((path.to_owned(), said(one), said(other))),
    }
}

fn said(value: Option<&Value>) -> String {
    value.map_or_else(|| "(nothing)".to_owned(), Value::to_string)
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, one, other) in self.fields.iter().take(SHOWN) {
            writeln!(out, "    {path}\n      real   {one}\n      other  {other}")?;
        }
        if self.fields.len() > SHOWN {
            writeln!(out, "    and {} more", self.fields.len() - SHOWN)?;
        }
        Ok(())
    }
}
