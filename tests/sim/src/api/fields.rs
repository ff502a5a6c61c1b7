//! Sets of fields, as the managed fields of an object name them: `f:spec`, `k:{"name":"web"}`, `v:"x"`.
//!
//! In: sets, and their JSON. Out: sets. Never here: objects, or who owns what.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::Node;

/// A tree of fields; a node that is a `member` is in the set itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) member: bool,
    pub(super) below: BTreeMap<String, Fields>,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".into(), json!({}));
        }
        for (element, fields) in &self.below {
            map.insert(element.clone(), fields.to_json());
        }
        Value::Object(map)
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let mut fields = Self::read(value);
        fields.member = false;
        fields
    }

    fn read(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        // A leaf is written as an empty object.
        let mut fields = Self { member: map.is_empty(), below: BTreeMap::new() };
        for (element, below) in map {
            if element == "." {
                fields.member = true;
            } else {
                fields.below.insert(element.clone(), Self::read(below));
            }
        }
        fields
    }

    pub(super) fn put(&mut self, element: String, fields: Self) {
        if !fields.is_empty() {
            self.below.insert(element, fields);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, fields) in &other.below {
            self.below.entry(element.clone()).or_default().add(fields);
        }
    }

    pub(super) fn with(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Without the members of the other set.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Self { member: self.member && !other.member, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            let rest = other.below.get(element).map_or_else(|| fields.clone(), |other| fields.without(other));
            left.put(element.clone(), rest);
        }
        left
    }

    pub(super) fn common(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            if let Some(other) = other.below.get(element) {
                both.put(element.clone(), fields.common(other));
            }
        }
        both
    }

    /// With every named field that has something below it as a member: whoever takes away all of a struct takes away the struct.
    pub(super) fn with_structs(&self, node: Node) -> Self {
        let mut all = Self { member: self.member, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            let (name, child) = match element.strip_prefix("f:") {
                Some(name) => (Some(name), node.child(name)),
                None => (None, node.item()),
            };
            let mut fields = fields.with_structs(child);
            fields.member |= !fields.below.is_empty() && name.is_some_and(|name| node.names(name));
            all.below.insert(element.clone(), fields);
        }
        all
    }

    /// Each member as a path for people: `.spec.template.spec.containers[name="web"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, at: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(at.to_owned());
        }
        for (element, fields) in &self.below {
            let next = match element.split_once(':') {
                Some(("f", name)) => format!("{at}.{name}"),
                Some(("k", keys)) => {
                    let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    format!("{at}[{}]", keys.join(","))
                }
                Some(("v", value)) => format!("{at}[={value}]"),
                _ => format!("{at}?{element}"),
            };
            fields.collect(&next, paths);
        }
    }

    /// Without this field and what is below it.
    pub(super) fn drop(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.below.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(fields) = self.below.get_mut(*first) {
                    fields.drop(rest);
                    if fields.is_empty() {
                        self.below.remove(*first);
                    }
                }
            }
        }
    }
}
