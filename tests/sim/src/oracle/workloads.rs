//! S3 and S4: what carries traffic, and the way back, are changed in nothing but replicas; they do not go.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, label, record, text};
use crate::api::{Api, Change};

pub(super) fn judge(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    judge_alone(oracle, change, api, at);
    let Some(before) = &change.before else { return };
    let (release, track) = (label(before, "bascule.dev/release"), label(before, "bascule.dev/track"));
    if release.is_empty() {
        oracle.violated("S4", at, &format!("Deployment {} is not ours and was written", change.name));
        return;
    }
    let Some(owner) = api.store.find("bascule.dev/releases", &change.namespace, release) else { return };
    let status = &owner["status"];
    let has_traffic = api.store.all("services").any(|service| {
        label(service, "bascule.dev/release") == release
            && text(service, "/metadata/namespace") == change.namespace
            && label(service, "bascule.dev/preview-of").is_empty()
            && record(service).0 == track
    });
    let baking = status["candidate"]["step"] == "Baking";
    let way_back = baking && text(status, "/previous/track") == track;
    let active = text(status, "/active/track") == track;
    if !has_traffic && !way_back && !active {
        return;
    }
    // A workload that an earlier version on this track had, and none of those that count.
    let workload = label(before, "bascule.dev/workload");
    let of = |version: &Value| {
        text(version, "/track") == track
            && version["workloads"].as_array().is_some_and(|all| all.iter().any(|it| it["name"] == workload))
    };
    if !["active", "previous", "candidate"].iter().any(|place| of(&status[*place])) {
        return;
    }
    let what = format!("Deployment {} ({})", change.name, if has_traffic { "it has the traffic" } else { "it is the way back" });
    let still_named = owner["spec"]["workloads"].as_array().is_some_and(|all| all.iter().any(|it| it["name"] == workload));
    let Some(after) = change.after() else {
        oracle.violated("S3", at, &format!("{what} was deleted"));
        return;
    };
    if after["spec"]["template"] != before["spec"]["template"] && oracle.made_late() {
        let key = (change.namespace.clone(), change.name.clone());
        oracle.owed.entry(key).or_insert_with(|| (before["spec"]["template"].clone(), at));
    } else if after["spec"]["template"] != before["spec"]["template"] {
        let place = (change.namespace.clone(), release.to_owned(), track.to_owned());
        let revision = label(after, "bascule.dev/revision");
        let proved = oracle.proofs.template(&place, revision, workload);
        if !proved.is_some_and(|proved| is_healed(&after["spec"]["template"], proved, &before["spec"]["template"])) {
            oracle.violated("S3", at, &format!("{what} got another pod template"));
        }
    }
    let replicas = |object: &Value| object["spec"]["replicas"].as_i64().unwrap_or(1);
    let asked = oracle.none_wanted(&change.namespace, release, at);
    if replicas(after) == 0
        && replicas(before) > 0
        && still_named
        && wants_pods(owner, workload)
        && !asked
        && !recreates(owner, workload)
    {
        oracle.violated("S3", at, &format!("{what} was scaled to 0"));
    }
}

/// What cannot run twice starts when no pod of it is left on the other track, also none that is ending.
fn judge_alone(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    let Some(after) = change.after() else { return };
    let wants = |object: &Value| object["spec"]["replicas"].as_i64().unwrap_or(1) > 0;
    let starts = wants(after) && !change.before.as_ref().is_some_and(|before| wants(before));
    let late = oracle.is_late();
    let (release, workload) = (label(after, "bascule.dev/release"), label(after, "bascule.dev/workload"));
    let owner = api.store.find("bascule.dev/releases", &change.namespace, release);
    if !starts || late || !owner.is_some_and(|owner| recreates(owner, workload)) {
        return;
    }
    let other = |pod: &&crate::api::Object| {
        let is = |key, value: &str| label(pod, key) == value;
        text(pod, "/metadata/namespace") == change.namespace
            && is("bascule.dev/release", release)
            && is("bascule.dev/workload", workload)
            && !is("bascule.dev/track", label(after, "bascule.dev/track"))
            && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
    };
    if let Some(pod) = api.store.all("pods").find(other) {
        let pod = text(pod, "/metadata/name").to_owned();
        oracle.violated("alone", at, &format!("Deployment {} starts beside pod {pod}", change.name));
    }
}

/// Each part is as it was proved, or as another hand has left it: what others add is theirs.
fn is_healed(after: &Value, proved: &Value, before: &Value) -> bool {
    if after == proved || after == before {
        return true;
    }
    match (after, proved) {
        (Value::Object(fields), Value::Object(of)) => {
            fields.iter().all(|(name, value)| is_healed(value, &proved[name], &before[name]))
                && of.keys().filter(|name| !fields.contains_key(*name)).all(|name| before.get(name).is_none())
        }
        (Value::Array(items), Value::Array(of)) if items.len() == of.len() => {
            items.iter().enumerate().all(|(index, item)| is_healed(item, &proved[index], &before[index]))
        }
        _ => false,
    }
}

/// It cannot run twice: it ends before it starts again.
fn recreates(release: &Value, workload: &str) -> bool {
    let mut named = release["spec"]["workloads"].as_array().into_iter().flatten();
    named.any(|it| it["name"] == workload && it["strategy"]["type"] == "Recreate")
}

/// Some workload is to have no pods.
pub(super) fn wants_none(release: &Value) -> bool {
    let workloads = release["spec"]["workloads"].as_array();
    workloads.into_iter().flatten().filter_map(|it| it["name"].as_str()).any(|name| !wants_pods(release, name))
}

pub(super) fn wants_pods(release: &Value, workload: &str) -> bool {
    let named = release["spec"]["workloads"].as_array().into_iter().flatten().find(|it| it["name"] == workload);
    let replicas = named.and_then(|it| it["replicas"].as_i64()).or(release["spec"]["replicas"].as_i64());
    replicas.unwrap_or(1) > 0
}
