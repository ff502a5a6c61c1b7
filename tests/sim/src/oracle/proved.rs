//! S1 and S7: nothing gets traffic before its gates, and nothing runs before its hooks; and a hook runs once.
//!
//! Judged by what the server had stored at that moment: the status of the Release, and the Jobs that were ever made.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, label, record, text};
use crate::api::{Api, Change};

/// Jobs of hooks that were ever made, by namespace and name: the uid, and whether it was deleted by another hand before the status knew it.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    made: BTreeMap<(String, String), Made>,
    /// When a spec asked for other gates last.
    gated: BTreeMap<(String, String), SignedDuration>,
}

#[derive(Clone, Debug)]
struct Made {
    uid: String,
    known: bool,
    gone: bool,
}

pub(super) fn judge(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration, by_us: bool) {
    match change.kind.full {
        "batch/jobs" => judge_job(oracle, change, api, at, by_us),
        "bascule.dev/releases" => remember(oracle, change, at),
        "services" if by_us => judge_route(oracle, change, api, at),
        "apps/deployments" if by_us => judge_start(oracle, change, api, at),
        _ => {}
    }
}

fn judge_job(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration, by_us: bool) {
    if label(&change.object, "bascule.dev/job") != "hook" {
        if by_us && change.before.is_none() && !oracle.is_late() {
            judge_addresses(oracle, change, api, at);
        }
        return;
    }
    let key = (change.namespace.clone(), change.name.clone());
    if change.deleted {
        if let Some(made) = oracle.hooks.made.get_mut(&key) {
            made.gone = true;
        }
        return;
    }
    if change.before.is_some() || !by_us {
        return;
    }
    let uid = text(&change.object, "/metadata/uid").to_owned();
    // One that another hand took away before anybody could know of it may be made again.
    let again = oracle.hooks.made.get(&key).is_some_and(|made| made.known || !made.gone);
    if again {
        oracle.violated("S7", at, &format!("the hook {} was run again", change.name));
    }
    let mut running = api.store.all("batch/jobs").filter(|job| {
        let over = job["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty());
        text(job, "/metadata/namespace") == change.namespace
            && label(job, "bascule.dev/job") == "hook"
            && label(job, "bascule.dev/release") == label(&change.object, "bascule.dev/release")
            && job["metadata"]["uid"] != change.object["metadata"]["uid"]
            && job["metadata"]["ownerReferences"][0]["uid"] == change.object["metadata"]["ownerReferences"][0]["uid"]
            && !over
    });
    // A create that was sent long ago and arrives late is stopped by nothing; it runs once all the same.
    let late = oracle.is_late();
    if let Some(other) = running.next().filter(|_| !late) {
        let other = text(other, "/metadata/name").to_owned();
        oracle.violated("S7", at, &format!("the hook {} runs beside {other}", change.name));
    }
    oracle.hooks.made.insert(key, Made { uid, known: false, gone: false });
}

/// From here on the status knows these Jobs.
fn remember(oracle: &mut Oracle, change: &Change, at: SignedDuration) {
    let asks = |release: &Value| release["spec"]["gates"].clone();
    if change.before.as_ref().is_some_and(|before| asks(before) != asks(&change.object)) {
        oracle.hooks.gated.insert((change.namespace.clone(), change.name.clone()), at);
    }
    let Some(release) = change.after() else {
        oracle.hooks.made.retain(|(namespace, _), _| *namespace != change.namespace);
        return;
    };
    for hook in release["status"]["hooks"].as_array().into_iter().flatten() {
        let uid = text(hook, "/job/uid");
        for made in oracle.hooks.made.values_mut().filter(|made| made.uid == uid) {
            made.known = true;
        }
    }
}

fn judge_route(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    let Some(after) = change.after().filter(|after| label(after, "bascule.dev/preview-of").is_empty()) else { return };
    let (track, revision) = record(after);
    let Some(release) = api.store.find("bascule.dev/releases", &change.namespace, label(after, "bascule.dev/release")) else {
        return;
    };
    let candidate = &release["status"]["candidate"];
    if revision.is_empty() || text(candidate, "/revision") != revision || candidate["step"] == "Baking" {
        return;
    }
    // Some of the Services are on it already, or it came to be where it is by another hand.
    let begun = change.before.as_ref().is_some_and(|before| record(before) == (track, revision));
    let returns_warm = candidate["rollback"]["warm"] == true;
    // One that is no longer in the spec, or not yet, is nobody's wish.
    let spec = release["spec"]["gates"]["beforeSwitch"].as_array();
    let is_asked = |gate: &&Value| spec.is_some_and(|all| all.iter().any(|it| it["name"] == gate["name"]));
    let gates = candidate["gates"].as_array().into_iter().flatten().filter(|gate| gate["stage"] == "BeforeSwitch");
    let gates = gates.filter(is_asked);
    let mut open = gates.filter(|gate| gate["state"] != "Passed");
    if let Some(gate) = open.next().filter(|_| !begun && !returns_warm) {
        let name = text(gate, "/name").to_owned();
        oracle.violated("S1", at, &format!("{revision} got traffic, and gate {name} had not passed"));
    }
    // One that was written a moment ago is not known yet.
    let written = oracle.hooks.gated.get(&(change.namespace.clone(), text(release, "/metadata/name").to_owned()));
    let known = written.is_none_or(|written| at > *written + oracle.slack);
    let asked = known && release["spec"]["gates"]["beforeSwitch"].as_array().is_some_and(|all| !all.is_empty());
    let none = candidate["gates"].as_array().is_none_or(Vec::is_empty);
    if asked && none && !begun && !returns_warm {
        oracle.violated("S1", at, &format!("{revision} got traffic, and no gate was asked"));
    }
}

/// A Job that is to try a version is told of addresses where that version answers, and nobody else.
fn judge_addresses(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    let environment = change.object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    let told: BTreeMap<&str, &str> = environment.map(|it| (text(it, "/name"), text(it, "/value"))).collect();
    let release = api.store.find("bascule.dev/releases", &change.namespace, label(&change.object, "bascule.dev/release"));
    let owner = release.map(|release| text(release, "/metadata/uid").to_owned()).unwrap_or_default();
    let track = told.get("BASCULE_TRACK").copied().unwrap_or_default();
    for url in told.iter().filter(|(name, _)| name.starts_with("BASCULE_URL_")).map(|(_, url)| url) {
        let name = url.trim_start_matches("http://").split('.').next().unwrap_or_default();
        let service = api.store.find("services", &change.namespace, name);
        let shows = service.is_some_and(|it| {
            text(it, "/spec/selector/bascule.dev~1track") == track && text(it, "/metadata/ownerReferences/0/uid") == owner
        });
        if !shows {
            oracle.violated("S1", at, &format!("{} is told of {name}, which does not send to {track}", change.name));
        }
    }
}

fn judge_start(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    let Some(after) = change.after() else { return };
    let revision = label(after, "bascule.dev/revision");
    let started = change.before.as_ref().is_some_and(|before| label(before, "bascule.dev/revision") == revision);
    let late = oracle.is_late();
    if started || late {
        return;
    }
    let Some(release) = api.store.find("bascule.dev/releases", &change.namespace, label(after, "bascule.dev/release")) else {
        return;
    };
    let status = &release["status"];
    let spec = release["spec"]["hooks"]["beforeStart"].as_array();
    let is_asked = |hook: &Value| spec.is_some_and(|all| all.iter().any(|it| it["name"] == hook["name"]));
    // What the spec has forgotten need not succeed, but end.
    let is_open = |hook: &Value| hook["state"] == "Running" || (hook["state"] != "Done" && is_asked(hook));
    let of = |hook: &&Value| hook["revision"] == revision && is_open(hook);
    let open = status["hooks"].as_array().into_iter().flatten().find(of).map(|hook| text(hook, "/name").to_owned());
    let is_candidate = text(status, "/candidate/revision") == revision;
    if let Some(name) = open.filter(|_| is_candidate) {
        oracle.violated("S7", at, &format!("{revision} was started, and hook {name} is not done"));
    }
}
