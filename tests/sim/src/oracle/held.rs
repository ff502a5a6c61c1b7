//! While a person holds a Release, or it is suspended, nothing new begins: no candidate, and no hook of one.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, begins, label};
use crate::api::Change;

/// Since when each Release is held.
#[derive(Debug, Default)]
pub(super) struct Held {
    since: BTreeMap<(String, String), SignedDuration>,
}

pub(super) fn judge(oracle: &mut Oracle, change: &Change, at: SignedDuration, by_us: bool) {
    match change.kind.full {
        "bascule.dev/releases" => {
            if by_us {
                judge_begin(oracle, change, at);
            }
            let key = (change.namespace.clone(), change.name.clone());
            if change.after().is_some_and(|after| is_held(after)) {
                oracle.held.since.entry(key).or_insert(at);
            } else {
                oracle.held.since.remove(&key);
            }
        }
        "batch/jobs" if by_us && change.before.is_none() && label(&change.object, "bascule.dev/job") == "hook" => {
            // A create that was sent before it was held, and arrives late, is stopped by nothing.
            let late = oracle.is_late();
            let release = label(&change.object, "bascule.dev/release");
            if !late && oracle.was_held(&change.namespace, release, at) {
                oracle.violated("held", at, &format!("the hook {} has begun", change.name));
            }
        }
        _ => {}
    }
}

/// Who returns to an earlier version means it, whatever is held.
fn is_held(release: &Value) -> bool {
    let hold = &release["status"]["hold"];
    hold["revision"].is_null() && (!hold.is_null() || release["spec"]["suspend"] == true)
}

fn judge_begin(oracle: &mut Oracle, change: &Change, at: SignedDuration) {
    let (Some(before), Some(after)) = (&change.before, change.after()) else { return };
    let candidate = &after["status"]["candidate"];
    // One that has the traffic and is watched again starts nothing.
    if begins(before, after)
        && candidate["step"] != "Baking"
        && is_held(after)
        && oracle.was_held(&change.namespace, &change.name, at)
    {
        oracle.violated("held", at, &format!("{} has begun", candidate["version"]));
    }
}

impl Oracle {
    /// For so long that it must be known.
    fn was_held(&self, namespace: &str, release: &str, at: SignedDuration) -> bool {
        let since = self.held.since.get(&(namespace.to_owned(), release.to_owned()));
        since.is_some_and(|since| at > (*since).max(self.hindered_until) + self.slack)
    }
}
