//! What is left of an answer when everything is taken away in which two servers may differ: texts of this run become their symbols
//! again, uids and versions become the order in which they were met, times become the fact that there is one.
//!
//! In: the record of one run. Out: for each step a value that can be compared. Never here: a field that is left out because the model
//! lacks it; those stand in `masks.rs`, each with its reason.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    masks,
    sequence::{Sequence, Words},
    side::{Answer, Record},
};

/// Stands for a moment; which one it is depends on when the test runs.
const SOME_TIME: &str = "(a time)";
/// What the generator of sequences lets names be generated from; it never does so twice for a kind.
const GENERATED: &str = "$run-made-";

pub(crate) fn record(sequence: &Sequence, record: &Record) -> Vec<Value> {
    let mut normal = Normal::new(&record.words);
    // Where the garbage collector writes too, the order of its writes to several objects is its own.
    normal.ordered = record.answers.iter().all(|answer| answer.body["kind"] != "Settled");
    let answers = sequence.steps.iter().zip(&record.answers);
    answers
        .map(|(step, answer)| if masks::step(&step.what) { json!({"code": answer.code}) } else { normal.answer(answer) })
        .collect()
}

/// A settled state alone, without what came before it: uids and versions are left out.
pub(crate) fn state(words: &Words, state: &Value) -> Value {
    let mut normal = Normal::new(words);
    normal.blind = true;
    normal.list(state)
}

#[derive(Debug)]
struct Normal<'a> {
    words: &'a Words,
    uids: BTreeMap<String, String>,
    versions: BTreeMap<u64, usize>,
    blind: bool,
    ordered: bool,
}

impl<'a> Normal<'a> {
    fn new(words: &'a Words) -> Self {
        Self { words, uids: BTreeMap::new(), versions: BTreeMap::new(), blind: false, ordered: true }
    }

    fn answer(&mut self, answer: &Answer) -> Value {
        let body = match answer.body["kind"].as_str() {
            Some("Status") => self.status(&answer.body),
            Some("Settled") => self.list(&answer.body),
            Some("Watched") => self.events(&answer.body),
            Some("MarkRefused") => self.status(&answer.body["answer"]),
            Some(kind) if kind.ends_with("List") => self.list(&answer.body),
            Some(_) => self.object(&answer.body),
            None => answer.body.clone(),
        };
        json!({"code": answer.code, "body": body})
    }

    /// Messages are for people and change between releases of Kubernetes; code, reason and whom a conflict is with are not.
    fn status(&mut self, status: &Value) -> Value {
        let mut out = json!({"kind": "Status"});
        for field in ["status", "reason", "code"] {
            if let Some(value) = status.get(field) {
                out[field] = value.clone();
            }
        }
        for field in ["name", "group", "kind"] {
            if let Some(value) = status["details"].get(field) {
                out["details"][field] = self.texts(value);
            }
        }
        let mut causes: Vec<_> = status["details"]["causes"].as_array().into_iter().flatten().filter_map(masks::cause).collect();
        causes.sort_unstable();
        causes.dedup();
        if !causes.is_empty() {
            out["details"]["causes"] = json!(causes);
        }
        out
    }

    /// The order is the server's promise; what a list says of itself is checked against its items.
    fn list(&mut self, list: &Value) -> Value {
        // The items of built-in kinds do not say what they are, those of others do.
        let of = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List"));
        let mut items = Vec::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let mut item = item.clone();
            if let Some(kind) = of {
                item["kind"] = json!(kind);
            }
            let mut item = self.object(&item);
            if let Some(fields) = item.as_object_mut() {
                fields.remove("apiVersion");
            }
            items.push(item);
        }
        let version: u64 = number(&list["metadata"]["resourceVersion"]);
        let newest =
            list["items"].as_array().into_iter().flatten().map(|item| number(&item["metadata"]["resourceVersion"])).max();
        json!({
            "kind": list["kind"],
            "items": items,
            "as new as its items": list["kind"] == "Settled" || version >= newest.unwrap_or_default(),
        })
    }

    fn events(&mut self, watched: &Value) -> Value {
        let mut last = 0;
        let mut ordered = true;
        let events: Vec<Value> = watched["events"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| {
                let version = number(&event["object"]["metadata"]["resourceVersion"]);
                let object = if event["object"]["kind"] == "Status" {
                    self.status(&event["object"])
                } else {
                    ordered &= version > last;
                    last = version;
                    self.object(&masks::watched(&event["object"]))
                };
                json!({"type": event["type"], "object": object})
            })
            .collect();
        json!({"events": events, "in order": ordered})
    }

    fn object(&mut self, object: &Value) -> Value {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        // Before the texts: a uid may also be a key of the managed fields.
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.uid(uid);
        }
        let mut out = self.texts(object);
        if let Some(meta) = out.get_mut("metadata").and_then(Value::as_object_mut) {
            self.metadata(meta);
        }
        masks::object(&kind, &mut out);
        out
    }

    fn metadata(&mut self, meta: &mut Map<String, Value>) {
        if let Some(version) = meta.get_mut("resourceVersion") {
            *version = self.version(number(version));
        }
        for field in ["creationTimestamp", "deletionTimestamp"] {
            if let Some(time) = meta.get_mut(field).filter(|time| time.is_string()) {
                *time = json!(SOME_TIME);
            }
        }
        if let Some(entries) = meta.get_mut("managedFields") {
            *entries = by_manager(entries);
        }
    }

    fn uid(&mut self, uid: &str) {
        let symbol = if self.blind { "(a uid)".to_owned() } else { format!("(uid {})", self.uids.len() + 1) };
        self.uids.entry(uid.to_owned()).or_insert(symbol);
    }

    /// Which in the order of being met; and when it was not the newest so far, before which it comes.
    fn version(&mut self, version: u64) -> Value {
        if self.blind {
            return json!("(a version)");
        }
        if let Some(count) = self.versions.get(&version) {
            return json!(format!("version {count}"));
        }
        let later = self.versions.range(version..).next().filter(|_| self.ordered);
        let later = later.map(|(_, count)| format!(" before {count}")).unwrap_or_default();
        let count = self.versions.len() + 1;
        self.versions.insert(version, count);
        json!(format!("version {count}{later}"))
    }

    /// Everything that differs between two runs of the same sequence on the same server, wherever it is said.
    fn texts(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.texts(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| (self.text(key), self.texts(value))).collect(),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (uid, symbol) in &self.uids {
            if text.contains(uid.as_str()) {
                text = text.replace(uid.as_str(), symbol);
            }
        }
        text = text.replace(&self.words.run, "$run").replace(&self.words.namespace, "$ns");
        // Generated names have a random end.
        if let Some(end) = text.find(GENERATED).map(|start| start + GENERATED.len()) {
            let random = text[end..].chars().take_while(char::is_ascii_alphanumeric).count();
            text.replace_range(end..end + random, "(random)");
        }
        if text == self.words.user { "$user".to_owned() } else { text }
    }
}

/// Without times; in no order, which on a real server comes from a clock that ticks in seconds.
fn by_manager(entries: &Value) -> Value {
    let mut found = Map::new();
    for entry in entries.as_array().into_iter().flatten() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let mut key = [text("manager"), text("operation"), text("subresource"), text("apiVersion")].join(" ");
        while found.contains_key(&key) {
            key.push_str(" again");
        }
        found.insert(key, entry["fieldsV1"].clone());
    }
    Value::Object(found)
}

fn number(version: &Value) -> u64 {
    version.as_str().and_then(|version| version.parse().ok()).unwrap_or_default()
}
