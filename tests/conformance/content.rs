//! What objects are made of: for each kind a body that is complete, and pieces that change it.
//!
//! In: chance. Out: bodies for create, replace, apply and merge patch. Few names and few values, so that managers meet in the same
//! fields. Never here: requests, or which of them come after which.

mod core;
mod release;
mod workload;

use serde_json::{Map, Value, json};

use crate::chance::Chance;

/// Something that is merged into a body.
pub(crate) type Piece = fn(&mut Chance) -> Value;

#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
    pub(crate) api_version: &'static str,
    /// Of the collection.
    pub(crate) path: &'static str,
    /// With `name` in it: what makes an object complete.
    pub(crate) base: fn(&str) -> Value,
    pub(crate) pieces: &'static [Piece],
    /// What a merge patch sets to null.
    pub(crate) nulls: &'static [&'static str],
    /// What makes an object invalid.
    pub(crate) faults: &'static [Piece],
    /// Empty: it has no status of its own.
    pub(crate) status: &'static [Piece],
    pub(crate) scale: bool,
}

pub(crate) static KINDS: [&Kind; 8] = [
    &workload::SERVICE,
    &workload::DEPLOYMENT,
    &release::RELEASE,
    &release::OPERATION,
    &core::CONFIG_MAP,
    &core::LEASE,
    &core::EVENT,
    &core::POD,
];

/// Pieces of the metadata, which all kinds share.
const METADATA: [Piece; 5] = [
    |chance| json!({"metadata": {"labels": {"tier": chance.pick(&["a", "b"])}}}),
    |chance| json!({"metadata": {"labels": {"tier": chance.pick(&["a", "c"]), "extra": "yes"}}}),
    |chance| json!({"metadata": {"annotations": {"bascule.dev/revision": chance.pick(&["1", "2"])}}}),
    |chance| json!({"metadata": {"annotations": {"note": chance.pick(&["x", "y"]), "bascule.dev/reason": "Switched"}}}),
    |_| json!({"metadata": {"labels": {"bascule.dev/release": "shop"}}}),
];

impl Kind {
    /// What names an object, and the label by which this run finds its own.
    fn head(&self, name: &str) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": name}})
    }

    /// A complete body with some pieces.
    pub(crate) fn whole(&self, name: &str, chance: &mut Chance) -> Value {
        let mut body = self.head(name);
        join(&mut body, (self.base)(name));
        join(&mut body, json!({"metadata": {"labels": {"run": "$run"}}}));
        self.some(&mut body, chance);
        body
    }

    /// What one manager wants: most have the whole object in mind, some only a few fields.
    pub(crate) fn applied(&self, name: &str, chance: &mut Chance) -> Value {
        let mut body = self.head(name);
        if chance.percent(60) {
            join(&mut body, (self.base)(name));
        }
        if chance.percent(75) {
            join(&mut body, json!({"metadata": {"labels": {"run": "$run"}}}));
        }
        self.some(&mut body, chance);
        body
    }

    /// A few fields, some of them null.
    pub(crate) fn merged(&self, chance: &mut Chance) -> Value {
        let mut body = json!({});
        self.some(&mut body, chance);
        if chance.percent(25) {
            let nulls = [self.nulls, &["/metadata/labels/tier", "/metadata/annotations", "/metadata/annotations/note"]].concat();
            set_null(&mut body, chance.pick::<&str>(&nulls));
        }
        body
    }

    pub(crate) fn status_of(&self, name: &str, chance: &mut Chance) -> Value {
        let mut body = self.head(name);
        for _ in 0..=chance.below(2) {
            join(&mut body, json!({"status": chance.pick(self.status)(chance)}));
        }
        body
    }

    fn some(&self, body: &mut Value, chance: &mut Chance) {
        for _ in 0..chance.below(4) {
            let metadata = self.pieces.is_empty() || chance.percent(35);
            let piece = if metadata { chance.pick(&METADATA) } else { chance.pick(self.pieces) };
            join(body, piece(chance));
        }
        if !self.faults.is_empty() && chance.percent(6) {
            join(body, chance.pick(self.faults)(chance));
        }
    }
}

/// Objects field by field; lists of named things by their names.
pub(crate) fn join(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                join(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for item in from {
                let same = |other: &&mut Value| {
                    ["name", "type", "revision", "port"].iter().any(|key| !item[*key].is_null() && item[*key] == other[*key])
                };
                if item.is_string() && into.contains(&item) {
                    continue;
                }
                match into.iter_mut().find(same) {
                    Some(found) => join(found, item),
                    None => into.push(item),
                }
            }
        }
        (into, from) => *into = from,
    }
}

fn set_null(body: &mut Value, pointer: &str) {
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut at = body;
    for step in &steps[..steps.len() - 1] {
        if !at[*step].is_object() {
            at[*step] = Value::Object(Map::new());
        }
        at = &mut at[*step];
    }
    at[steps[steps.len() - 1]] = Value::Null;
}
