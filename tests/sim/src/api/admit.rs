//! What happens to an object between request and store: defaults, the admission policies of our chart, validation.

use serde_json::{Map, Value, json};

use super::{Api, Call, Refused, error, kind::Kind, path::Target, schema, valid};

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
    /// What the server itself hands out: addresses of Services.
    pub(super) fn allocate(&self, kind: &Kind, object: &mut Value, before: Option<&Value>) {
        if kind.full != "services" || object["spec"]["type"] == "ExternalName" {
            return;
        }
        let spec = &mut object["spec"];
        let known = |field: &str| before.and_then(|before| before["spec"].get(field)).cloned();
        let version = self.store.version();
        let address = || json!(format!("10.96.{}.{}", version / 250 % 250, version % 250 + 1));
        let cluster_ip = spec.get("clusterIP").cloned().or_else(|| known("clusterIP")).unwrap_or_else(address);
        let given = [
            ("clusterIPs", json!([cluster_ip])),
            ("clusterIP", cluster_ip),
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
        ];
        for (field, value) in given {
            if spec.get(field).is_none() {
                spec[field] = known(field).unwrap_or(value);
            }
        }
    }

    /// The mutating policy of our chart.
    pub(super) fn mutate(&self, kind: &Kind, object: &mut Value) {
        if kind.full != "services" || !self.admission.service_track {
            return;
        }
        let track = object["metadata"]["annotations"][TRACK].as_str().unwrap_or_default().to_owned();
        let selector = object["spec"].get_mut("selector").and_then(Value::as_object_mut);
        if let Some(selector) = selector.filter(|selector| !selector.is_empty())
            && ["blue", "green", "none"].contains(&track.as_str())
        {
            selector.insert(TRACK.into(), json!(track));
        }
    }

    pub(super) fn validate(&self, call: &Call, object: &Value, before: Option<&Value>) -> Result<(), Refused> {
        let target = Target { name: object["metadata"]["name"].as_str().map(str::to_owned), ..call.target.clone() };
        let mut faults = Vec::new();
        if target.name.as_deref().is_none_or(str::is_empty) {
            faults.push(("metadata.name".into(), "Required value: name or generateName is required".into()));
        }
        for (_, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
            if !value.as_str().is_some_and(valid::is_label) {
                faults.push((
                    "metadata.labels".into(),
                    format!(
                        "Invalid value: {value}: a valid label must be an empty string or consist of alphanumeric characters"
                    ),
                ));
            }
        }
        if let Some(schema) = schema::definition(target.kind) {
            valid::check(object, schema, "", &mut faults);
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
            "pods" if object["spec"]["containers"].as_array().is_none_or(Vec::is_empty) => {
                faults.push(("spec.containers".into(), "Required value".into()));
            }
            "events" if call.target.group == "events.k8s.io" => {
                for field in ["eventTime", "reportingController", "reportingInstance", "action", "reason"] {
                    if object[field].as_str().is_none_or(str::is_empty) {
                        faults.push((field.into(), "Required value".into()));
                    }
                }
            }
            "coordination.k8s.io/leases"
                if object["spec"]["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) =>
            {
                faults.push(("spec.leaseDurationSeconds".into(), "Invalid value: must be greater than 0".into()));
            }
            "bascule.dev/releases" => valid::rules_of_release(object, &mut faults),
            "bascule.dev/operations" if before.is_some_and(|before| before["spec"] != object["spec"]) => {
                let message = "Invalid value: the spec of an Operation cannot be changed, because it is the record of what was asked: create a new Operation";
                faults.push(("spec".into(), message.into()));
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
}
