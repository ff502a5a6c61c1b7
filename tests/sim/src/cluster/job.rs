//! Jobs: one pod; its exit code decides, and it is tried again up to the limit.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{View, Wishes, controlled_by, create, delete, deleting, kind, number, owner, patch, pod, text};

const USER: &str = "job-controller";

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for job in view.store.all("batch/jobs").filter(|job| !deleting(job)) {
        let conditions = job["status"]["conditions"].as_array();
        if conditions.is_some_and(|conditions| !conditions.is_empty()) {
            continue;
        }
        let uid = text(job, "/metadata/uid");
        let pods: Vec<&Value> = view.store.all("pods").map(|pod| &**pod).filter(|pod| controlled_by(pod, uid)).collect();
        let count = |phase: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
        let (succeeded, failed) = (count("Succeeded"), count("Failed"));
        let limit = usize::try_from(job["spec"]["backoffLimit"].as_i64().unwrap_or(6)).unwrap_or(0);
        let active = pods.len() - succeeded - failed;
        let mut status = json!({"active": active, "succeeded": succeeded, "failed": failed});
        let deadline = job["spec"]["activeDeadlineSeconds"].as_i64().map(SignedDuration::from_secs);
        let began: Timestamp = text(job, "/metadata/creationTimestamp").parse().unwrap_or(view.now);
        let late = deadline.is_some_and(|deadline| view.now >= began + deadline);
        if let Some(deadline) = deadline {
            wishes.wake_at(began + deadline);
        }
        if late && succeeded == 0 {
            for pod in pods.iter().filter(|pod| !deleting(pod)) {
                wishes.requests.push(delete(USER, "pods", pod));
            }
            status["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded",
                "message": "Job was active longer than specified deadline"}]);
        } else if succeeded > 0 {
            status["conditions"] = json!([{"type": "Complete", "status": "True"}]);
        } else if failed > limit {
            status["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit"}]);
        } else if active == 0 && number(job, "/spec/suspend") == 0 {
            wishes.requests.push(new_pod(job));
        }
        if job.get("status") != Some(&status) {
            wishes.requests.push(patch(USER, "batch/jobs", job, "status", json!({"status": status})));
        }
    }
}

/// Those of the template, and the one by which the pods of a Job are found.
fn labels(job: &Value) -> Value {
    let mut labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels["batch.kubernetes.io/job-name"] = job["metadata"]["name"].clone();
    labels
}

fn new_pod(job: &Value) -> super::Request {
    let template = &job["spec"]["template"];
    create(
        USER,
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "generateName": format!("{}-", text(job, "/metadata/name")),
                "namespace": job["metadata"]["namespace"],
                "labels": labels(job),
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": owner(kind("batch/jobs"), job),
                "finalizers": [pod::KUBELET],
            },
            "spec": template["spec"],
        }),
    )
}
