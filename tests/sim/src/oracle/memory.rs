//! S6: what was rejected stays rejected, until a person or another input says otherwise; and which versions are good.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, begins, text};
use crate::api::{Api, Change};

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Revisions that were rejected, by Release; a Retry takes one out.
    rejected: BTreeMap<(String, String), BTreeSet<String>>,
    /// When a rejection was written last, and by which process.
    told: BTreeMap<(String, String), (SignedDuration, String)>,
    /// Track and revision of what is or was settled, by Release.
    good: BTreeMap<(String, String), BTreeSet<(String, String)>>,
    /// How often a person has asked to try again what was rejected, and it was not done yet.
    retried: BTreeMap<(String, String), usize>,
}

impl Memory {
    pub(super) fn hear(&mut self, change: &Change) {
        let outcome = |object: &Value| text(object, "/status/outcome") == "Refused";
        let refused = outcome(&change.object) && !change.before.as_ref().is_some_and(|before| outcome(before));
        if refused && lifts(&change.object) {
            let key = (change.namespace.clone(), text(&change.object, "/spec/release").to_owned());
            self.retried.entry(key).and_modify(|asked| *asked = asked.saturating_sub(1));
        }
        if change.before.is_none() && lifts(&change.object) {
            *self.retried.entry((change.namespace.clone(), text(&change.object, "/spec/release").to_owned())).or_default() += 1;
        }
    }

    pub(super) fn is_good(&self, namespace: &str, release: &str, track: &str, revision: &str) -> bool {
        let good = self.good.get(&(namespace.to_owned(), release.to_owned()));
        good.is_some_and(|good| good.contains(&(track.to_owned(), revision.to_owned())))
    }

    /// Rejected, and nobody has asked for it again. What has the traffic although it was rejected is another matter.
    pub(super) fn is_rejected(&self, namespace: &str, release: &str, revision: &str) -> bool {
        let key = (namespace.to_owned(), release.to_owned());
        self.rejected.get(&key).is_some_and(|rejected| rejected.contains(revision))
    }

    /// It was another process that rejected something last, since then: this one may not have heard of it.
    pub(super) fn told_by_another(&self, namespace: &str, release: &str, process: &str, since: SignedDuration) -> bool {
        let told = self.told.get(&(namespace.to_owned(), release.to_owned()));
        told.is_some_and(|(at, by)| by != process && *at >= since)
    }

    #[allow(clippy::unused_self, reason = "beside its sister")]
    pub(super) fn lists_rejected(&self, release: &Value, revision: &str) -> bool {
        rejected(release).any(|it| it == revision)
    }
}

/// Operations by which a person may take a rejection back.
fn lifts(operation: &Value) -> bool {
    ["Retry", "Rollback", "Resume"].contains(&text(operation, "/spec/type"))
}

fn rejected(release: &Value) -> impl Iterator<Item = &str> {
    release["status"]["rejected"].as_array().into_iter().flatten().filter_map(|it| it["revision"].as_str())
}

pub(super) fn judge(oracle: &mut Oracle, change: &Change, _api: &Api, at: SignedDuration, by_us: bool) {
    let key = (change.namespace.clone(), change.name.clone());
    let Some(after) = change.after() else {
        oracle.memory.rejected.remove(&key);
        oracle.memory.good.remove(&key);
        return;
    };
    let empty = Value::Null;
    let before = change.before.as_ref().map_or(&empty, |before| &**before);
    if !by_us {
        // A status that somebody wiped is nobody's memory.
        if after.get("status").is_none() || rejected(before).count() > rejected(after).count() {
            oracle.memory.rejected.insert(key, rejected(after).map(str::to_owned).collect());
        }
        return;
    }
    let known: BTreeSet<String> = rejected(before).map(str::to_owned).collect();
    let now: BTreeSet<String> = rejected(after).map(str::to_owned).collect();
    if now.iter().any(|revision| !known.contains(revision)) {
        oracle.memory.told.insert(key.clone(), (at, change.user.clone()));
    }
    // Each takes out one.
    let taken = known.iter().filter(|revision| !now.contains(*revision)).count().min(1);
    let asked = oracle.memory.retried.get(&key).copied().unwrap_or(0);
    let retried = asked > 0;
    oracle.memory.retried.insert(key.clone(), asked.saturating_sub(taken));
    let is = &after["status"]["candidate"];
    if begins(before, after) && known.contains(text(is, "/revision")) && !retried {
        oracle.violated("S6", at, &format!("{} was rejected and is tried again", text(is, "/version")));
    }
    if !retried && known.iter().any(|revision| !now.contains(revision)) && known.len() < 5 {
        oracle.violated("S6", at, "a rejection was forgotten");
    }
    // What has the traffic is recorded as it is, also when it was rejected there.
    let active = text(after, "/status/active/revision").to_owned();
    oracle.memory.rejected.insert(key.clone(), now.iter().filter(|revision| **revision != active).cloned().collect());
    let good = oracle.memory.good.entry(key).or_default();
    for version in [&after["status"]["active"], &after["status"]["previous"]] {
        if !version.is_null() {
            good.insert((text(version, "/track").to_owned(), text(version, "/revision").to_owned()));
        }
    }
}
