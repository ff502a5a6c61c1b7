//! The scale subresource: one number of an object, seen as an object of its own.
//!
//! In: requests to `…/scale`. Out: the object with another number of replicas, and its scale as the reply. Never here: what replicas are.

use serde_json::{Value, json};

use super::{
    Api, Call, Refused, Reply,
    apply::Managers,
    error, patch,
    path::Target,
    store::Object,
    write::{same_object, writer},
};

fn scale_of(target: &Target, object: &Value) -> Value {
    let replicas = object["spec"]["replicas"].as_i64();
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            meta[field] = value.clone();
        }
    }
    let mut spec = json!({});
    if let Some(replicas) = replicas.filter(|replicas| *replicas != 0) {
        spec["replicas"] = json!(replicas);
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = match object["status"]["selector"].as_str() {
        Some(selector) if target.kind.custom => Some(selector.to_owned()),
        _ => selector_of(object),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = json!(selector);
    }
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta, "spec": spec, "status": status})
}

/// Labels that a selector demands, as a text.
fn selector_of(object: &Value) -> Option<String> {
    let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
    Some(labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(","))
}

/// In a scale no replicas are none: whoever scales to zero takes the number away, and owns nothing.
fn counted(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(spec) = object["spec"].as_object_mut().filter(|spec| spec.get("replicas") == Some(&json!(0))) {
        spec.remove("replicas");
    }
    object
}

impl Api {
    pub(super) fn get_scale(target: &Target, object: &Value) -> Result<Reply, Refused> {
        // Of a custom object, and only when somebody asks for it.
        if target.kind.custom && object["spec"].get("replicas").is_none() {
            return Err(error::internal("the spec replicas field \".spec.replicas\" does not exist"));
        }
        Ok(Reply::ok(scale_of(target, object)))
    }

    /// PUT, or a patch: `change` makes the new scale of the old one.
    pub(super) fn rescale(
        &mut self,
        call: &Call,
        live: &Object,
        change: impl FnOnce(&mut Value) -> Result<(), Refused>,
    ) -> Result<Reply, Refused> {
        let mut scale = scale_of(&call.target, live);
        change(&mut scale)?;
        if !["metadata", "spec"].iter().all(|part| scale[part].is_null() || scale[part].is_object()) {
            return Err(error::bad_request("this is no Scale"));
        }
        same_object(call, live, &scale)?;
        let replicas = &scale["spec"]["replicas"];
        let mut object = (**live).clone();
        object["spec"]["replicas"] = if replicas.is_null() { json!(0) } else { replicas.clone() };
        let mut managers = Managers::read(live);
        if managers.knows_scale() {
            managers.updated(&counted(live), &counted(&object), &writer(call, &call.target.api_version()));
            managers.scaled();
        }
        let reply = self.commit(call, live, object, &managers)?;
        Ok(Reply { body: scale_of(&call.target, &reply.body), ..reply })
    }

    pub(super) fn patch_scale(&mut self, call: &Call, live: &Object, body: &Value) -> Result<Reply, Refused> {
        let is_json = call.content_type.starts_with("application/json-patch");
        self.rescale(call, live, |scale| {
            if is_json {
                return patch::json(scale, body).map_err(|why| error::unfit(&why));
            }
            patch::merge(scale, body);
            Ok(())
        })
    }

    pub(super) fn apply_scale(&mut self, call: &Call, live: &Object, body: &Value, force: bool) -> Result<Reply, Refused> {
        let target = &call.target;
        let config = json!({"spec": body["spec"]});
        let api_version = target.api_version();
        let writer = writer(call, &api_version);
        let mut managers = Managers::read(live);
        // Of a custom kind a real server cannot build the new scale: only an apply that changes nothing gets through.
        let impossible = || {
            let what = "request to convert CR to an invalid group/version: autoscaling/v1";
            error::plain_internal(&format!("failed to convert new object to proper version: {what}"))
        };
        if target.kind.custom && !managers.knows_scale() {
            return Err(impossible());
        }
        managers.before_first_scale(live, &writer);
        let merged = managers.applied(&counted(live), &config, &writer, force);
        let mut object = merged.map_err(|conflicts| error::field_conflicts(&conflicts))?;
        if object["spec"]["replicas"].is_null() {
            object["spec"]["replicas"] = json!(0);
        }
        if target.kind.custom && object["spec"]["replicas"] != live["spec"]["replicas"] {
            return Err(impossible());
        }
        object["metadata"] = live["metadata"].clone();
        managers.scaled();
        same_object(call, live, body)?;
        let reply = self.commit(call, live, object, &managers)?;
        Ok(Reply { body: scale_of(target, &reply.body), ..reply })
    }
}
