//! What happens to an object between request and store: defaults, the admission policies of our chart, validation.

use serde_json::{Map, Value, json};

use super::{Api, Call, Refused, error, kind::Kind, path::Target, schema::Node};

const TRACK: &str = "bascule.dev/track";

/// What admission does; scenarios change it.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The policy that keeps a Service's selector on the track of its annotation.
    pub service_track: bool,
    /// A policy that refuses Deployments whose image has this in its name.
    pub refused_image: Option<String>,
}

impl Default for Admission {
    fn default() -> Self {
        Self { service_track: true, refused_image: Some("refused".into()) }
    }
}

impl Api {
    /// Fills in what a real server fills in, as far as anybody here reads it.
    pub(super) fn default(&mut self, kind: &Kind, object: &mut Value, before: Option<&Value>) {
        match kind.full {
            "apps/deployments" | "apps/replicasets" => {
                missing(&mut object["spec"], "replicas", || json!(1));
            }
            "services" => self.default_service(object, before),
            _ if kind.custom => {
                if let Some(schema) = self.schemas.get(kind.full) {
                    fill(object, schema);
                }
            }
            _ => {}
        }
    }

    fn default_service(&mut self, object: &mut Value, before: Option<&Value>) {
        let spec = &mut object["spec"];
        missing(spec, "type", || json!("ClusterIP"));
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            missing(port, "protocol", || json!("TCP"));
            let number = port["port"].clone();
            missing(port, "targetPort", || number);
        }
        if spec["type"] != "ExternalName" {
            let known = before.and_then(|before| before["spec"].get("clusterIP")).cloned();
            let address = known.unwrap_or_else(|| json!(format!("10.96.0.{}", self.store.version() % 250 + 1)));
            missing(spec, "clusterIP", || address);
        }
    }

    /// The mutating policy of our chart.
    pub(super) fn mutate(&self, kind: &Kind, object: &mut Value) {
        if kind.full != "services" || !self.admission.service_track {
            return;
        }
        let track = object["metadata"]["annotations"][TRACK].as_str().unwrap_or_default().to_owned();
        let selector = object["spec"].get_mut("selector").and_then(Value::as_object_mut);
        if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
            if ["blue", "green", "none"].contains(&track.as_str()) {
                selector.insert(TRACK.into(), json!(track));
            }
        }
    }

    pub(super) fn validate(&self, call: &Call, object: &Value, before: Option<&Value>) -> Result<(), Refused> {
        let target = Target { name: object["metadata"]["name"].as_str().map(str::to_owned), ..call.target.clone() };
        let mut faults = Vec::new();
        if let Some(schema) = self.schemas.get(target.kind.full) {
            check(object, schema, "", &mut faults);
        }
        match target.kind.full {
            "apps/deployments" => self.validate_deployment(object, before, &mut faults),
            "services" if object["spec"]["type"] != "ExternalName" => {
                let ports = object["spec"]["ports"].as_array().map_or(0, Vec::len);
                let headless = object["spec"]["clusterIP"] == "None";
                if ports == 0 && !headless {
                    faults.push(("spec.ports".into(), "Required value".into()));
                }
            }
            "bascule.dev/operations" => {
                if before.is_some_and(|before| before["spec"] != object["spec"]) {
                    let message = "Invalid value: the spec of an Operation cannot be changed, because it is the record of what was asked: create a new Operation";
                    faults.push(("spec".into(), message.into()));
                }
            }
            _ => {}
        }
        if faults.is_empty() { Ok(()) } else { Err(error::invalid(&target, &faults)) }
    }

    fn validate_deployment(&self, object: &Value, before: Option<&Value>, faults: &mut Vec<(String, String)>) {
        let spec = &object["spec"];
        let labels = &spec["template"]["metadata"]["labels"];
        let selector = spec["selector"]["matchLabels"].as_object();
        if selector.is_none_or(Map::is_empty) {
            faults.push(("spec.selector".into(), "Required value".into()));
        }
        if selector.is_some_and(|selector| selector.iter().any(|(key, value)| labels.get(key) != Some(value))) {
            faults.push((
                "spec.template.metadata.labels".into(),
                "Invalid value: `selector` does not match template `labels`".into(),
            ));
        }
        if before.is_some_and(|before| before["spec"]["selector"] != spec["selector"]) {
            faults.push(("spec.selector".into(), "Invalid value: field is immutable".into()));
        }
        let containers = spec["template"]["spec"]["containers"].as_array();
        if containers.is_none_or(Vec::is_empty) {
            faults.push(("spec.template.spec.containers".into(), "Required value".into()));
        }
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let image = container["image"].as_str().unwrap_or_default();
            let path = format!("spec.template.spec.containers[{index}].image");
            if image.is_empty() {
                faults.push((path, "Required value".into()));
            } else if self.admission.refused_image.as_ref().is_some_and(|refused| image.contains(refused.as_str())) {
                faults.push((path, format!("Invalid value: {image:?}: refused by policy")));
            }
        }
        for (index, container) in containers.into_iter().flatten().enumerate() {
            for (number, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
                if port["containerPort"].as_i64().is_none_or(|port| !(1..65_536).contains(&port)) {
                    let path = format!("spec.template.spec.containers[{index}].ports[{number}].containerPort");
                    faults.push((path, "Invalid value: must be between 1 and 65535, inclusive".into()));
                }
            }
        }
        if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
            faults.push(("spec.replicas".into(), "Invalid value: must be greater than or equal to 0".into()));
        }
    }

    pub(super) fn root(&self, kind: &Kind) -> Node<'_> {
        Node::root(kind, &self.schemas)
    }

    /// Fields that a definition does not know are dropped.
    pub(super) fn prune(&self, kind: &Kind, object: &mut Value) {
        if let Some(schema) = self.schemas.get(kind.full) {
            let metadata = object["metadata"].take();
            prune(object, schema);
            object["metadata"] = metadata;
        }
    }
}

fn missing(object: &mut Value, field: &str, value: impl FnOnce() -> Value) {
    if let Some(map) = object.as_object_mut() {
        if map.get(field).is_none_or(Value::is_null) {
            map.insert(field.to_owned(), value());
        }
    }
}

fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if !map.contains_key(name) {
                    if let Some(default) = property.get("default") {
                        map.insert(name.clone(), default.clone());
                    }
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

fn prune(value: &mut Value, schema: &Value) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Value::Object(map) => {
            let free = schema.get("additionalProperties").cloned();
            if free.is_none() && schema.get("properties").is_some() {
                let known = &schema["properties"];
                map.retain(|name, _| known.get(name).is_some() || ["apiVersion", "kind", "metadata"].contains(&name.as_str()));
            }
            for (name, value) in map.iter_mut() {
                if let Some(schema) = schema["properties"].get(name).or(free.as_ref()) {
                    prune(value, schema);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}

/// Types, required fields, enumerations, lengths and bounds; rules in CEL are not evaluated.
fn check(value: &Value, schema: &Value, path: &str, faults: &mut Vec<(String, String)>) {
    let mut fault = |message: String| faults.push((path.trim_start_matches('.').to_owned(), message));
    let expected = schema["type"].as_str().unwrap_or_default();
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !fits {
        fault(format!("Invalid value: {path} must be of type {expected}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array() {
        if !allowed.contains(value) {
            fault(format!("Unsupported value: {value}"));
        }
    }
    let bound = |name: &str| schema[name].as_f64();
    if let Some(number) = value.as_f64() {
        if bound("minimum").is_some_and(|minimum| number < minimum) || bound("maximum").is_some_and(|maximum| number > maximum) {
            fault(format!("Invalid value: {value}: out of bounds"));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count();
        let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if limit("maxLength").is_some_and(|limit| length > limit) || limit("minLength").is_some_and(|limit| length < limit) {
            fault(format!("Invalid value: {text:?}: length"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            faults.push((format!("{path}.{name}").trim_start_matches('.').to_owned(), "Required value".into()));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(value, property, &format!("{path}.{name}"), faults);
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{path}[{index}]"), faults);
    }
}
