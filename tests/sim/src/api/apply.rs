//! Who owns which field: server-side apply, and what every other write does to the owners.
//!
//! In: an object, its managers, what somebody sends. Out: the object and its managers afterwards, or the conflicts. The rules are those of
//! a real server, which `tests/conformance` compares. Never here: defaults, validation, storing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    fields::Fields,
    kind::Kind,
    schema::Node,
    shape,
    typed::{self, Changes},
};

/// Manager, operation (`Apply` or `Update`) and subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// `Apply` sorts before `Update`, as in a real server.
    operation: &'static str,
    manager: String,
    subresource: String,
    /// Split off by a write to the scale; see [`Managers::scaled`].
    split: bool,
}

impl Owner {
    /// As the message of a conflict names it.
    fn shown(&self, api_version: &str) -> String {
        let mut shown = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            shown += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == "Update" {
            shown += &format!(" using {api_version}");
        }
        shown
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    fields: Fields,
    api_version: String,
    time: String,
}

/// All managers of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers(BTreeMap<Owner, Owned>);

/// Who owns what there was before the first apply, if nobody did.
const BEFORE: &str = "before-first-apply";

/// What identifies an object, and what the server alone writes, belongs to nobody.
const IDENTITY: [&str; 7] =
    ["f:name", "f:namespace", "f:creationTimestamp", "f:uid", "f:generation", "f:managedFields", "f:resourceVersion"];

fn without_identity(mut fields: Fields) -> Fields {
    fields.drop(&["f:apiVersion"]);
    fields.drop(&["f:kind"]);
    if let Some(metadata) = fields.below.get_mut("f:metadata") {
        // The metadata themselves are there from the start.
        metadata.member = false;
        for field in IDENTITY {
            metadata.drop(&[field]);
        }
        if metadata.is_empty() {
            fields.below.remove("f:metadata");
        }
    }
    fields
}

/// Who writes, where and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) subresource: &'a str,
    pub(super) kind: &'static Kind,
    pub(super) api_version: &'a str,
    pub(super) now: Timestamp,
}

impl Writer<'_> {
    fn owner(&self, operation: &'static str) -> Owner {
        Owner { operation, manager: self.manager.to_owned(), subresource: self.subresource.to_owned(), split: false }
    }

    fn owned(&self, fields: Fields) -> Owned {
        Owned { fields, api_version: self.api_version.to_owned(), time: stamp(self.now) }
    }

    /// A write to the object leaves its status alone, and a write to the status most of the rest: nobody comes to own that by it.
    fn reach(&self, mut fields: Fields) -> Fields {
        let reset: &[&[&str]] = match (self.subresource, self.kind.full) {
            ("scale", _) => &[],
            ("status", "apps/deployments" | "apps/replicasets") => &[&["f:spec"], &["f:metadata", "f:labels"]],
            ("status", _) if self.kind.custom => &[&["f:spec"], &["f:metadata"]],
            ("status", _) => &[&["f:spec"]],
            _ if self.kind.status => &[&["f:status"]],
            _ => &[],
        };
        for path in reset {
            fields.drop(path);
        }
        fields
    }

    fn changes(&self, old: &Value, new: &Value) -> Changes {
        let Changes { added, modified, removed } = typed::compare(Some(old), Some(new), Node::root(self.kind));
        Changes { added: self.reach(added), modified: self.reach(modified), removed: self.reach(removed) }
    }
}

impl Managers {
    pub(super) fn read(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten().map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
            let owner = Owner { operation, manager: text("manager"), subresource: text("subresource"), split: false };
            let fields = Fields::from_json(&entry["fieldsV1"]);
            (owner, Owned { fields, api_version: text("apiVersion"), time: text("time") })
        });
        Self(entries.collect())
    }

    pub(super) fn write(&self, object: &mut Value) {
        let mut entries: Vec<(&Owner, &Owned)> = self.0.iter().collect();
        entries.sort_by(|(a, x), (b, y)| (a.operation, &x.time, &a.manager).cmp(&(b.operation, &y.time, &b.manager)));
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(owner, owned)| {
                let mut entry = json!({
                    "manager": owner.manager, "operation": owner.operation, "apiVersion": owned.api_version,
                    "fieldsType": "FieldsV1", "fieldsV1": owned.fields.to_json(),
                });
                if !owned.time.is_empty() {
                    entry["time"] = json!(owned.time);
                }
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

    /// Somebody wrote `new` over `old`: what they changed is theirs now, and what they took away is nobody's.
    pub(super) fn updated(&mut self, old: &Value, new: &Value, by: &Writer<'_>) {
        // Of an object that exists and of which nobody owns anything, owners are not noted until somebody applies.
        let untracked = self.0.is_empty() && old["metadata"].get("uid").is_some();
        let changes = by.changes(&bare(old), &bare(new));
        if untracked || changes.is_empty() {
            return;
        }
        let said = changes.said();
        for owned in self.0.values_mut() {
            owned.fields = owned.fields.without(&said).without(&changes.removed);
        }
        let taken = without_identity(said);
        if !taken.is_empty() {
            let mine = self.0.entry(by.owner("Update")).or_insert_with(|| by.owned(Fields::default()));
            mine.fields.add(&taken);
            mine.time = stamp(by.now);
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Server-side apply of `config` over `live`: the merged object, or the fields that others own and that it would change.
    pub(super) fn applied(
        &mut self,
        live: &Value,
        config: &Value,
        by: &Writer<'_>,
        force: bool,
    ) -> Result<Value, Vec<(String, String)>> {
        let owner = by.owner("Apply");
        let node = Node::root(by.kind);
        let (live, config) = (bare(live), bare(config));
        if self.0.is_empty() && live["metadata"].get("uid").is_some() {
            let nobody = Writer { manager: BEFORE, ..*by };
            self.updated(&shape::empty(by.kind), &live, &nobody);
        }
        let merged = typed::merge(&live, &config, node);
        let last = self.0.get(&owner).map(|owned| owned.fields.clone());
        let wanted = by.reach(typed::fields_of(&config, node));
        self.0.insert(owner.clone(), by.owned(wanted.clone()));
        let new = match &last {
            Some(last) => self.pruned(merged, last, node),
            None => merged,
        };
        let changes = by.changes(&live, &new);
        let said = changes.said();
        let mut conflicts = Vec::new();
        for (other, owned) in self.0.iter_mut().filter(|(other, _)| **other != owner) {
            let common = owned.fields.common(&said);
            conflicts.extend(
                common.paths().into_iter().map(|path| {
                    (other.shown(if by.subresource == "scale" { "autoscaling/v1" } else { &owned.api_version }), path)
                }),
            );
            owned.fields = owned.fields.without(&common).without(&changes.removed);
        }
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        if let Some(mine) = self.0.get_mut(&owner) {
            mine.fields = without_identity(std::mem::take(&mut mine.fields));
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
        Ok(new)
    }

    /// Without what this manager applied the last time and neither it nor anybody else wants any more.
    fn pruned(&self, merged: Value, last: &Fields, node: Node) -> Value {
        let nothing = || json!({});
        let last = last.with_structs(node);
        let mut all = Fields::default();
        for owned in self.0.values() {
            all.add(&owned.fields);
        }
        let there = typed::fields_of(&merged, node).with_structs(node);
        let pruned = typed::remove(&merged, &last, node).unwrap_or_else(nothing);
        // What others own, or this one still wants, comes back.
        let kept = typed::fields_of(&pruned, node).with_structs(node).with(&all.with_structs(node));
        let pruned = typed::remove(&merged, &there.without(&kept), node).unwrap_or_else(nothing);
        // So does what nobody had applied.
        let left = typed::fields_of(&pruned, node).with_structs(node);
        typed::remove(&merged, &there.without(&left).common(&last), node).unwrap_or_else(nothing)
    }

    /// A write to the scale knows managers of updates under another version of the API, and takes them for others: those that still own the
    /// replicas come back as a second entry, without a time, which the next write forgets.
    pub(super) fn scaled(&mut self) {
        let owners: Vec<Owner> = self.0.keys().filter(|owner| owner.operation == "Update").cloned().collect();
        for owner in owners {
            let Some(owned) = self.0.get_mut(&owner) else { continue };
            let replicas = owned.fields.common(&replicas());
            if replicas.is_empty() {
                continue;
            }
            owned.fields = owned.fields.without(&replicas);
            let part = Owned { fields: replicas, api_version: owned.api_version.clone(), time: String::new() };
            if owned.fields.is_empty() {
                self.0.insert(owner, part);
            } else {
                self.0.insert(Owner { split: true, ..owner }, part);
            }
        }
    }

    /// A write to the scale of which nobody owns anything is not noted.
    pub(super) fn knows_scale(&self) -> bool {
        self.0.values().any(|owned| !owned.fields.common(&replicas()).is_empty())
    }

    /// Whoever is the first to apply a number of replicas that nobody owns, meets somebody who has no name.
    pub(super) fn before_first_scale(&mut self, live: &Value, by: &Writer<'_>) {
        if !self.knows_scale() && live["spec"]["replicas"] != 0 {
            let nobody = Writer { manager: BEFORE, ..*by };
            self.0.insert(nobody.owner("Update"), Owned { time: String::new(), ..by.owned(replicas()) });
        }
    }

    /// The same owners, whenever they wrote.
    pub(super) fn same_but_time(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(owner, owned)| {
                other.0.get(owner).is_some_and(|known| known.fields == owned.fields && known.api_version == owned.api_version)
            })
    }
}

fn replicas() -> Fields {
    Fields::from_json(&json!({"f:spec": {"f:replicas": {}}}))
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// A time as Kubernetes writes it: whole seconds.
pub(super) fn stamp(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
