//! What is known of the shape of each kind: which lists and maps are merged by item and which are replaced whole, which fields exist, and
//! what an empty object of that kind looks like.
//!
//! For custom kinds the definitions in the crate `bascule-crds` say it; for built-in ones `builtin.json`, which a real API server has said
//! (`tests/conformance` compares it with one, and writes it anew).

use std::{collections::BTreeMap, sync::LazyLock};

use bascule_crds::{Operation, Release};
use kube::CustomResourceExt as _;
use serde_json::{Map, Value};

use super::kind::Kind;

/// What a real API server publishes at `/openapi/v3`, without what nobody reads here.
pub const BUILTIN: &str = include_str!("builtin.json");

static BUILTINS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(BUILTIN).unwrap_or_default());

/// `OpenAPI` schema of each custom kind.
static DEFINITIONS: LazyLock<BTreeMap<&str, Value>> = LazyLock::new(|| {
    let schema = |definition: Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let of = |definition| schema(serde_json::to_value(definition).unwrap_or_default());
    [("bascule.dev/releases", of(Release::crd())), ("bascule.dev/operations", of(Operation::crd()))].into()
});

pub(super) fn definition(kind: &Kind) -> Option<&'static Value> {
    DEFINITIONS.get(kind.full)
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Items {
    Whole,
    Set,
    /// By the keys that the schema names.
    Keyed,
}

/// What may stand in a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// Replaced as one, whatever it is.
    Leaf,
    /// Fields, or keys that are data.
    Map,
    List(Items),
}

/// A place in a kind of object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node(&'static Value);

static UNKNOWN: Value = Value::Null;
const UNKNOWN_NODE: Node = Node(&UNKNOWN);

/// `$ref` of what has one, else itself.
fn resolved(schema: &'static Value) -> &'static Value {
    schema.get("$ref").and_then(Value::as_str).map_or(schema, |name| &BUILTINS[name])
}

impl Node {
    pub(super) fn root(kind: &Kind) -> Self {
        definition(kind).map_or_else(|| Self(&BUILTINS[kind.kind]), Self)
    }

    fn properties(self) -> Option<&'static Map<String, Value>> {
        self.0["properties"].as_object()
    }

    pub(super) fn text(self, field: &str) -> &'static str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(super) fn is_known(self) -> bool {
        !self.0.is_null()
    }

    /// A field of its own, not a key that is data.
    pub(super) fn names(self, field: &str) -> bool {
        let builtin = ["apiVersion", "kind", "metadata"].contains(&field) && self.is_custom_root();
        builtin || self.properties().is_some_and(|properties| properties.contains_key(field))
    }

    /// Takes no other fields than those that it names.
    pub(super) fn is_closed(self) -> bool {
        self.properties().is_some() && self.0.get("additionalProperties").is_none() && !self.keeps_unknown()
    }

    pub(super) fn keeps_unknown(self) -> bool {
        self.0["x-kubernetes-preserve-unknown-fields"] == true
    }

    /// A definition says nothing of the metadata, which is like everybody's.
    fn is_custom_root(self) -> bool {
        DEFINITIONS.values().any(|definition| std::ptr::eq(definition, self.0))
    }

    pub(super) fn child(self, name: &str) -> Self {
        if name == "metadata" && self.is_custom_root() {
            return Self(&BUILTINS["ObjectMeta"]);
        }
        let known = self.properties().and_then(|properties| properties.get(name)).or_else(|| self.0.get("additionalProperties"));
        known.filter(|schema| schema.is_object()).map_or(UNKNOWN_NODE, |schema| Self(resolved(schema)))
    }

    pub(super) fn item(self) -> Self {
        self.0.get("items").map_or(UNKNOWN_NODE, |schema| Self(resolved(schema)))
    }

    pub(super) fn shape(self, value: &Value) -> Shape {
        match self.text("type") {
            "object" if self.text("x-kubernetes-map-type") == "atomic" => Shape::Leaf,
            "object" => Shape::Map,
            "array" => Shape::List(match self.text("x-kubernetes-list-type") {
                "map" => Items::Keyed,
                "set" => Items::Set,
                _ => Items::Whole,
            }),
            "" if value.is_object() && self.0["any"] != true => Shape::Map,
            _ => Shape::Leaf,
        }
    }

    /// The keys of a list that is merged by item, each with what it is when it is left out.
    pub(super) fn keys(self) -> impl Iterator<Item = (&'static str, Option<&'static Value>)> {
        let keys = self.0["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        keys.map(move |key| (key, self.item().0["properties"][key].get("default")))
    }

    /// The fields that are there also when nobody has written them: a struct is empty, what is required and not there is null.
    pub(super) fn always(self) -> impl Iterator<Item = (&'static str, Option<Self>)> {
        let structs = self.properties().into_iter().flatten().filter(|(_, schema)| schema["always"] == true);
        let structs = structs.map(|(name, schema)| (name.as_str(), Some(Self(resolved(schema)))));
        let required = self.0["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let lists = required.filter(move |name| ["array", "object"].contains(&self.child(name).text("type")));
        structs.chain(lists.filter(move |name| self.0["properties"][*name]["always"] != true).map(|name| (name, None)))
    }
}
