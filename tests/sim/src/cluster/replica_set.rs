//! ReplicaSets: as many pods as wanted; those that are not ready go first.

use serde_json::{Value, json};

use super::{View, Wishes, controlled_by, create, delete, deleting, kind, number, owner, patch, pod, text};

const USER: &str = "replicaset-controller";

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for set in view.store.all("apps/replicasets").filter(|set| !deleting(set)) {
        let uid = text(set, "/metadata/uid");
        let pods: Vec<&Value> =
            view.store.all("pods").map(|pod| &**pod).filter(|pod| controlled_by(pod, uid) && !deleting(pod)).collect();
        let wanted = number(set, "/spec/replicas");
        let has = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        if has < wanted {
            wishes.requests.push(new_pod(set));
        } else if has > wanted {
            let unready = pods.iter().find(|pod| !pod::is_ready(pod));
            if let Some(pod) = unready.or(pods.last()) {
                wishes.requests.push(delete(USER, "pods", pod));
            }
        }
        let ready = pods.iter().filter(|pod| pod::is_ready(pod)).count();
        let status = json!({
            "observedGeneration": set["metadata"]["generation"],
            "replicas": has, "fullyLabeledReplicas": has, "readyReplicas": ready, "availableReplicas": ready,
        });
        if set.get("status") != Some(&status) {
            wishes.requests.push(patch(USER, "apps/replicasets", set, "status", json!({"status": status})));
        }
    }
}

fn new_pod(set: &Value) -> super::Request {
    let template = &set["spec"]["template"];
    create(
        USER,
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "generateName": format!("{}-", text(set, "/metadata/name")),
                "namespace": set["metadata"]["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": owner(kind("apps/replicasets"), set),
                // Stands for the kubelet: a pod that is deleted ends first.
                "finalizers": [pod::KUBELET],
            },
            "spec": template["spec"],
        }),
    )
}
