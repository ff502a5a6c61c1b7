//! Who owns which field: server-side apply, and what every other write does to the owners.
//!
//! In: an object, its managers, what somebody sends. Out: the object and its managers afterwards, or the conflicts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    fields::{self, Fields},
    schema::Node,
};

/// Manager, operation (`Apply` or `Update`) and subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `Apply` sorts before `Update`, as in a real server.
    pub operation: &'static str,
    pub manager: String,
    pub subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    fields: Fields,
    api_version: String,
    time: String,
}

/// All managers of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(BTreeMap<Owner, Owned>);

/// What identifies an object belongs to nobody.
const IDENTITY: [&[&str]; 11] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:generateName"],
];

fn without_identity(mut fields: Fields) -> Fields {
    for path in IDENTITY {
        fields.drop(path);
    }
    if fields.below.get("f:metadata").is_some_and(|metadata| metadata.below.is_empty()) {
        fields.below.remove("f:metadata");
    }
    fields
}

/// A write to the object leaves its status alone, and a write to the status everything else.
fn within(mut fields: Fields, has_status: bool, subresource: &str) -> Fields {
    match subresource {
        "status" => fields.only("f:status"),
        _ => {
            if has_status {
                fields.below.remove("f:status");
            }
            fields
        }
    }
}

impl Managers {
    pub fn read(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
            let owner = Owner { operation, manager: text("manager"), subresource: text("subresource") };
            let fields = Fields::from_json(&entry["fieldsV1"]);
            Some((owner, Owned { fields, api_version: text("apiVersion"), time: text("time") }))
        });
        Self(entries.collect())
    }

    pub fn write(&self, object: &mut Value) {
        let mut entries: Vec<(&Owner, &Owned)> = self.0.iter().filter(|(_, owned)| !owned.fields.is_empty()).collect();
        entries.sort_by(|(a, x), (b, y)| (a.operation, &x.time, &a.manager).cmp(&(b.operation, &y.time, &b.manager)));
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(owner, owned)| {
                let mut entry = json!({
                    "manager": owner.manager, "operation": owner.operation, "apiVersion": owned.api_version,
                    "time": owned.time, "fieldsType": "FieldsV1", "fieldsV1": owned.fields.to_json(),
                });
                if !owner.subresource.is_empty() {
                    entry["subresource"] = json!(owner.subresource);
                }
                entry
            })
            .collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if entries.is_empty() {
                metadata.remove("managedFields");
            } else {
                metadata.insert("managedFields".into(), json!(entries));
            }
        }
    }

    /// Somebody wrote `new` over `old`: what changed is theirs now.
    pub fn updated(&mut self, old: &Value, new: &Value, node: &Node<'_>, by: &Writer<'_>) {
        let (changed, removed) = fields::compare(&bare(old), &bare(new), node);
        let changed = without_identity(changed);
        let removed = without_identity(removed);
        if changed.is_empty() && removed.is_empty() {
            return;
        }
        let owner = by.owner("Update");
        for (other, owned) in &mut self.0 {
            owned.fields = owned.fields.without_all(&removed);
            if *other != owner {
                owned.fields = owned.fields.without(&changed);
            }
        }
        let mine = self.0.entry(owner).or_insert_with(|| by.owned());
        let before = mine.fields.clone();
        mine.fields.add(&within(changed, by.has_status, by.subresource));
        if mine.fields != before {
            mine.time = stamp(by.now);
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Server-side apply of `config` over `live`: the merged object, or the fields that others own and that it would change.
    pub fn applied(
        &mut self,
        live: &Value,
        config: &Value,
        node: &Node<'_>,
        by: &Writer<'_>,
        force: bool,
    ) -> Result<Value, Vec<(String, String)>> {
        let owner = by.owner("Apply");
        let (live, config) = (bare(live), bare(config));
        let wanted = within(without_identity(fields::of(&config, node)), by.has_status, by.subresource);
        let mut merged = fields::merge(&live, &config, node);
        let (changed, _) = fields::compare(&live, &merged, node);
        let mut conflicts = Vec::new();
        for (other, owned) in self.0.iter_mut().filter(|(other, _)| **other != owner) {
            let common = owned.fields.common(&changed).common(&wanted);
            if common.is_empty() {
                continue;
            }
            conflicts.extend(common.paths().into_iter().map(|path| (other.manager.clone(), path)));
            owned.fields = owned.fields.without(&common);
        }
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        let before = self.0.get(&owner).map(|owned| owned.fields.clone()).unwrap_or_default();
        let mut gone = before.without(&wanted);
        for (other, owned) in &self.0 {
            if *other != owner {
                gone = keep(&gone, &owned.fields);
            }
        }
        if !gone.is_empty() {
            fields::cut(&mut merged, &gone, node);
        }
        if wanted.is_empty() {
            self.0.remove(&owner);
        } else if before != wanted || !self.0.contains_key(&owner) {
            self.0.insert(owner, Owned { fields: wanted, ..by.owned() });
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
        Ok(merged)
    }
}

/// What may be cut: not what another owns, nor an item of which another owns a part.
fn keep(gone: &Fields, others: &Fields) -> Fields {
    let mut left = Fields { owned: gone.owned && others.is_empty(), below: BTreeMap::new() };
    for (element, fields) in &gone.below {
        let rest = others.below.get(element).map_or_else(|| fields.clone(), |others| keep(fields, others));
        if !rest.is_empty() {
            left.below.insert(element.clone(), rest);
        }
    }
    left
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// Who writes, where and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    pub subresource: &'a str,
    pub api_version: &'a str,
    pub has_status: bool,
    pub now: Timestamp,
}

impl Writer<'_> {
    fn owner(&self, operation: &'static str) -> Owner {
        Owner { operation, manager: self.manager.to_owned(), subresource: self.subresource.to_owned() }
    }

    fn owned(&self) -> Owned {
        Owned { fields: Fields::default(), api_version: self.api_version.to_owned(), time: stamp(self.now) }
    }
}

/// A time as Kubernetes writes it: whole seconds.
pub fn stamp(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
