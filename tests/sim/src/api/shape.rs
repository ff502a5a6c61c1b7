//! The form in which the server keeps an object: without what its kind does not know, with what its kind always has, and with defaults.
//!
//! In: an object as somebody sent it. Out: the object as it is stored and shown. Never here: policies, validation, owners.

use serde_json::{Map, Value, json};

use super::{
    kind::Kind,
    schema::{self, Node, Shape},
};

/// An object of that kind of which nobody has said anything yet.
pub(super) fn empty(kind: &Kind) -> Value {
    if kind.custom { json!({}) } else { nothing(Node::root(kind)) }
}

fn nothing(node: Node) -> Value {
    node.always().map(|(name, inner)| (name.to_owned(), inner.map_or(Value::Null, nothing))).collect::<Map<_, _>>().into()
}

/// Brings it into form, with defaults.
pub(super) fn settle(kind: &Kind, object: &mut Value) {
    if let Some(schema) = schema::definition(kind) {
        let metadata = object["metadata"].take();
        prune(object, schema);
        fill(object, schema);
        object["metadata"] = metadata;
        trim(&mut object["metadata"], Node::root(kind).child("metadata"));
        return;
    }
    // A status is kept as it was written: the models of the controllers compare it with what they would write.
    let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
    trim(object, Node::root(kind));
    if let Some(status) = status.filter(|status| status.as_object().is_some_and(|fields| !fields.is_empty())) {
        object["status"] = status;
    }
    match kind.full {
        "apps/deployments" => default_deployment(&mut object["spec"]),
        "apps/replicasets" => {
            missing(&mut object["spec"], "replicas", json!(1));
            default_template(&mut object["spec"]["template"]["spec"]);
        }
        "batch/jobs" => default_template(&mut object["spec"]["template"]["spec"]),
        "pods" => {
            missing(&mut object["spec"], "enableServiceLinks", json!(true));
            default_template(&mut object["spec"]);
        }
        "services" => default_service(&mut object["spec"]),
        _ => {}
    }
}

/// Numbers and texts of Go structs that are left out when they are zero, though somebody wrote the zero.
const LEFT_OUT: [&str; 9] = [
    "generateName",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "note",
    "paused",
    "publishNotReadyAddresses",
    "value",
];

fn is_zero(value: &Value) -> bool {
    value == false || value == 0 || value == ""
}

/// Without nulls, without fields that the kind does not know, without empty lists and maps; with the structs that are always there.
fn trim(value: &mut Value, node: Node) {
    match (node.shape(value), value) {
        (_, Value::Object(map)) => {
            if node.is_closed() {
                map.retain(|name, _| node.names(name));
            }
            map.retain(|name, value| {
                let child = node.child(name);
                trim(value, child);
                let empty = match value {
                    Value::Null => true,
                    Value::Array(items) => items.is_empty(),
                    // A struct that somebody pointed to stays, a map of data does not.
                    Value::Object(fields) => fields.is_empty() && !child.is_closed() && child.is_known(),
                    other => node.is_closed() && is_zero(other) && LEFT_OUT.contains(&name.as_str()),
                };
                !empty
            });
            for (name, inner) in node.always() {
                if let Some(inner) = inner {
                    trim(map.entry(name).or_insert_with(|| json!({})), inner);
                }
            }
        }
        (Shape::List(_), Value::Array(items)) => items.iter_mut().for_each(|item| trim(item, node.item())),
        _ => {}
    }
}

fn missing(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut()
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), value);
    }
}

fn default_service(spec: &mut Value) {
    missing(spec, "type", json!("ClusterIP"));
    missing(spec, "sessionAffinity", json!("None"));
    if spec["type"] != "ExternalName" {
        missing(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        missing(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        missing(port, "targetPort", number);
    }
}

fn default_deployment(spec: &mut Value) {
    missing(spec, "replicas", json!(1));
    missing(spec, "revisionHistoryLimit", json!(10));
    missing(spec, "progressDeadlineSeconds", json!(600));
    missing(&mut spec["strategy"], "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        missing(&mut spec["strategy"], "rollingUpdate", json!({}));
        missing(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
        missing(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
    }
    default_template(&mut spec["template"]["spec"]);
}

fn default_template(spec: &mut Value) {
    missing(spec, "restartPolicy", json!("Always"));
    missing(spec, "terminationGracePeriodSeconds", json!(30));
    missing(spec, "dnsPolicy", json!("ClusterFirst"));
    missing(spec, "securityContext", json!({}));
    missing(spec, "schedulerName", json!("default-scheduler"));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_container(container);
        }
    }
}

fn default_container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map_or("latest", |(_, tag)| tag);
    let newest = tag == "latest" && !image.contains('@');
    missing(container, "imagePullPolicy", json!(if newest { "Always" } else { "IfNotPresent" }));
    missing(container, "terminationMessagePath", json!("/dev/termination-log"));
    missing(container, "terminationMessagePolicy", json!("File"));
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        missing(port, "protocol", json!("TCP"));
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) else { continue };
        for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
            missing(probe, field, json!(value));
        }
        if let Some(get) = probe.get_mut("httpGet") {
            missing(get, "path", json!("/"));
            missing(get, "scheme", json!("HTTP"));
        }
    }
    let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
    if let Some(resources) = container.get_mut("resources").filter(|_| !limits.is_empty()) {
        missing(resources, "requests", json!({}));
        for (name, limit) in limits {
            missing(&mut resources["requests"], &name, limit);
        }
    }
}

/// Defaults of a definition.
fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let absent = map.get(name).is_none_or(|value| value.is_null() && property["nullable"] != true);
                if let Some(default) = property.get("default").filter(|_| absent) {
                    map.insert(name.clone(), default.clone());
                }
                // Null is no value where it is not allowed.
                if property["nullable"] != true && map.get(name).is_some_and(Value::is_null) {
                    map.remove(name);
                }
                if let Some(value) = map.get_mut(name) {
                    fill(value, property);
                }
            }
            if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
                map.values_mut().for_each(|value| fill(value, values));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, &schema["items"])),
        _ => {}
    }
}

/// Fields that a definition does not know are dropped.
fn prune(value: &mut Value, schema: &Value) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Value::Object(map) => {
            let free = schema.get("additionalProperties").filter(|values| values.is_object());
            if let Some(known) = schema.get("properties").filter(|_| free.is_none()) {
                map.retain(|name, _| known.get(name).is_some() || ["apiVersion", "kind", "metadata"].contains(&name.as_str()));
            }
            for (name, value) in map.iter_mut() {
                if let Some(schema) = schema["properties"].get(name).or(free) {
                    prune(value, schema);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}
