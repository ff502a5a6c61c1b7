//! Refusals, as the `Status` objects of a real server.

use serde_json::{Value, json};

use super::{Refused, Reply, path::Target};

fn status(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Refused {
    let mut body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message.into(), "reason": reason, "code": code,
    });
    if !details.is_null() {
        body["details"] = details;
    }
    Box::new(Reply { code, body })
}

fn resource(target: &Target) -> String {
    if target.group.is_empty() { target.kind.plural.to_owned() } else { format!("{}.{}", target.kind.plural, target.group) }
}

fn details(target: &Target) -> Value {
    let mut details = json!({"kind": target.kind.plural});
    if let Some(name) = target.name.as_ref().filter(|name| !name.is_empty()) {
        details["name"] = json!(name);
    }
    if !target.group.is_empty() {
        details["group"] = json!(target.group);
    }
    details
}

/// What cannot be turned into an object, or changed by that patch: a `Status` that names no kind.
pub(super) fn unfit(why: &str) -> Refused {
    let causes = json!([{"reason": "FieldValueInvalid", "message": why, "field": "patch"}]);
    status(422, "Invalid", format!(" \"\" is invalid: patch: Invalid value: {why}"), json!({"causes": causes}))
}

/// An update of a kind that takes none without saying which version is meant.
pub(super) fn no_version(target: &Target) -> Refused {
    let mut details = details(target);
    let message = "Invalid value: 0: must be specified for an update";
    details["causes"] = json!([{"reason": "FieldValueInvalid", "message": message, "field": "metadata.resourceVersion"}]);
    let name = target.name.as_deref().unwrap_or_default();
    status(422, "Invalid", format!("{} \"{name}\" is invalid: metadata.resourceVersion: {message}", resource(target)), details)
}

pub(super) fn no_manager() -> Refused {
    let message = "Required value: is required for apply patch";
    let causes = json!([{"reason": "FieldValueRequired", "message": message, "field": "fieldManager"}]);
    let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes});
    status(422, "Invalid", format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {message}"), details)
}

pub(super) fn internal(why: &str) -> Refused {
    let details = json!({"causes": [{"message": why}]});
    status(500, "InternalError", format!("Internal error occurred: {why}"), details)
}

/// What a real server does not think of as a fault of the request, though it is one.
pub(super) fn plain_internal(why: &str) -> Refused {
    let mut refused = status(500, "", why, Value::Null);
    if let Some(body) = refused.body.as_object_mut() {
        body.remove("reason");
    }
    refused
}

pub(super) fn not_found_path(path: &str) -> Refused {
    status(404, "NotFound", format!("the server could not find the requested resource: {path}"), Value::Null)
}

pub(super) fn not_found(target: &Target) -> Refused {
    let name = target.name.as_deref().unwrap_or_default();
    status(404, "NotFound", format!("{} \"{name}\" not found", resource(target)), details(target))
}

pub(super) fn no_namespace(namespace: &str) -> Refused {
    let details = json!({"name": namespace, "kind": "namespaces"});
    status(404, "NotFound", format!("namespaces \"{namespace}\" not found"), details)
}

pub(super) fn exists(target: &Target, name: &str) -> Refused {
    let target = Target { name: Some(name.to_owned()), ..target.clone() };
    status(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource(&target)), details(&target))
}

pub(super) fn conflict(target: &Target, why: &str) -> Refused {
    let name = target.name.as_deref().unwrap_or_default();
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource(target));
    status(409, "Conflict", message, details(target))
}

/// A delete that is meant for another object, or another version of it.
pub(super) fn precondition(target: &Target, why: &str) -> Refused {
    let mut refused = conflict(&Target { group: target.kind.group.to_owned(), ..target.clone() }, why);
    refused.body["details"]["kind"] = json!(target.kind.kind);
    refused
}

pub(super) const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Fields that belong to other managers: one cause for each.
pub(super) fn field_conflicts(conflicts: &[(String, String)]) -> Refused {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
        })
        .collect();
    let count = causes.len();
    let noun = if count == 1 { "conflict" } else { "conflicts" };
    let mut listed: Vec<String> = Vec::new();
    for (manager, path) in conflicts {
        listed.push(format!("conflict with {manager}: {path}"));
    }
    let message = format!("Apply failed with {count} {noun}: {}", listed.join("; "));
    status(409, "Conflict", message, json!({"causes": causes}))
}

/// 422, with one cause for each field.
pub(super) fn invalid(target: &Target, faults: &[(String, String)]) -> Refused {
    let name = target.name.as_deref().unwrap_or_default();
    let kind = if target.kind.group.is_empty() {
        target.kind.kind.to_owned()
    } else {
        format!("{}.{}", target.kind.kind, target.kind.group)
    };
    let said: Vec<String> = faults.iter().map(|(field, message)| format!("{field}: {message}")).collect();
    let said = if said.len() == 1 { said.concat() } else { format!("[{}]", said.join(", ")) };
    let causes: Vec<Value> = faults
        .iter()
        .map(|(field, message)| json!({"reason": "FieldValueInvalid", "message": message, "field": field}))
        .collect();
    // Also where a kind has two groups, it is the one in which it is kept that is named.
    let mut details = details(&Target { group: target.kind.group.to_owned(), ..target.clone() });
    details["kind"] = json!(target.kind.kind);
    details["causes"] = json!(causes);
    status(422, "Invalid", format!("{kind} \"{name}\" is invalid: {said}"), details)
}

pub(super) fn bad_request(message: &str) -> Refused {
    status(400, "BadRequest", message, Value::Null)
}

pub(super) fn method_not_allowed(method: &str) -> Refused {
    status(
        405,
        "MethodNotAllowed",
        format!("the server does not allow this method on the requested resource: {method}"),
        Value::Null,
    )
}

pub(super) fn expired() -> Refused {
    status(410, "Expired", "The provided continue parameter is too old to display a consistent list result.", Value::Null)
}

/// A `Status` as faults and watches need it.
pub fn plain(code: u16, reason: &str, message: &str, retry_after: Option<u64>) -> Value {
    let details = retry_after.map_or(Value::Null, |secs| json!({"retryAfterSeconds": secs}));
    status(code, reason, message, details).body
}
