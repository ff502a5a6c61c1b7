//! What is not compared, all of it, each with the reason. `docs/conformance.md` lists the same.
//!
//! In: normal objects and causes. Out: the same without what the model does not claim. Never here: anything that the controller reads.

use serde_json::{Value, json};

use crate::sequence::What;

/// Kind (`*`: all), path (`*`: every item or key), and why it does not matter. The same path is taken out of the managed fields.
const MASKS: [(&str, &str, &str); 10] = [
    ("Event", "deprecatedFirstTimestamp", EVENT),
    ("Event", "deprecatedLastTimestamp", EVENT),
    ("Pod", "spec/priority", POD),
    ("Pod", "spec/preemptionPolicy", POD),
    ("Pod", "spec/tolerations", POD),
    ("Pod", "spec/serviceAccount", POD),
    ("Pod", "spec/serviceAccountName", POD),
    ("Pod", "status/phase", POD),
    ("Pod", "status/qosClass", POD),
    ("Pod", "status/observedGeneration", POD),
];
const EVENT: &str = "null in every Event of the newer API; nothing reads it";
const POD: &str = "admission plugins and the strategy of pods fill it in; nothing here reads it";

pub(crate) fn object(kind: &str, object: &mut Value) {
    if kind == "Service" {
        address(object);
    }
    for (of, path, _) in MASKS {
        if of == "*" || of == kind {
            let steps: Vec<&str> = path.split('/').collect();
            remove(object, &steps);
        }
    }
}

/// Of a delete that leaves behind what the object owned only the code is compared: on a real server the object waits for the garbage
/// collector and is shown as waiting, the model does both at once. What is left in the end is compared like everything.
pub(crate) fn step(what: &What) -> bool {
    let What::Ask(ask) = what else { return false };
    ask.method == "DELETE" && ask.body.as_ref().is_some_and(|body| body["propagationPolicy"] == "Orphan")
}

/// Which address a Service gets is chance; that it has one is not.
fn address(service: &mut Value) {
    if service["spec"]["clusterIP"].as_str().is_some_and(|address| address != "None") {
        service["spec"]["clusterIP"] = json!("(an address)");
        service["spec"]["clusterIPs"] = json!(["(an address)"]);
    }
}

fn remove(value: &mut Value, path: &[&str]) {
    let [first, rest @ ..] = path else { return };
    match value {
        Value::Array(items) if *first == "*" => items.iter_mut().for_each(|item| remove(item, rest)),
        Value::Object(fields) if *first == "*" => fields.values_mut().for_each(|field| remove(field, rest)),
        Value::Object(fields) if rest.is_empty() => {
            fields.remove(*first);
        }
        Value::Object(fields) => {
            if let Some(inner) = fields.get_mut(*first) {
                remove(inner, rest);
            }
        }
        _ => {}
    }
}

/// The simulation leaves the managers out of what its watches send: it is half of the bytes, and the controller drops them when it reads.
/// They are compared in every other reply.
pub(crate) fn watched(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    object
}

/// What is compared of a cause: in a conflict with whom and about what. The causes of an invalid object are worded by hand
/// for each kind; that it is invalid is the code, and which field is named first in the message.
pub(crate) fn cause(cause: &Value) -> Option<String> {
    let conflict = cause["reason"] == "FieldManagerConflict";
    conflict.then(|| json!([cause["field"], cause["message"]]).to_string())
}
