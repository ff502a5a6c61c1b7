//! Objects, their versions, and the log of every commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::Kind;

/// Shared between the store, the log and those who read: an object is never changed, only replaced.
pub type Object = Arc<Value>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

/// One commit.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
    pub at: Timestamp,
    pub user: String,
    /// None: it was created by this commit.
    pub before: Option<Object>,
    /// What it is now; the last state, at the version of the deletion, when it is deleted.
    pub object: Object,
    pub deleted: bool,
}

impl Change {
    /// None: it is gone.
    pub fn after(&self) -> Option<&Object> {
        Some(&self.object).filter(|_| !self.deleted)
    }
}

#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
    log: Vec<Change>,
    version: u64,
    compacted: u64,
    uids: u64,
    names: u64,
    /// uids of what was stored without the status that its schema gives to a reader.
    bare: BTreeSet<String>,
}

impl Store {
    /// It was stored without the status that its schema gives to a reader.
    pub fn is_bare(&mut self, uid: String) {
        self.bare.insert(uid);
    }

    /// Whether it was, until now.
    pub fn clothes(&mut self, uid: &str, dry_run: bool) -> bool {
        if dry_run { self.bare.contains(uid) } else { self.bare.remove(uid) }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// What is older cannot be watched any more.
    pub fn compact(&mut self, version: u64) {
        self.compacted = self.compacted.max(version.min(self.version));
    }

    pub fn log(&self) -> &[Change] {
        &self.log
    }

    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    pub fn find(&self, kind: &'static str, namespace: &str, name: &str) -> Option<&Object> {
        self.objects.get(&Key { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// All objects of a kind, by namespace and name.
    pub fn all<'a>(&'a self, kind: &'static str) -> impl Iterator<Item = &'a Object> {
        let first = Key { kind, namespace: String::new(), name: String::new() };
        self.objects.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// As it was at that version.
    pub fn at(&self, kind: &'static Kind, namespace: Option<&str>, version: u64) -> Vec<Object> {
        let here = |of: &str| namespace.is_none_or(|namespace| namespace == of);
        if version >= self.version {
            let all = self.objects.iter().filter(|(key, _)| key.kind == kind.full && here(&key.namespace));
            return all.map(|(_, object)| object.clone()).collect();
        }
        let mut found: BTreeMap<(String, String), Object> = BTreeMap::new();
        for change in self.log.iter().take_while(|change| change.version <= version) {
            if change.kind.full == kind.full && here(&change.namespace) {
                let name = (change.namespace.clone(), change.name.clone());
                match change.after() {
                    Some(object) => found.insert(name, object.clone()),
                    None => found.remove(&name),
                };
            }
        }
        found.into_values().collect()
    }

    pub fn uids(&self) -> BTreeSet<&str> {
        self.objects.values().filter_map(|object| object["metadata"]["uid"].as_str()).collect()
    }

    pub(super) fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    pub(super) fn new_suffix(&mut self) -> String {
        self.names += 1;
        format!("{:05x}", self.names)
    }

    /// Puts the object there, with a new version.
    pub(super) fn put(&mut self, kind: &'static Kind, mut object: Value, user: &str, at: Timestamp) -> Object {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = key_of(kind, &object);
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), object.clone());
        self.commit(kind, key, user, at, before, object.clone(), false);
        object
    }

    pub(super) fn remove(&mut self, kind: &'static Kind, key: Key, last: &Value, user: &str, at: Timestamp) -> Object {
        self.version += 1;
        let mut last = last.clone();
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        let before = self.objects.remove(&key);
        self.commit(kind, key, user, at, before, last.clone(), true);
        last
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one commit")]
    fn commit(
        &mut self,
        kind: &'static Kind,
        key: Key,
        user: &str,
        at: Timestamp,
        before: Option<Object>,
        object: Object,
        deleted: bool,
    ) {
        self.log.push(Change {
            version: self.version,
            kind,
            namespace: key.namespace,
            name: key.name,
            at,
            user: user.to_owned(),
            before,
            object,
            deleted,
        });
    }
}

fn key_of(kind: &Kind, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Key { kind: kind.full, namespace: text("namespace"), name: text("name") }
}
