//! Label and field selectors.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Refused, error};

#[derive(Clone, Debug)]
enum Demand {
    Is(String, String),
    IsNot(String, String),
    OneOf(String, Vec<String>),
    NoneOf(String, Vec<String>),
    Has(String),
    HasNot(String),
}

/// What a list or a watch is limited to.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    labels: Vec<Demand>,
    fields: Vec<(String, bool, String)>,
}

impl Selection {
    pub(super) fn parse(query: &BTreeMap<String, String>) -> Result<Self, Refused> {
        let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let labels = split(text("labelSelector")).into_iter().map(|part| demand(&part)).collect::<Option<Vec<_>>>();
        let labels = labels.ok_or_else(|| error::bad_request("unable to parse requirement"))?;
        let fields = text("fieldSelector").split(',').filter(|part| !part.is_empty());
        let fields = fields
            .map(|part| {
                let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                    (field, false, value)
                } else {
                    let (field, value) = part.split_once('=')?;
                    (field, true, value.trim_start_matches('='))
                };
                Some((field.to_owned(), equal, value.to_owned()))
            })
            .collect::<Option<Vec<_>>>();
        Ok(Self { labels, fields: fields.ok_or_else(|| error::bad_request("invalid field selector"))? })
    }

    /// From the query of a watch; what cannot be parsed was refused before.
    pub fn of(query: &BTreeMap<String, String>) -> Self {
        Self::parse(query).unwrap_or_default()
    }

    pub fn takes(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        let labelled = self.labels.iter().all(|demand| match demand {
            Demand::Is(key, value) => label(key) == Some(value),
            Demand::IsNot(key, value) => label(key) != Some(value),
            Demand::OneOf(key, values) => label(key).is_some_and(|it| values.iter().any(|value| value == it)),
            Demand::NoneOf(key, values) => label(key).is_none_or(|it| values.iter().all(|value| value != it)),
            Demand::Has(key) => label(key).is_some(),
            Demand::HasNot(key) => label(key).is_none(),
        });
        labelled && self.fields.iter().all(|(field, equal, value)| (field_of(object, field) == *value) == *equal)
    }
}

fn field_of<'a>(object: &'a Value, field: &str) -> &'a str {
    let pointer = format!("/{}", field.replace('.', "/"));
    // Events of the newer API name their object differently.
    let other = pointer.replace("/involvedObject/", "/regarding/");
    object.pointer(&pointer).or_else(|| object.pointer(&other)).and_then(Value::as_str).unwrap_or_default()
}

/// At commas outside of brackets.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn demand(part: &str) -> Option<Demand> {
    let values = |rest: &str| {
        let list = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(list.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((key, rest)) = part.split_once(" notin ") {
        return Some(Demand::NoneOf(key.trim().to_owned(), values(rest)?));
    }
    if let Some((key, rest)) = part.split_once(" in ") {
        return Some(Demand::OneOf(key.trim().to_owned(), values(rest)?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Demand::IsNot(key.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some((key, value)) = part.split_once('=') {
        return Some(Demand::Is(key.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()));
    }
    match part.strip_prefix('!') {
        Some(key) => Some(Demand::HasNot(key.trim().to_owned())),
        None => Some(Demand::Has(part.to_owned())),
    }
}
