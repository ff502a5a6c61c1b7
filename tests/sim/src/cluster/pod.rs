//! Pods and their kubelet: they start, get ready, flap, die or never get ready, as their annotations say.

use bascule_crds::Duration;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{View, Wishes, deleting, patch, text};

const USER: &str = "kubelet";
/// The finalizer that stands for the time that a pod takes to end.
pub(super) const KUBELET: &str = "sim/kubelet";
/// From its creation until its containers run.
const STARTS_IN: SignedDuration = SignedDuration::from_millis(15);
/// A crash loop: so long alive, so long not.
const FLAPS: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    !deleting(pod) && conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for pod in view.store.all("pods") {
        let Some(started) = view.started.get(text(pod, "/metadata/uid")) else { continue };
        if deleting(pod) {
            end(pod, view, wishes);
            continue;
        }
        let age = view.now.duration_since(*started);
        let (status, next) = fate(pod, age);
        if pod.get("status") != Some(&status) {
            wishes.requests.push(patch(USER, "pods", pod, "status", json!({"status": status})));
        }
        if let Some(next) = next {
            wishes.wake_at(*started + next);
        }
    }
}

/// A pod that was told to end does so after a while.
fn end(pod: &Value, view: &View, wishes: &mut Wishes) {
    let told: Timestamp = text(pod, "/metadata/deletionTimestamp").parse().unwrap_or(view.now);
    let due = told + duration(pod, "terminates-after").unwrap_or_default();
    if view.now < due {
        wishes.wake_at(due);
        return;
    }
    wishes.requests.push(patch(USER, "pods", pod, "", json!({"metadata": {"finalizers": null}})));
}

/// What its status is at that age, and when it changes next.
fn fate(pod: &Value, age: SignedDuration) -> (Value, Option<SignedDuration>) {
    if age < STARTS_IN {
        return (json!({"phase": "Pending"}), Some(STARTS_IN));
    }
    if pod["spec"].get("nodeSelector").is_some() {
        // No node of the model has labels.
        let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector";
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        return (json!({"phase": "Pending", "conditions": [condition]}), None);
    }
    let behaviour = text(pod, "/metadata/annotations/bed.bascule.dev~1behaviour");
    let ready_at = STARTS_IN + duration(pod, "ready-after").unwrap_or_default();
    match behaviour {
        "cannot-pull" => (waiting("ImagePullBackOff", 0), None),
        "never-ready" => (running(pod, false, 0), None),
        "flapping" => flapping(pod, age),
        "dies" => {
            let dies_at = ready_at + duration(pod, "dies-after").unwrap_or_default();
            let next = [ready_at, dies_at].into_iter().find(|at| *at > age);
            (running(pod, age >= ready_at && age < dies_at, 0), next)
        }
        "exits" => {
            let exits_at = STARTS_IN + duration(pod, "exits-after").unwrap_or_default();
            if age < exits_at { (running(pod, true, 0), Some(exits_at)) } else { (exited(pod, exit_code(pod)), None) }
        }
        // As on the beds: the pod of a Job is over as soon as it is ready.
        "fails" | "" if of_job(pod) && age >= ready_at => (exited(pod, i64::from(behaviour == "fails")), None),
        _ => (running(pod, age >= ready_at, 0), Some(ready_at).filter(|at| *at > age)),
    }
}

fn flapping(pod: &Value, age: SignedDuration) -> (Value, Option<SignedDuration>) {
    let turn = (age - STARTS_IN).as_millis() / FLAPS.as_millis();
    let turn = i64::try_from(turn).unwrap_or(0);
    let next = STARTS_IN + SignedDuration::from_millis((turn + 1) * 2_000);
    let restarts = turn / 2;
    let status = if turn % 2 == 0 { running(pod, true, restarts) } else { waiting("CrashLoopBackOff", restarts + 1) };
    (status, Some(next))
}

fn running(pod: &Value, ready: bool, restarts: i64) -> Value {
    json!({
        "phase": "Running",
        "podIP": address(pod),
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        "containerStatuses": [{
            "name": pod["spec"]["containers"][0]["name"], "ready": ready, "restartCount": restarts, "image": "", "imageID": "",
            "state": {"running": {}},
        }],
    })
}

fn waiting(reason: &str, restarts: i64) -> Value {
    json!({
        "phase": "Pending",
        "podIP": "10.1.0.1",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{
            "name": "web", "ready": false, "restartCount": restarts, "image": "", "imageID": "",
            "state": {"waiting": {"reason": reason}},
        }],
    })
}

fn address(pod: &Value) -> String {
    let last = text(pod, "/metadata/uid").rsplit('-').next().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    format!("10.0.{}.{}", last / 250 % 250, last % 250 + 1)
}

fn of_job(pod: &Value) -> bool {
    text(pod, "/metadata/ownerReferences/0/kind") == "Job"
}

fn exit_code(pod: &Value) -> i64 {
    text(pod, "/metadata/annotations/bed.bascule.dev~1exit-code").parse().unwrap_or(0)
}

fn exited(pod: &Value, code: i64) -> Value {
    json!({
        "phase": if code == 0 { "Succeeded" } else { "Failed" },
        "podIP": address(pod),
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{
            "name": pod["spec"]["containers"][0]["name"], "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}},
        }],
    })
}

fn duration(pod: &Value, name: &str) -> Option<SignedDuration> {
    let text = text(pod, &format!("/metadata/annotations/bed.bascule.dev~1{name}"));
    text.parse::<Duration>().ok().map(Duration::get)
}
