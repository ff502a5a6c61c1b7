//! Create, replace, patch, apply, delete; scale and status.

use serde_json::{Map, Value, json};

use super::{
    Api, Call, Refused, Reply,
    apply::{Managers, Writer, stamp},
    error,
    kind::Kind,
    patch,
    path::Target,
    store::Object,
};

/// What a delete may demand.
fn preconditions(target: &Target, object: &Value, options: Option<&Value>) -> Result<(), Refused> {
    let demanded = &options.unwrap_or(&Value::Null)["preconditions"];
    let meta = &object["metadata"];
    for (field, name, shown) in [("uid", "uid", "UID"), ("resourceVersion", "resourceVersion", "ResourceVersion")] {
        if let Some(wanted) = demanded[field].as_str() {
            let is = meta[name].as_str().unwrap_or_default();
            if is != wanted {
                let why = format!("Precondition failed: {shown} in precondition: {wanted}, {shown} in object meta: {is}");
                return Err(error::conflict(target, &why));
            }
        }
    }
    Ok(())
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

impl Api {
    pub(super) fn create(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let mut object = body.filter(Value::is_object).ok_or_else(|| error::bad_request("the body is not an object"))?;
        let target = &call.target;
        if !text(&object, "resourceVersion").is_empty() {
            return Err(error::bad_request("resourceVersion should not be set on objects to be created"));
        }
        if text(&object, "name").is_empty() {
            let prefix = text(&object, "generateName").to_owned();
            if prefix.is_empty() {
                return Err(error::invalid(
                    target,
                    &[("metadata.name".into(), "Required value: name or generateName is required".into())],
                ));
            }
            object["metadata"]["name"] = json!(format!("{prefix}{}", self.store.new_suffix()));
        }
        let name = text(&object, "name").to_owned();
        let at = Target { name: Some(name.clone()), ..target.clone() };
        if self.store.get(&at.key()).is_some() {
            return Err(error::exists(target, &name));
        }
        self.born(call, &at, &mut object)?;
        let mut managers = Managers::default();
        self.prune(at.kind, &mut object);
        self.default(at.kind, &mut object, None);
        let writer = writer(call, at.kind);
        managers.updated(&json!({"metadata": {}}), &object, &self.root(at.kind), &writer.borrowed());
        self.mutate(at.kind, &mut object);
        managers.write(&mut object);
        self.validate(call, &object, None)?;
        Ok(self.store_it(call, &at, object, 201))
    }

    /// What a new object gets.
    fn born(&mut self, call: &Call, at: &Target, object: &mut Value) -> Result<(), Refused> {
        let namespace = at.namespace.clone().unwrap_or_default();
        if at.kind.namespaced && self.store.find("namespaces", "", &namespace).is_none() {
            return Err(error::no_namespace(&namespace));
        }
        let uid = self.store.new_uid();
        object["apiVersion"] = json!(at.kind.api_version());
        object["kind"] = json!(at.kind.kind);
        let meta = &mut object["metadata"];
        if at.kind.namespaced {
            meta["namespace"] = json!(namespace);
        }
        meta["name"] = json!(at.name.clone().unwrap_or_default());
        meta["uid"] = json!(uid);
        meta["creationTimestamp"] = json!(stamp(call.now));
        if at.kind.generation {
            meta["generation"] = json!(1);
        }
        if let Some(fields) = object.as_object_mut().filter(|_| at.kind.status) {
            fields.remove("status");
        }
        Ok(())
    }

    pub(super) fn replace(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let target = &call.target;
        let body = body.filter(Value::is_object).ok_or_else(|| error::bad_request("the body is not an object"))?;
        let live = self.live(target)?;
        if target.subresource.as_deref() == Some("scale") {
            return self.rescale(call, &live, &body["spec"]["replicas"], &body);
        }
        let unconditional = !target.kind.custom && target.kind.plural != "leases";
        if text(&body, "resourceVersion").is_empty() && !unconditional {
            let fault = "Invalid value: 0: must be specified for an update";
            return Err(error::invalid(target, &[("metadata.resourceVersion".into(), fault.into())]));
        }
        self.update(call, &live, body)
    }

    pub(super) fn patch(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let body = body.ok_or_else(|| error::bad_request("the body is empty"))?;
        if call.content_type.starts_with("application/apply-patch") {
            return self.apply(call, &body);
        }
        let live = self.live(&call.target)?;
        let is_json = call.content_type.starts_with("application/json-patch");
        let mut object = match call.target.subresource.as_deref() {
            Some("scale") => scale_of(&call.target, &live).ok_or_else(|| error::not_found(&call.target))?,
            _ => (*live).clone(),
        };
        if is_json {
            patch::json(&mut object, &body).map_err(|why| error::invalid(&call.target, &[(String::new(), why)]))?;
        } else {
            patch::merge(&mut object, &body);
        }
        if call.target.subresource.as_deref() == Some("scale") {
            let replicas = object["spec"]["replicas"].clone();
            return self.rescale(call, &live, &replicas, &object);
        }
        self.update(call, &live, object)
    }

    fn live(&self, target: &Target) -> Result<Object, Refused> {
        self.store.get(&target.key()).cloned().ok_or_else(|| error::not_found(target))
    }

    /// Everything but an apply: `object` is what shall be.
    fn update(&mut self, call: &Call, live: &Object, mut object: Value) -> Result<Reply, Refused> {
        let target = &call.target;
        same_object(target, live, &object)?;
        confine(target, live, &mut object);
        let mut managers = Managers::read(live);
        self.prune(target.kind, &mut object);
        self.default(target.kind, &mut object, Some(live));
        let writer = writer(call, target.kind);
        managers.updated(live, &object, &self.root(target.kind), &writer.borrowed());
        self.commit(call, live, object, &managers)
    }

    fn apply(&mut self, call: &Call, body: &Value) -> Result<Reply, Refused> {
        let target = &call.target;
        if call.query.get("fieldManager").is_none_or(String::is_empty) {
            return Err(error::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let force = call.query.get("force").is_some_and(|force| force == "true");
        let writer = writer(call, target.kind);
        let Some(live) = self.store.get(&target.key()).cloned() else {
            return self.apply_new(call, body, &writer);
        };
        same_object(target, &live, body)?;
        let mut managers = Managers::read(&live);
        let node = self.root(target.kind);
        let mut body = body.clone();
        // Only the status of a status is applied.
        if target.is_status() {
            let status = body.get("status").cloned();
            let meta = body["metadata"].clone();
            body = json!({"metadata": {"name": meta["name"]}});
            if let Some(status) = status {
                body["status"] = status;
            }
        }
        let merged = managers.applied(&live, &body, &node, &writer.borrowed(), force);
        let mut object = merged.map_err(|conflicts| error::field_conflicts(&conflicts))?;
        confine(target, &live, &mut object);
        // What defaults and admission add belongs to nobody.
        self.prune(target.kind, &mut object);
        self.default(target.kind, &mut object, Some(&live));
        self.commit(call, &live, object, &managers)
    }

    /// An apply of what does not exist creates it.
    fn apply_new(&mut self, call: &Call, body: &Value, writer: &OwnedWriter) -> Result<Reply, Refused> {
        let target = &call.target;
        if target.subresource.is_some() {
            return Err(error::not_found(target));
        }
        if !text(body, "resourceVersion").is_empty() || !text(body, "uid").is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                text(body, "uid")
            );
            return Err(error::conflict(target, &why));
        }
        let mut object = body.clone();
        self.born(call, target, &mut object)?;
        let mut managers = Managers::default();
        let empty = json!({"metadata": {}});
        let merged = managers.applied(&empty, &object, &self.root(target.kind), &writer.borrowed(), true);
        object = merged.map_err(|conflicts| error::field_conflicts(&conflicts))?;
        self.prune(target.kind, &mut object);
        self.default(target.kind, &mut object, None);
        self.mutate(target.kind, &mut object);
        managers.write(&mut object);
        self.validate(call, &object, None)?;
        Ok(self.store_it(call, target, object, 201))
    }

    /// Validates, counts the generation, and stores what has changed.
    fn commit(&mut self, call: &Call, live: &Object, mut object: Value, managers: &Managers) -> Result<Reply, Refused> {
        let target = &call.target;
        let kind = target.kind;
        self.mutate(kind, &mut object);
        managers.write(&mut object);
        if kind.generation && !target.is_status() {
            let changed =
                if kind.custom { !same_but(live, &object, &["metadata", "status"]) } else { live["spec"] != object["spec"] };
            if changed {
                object["metadata"]["generation"] = json!(live["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
        }
        self.validate(call, &object, Some(live))?;
        if object == **live {
            return Ok(Reply::ok(object));
        }
        let deleting = object["metadata"].get("deletionTimestamp").is_some();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if deleting && !held && !call.dry_run() {
            let last = self.store.remove(kind, target.key(), &object, call.user, call.now);
            return Ok(Reply::ok((*last).clone()));
        }
        Ok(self.store_it(call, target, object, 200))
    }

    fn store_it(&mut self, call: &Call, at: &Target, object: Value, code: u16) -> Reply {
        if call.dry_run() {
            return Reply { code, body: object };
        }
        let stored = self.store.put(at.kind, object, call.user, call.now);
        Reply { code, body: (*stored).clone() }
    }

    fn rescale(&mut self, call: &Call, live: &Object, replicas: &Value, body: &Value) -> Result<Reply, Refused> {
        let target = &call.target;
        same_object(target, live, body)?;
        if !target.kind.scale || !replicas.is_i64() {
            return Err(error::invalid(target, &[("spec.replicas".into(), "Required value".into())]));
        }
        let mut object = (**live).clone();
        object["spec"]["replicas"] = replicas.clone();
        let mut managers = Managers::read(live);
        let writer = writer(call, target.kind);
        managers.updated(live, &object, &self.root(target.kind), &writer.borrowed());
        let reply = self.commit(call, live, object, &managers)?;
        let body = scale_of(target, &reply.body).ok_or_else(|| error::not_found(target))?;
        Ok(Reply { body, ..reply })
    }

    pub(super) fn delete(&mut self, call: &Call, options: Option<&Value>) -> Result<Reply, Refused> {
        let target = &call.target;
        let live = self.live(target)?;
        preconditions(target, &live, options)?;
        let held = live["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if call.dry_run() {
            return Ok(Reply::ok((*live).clone()));
        }
        if held {
            if live["metadata"].get("deletionTimestamp").is_some() {
                return Ok(Reply::ok((*live).clone()));
            }
            let mut object = (*live).clone();
            object["metadata"]["deletionTimestamp"] = json!(stamp(call.now));
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if target.kind.generation {
                object["metadata"]["generation"] = json!(live["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
            let stored = self.store.put(target.kind, object, call.user, call.now);
            return Ok(Reply::ok((*stored).clone()));
        }
        let propagation = options.and_then(|options| options["propagationPolicy"].as_str());
        if propagation.or(call.query.get("propagationPolicy").map(String::as_str)) == Some("Orphan") {
            self.orphan(text(&live, "uid"), call.now);
        }
        self.store.remove(target.kind, target.key(), &live, call.user, call.now);
        let mut details = json!({"name": text(&live, "name"), "kind": target.kind.plural, "uid": text(&live, "uid")});
        if !target.kind.group.is_empty() {
            details["group"] = json!(target.kind.group);
        }
        Ok(Reply::ok(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details})))
    }
}

impl Api {
    /// What this object owned stays, and belongs to nobody.
    fn orphan(&mut self, uid: &str, now: jiff::Timestamp) {
        let owned = |object: &Value| object["metadata"]["ownerReferences"].as_array().is_some_and(|all| all.iter().any(|it| it["uid"] == uid));
        for kind in &super::kind::KINDS {
            let found: Vec<Object> = self.store.all(kind.full).filter(|object| owned(object)).cloned().collect();
            for object in found {
                let mut object = (*object).clone();
                if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|owner| owner["uid"] != uid);
                }
                if object["metadata"]["ownerReferences"].as_array().is_some_and(Vec::is_empty) {
                    object["metadata"].as_object_mut().map(|meta| meta.remove("ownerReferences"));
                }
                self.store.put(kind, object, "garbage-collector", now);
            }
        }
    }
}

/// A body that names a version or a uid is meant for that one.
fn same_object(target: &Target, live: &Value, body: &Value) -> Result<(), Refused> {
    let uid = text(body, "uid");
    // A status of a custom kind does not look at the uid.
    if !uid.is_empty() && uid != text(live, "uid") && !(target.kind.custom && target.is_status()) {
        let fault = format!("Invalid value: {uid:?}: field is immutable");
        return Err(error::invalid(target, &[("metadata.uid".into(), fault)]));
    }
    let version = text(body, "resourceVersion");
    if !version.is_empty() && version != text(live, "resourceVersion") {
        return Err(error::conflict(target, error::MODIFIED));
    }
    Ok(())
}

/// Only the part that the path is for changes; the server's own fields never do.
fn confine(target: &Target, live: &Value, object: &mut Value) {
    let empty = Value::Object(Map::new());
    let keep = |object: &mut Value, field: &str| {
        if let Some(map) = object.as_object_mut() {
            match live.get(field) {
                Some(value) => map.insert(field.to_owned(), value.clone()),
                None => map.remove(field),
            };
        }
    };
    if target.is_status() {
        let status = object.get("status").cloned();
        *object = live.clone();
        if let Some(map) = object.as_object_mut() {
            match status {
                Some(status) => map.insert("status".into(), status),
                None => map.remove("status"),
            };
        }
    } else if target.kind.status {
        keep(object, "status");
    }
    keep(object, "apiVersion");
    keep(object, "kind");
    let server =
        ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"];
    for field in server {
        let value = live["metadata"].get(field).cloned();
        if let Some(meta) = object["metadata"].as_object_mut() {
            match value {
                Some(value) => meta.insert(field.to_owned(), value),
                None => meta.remove(field),
            };
        } else {
            object["metadata"] = empty.clone();
        }
    }
}

fn same_but(a: &Value, b: &Value, but: &[&str]) -> bool {
    let fields = |value: &Value| {
        let map = value.as_object().cloned().unwrap_or_default();
        map.into_iter().filter(|(name, _)| !but.contains(&name.as_str())).collect::<Map<_, _>>()
    };
    fields(a) == fields(b)
}

/// The scale subresource of an object.
pub(super) fn scale_of(target: &Target, object: &Value) -> Option<Value> {
    if !target.kind.scale {
        return None;
    }
    let meta = &object["metadata"];
    Some(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    }))
}

struct OwnedWriter {
    manager: String,
    subresource: String,
    api_version: String,
    has_status: bool,
    now: jiff::Timestamp,
}

impl OwnedWriter {
    fn borrowed(&self) -> Writer<'_> {
        Writer {
            manager: &self.manager,
            subresource: &self.subresource,
            api_version: &self.api_version,
            has_status: self.has_status,
            now: self.now,
        }
    }
}

fn writer(call: &Call, kind: &Kind) -> OwnedWriter {
    OwnedWriter {
        manager: call.manager(),
        subresource: call.target.subresource.clone().unwrap_or_default(),
        api_version: kind.api_version(),
        has_status: kind.status,
        now: call.now,
    }
}
