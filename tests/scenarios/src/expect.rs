//! What a story expects to see, and the one function that says what of it is not so.
//!
//! In: an expectation and a [`Sight`]. Out: sentences. Pure, so that the simulation and the beds mean the same.

use std::collections::BTreeMap;

use bascule_crds::{OperationOutcome, RejectReason, Step, names};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Sight, scenario::is_default};

/// Everything that is named must hold. `none` stands for a version or a track that is not there.
///
/// What conditions say counts only when the status is about the spec as it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// This version is active and ready, there is no candidate, and the other track is empty.
    #[serde(skip_serializing_if = "is_default")]
    pub settled: Option<String>,
    /// It goes no further by itself: ready, or stalled with a reason, and the Services are where the active version is.
    #[serde(skip_serializing_if = "is_default")]
    pub rests: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub active: Option<String>,
    /// Of the active version.
    #[serde(skip_serializing_if = "is_default")]
    pub track: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub previous: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub candidate: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub step: Option<Step>,
    /// Contained in the candidate's message.
    #[serde(skip_serializing_if = "is_default")]
    pub candidate_says: Option<String>,
    /// The Ready condition.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub reason: Option<String>,
    /// Contained in the Ready condition's message.
    #[serde(skip_serializing_if = "is_default")]
    pub message: Option<String>,
    /// Other conditions: status, or `status reason`.
    #[serde(skip_serializing_if = "is_default")]
    pub conditions: BTreeMap<String, String>,
    /// These versions, for these reasons, and no others.
    #[serde(skip_serializing_if = "is_default")]
    pub rejected: Option<BTreeMap<String, RejectReason>>,
    /// Contained in the message of the rejection of a version.
    #[serde(skip_serializing_if = "is_default")]
    pub rejected_says: BTreeMap<String, String>,
    /// The track in the selector of a Service; `all` where it has none.
    #[serde(skip_serializing_if = "is_default")]
    pub selected: BTreeMap<String, String>,
    /// The track that the preview of a Service selects; `none` where there is no preview.
    #[serde(skip_serializing_if = "is_default")]
    pub preview: BTreeMap<String, String>,
    /// Replicas that a Deployment is told to have; one that is not there has 0.
    #[serde(skip_serializing_if = "is_default")]
    pub replicas: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "is_default")]
    pub available: BTreeMap<String, i64>,
    /// The end of the image of a Deployment, such as `web:v1`.
    #[serde(skip_serializing_if = "is_default")]
    pub image: BTreeMap<String, String>,
    /// What an autoscaler reads from the Release.
    #[serde(skip_serializing_if = "is_default")]
    pub status_replicas: Option<i64>,
    /// All Operations have an answer.
    #[serde(skip_serializing_if = "is_default")]
    pub answered: Option<bool>,
    /// Of the last Operation.
    #[serde(skip_serializing_if = "is_default")]
    pub outcome: Option<OperationOutcome>,
    /// Contained in the answer to the last Operation.
    #[serde(skip_serializing_if = "is_default")]
    pub answer: Option<String>,
    /// So many Operations are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub operations: Option<usize>,
    /// Each is contained in `Reason: note` of an Event.
    #[serde(skip_serializing_if = "is_default")]
    pub notes: Vec<String>,
    /// `Kind/name`.
    #[serde(skip_serializing_if = "is_default")]
    pub exists: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub gone: Vec<String>,
    /// Not written since the last mark (a Deployment: its spec not).
    #[serde(skip_serializing_if = "is_default")]
    pub unchanged: Vec<String>,
    /// `Kind/name/pointer` → value; null where there must be none.
    #[serde(skip_serializing_if = "is_default")]
    pub fields: BTreeMap<String, Value>,
}

const NONE: &str = "none";

impl Expect {
    /// Each expectation that is not met, as a sentence.
    pub fn unmet(&self, sight: &Sight) -> Vec<String> {
        let mut unmet = Unmet(Vec::new());
        self.of_the_whole(sight, &mut unmet);
        self.of_versions(sight, &mut unmet);
        self.of_conditions(sight, &mut unmet);
        self.of_rejections(sight, &mut unmet);
        self.of_services(sight, &mut unmet);
        self.of_deployments(sight, &mut unmet);
        self.of_operations(sight, &mut unmet);
        self.of_objects(sight, &mut unmet);
        unmet.0
    }

    fn of_the_whole(&self, sight: &Sight, unmet: &mut Unmet) {
        if let Some(version) = &self.settled {
            let settled =
                Self { active: Some(version.clone()), candidate: Some(NONE.into()), ready: Some(true), ..Self::default() };
            unmet.0.extend(settled.unmet(sight));
            if let Some(active) = sight.status_text("/active/track") {
                let idle = if active == "blue" { "green" } else { "blue" };
                for workload in sight.status("/active/workloads").and_then(Value::as_array).into_iter().flatten() {
                    let deployment = format!("{}-{idle}", workload["name"].as_str().unwrap_or_default());
                    unmet.number(&format!("replicas of {deployment}"), 0, sight.replicas(&deployment));
                }
            }
        }
        if self.rests == Some(true) && sight.release().is_some() {
            unmet.that(sight.is_current(), || "status is about an older spec".into());
            let is = |kind| sight.condition(kind, "status") == "True";
            unmet.that(is("Ready") || is("Stalled"), || "it is neither ready nor stalled".into());
            unmet.that(!is("Reconciling"), || format!("it is on its way: {}", sight.condition("Reconciling", "message")));
            unmet.that(sight.status("/candidate").is_none(), || "there is a candidate".into());
            if let Some(active) = sight.status_text("/active/track") {
                let named = sight.release().and_then(|release| release.pointer("/spec/services")).and_then(Value::as_array);
                for service in named.into_iter().flatten().filter_map(|service| service["name"].as_str()) {
                    if sight.object(&format!("Service/{service}")).is_some() {
                        unmet.text(&format!("track of Service {service}"), active, sight.selected(service).unwrap_or("all"));
                    }
                }
            }
        }
    }

    fn of_versions(&self, sight: &Sight, unmet: &mut Unmet) {
        let fields = [
            ("active version", "/active/version", &self.active),
            ("active track", "/active/track", &self.track),
            ("previous version", "/previous/version", &self.previous),
            ("candidate", "/candidate/version", &self.candidate),
        ];
        for (what, pointer, expected) in fields {
            if let Some(expected) = expected {
                unmet.text(what, expected, sight.status_text(pointer).unwrap_or(NONE));
            }
        }
        if let Some(step) = self.step {
            unmet.text("step of the candidate", &format!("{step:?}"), sight.status_text("/candidate/step").unwrap_or(NONE));
        }
        if let Some(part) = &self.candidate_says {
            unmet.contains("message of the candidate", part, sight.status_text("/candidate/message").unwrap_or_default());
        }
        if let Some(expected) = self.status_replicas {
            let seen = sight.status("/replicas").and_then(Value::as_i64).unwrap_or(0);
            unmet.number("replicas in status", expected, seen);
        }
    }

    fn of_conditions(&self, sight: &Sight, unmet: &mut Unmet) {
        let asked = self.ready.is_some() || self.reason.is_some() || self.message.is_some() || !self.conditions.is_empty();
        if asked {
            unmet.that(sight.is_current(), || "status is about an older spec".into());
        }
        if let Some(ready) = self.ready {
            unmet.text("Ready", if ready { "True" } else { "False" }, sight.condition("Ready", "status"));
        }
        if let Some(reason) = &self.reason {
            unmet.text("reason of Ready", reason, sight.condition("Ready", "reason"));
        }
        if let Some(part) = &self.message {
            unmet.contains("message of Ready", part, sight.condition("Ready", "message"));
        }
        for (kind, expected) in &self.conditions {
            let (status, reason) = (sight.condition(kind, "status"), sight.condition(kind, "reason"));
            let seen = if expected.contains(' ') { format!("{status} {reason}") } else { status.to_owned() };
            unmet.text(kind, expected, &seen);
        }
    }

    fn of_rejections(&self, sight: &Sight, unmet: &mut Unmet) {
        let seen = sight.rejected();
        if let Some(expected) = &self.rejected {
            let list = |all: Vec<String>| if all.is_empty() { NONE.to_owned() } else { all.join(", ") };
            let wanted = list(expected.iter().map(|(version, reason)| format!("{version} {reason}")).collect());
            let found = list(seen.iter().map(|(version, (reason, _))| format!("{version} {reason}")).collect());
            unmet.text("rejected", &wanted, &found);
        }
        for (version, part) in &self.rejected_says {
            let message = seen.get(version.as_str()).map_or(NONE, |(_, message)| message);
            unmet.contains(&format!("rejection of {version}"), part, message);
        }
    }

    fn of_services(&self, sight: &Sight, unmet: &mut Unmet) {
        for (service, expected) in &self.selected {
            unmet.text(&format!("track of Service {service}"), expected, sight.selected(service).unwrap_or("all"));
        }
        for (service, expected) in &self.preview {
            let seen = sight.selected(&names::preview(service)).unwrap_or(NONE);
            unmet.text(&format!("track of the preview of {service}"), expected, seen);
        }
    }

    fn of_deployments(&self, sight: &Sight, unmet: &mut Unmet) {
        for (deployment, expected) in &self.replicas {
            unmet.number(&format!("replicas of {deployment}"), *expected, sight.replicas(deployment));
        }
        for (deployment, expected) in &self.available {
            unmet.number(&format!("available pods of {deployment}"), *expected, sight.available(deployment));
        }
        for (deployment, end) in &self.image {
            let seen = sight.image(deployment).unwrap_or(NONE);
            unmet.that(seen.ends_with(end.as_str()), || format!("image of {deployment}: expected …{end}, seen {seen}"));
        }
    }

    fn of_operations(&self, sight: &Sight, unmet: &mut Unmet) {
        let all = sight.operations();
        let answer = |operation: &Value, field: &str| operation["status"][field].as_str().unwrap_or(NONE).to_owned();
        if let Some(expected) = self.answered {
            let open = all.iter().filter(|operation| answer(operation, "outcome") == NONE).count();
            unmet.that((open == 0) == expected, || format!("{open} of {} Operations have no answer", all.len()));
        }
        if let Some(expected) = self.operations {
            unmet.that(all.len() == expected, || format!("Operations kept: expected {expected}, seen {}", all.len()));
        }
        let last = |field| all.last().map_or_else(|| NONE.to_owned(), |operation| answer(operation, field));
        if let Some(outcome) = self.outcome {
            unmet.text("outcome of the last Operation", &format!("{outcome:?}"), &last("outcome"));
        }
        if let Some(part) = &self.answer {
            unmet.contains("answer to the last Operation", part, &last("message"));
        }
    }

    fn of_objects(&self, sight: &Sight, unmet: &mut Unmet) {
        let notes = if self.notes.is_empty() { Vec::new() } else { sight.notes() };
        for part in &self.notes {
            unmet
                .that(notes.iter().any(|note| note.contains(part.as_str())), || format!("no Event says {part:?}, but {notes:?}"));
        }
        for name in &self.exists {
            unmet.that(sight.object(name).is_some(), || format!("there is no {name}"));
        }
        for name in &self.gone {
            unmet.that(sight.object(name).is_none(), || format!("{name} is still there"));
        }
        if !self.unchanged.is_empty() {
            let now = sight.versions();
            for name in &self.unchanged {
                let (before, after) = (sight.marked(name), now.get(name).map(String::as_str));
                unmet.that(before.is_some() && before == after, || {
                    format!("{name} was to stay at {}, it is {}", before.unwrap_or(NONE), after.unwrap_or("gone"))
                });
            }
        }
        for (path, expected) in &self.fields {
            let mut parts = path.splitn(3, '/');
            let object = format!("{}/{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let pointer = format!("/{}", parts.next().unwrap_or_default());
            let seen = sight.object(&object).and_then(|object| object.pointer(&pointer)).unwrap_or(&Value::Null);
            unmet.that(seen == expected, || format!("{path}: expected {expected}, seen {seen}"));
        }
    }
}

struct Unmet(Vec<String>);

impl Unmet {
    fn that(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.0.push(sentence());
        }
    }

    fn text(&mut self, what: &str, expected: &str, seen: &str) {
        self.that(expected == seen, || {
            format!("{what}: expected {expected}, seen {}", if seen.is_empty() { "nothing" } else { seen })
        });
    }

    fn number(&mut self, what: &str, expected: i64, seen: i64) {
        self.that(expected == seen, || format!("{what}: expected {expected}, seen {seen}"));
    }

    fn contains(&mut self, what: &str, part: &str, seen: &str) {
        self.that(seen.contains(part), || format!("{what}: expected …{part}…, seen {seen:?}"));
    }
}
