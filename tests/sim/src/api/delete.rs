//! Deletes: demands, finalizers, and what becomes of what the object owned.
//!
//! In: delete requests. Out: an object that is gone, or waits for its finalizers. Never here: the garbage collector.

use serde_json::{Value, json};

use super::{
    Api, Call, Refused, Reply,
    apply::{Managers, Writer, stamp},
    error,
    kind::KINDS,
    path::Target,
    store::Object,
    write::text,
};

/// What a delete may demand.
fn preconditions(target: &Target, object: &Value, options: &Value) -> Result<(), Refused> {
    for (field, shown) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let is = text(object, field);
        if let Some(wanted) = options["preconditions"][field].as_str().filter(|wanted| *wanted != is) {
            let why = format!("the {shown} in the precondition ({wanted}) does not match the {shown} in record ({is})");
            return Err(error::precondition(target, &why));
        }
    }
    Ok(())
}

pub(super) fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

fn shows_deleted(target: &Target) -> bool {
    ["pods", "services"].contains(&target.kind.full)
}

impl Api {
    pub(super) fn delete(&mut self, call: &Call, options: Option<&Value>) -> Result<Reply, Refused> {
        let target = &call.target;
        let options = options.unwrap_or(&Value::Null);
        let live = self.live(target)?;
        preconditions(target, &live, options)?;
        let dry_run = call.dry_run() || options["dryRun"][0] == "All";
        let policy = options["propagationPolicy"].as_str().or(call.query.get("propagationPolicy").map(String::as_str));
        if policy == Some("Orphan") && !dry_run {
            self.orphan(text(&live, "uid"), call.now);
        }
        if is_held(&live) {
            if is_deleting(&live) {
                return Ok(Reply::ok((*live).clone()));
            }
            let mut object = (*live).clone();
            object["metadata"]["deletionTimestamp"] = json!(stamp(call.now));
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if let Some(generation) = live["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = json!(generation + 1);
            }
            if dry_run {
                return Ok(Reply::ok(object));
            }
            let stored = self.store.put(target.kind, object, call.user, call.now);
            return Ok(Reply::ok((*stored).clone()));
        }
        if !dry_run {
            let last = self.store.remove(target.kind, target.key(), &live, call.user, call.now);
            // Some kinds answer with what they were, the others that it is done.
            if shows_deleted(target) {
                return Ok(Reply::ok((*last).clone()));
            }
        } else if shows_deleted(target) {
            return Ok(Reply::ok((*live).clone()));
        }
        let mut details = json!({"name": text(&live, "name"), "kind": target.kind.plural, "uid": text(&live, "uid")});
        if !target.group.is_empty() {
            details["group"] = json!(target.group);
        }
        Ok(Reply::ok(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details})))
    }

    /// What this object owned stays, and belongs to nobody. A real server leaves this to the garbage collector, and the object waits for it.
    fn orphan(&mut self, uid: &str, now: jiff::Timestamp) {
        let owners = |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        for kind in &KINDS {
            let owned = |object: &&Object| owners(object).iter().any(|owner| owner["uid"] == uid);
            let found: Vec<Object> = self.store.all(kind.full).filter(owned).cloned().collect();
            for object in found {
                let before = object;
                let mut object = (*before).clone();
                let left: Vec<Value> = owners(&object).into_iter().filter(|owner| owner["uid"] != uid).collect();
                if let Some(meta) = object["metadata"].as_object_mut() {
                    if left.is_empty() {
                        meta.remove("ownerReferences");
                    } else {
                        meta.insert("ownerReferences".into(), json!(left));
                    }
                }
                let api_version = kind.api_version();
                let by = Writer { manager: "kube-controller-manager", subresource: "", kind, api_version: &api_version, now };
                let mut managers = Managers::read(&before);
                managers.updated(&before, &object, &by);
                managers.write(&mut object);
                self.store.put(kind, object, "garbage-collector", now);
            }
        }
    }
}
