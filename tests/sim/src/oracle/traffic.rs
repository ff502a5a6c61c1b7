//! S1: traffic only goes to what was proved. S2: back from what is bad. Nobody is cut off.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, USUAL, label, proof, record, text, workloads};
use crate::api::{Api, Change};

pub(super) fn judge(oracle: &mut Oracle, change: &Change, at: SignedDuration) {
    let Some(after) = change.after() else { return };
    let is_preview = !label(after, "bascule.dev/preview-of").is_empty();
    if is_preview {
        return;
    }
    let (track, revision) = record(after);
    let before = change.before.as_ref().map(|before| record(before)).unwrap_or_default();
    let selected_before = change.before.as_ref().map(|before| selected(before)).unwrap_or_default();
    if (track, revision) == before && selected(after) == selected_before {
        return;
    }
    let release = label(after, "bascule.dev/release").to_owned();
    let since = at - oracle.slack;
    let place = |track: &str| (change.namespace.clone(), release.clone(), track.to_owned());
    let what = format!("Service {} went from {:?} to {track} {revision}", change.name, before);
    // Where another hand has put it is no place that its users were led to.
    let led = ["blue", "green"].contains(&before.0) && oracle.proofs.once_proved(&place(before.0), before.1);
    let had_users = led && oracle.proofs.alive(&place(before.0), at);
    match track {
        "blue" | "green" => {
            // From where nobody answers any more to the part that still does, of a version that was proved.
            let last = led
                && !oracle.proofs.alive(&place(before.0), since)
                && oracle.proofs.once_proved(&place(track), revision)
                && oracle.proofs.alive(&place(track), since);
            if !oracle.memory.is_good(&change.namespace, &release, track, revision)
                && !oracle.proofs.proved(&place(track), revision, since)
                && !last
            {
                oracle.violated("S1", at, &format!("{what}, which was not fully ready"));
            }
            let unheard = oracle.two_lead && oracle.memory.told_by_another(&change.namespace, &release, &change.user, at - USUAL);
            if oracle.memory.is_rejected(&change.namespace, &release, revision) && !unheard {
                oracle.violated("S6", at, &format!("{what}, which was rejected"));
            }
            let none_wanted = oracle.none_wanted(&change.namespace, &release, at);
            if had_users && !none_wanted && before.0 != track && !oracle.proofs.alive(&place(track), since) {
                oracle.violated("S1", at, &format!("{what}, where no pod is ready, and its users had one that answered"));
            }
        }
        _ if had_users => oracle.violated("S1", at, &format!("{what}, and its users had a pod that answered")),
        _ => {}
    }
}

fn selected(service: &Value) -> &str {
    service["spec"]["selector"].get("bascule.dev/track").and_then(Value::as_str).unwrap_or_default()
}

/// The candidate has traffic, none of its pods answers, and the version before it is warm.
pub(super) fn users_are_on_a_bad_version(oracle: &Oracle, release: &Value, api: &Api) -> bool {
    let status = &release["status"];
    let candidate = &status["candidate"];
    let baking = candidate["step"] == "Baking";
    // In the middle of the switch it is the last settled one.
    let previous = if baking { &status["previous"] } else { &status["active"] };
    let automatic = release["spec"]["rollback"]["automatic"] != false || !baking;
    if candidate.is_null() || previous.is_null() || !automatic || release["metadata"].get("deletionTimestamp").is_some() {
        return false;
    }
    if oracle.memory.lists_rejected(release, text(previous, "/revision")) {
        return false;
    }
    let (namespace, name) = (text(release, "/metadata/namespace"), text(release, "/metadata/name"));
    let ready = |track: &str| {
        api.store
            .all("pods")
            .filter(|pod| {
                text(pod, "/metadata/namespace") == namespace
                    && label(pod, "bascule.dev/release") == name
                    && label(pod, "bascule.dev/track") == track
                    && proof::is_ready(pod)
            })
            .count()
    };
    let on_it = api.store.all("services").any(|service| {
        label(service, "bascule.dev/release") == name
            && record(service) == (text(candidate, "/track"), text(candidate, "/revision"))
            && label(service, "bascule.dev/preview-of").is_empty()
    });
    let wanted = !baking
        || candidate["workloads"].as_array().is_some_and(|all| all.iter().any(|it| it["replicas"].as_i64().unwrap_or(0) > 0));
    on_it
        && wanted
        && !workloads::wants_none(release)
        && ready(text(candidate, "/track")) == 0
        && ready(text(previous, "/track")) > 0
}
