//! Objects seen through the shape of their kind: what fields they have, what changes from one to another, what comes of laying one over
//! the other and of taking fields away.
//!
//! In: values and the node of the schema where they stand. Out: sets of fields, and values. Never here: owners; see `apply.rs`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    fields::Fields,
    schema::{Items, Node, Shape},
};

/// All fields that somebody has an opinion on who sends this.
pub(super) fn fields_of(value: &Value, node: Node) -> Fields {
    let mut fields = Fields::default();
    match (node.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            for (name, value) in map {
                let mut below = fields_of(value, node.child(name));
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                below.member |= empty || !node.names(name);
                fields.put(format!("f:{name}"), below);
            }
        }
        (Shape::List(items @ (Items::Set | Items::Keyed)), Value::Array(list)) => {
            for item in list {
                let mut below = if items == Items::Set { Fields::default() } else { fields_of(item, node.item()) };
                below.member = true;
                fields.put(element(item, node), below);
            }
        }
        (Shape::Map | Shape::List(Items::Set | Items::Keyed), _) => {}
        _ => fields.member = true,
    }
    fields
}

/// How an item of a list is named.
pub(super) fn element(item: &Value, node: Node) -> String {
    if node.shape(&Value::Null) == Shape::List(Items::Set) {
        return format!("v:{item}");
    }
    let key = |(key, default): (&'static str, Option<&Value>)| Some((key, item.get(key).or(default)?.clone()));
    let named: BTreeMap<&str, Value> = node.keys().filter_map(key).collect();
    format!("k:{}", json!(named))
}

/// What one object has that the other has not, and what both have and have otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Fields,
    pub(super) modified: Fields,
    pub(super) removed: Fields,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the new one says.
    pub(super) fn said(&self) -> Fields {
        self.added.clone().with(&self.modified)
    }

    fn put(&mut self, element: &str, below: Self) {
        self.added.put(element.to_owned(), below.added);
        self.modified.put(element.to_owned(), below.modified);
        self.removed.put(element.to_owned(), below.removed);
    }
}

pub(super) fn compare(old: Option<&Value>, new: Option<&Value>, node: Node) -> Changes {
    let mut changes = Changes::default();
    let some = new.filter(|value| !value.is_null()).or(old).unwrap_or(&Value::Null);
    let shape = node.shape(some);
    let (before, after) = (old, new);
    let nothing = before.is_none_or(is_empty) && after.is_none_or(is_empty);
    match shape {
        Shape::Map if !nothing => {
            let none = Map::new();
            let before = before.and_then(Value::as_object).unwrap_or(&none);
            let after = after.and_then(Value::as_object).unwrap_or(&none);
            for (name, value) in after {
                changes.put(&format!("f:{name}"), compare(before.get(name), Some(value), node.child(name)));
            }
            for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                changes.put(&format!("f:{name}"), compare(Some(value), None, node.child(name)));
            }
        }
        Shape::List(Items::Set | Items::Keyed) if !nothing => {
            let (before, after) = (by_element(before, node), by_element(after, node));
            for (name, item) in &after {
                changes.put(name, compare(before.get(name).copied(), Some(item), node.item()));
            }
            for (name, item) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                changes.put(name, compare(Some(item), None, node.item()));
            }
        }
        _ => changes.modified.member = old.is_some() && new.is_some() && old != new,
    }
    changes.added.member = old.is_none();
    changes.removed.member = old.is_some() && new.is_none();
    changes
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn by_element(list: Option<&Value>, node: Node) -> BTreeMap<String, &Value> {
    list.and_then(Value::as_array).into_iter().flatten().map(|item| (element(item, node), item)).collect()
}

/// What the one has and the other lays over it.
pub(super) fn merge(under: &Value, over: &Value, node: Node) -> Value {
    match (node.shape(over), under, over) {
        (Shape::Map, Value::Object(below), Value::Object(above)) if !(below.is_empty() && above.is_empty()) => {
            let mut merged = below.clone();
            for (name, value) in above {
                let value = match below.get(name) {
                    Some(known) => merge(known, value, node.child(name)),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::List(Items::Set | Items::Keyed), Value::Array(below), Value::Array(above)) => {
            Value::Array(merge_lists(below, above, node))
        }
        // Nothing laid over something that is merged leaves it as it is.
        (Shape::Map | Shape::List(Items::Set | Items::Keyed), Value::Object(_) | Value::Array(_), Value::Null) => under.clone(),
        _ => over.clone(),
    }
}

/// The items of `above` in their order; between them those that only `below` has, as near as possible to where they were.
fn merge_lists(below: &[Value], above: &[Value], node: Node) -> Vec<Value> {
    let left: Vec<(String, &Value)> = below.iter().map(|item| (element(item, node), item)).collect();
    let right: Vec<(String, &Value)> = above.iter().map(|item| (element(item, node), item)).collect();
    let in_left = |name: &String| left.iter().find(|(known, _)| known == name).map(|(_, item)| *item);
    let in_right = |name: &String| right.iter().any(|(known, _)| known == name);
    let mut shared = right.iter().map(|(name, _)| name).filter(|name| in_left(name).is_some()).peekable();
    let both = |name: &String, item: &Value| in_left(name).map_or_else(|| item.clone(), |known| merge(known, item, node.item()));
    let (mut out, mut done) = (Vec::new(), Vec::new());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((name, _)), Some((other, item))) = (left.get(l), right.get(r)) {
            if name == other {
                out.push(both(other, item));
                done.push(other);
                shared.next();
                (l, r) = (l + 1, r + 1);
                continue;
            }
            // One that both have, but whose turn it is not.
            if in_right(name) && shared.peek().is_some_and(|next| *next != name) {
                l += 1;
                continue;
            }
        }
        if let Some((name, item)) = left.get(l) {
            if !in_right(name) {
                out.push((*item).clone());
                l += 1;
                continue;
            }
            if done.contains(&name) {
                l += 1;
            }
        }
        if let Some((name, item)) = right.get(r) {
            out.push(both(name, item));
            done.push(name);
            if shared.peek().is_some_and(|next| *next == name) {
                shared.next();
            }
            r += 1;
        }
    }
    out
}

/// The value without these fields. None: nothing is left of it.
pub(super) fn remove(value: &Value, fields: &Fields, node: Node) -> Option<Value> {
    match (node.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            let mut left = Map::new();
            for (name, value) in map {
                match fields.below.get(&format!("f:{name}")) {
                    Some(below) if below.member => {}
                    // Of which nothing is left, but which is not itself taken away.
                    Some(below) => {
                        left.insert(name.clone(), remove(value, below, node.child(name)).unwrap_or_default());
                    }
                    None => {
                        left.insert(name.clone(), value.clone());
                    }
                }
            }
            Some(Value::Object(left)).filter(|left| !is_empty(left))
        }
        (Shape::List(Items::Set | Items::Keyed), Value::Array(items)) => {
            let keep = |item: &Value| match fields.below.get(&element(item, node)) {
                Some(below) if below.member => None,
                Some(below) => remove(item, below, node.item()),
                None => Some(item.clone()),
            };
            Some(items.iter().filter_map(keep).collect::<Value>()).filter(|left| !is_empty(left))
        }
        (Shape::List(Items::Whole), _) | (Shape::Leaf, Value::Object(_)) => None,
        _ => Some(value.clone()),
    }
}

/// How closely a value is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictness {
    /// Fields that nobody knows are a fault.
    pub(super) unknown: bool,
    /// So are two items of a list with one name, and items without one.
    pub(super) names: bool,
    /// A number with a fraction is no integer.
    pub(super) integers: bool,
}

/// What does not fit the shape at all.
pub(super) fn misfit(value: &Value, node: Node, strictness: Strictness, at: &str) -> Option<String> {
    if value.is_null() || !node.is_known() {
        return None;
    }
    match (node.text("type"), value) {
        ("object", Value::Object(map)) => map.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            if strictness.unknown && node.is_closed() && !node.names(name) {
                return Some(format!("{at}: field not declared in schema"));
            }
            misfit(value, node.child(name), strictness, &at)
        }),
        ("array", Value::Array(items)) => {
            let twice = strictness.names.then(|| unnamed(items, node, at)).flatten();
            let inside = || {
                let mut numbered = items.iter().enumerate();
                numbered.find_map(|(index, item)| misfit(item, node.item(), strictness, &format!("{at}[{index}]")))
            };
            twice.or_else(inside)
        }
        ("integer", Value::Number(number)) if strictness.integers && !number.is_i64() && !number.is_u64() => {
            Some(format!("{at}: expected integer, got {number}"))
        }
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("integer" | "number", Value::Number(_)) | ("", _) => None,
        (expected, _) => Some(format!("{at}: expected {expected}, got {value}")),
    }
}

fn unnamed(items: &[Value], node: Node, at: &str) -> Option<String> {
    let shape = node.shape(&Value::Null);
    if shape == Shape::List(Items::Whole) {
        return None;
    }
    let mut seen = Vec::new();
    items.iter().enumerate().find_map(|(index, item)| {
        let lacks = |(key, default): (&'static str, Option<&Value>)| default.is_none() && item.get(key).is_none();
        if shape == Shape::List(Items::Keyed) && node.keys().any(lacks) {
            return Some(format!("{at}: element {index}: associative list with keys has an element that omits key field"));
        }
        let name = element(item, node);
        if seen.contains(&name) {
            return Some(format!("{at}: duplicate entries for key [{name}]"));
        }
        seen.push(name);
        None
    })
}

/// The first field that the shape does not know.
pub(super) fn unknown_field(value: &Value, node: Node, at: &str) -> Option<String> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            if node.is_closed() && !node.names(name) {
                return Some(format!("strict decoding error: unknown field \"{}\"", at.trim_start_matches('.')));
            }
            unknown_field(value, node.child(name), &at)
        }),
        Value::Array(items) => items.iter().find_map(|item| unknown_field(item, node.item(), at)),
        _ => None,
    }
}
