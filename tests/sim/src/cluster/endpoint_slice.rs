//! EndpointSlices: one for each Service with a selector; its labels are the Service's.

use serde_json::{Map, Value, json};

use super::{View, Wishes, create, deleting, kind, owner, path_of, pod, text};

const USER: &str = "endpointslice-controller";

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for service in view.store.all("services").filter(|service| !deleting(service)) {
        let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else { continue };
        let namespace = text(service, "/metadata/namespace");
        let name = text(service, "/metadata/name");
        let endpoints: Vec<Value> = view
            .store
            .all("pods")
            .filter(|pod| text(pod, "/metadata/namespace") == namespace)
            .filter(|pod| selector.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value)))
            .filter(|pod| {
                !text(pod, "/status/podIP").is_empty() && !["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
            })
            .map(|pod| endpoint(pod))
            .collect();
        let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert("kubernetes.io/service-name".into(), json!(name));
        labels.insert("endpointslice.kubernetes.io/managed-by".into(), json!("endpointslice-controller.k8s.io"));
        let slice = format!("{name}-sim");
        match view.store.find("discovery.k8s.io/endpointslices", namespace, &slice) {
            None => {
                wishes.requests.push(create(USER, "discovery.k8s.io/endpointslices", body(service, &slice, &labels, &endpoints)));
            }
            Some(known) => {
                let same = known["endpoints"] == listed(&endpoints)
                    && known["metadata"]["labels"].as_object() == Some(&labels)
                    && known["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"];
                if !same {
                    let mut body = body(service, &slice, &labels, &endpoints);
                    body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
                    let path = path_of("discovery.k8s.io/endpointslices", known);
                    wishes.requests.push(super::Request {
                        user: USER.into(),
                        method: "PUT".into(),
                        path,
                        content_type: "application/json".into(),
                        body: Some(body),
                        ..super::Request::default()
                    });
                }
            }
        }
    }
}

/// A slice without endpoints has `null`, as in a real cluster.
fn listed(endpoints: &[Value]) -> Value {
    if endpoints.is_empty() { Value::Null } else { json!(endpoints) }
}

fn body(service: &Value, name: &str, labels: &Map<String, Value>, endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "namespace": service["metadata"]["namespace"], "labels": labels,
            "ownerReferences": owner(kind("services"), service),
        },
        "endpoints": listed(endpoints), "ports": service["spec"]["ports"],
    })
}

fn endpoint(pod: &Value) -> Value {
    let ready = pod::is_ready(pod);
    json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": ready, "terminating": deleting(pod)},
        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"], "uid": pod["metadata"]["uid"]},
    })
}
