//! Which lists and maps are merged by item and which are replaced whole; and the schemas of the custom kinds.
//!
//! For custom kinds the definitions in the crate `bascule-crds` say it; for the built-in ones the short table below, which
//! `tests/conformance` compares with a real server.

use std::collections::BTreeMap;

use bascule_crds::{Operation, Release};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::kind::Kind;

/// How a list is merged.
#[derive(Clone, Debug)]
pub enum Lists {
    Atomic,
    Set,
    /// By these keys, some with a default.
    Map(Vec<(String, Option<Value>)>),
}

/// A place in a kind of object.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// By the table; the path without list items, such as `spec.template.spec.containers.env`.
    Builtin(String),
    /// By a definition.
    Custom(&'a Value),
    /// Nobody knows: maps by key, lists whole.
    Unknown,
}

/// OpenAPI schema of each custom kind.
pub(super) fn of_definitions() -> BTreeMap<&'static str, Value> {
    let schema = |definition: &Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let read = |definition| serde_json::to_value(definition).unwrap_or_default();
    [("bascule.dev/releases", schema(&read(Release::crd()))), ("bascule.dev/operations", schema(&read(Operation::crd())))].into()
}

impl<'a> Node<'a> {
    pub(super) fn root(kind: &Kind, schemas: &'a BTreeMap<&'static str, Value>) -> Self {
        schemas.get(kind.full).map_or_else(|| Self::Builtin(String::new()), Self::Custom)
    }

    pub fn child(&self, name: &str) -> Self {
        match self {
            Self::Builtin(path) if path.is_empty() => Self::Builtin(name.to_owned()),
            Self::Builtin(path) => Self::Builtin(format!("{path}.{name}")),
            Self::Custom(schema) => {
                if let Some(property) = schema["properties"].get(name) {
                    // A definition says nothing of the metadata, which is like everybody's.
                    let bare = name == "metadata" && property.get("properties").is_none();
                    return if bare { Self::Builtin("metadata".into()) } else { Self::Custom(property) };
                }
                match schema.get("additionalProperties") {
                    Some(values) if values.is_object() => Self::Custom(values),
                    _ => Self::Unknown,
                }
            }
            Self::Unknown => Self::Unknown,
        }
    }

    pub fn item(&self) -> Self {
        match self {
            Self::Builtin(path) => Self::Builtin(path.clone()),
            Self::Custom(schema) => schema.get("items").map_or(Self::Unknown, Self::Custom),
            Self::Unknown => Self::Unknown,
        }
    }

    /// A map whose keys are data, no fields.
    pub fn is_free_map(&self) -> bool {
        match self {
            Self::Builtin(path) => {
                let name = path.rsplit('.').next().unwrap_or_default();
                ["labels", "annotations", "data", "matchLabels", "limits", "requests", "nodeSelector"].contains(&name)
            }
            Self::Custom(schema) => schema.get("additionalProperties").is_some_and(Value::is_object),
            Self::Unknown => true,
        }
    }

    pub fn is_atomic_map(&self) -> bool {
        match self {
            Self::Builtin(path) => {
                let name = path.rsplit('.').next().unwrap_or_default();
                ["selector", "nodeSelector", "labelSelector", "namespaceSelector", "targetRef", "fieldRef"].contains(&name)
            }
            Self::Custom(schema) => schema["x-kubernetes-map-type"] == "atomic",
            Self::Unknown => false,
        }
    }

    pub fn lists(&self) -> Lists {
        match self {
            Self::Builtin(path) => builtin_list(path),
            Self::Custom(schema) => match schema["x-kubernetes-list-type"].as_str() {
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    let default = |key: &str| schema["items"]["properties"][key].get("default").cloned();
                    Lists::Map(keys.map(|key| (key.to_owned(), default(key))).collect())
                }
                Some("set") => Lists::Set,
                _ => Lists::Atomic,
            },
            Self::Unknown => Lists::Atomic,
        }
    }
}

fn builtin_list(path: &str) -> Lists {
    let by = |keys: &[(&str, Option<Value>)]| {
        Lists::Map(keys.iter().map(|(key, default)| ((*key).to_owned(), default.clone())).collect())
    };
    let in_container = path.contains("ontainers.");
    match path.rsplit('.').next().unwrap_or_default() {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => by(&[("name", None)]),
        "ports" if in_container => by(&[("containerPort", None), ("protocol", Some(json!("TCP")))]),
        "ports" if path == "spec.ports" => by(&[("port", None), ("protocol", Some(json!("TCP")))]),
        "volumeMounts" => by(&[("mountPath", None)]),
        "volumeDevices" => by(&[("devicePath", None)]),
        "topologySpreadConstraints" => by(&[("topologyKey", None), ("whenUnsatisfiable", None)]),
        "hostAliases" => by(&[("ip", None)]),
        "ownerReferences" => by(&[("uid", None)]),
        "conditions" if path.starts_with("status") => by(&[("type", None)]),
        "finalizers" => Lists::Set,
        _ => Lists::Atomic,
    }
}
