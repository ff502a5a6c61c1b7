//! Sets of fields, as the managed fields of an object name them (`f:spec`, `k:{"name":"web"}`, `v:"x"`), and how an object is
//! merged, compared and cut along them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::{Lists, Node};

/// A tree of fields; a node that is `owned` is in the set itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub owned: bool,
    pub below: BTreeMap<String, Fields>,
}

impl Fields {
    pub fn is_empty(&self) -> bool {
        !self.owned && self.below.is_empty()
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.owned && !self.below.is_empty() {
            map.insert(".".into(), json!({}));
        }
        for (element, fields) in &self.below {
            map.insert(element.clone(), fields.to_json());
        }
        Value::Object(map)
    }

    pub fn from_json(value: &Value) -> Self {
        let mut fields = Self::read(value);
        fields.owned = false;
        fields
    }

    fn read(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        // A leaf is written as an empty object.
        let mut fields = Self { owned: map.is_empty(), below: BTreeMap::new() };
        for (element, below) in map {
            if element == "." {
                fields.owned = true;
            } else {
                fields.below.insert(element.clone(), Self::read(below));
            }
        }
        fields
    }

    pub fn add(&mut self, other: &Self) {
        self.owned |= other.owned;
        for (element, fields) in &other.below {
            self.below.entry(element.clone()).or_default().add(fields);
        }
    }

    /// Without those of the other set, node by node.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self { owned: self.owned && !other.owned, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            let rest = other.below.get(element).map_or_else(|| fields.clone(), |other| fields.without(other));
            if !rest.is_empty() {
                left.below.insert(element.clone(), rest);
            }
        }
        left
    }

    /// Without those of the other set and everything below them.
    pub fn without_all(&self, other: &Self) -> Self {
        if other.owned {
            return Self::default();
        }
        let mut left = Self { owned: self.owned, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            let rest = other.below.get(element).map_or_else(|| fields.clone(), |other| fields.without_all(other));
            if !rest.is_empty() {
                left.below.insert(element.clone(), rest);
            }
        }
        left
    }

    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self { owned: self.owned && other.owned, below: BTreeMap::new() };
        for (element, fields) in &self.below {
            if let Some(other) = other.below.get(element) {
                let fields = fields.common(other);
                if !fields.is_empty() {
                    both.below.insert(element.clone(), fields);
                }
            }
        }
        both
    }

    /// Each field as a path for people: `.spec.template.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, at: &str, paths: &mut Vec<String>) {
        if self.owned {
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
    pub fn drop(&mut self, path: &[&str]) {
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

    /// Only this part of the tree.
    pub fn only(&self, element: &str) -> Self {
        let below = self.below.get(element).map(|fields| (element.to_owned(), fields.clone()));
        Self { owned: false, below: below.into_iter().collect() }
    }
}

/// All fields of a value.
pub fn of(value: &Value, node: &Node<'_>) -> Fields {
    match value {
        Value::Object(map) if !node.is_atomic_map() => {
            let mut fields = Fields::default();
            for (name, value) in map {
                let child = node.child(name);
                let mut below = of(value, &child);
                if node.is_free_map() || value.is_null() || value.as_object().is_some_and(Map::is_empty) {
                    below.owned = true;
                }
                fields.below.insert(format!("f:{name}"), below);
            }
            fields
        }
        Value::Array(items) => match node.lists() {
            Lists::Atomic => Fields { owned: true, ..Fields::default() },
            lists => {
                let mut fields = Fields::default();
                for item in items {
                    let mut below = if matches!(lists, Lists::Set) { Fields::default() } else { of(item, &node.item()) };
                    below.owned = true;
                    fields.below.insert(element(item, &lists), below);
                }
                fields.owned = items.is_empty();
                fields
            }
        },
        _ => Fields { owned: true, ..Fields::default() },
    }
}

/// How an item of a list is named.
pub fn element(item: &Value, lists: &Lists) -> String {
    match lists {
        Lists::Map(keys) => {
            let named: BTreeMap<&str, Value> = keys
                .iter()
                .filter_map(|(key, default)| {
                    let value = item.get(key.as_str()).cloned().or_else(|| default.clone())?;
                    Some((key.as_str(), value))
                })
                .collect();
            format!("k:{}", json!(named))
        }
        _ => format!("v:{item}"),
    }
}

/// What the one has and the other lays over it.
pub fn merge(under: &Value, over: &Value, node: &Node<'_>) -> Value {
    match (under, over) {
        (Value::Object(below), Value::Object(above)) if !node.is_atomic_map() => {
            let mut merged = below.clone();
            for (name, value) in above {
                let value = match below.get(name) {
                    Some(known) => merge(known, value, &node.child(name)),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(below), Value::Array(above)) => match node.lists() {
            Lists::Atomic => over.clone(),
            lists => {
                let mut merged = below.clone();
                for item in above {
                    let name = element(item, &lists);
                    match merged.iter_mut().find(|known| element(known, &lists) == name) {
                        Some(known) => {
                            *known = if matches!(lists, Lists::Set) { item.clone() } else { merge(known, item, &node.item()) }
                        }
                        None => merged.push(item.clone()),
                    }
                }
                Value::Array(merged)
            }
        },
        _ => over.clone(),
    }
}

/// Fields that differ: those that the new one has and the old has not or has otherwise; and those that are no more.
pub fn compare(old: &Value, new: &Value, node: &Node<'_>) -> (Fields, Fields) {
    let (mut changed, mut removed) = (Fields::default(), Fields::default());
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !node.is_atomic_map() => {
            for (name, value) in after {
                let child = node.child(name);
                let below = match before.get(name) {
                    Some(known) => compare(known, value, &child),
                    None => {
                        let mut fields = of(value, &child);
                        fields.owned |= node.is_free_map() || fields.below.is_empty();
                        (fields, Fields::default())
                    }
                };
                insert(&mut changed, format!("f:{name}"), below.0);
                insert(&mut removed, format!("f:{name}"), below.1);
            }
            for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
                let mut fields = of(value, &node.child(name));
                fields.owned = true;
                insert(&mut removed, format!("f:{name}"), fields);
            }
        }
        (Value::Array(before), Value::Array(after)) if !matches!(node.lists(), Lists::Atomic) => {
            let lists = node.lists();
            let named = |items: &[Value]| items.iter().map(|item| (element(item, &lists), item.clone())).collect::<Vec<_>>();
            let (before, after) = (named(before), named(after));
            let whole = |item: &Value| {
                let mut fields = if matches!(lists, Lists::Set) { Fields::default() } else { of(item, &node.item()) };
                fields.owned = true;
                fields
            };
            for (name, item) in &after {
                let below = match before.iter().find(|(known, _)| known == name) {
                    Some((_, known)) => compare(known, item, &node.item()),
                    None => (whole(item), Fields::default()),
                };
                insert(&mut changed, name.clone(), below.0);
                insert(&mut removed, name.clone(), below.1);
            }
            for (name, item) in before.iter().filter(|(name, _)| after.iter().all(|(known, _)| known != name)) {
                insert(&mut removed, name.clone(), whole(item));
            }
        }
        _ if old == new => {}
        _ => changed = Fields { owned: true, ..of(new, node) },
    }
    (changed, removed)
}

fn insert(into: &mut Fields, element: String, fields: Fields) {
    if !fields.is_empty() {
        into.below.insert(element, fields);
    }
}

/// Takes these fields out of the value. What is empty afterwards goes too. False: nothing is left of it.
pub fn cut(value: &mut Value, fields: &Fields, node: &Node<'_>) -> bool {
    match value {
        Value::Object(map) if !node.is_atomic_map() => {
            for (element, below) in &fields.below {
                let Some(name) = element.strip_prefix("f:") else { continue };
                let Some(child) = map.get_mut(name) else { continue };
                let leaf = below.below.is_empty() || child.is_null();
                if leaf || !cut(child, below, &node.child(name)) {
                    map.remove(name);
                }
            }
            !map.is_empty()
        }
        Value::Array(items) => {
            let lists = node.lists();
            items.retain_mut(|item| match fields.below.get(&element(item, &lists)) {
                Some(below) if below.owned => false,
                Some(below) => cut(item, below, &node.item()),
                None => true,
            });
            !items.is_empty()
        }
        _ => false,
    }
}
