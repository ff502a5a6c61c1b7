//! Deployments: one ReplicaSet for each template, the new one up, the old ones down as pods get available.

use serde_json::{Value, json};

use super::{View, Wishes, controlled_by, create, delete, deleting, kind, number, owner, patch, text};

const USER: &str = "deployment-controller";

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for deployment in view.store.all("apps/deployments").filter(|deployment| !deleting(deployment)) {
        let uid = text(deployment, "/metadata/uid");
        let sets: Vec<&Value> = view
            .store
            .all("apps/replicasets")
            .map(|set| &**set)
            .filter(|set| controlled_by(set, uid) && !deleting(set))
            .collect();
        let hash = hash(&deployment["spec"]["template"]);
        let name = format!("{}-{hash}", text(deployment, "/metadata/name"));
        let Some(new) = sets.iter().find(|set| text(set, "/metadata/name") == name) else {
            wishes.requests.push(new_set(deployment, &name, &hash));
            continue;
        };
        let old: Vec<&Value> = sets.iter().copied().filter(|set| text(set, "/metadata/name") != name).collect();
        scale(deployment, new, &old, wishes);
        status(deployment, new, &sets, wishes);
    }
}

fn new_set(deployment: &Value, name: &str, hash: &str) -> super::Request {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = json!(hash);
    create(
        USER,
        "apps/replicasets",
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": deployment["metadata"]["namespace"], "labels": template["metadata"]["labels"],
                "ownerReferences": owner(kind("apps/deployments"), deployment),
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }),
    )
}

/// No pod goes before its successor is available; at most twice as many as wanted.
fn scale(deployment: &Value, new: &Value, old: &[&Value], wishes: &mut Wishes) {
    let wanted = number(deployment, "/spec/replicas");
    let old_total: i64 = old.iter().map(|set| number(set, "/spec/replicas")).sum();
    let has = number(new, "/spec/replicas");
    let target = wanted.min((2 * wanted - old_total).max(0)).max(has.min(wanted));
    let resize = |set: &Value, to: i64| patch(USER, "apps/replicasets", set, "", json!({"spec": {"replicas": to}}));
    if has != target {
        wishes.requests.push(resize(new, target));
    }
    let keep = (wanted - number(new, "/status/availableReplicas")).max(0);
    let mut surplus = old_total - keep;
    for set in old {
        let replicas = number(set, "/spec/replicas");
        if surplus > 0 && replicas > 0 {
            let less = surplus.min(replicas);
            surplus -= less;
            wishes.requests.push(resize(set, replicas - less));
        }
    }
    let limit = usize::try_from(deployment["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10)).unwrap_or(0);
    let mut empty: Vec<&&Value> =
        old.iter().filter(|set| number(set, "/spec/replicas") == 0 && number(set, "/status/replicas") == 0).collect();
    empty.sort_by_key(|set| text(set, "/metadata/uid").to_owned());
    for set in empty.iter().take(empty.len().saturating_sub(limit)) {
        wishes.requests.push(delete(USER, "apps/replicasets", set));
    }
}

fn status(deployment: &Value, new: &Value, sets: &[&Value], wishes: &mut Wishes) {
    let sum = |pointer: &str| sets.iter().map(|set| number(set, pointer)).sum::<i64>();
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum("/status/replicas"),
        "updatedReplicas": number(new, "/status/replicas"),
        "readyReplicas": sum("/status/readyReplicas"),
        "availableReplicas": sum("/status/availableReplicas"),
    });
    if deployment.get("status") != Some(&status) {
        wishes.requests.push(patch(USER, "apps/deployments", deployment, "status", json!({"status": status})));
    }
}

fn hash(template: &Value) -> String {
    let text = template.to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}", hash >> 32)
}
