//! The shape of the built-in kinds that the model works with (`tests/sim/src/api/builtin.json`), and the real server's.
//!
//! In: what the server publishes at `/openapi/v3`. Out: the same without descriptions and without kinds that nobody uses. Never here:
//! custom kinds; the model takes those from the definitions themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{real::Real, sequence::Ask, side::Side as _};

const GROUPS: [&str; 7] = [
    "api/v1",
    "apis/apps/v1",
    "apis/autoscaling/v2",
    "apis/batch/v1",
    "apis/coordination.k8s.io/v1",
    "apis/discovery.k8s.io/v1",
    "apis/events.k8s.io/v1",
];
const ROOTS: [&str; 14] = [
    "io.k8s.api.apps.v1.ControllerRevision",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.ReplicaSet",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.events.v1.Event",
];
const KEPT: [&str; 6] =
    ["type", "format", "required", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"];

/// What the server publishes, reduced.
pub(crate) async fn published(real: &mut Real) -> Value {
    let mut all = Map::new();
    for group in GROUPS {
        let ask = Ask { method: "GET".into(), path: format!("/openapi/v3/{group}"), ..Ask::default() };
        let answer = real.call(&ask).await;
        assert_eq!(answer.code, 200, "{group}");
        all.extend(answer.body["components"]["schemas"].as_object().cloned().unwrap_or_default());
    }
    let mut found = BTreeMap::new();
    let mut wanted: Vec<String> = ROOTS.iter().map(|root| (*root).to_owned()).collect();
    while let Some(name) = wanted.pop() {
        let short = last(&name).to_owned();
        if let std::collections::btree_map::Entry::Vacant(place) = found.entry(short) {
            place.insert(reduced(&all[&name], &mut wanted));
        }
    }
    json!(found)
}

/// One definition a line, so that a change can be read.
pub(crate) fn lines(schema: &Value) -> String {
    let lines: Vec<String> =
        schema.as_object().into_iter().flatten().map(|(name, definition)| format!("  {}: {definition}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn last(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or_default()
}

fn reduced(schema: &Value, wanted: &mut Vec<String>) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        wanted.push(name.rsplit('/').next().unwrap_or_default().to_owned());
        return json!({"$ref": last(name)});
    }
    if let Some(inner) = schema["allOf"].get(0) {
        let mut out = reduced(inner, wanted);
        // A struct that is no pointer: it is there also when nobody has written it.
        if schema["default"] == json!({}) {
            out["always"] = json!(true);
        }
        return out;
    }
    if schema.get("oneOf").is_some() || schema["format"] == "int-or-string" {
        return json!({"any": true});
    }
    let mut out = Map::new();
    for field in KEPT {
        if let Some(value) = schema.get(field) {
            out.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(default) =
        schema.get("default").filter(|default| ![json!(""), json!(0), json!(false), json!({}), Value::Null].contains(default))
    {
        out.insert("default".into(), default.clone());
    }
    if let Some(properties) = schema["properties"].as_object() {
        let properties: Map<_, _> = properties.iter().map(|(name, schema)| (name.clone(), reduced(schema, wanted))).collect();
        out.insert("properties".into(), properties.into());
    }
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(field).filter(|inner| inner.is_object()) {
            out.insert(field.to_owned(), reduced(inner, wanted));
        }
    }
    out.into()
}
