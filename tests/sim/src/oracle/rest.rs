//! The end: nothing more goes wrong and nobody changes anything. Then it comes to rest where it should, says so, and is silent.

use serde_json::Value;

use super::{label, record, text};
use crate::api::Api;

/// Reasons of `Ready=False` with which nothing is left to do for the controller alone.
const UNDERWAY: [&str; 4] = ["Progressing", "Resolving", "Retrying", "ServiceUnknown"];

/// What is not as it should be, of one Release at rest.
/// `written`: what the parameter says that the Release may name.
pub fn judge(api: &Api, namespace: &str, name: &str, written: Option<&str>) -> Vec<String> {
    let Some(release) = api.store.find("bascule.dev/releases", namespace, name) else { return Vec::new() };
    if release["metadata"].get("deletionTimestamp").is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("ESR: {what}"));
    let status = &release["status"];
    if release["metadata"]["generation"] != status["observedGeneration"] {
        say(format!(
            "the status is about generation {}, the spec is {}",
            status["observedGeneration"], release["metadata"]["generation"]
        ));
    }
    let (ready, reason, message) = condition(status, "Ready");
    if ready != "True" && UNDERWAY.contains(&reason) {
        say(format!("it rests although it is not done: {reason}: {message}"));
    }
    let (reconciling, _, _) = condition(status, "Reconciling");
    let suspended = release["spec"]["suspend"] == true;
    let held = !UNDERWAY.contains(&reason) && ready != "True";
    if reconciling == "True" && !held && !suspended {
        say("it rests and says that it is on its way".into());
    }
    let active = &status["active"];
    for service in services(api, namespace, release) {
        let (track, revision) = record(service);
        let service_name = text(service, "/metadata/name");
        let usable = label(service, "bascule.dev/release") == name;
        if !usable || active.is_null() {
            continue;
        }
        let at_active = track == text(active, "/track") && revision == text(active, "/revision");
        // In the middle of a switch that lacks something.
        if !at_active && ready == "True" {
            say(format!(
                "Service {service_name} is on {track} {revision}, and the status says that {} is active",
                text(active, "/version")
            ));
        }
        let selected = service["spec"]["selector"].get("bascule.dev/track").and_then(Value::as_str).unwrap_or_default();
        if selected != track {
            say(format!("Service {service_name} selects {selected} and its annotation says {track}"));
        }
    }
    judge_together(api, namespace, release, reason, &mut say);
    let (fresh, reason, message) = condition(status, "SourcesFresh");
    if fresh == "False" {
        say(format!("it rests with parameters that were not read: {reason}: {message}"));
    }
    judge_pods(api, namespace, release, ready == "True", written, &mut say);
    for operation in api.store.all("bascule.dev/operations") {
        if text(operation, "/spec/release") == name && operation["status"].is_null() {
            say(format!("{} was never answered", text(operation, "/metadata/name")));
        }
    }
    found
}

/// Reasons that a Service of a Release gives for not being moved.
const OF_A_SERVICE: [&str; 3] = ["ServiceMissing", "ServiceUnusable", "ServiceInUse"];

/// Services of a Release move together: none is left behind, unless it says that it cannot be moved.
fn judge_together(api: &Api, namespace: &str, release: &Value, reason: &str, say: &mut impl FnMut(String)) {
    let name = text(release, "/metadata/name");
    let ours = services(api, namespace, release).filter(|service| label(service, "bascule.dev/release") == name);
    let tracks: std::collections::BTreeSet<&str> = ours.map(|service| record(service).0).collect();
    if tracks.len() > 1 && !OF_A_SERVICE.contains(&reason) {
        say(format!("it rests with Services on {}", tracks.into_iter().collect::<Vec<_>>().join(" and ")));
    }
}

fn judge_pods(api: &Api, namespace: &str, release: &Value, ready: bool, written: Option<&str>, say: &mut impl FnMut(String)) {
    let status = &release["status"];
    let active = &status["active"];
    if !ready || active.is_null() {
        return;
    }
    let image = &release["spec"]["artifacts"][0]["image"];
    let wanted = if image["parameter"].is_string() { written.unwrap_or_default() } else { text(image, "/ref") };
    let image = text(active, "/artifacts/0/ref");
    if !image.is_empty() && image != wanted {
        say(format!("it is ready on {image}, and {wanted} is wanted"));
    }
    for workload in active["workloads"].as_array().into_iter().flatten() {
        let name = workload["name"].as_str().unwrap_or_default();
        let deployment = |track: &str| api.store.find("apps/deployments", namespace, &format!("{name}-{track}"));
        let track = text(active, "/track");
        match deployment(track) {
            None => say(format!("Deployment {name}-{track} is active and not there")),
            Some(deployment) => {
                if label(deployment, "bascule.dev/revision") != text(active, "/revision") {
                    say(format!("Deployment {name}-{track} is not of the active revision"));
                }
                let available = deployment["status"]["availableReplicas"].as_i64().unwrap_or(0);
                let (said, _, _) = condition(status, "Available");
                let all = available >= deployment["spec"]["replicas"].as_i64().unwrap_or(1);
                if all != (said == "True") && active["workloads"].as_array().is_some_and(|all| all.len() == 1) {
                    say(format!("Available is {said}, and {available} pods are"));
                }
            }
        }
        let other = if track == "blue" { "green" } else { "blue" };
        let idle = deployment(other).map_or(0, |idle| idle["spec"]["replicas"].as_i64().unwrap_or(1));
        if idle != 0 && label_is(deployment(other), release) {
            say(format!("{name}-{other} is idle and has {idle} replicas"));
        }
    }
}

fn label_is(deployment: Option<&crate::api::Object>, release: &Value) -> bool {
    deployment.is_some_and(|it| label(it, "bascule.dev/release") == text(release, "/metadata/name"))
}

fn services<'a>(api: &'a Api, namespace: &'a str, release: &'a Value) -> impl Iterator<Item = &'a Value> {
    let names = release["spec"]["services"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str());
    names.filter_map(move |name| api.store.find("services", namespace, name).map(|service| &**service))
}

fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == kind));
    let field = |name: &str| found.and_then(|it| it[name].as_str()).unwrap_or_default();
    (field("status"), field("reason"), field("message"))
}
