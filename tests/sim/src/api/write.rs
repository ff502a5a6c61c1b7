//! Create, replace, patch and apply.
//!
//! In: requests that write. Out: the new state in the store, and the reply; or a refusal, in the order in which a real server looks: does the
//! body fit the kind, who owns the fields, is it the object that is meant, what does admission say, is it valid. Never here: deletes.

use serde_json::{Value, json};

use super::{
    Api, Call, Refused, Reply,
    apply::{Managers, Writer, stamp},
    delete::{is_deleting, is_held},
    error, patch,
    path::Target,
    schema::Node,
    shape,
    store::Object,
    typed::{self, Strictness},
};

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(super) fn writer<'a>(call: &'a Call<'_>, api_version: &'a str) -> Writer<'a> {
    Writer {
        manager: call.query.get("fieldManager").map_or(call.user, String::as_str),
        subresource: call.target.subresource.as_deref().unwrap_or_default(),
        kind: call.target.kind,
        api_version,
        now: call.now,
    }
}

/// What cannot be read as an object of its kind.
fn unreadable(call: &Call, object: &Value) -> Option<String> {
    let kind = call.target.kind;
    let strict = call.query.get("fieldValidation").is_some_and(|how| how == "Strict");
    let strictness = Strictness { unknown: strict, names: false, integers: true };
    if kind.custom {
        // Types are for the definition to judge, but for those of the metadata.
        let root = Node::root(kind);
        let metadata = typed::misfit(&object["metadata"], root.child("metadata"), strictness, ".metadata");
        let unknown = || typed::unknown_field(object, root, "").filter(|_| strict);
        return metadata.or_else(unknown);
    }
    typed::misfit(object, Node::root(kind), strictness, "")
}

impl Api {
    pub(super) fn create(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let mut object = body.filter(Value::is_object).ok_or_else(|| error::bad_request("the body is not an object"))?;
        let target = &call.target;
        if let Some(why) = unreadable(call, &object) {
            return Err(error::bad_request(&format!("{} cannot be handled as a {}: {why}", target.kind.kind, target.kind.kind)));
        }
        if !text(&object, "resourceVersion").is_empty() {
            return Err(error::bad_request("resourceVersion should not be set on objects to be created"));
        }
        if text(&object, "name").is_empty() && !text(&object, "generateName").is_empty() {
            object["metadata"]["name"] = json!(format!("{}{}", text(&object, "generateName"), self.store.new_suffix()));
        }
        let at = Target { name: Some(text(&object, "name").to_owned()), ..target.clone() };
        shape::settle(at.kind, &mut object);
        let mut managers = Managers::default();
        managers.updated(&shape::empty(at.kind), &object, &writer(call, &call.target.api_version()));
        self.born(call, &at, object, &managers)
    }

    /// What a new object gets, whether it was posted or applied.
    fn born(&mut self, call: &Call, at: &Target, mut object: Value, managers: &Managers) -> Result<Reply, Refused> {
        let namespace = at.namespace.clone().unwrap_or_default();
        if at.kind.namespaced && self.store.find("namespaces", "", &namespace).is_none() {
            return Err(error::no_namespace(&namespace));
        }
        let kind = at.kind;
        object["apiVersion"] = json!(at.api_version());
        object["kind"] = json!(kind.kind);
        let meta = &mut object["metadata"];
        if kind.namespaced {
            meta["namespace"] = json!(namespace);
        }
        meta["name"] = json!(at.name);
        meta["uid"] = json!(self.store.new_uid());
        meta["creationTimestamp"] = json!(stamp(call.now));
        if let Some(meta) = meta.as_object_mut() {
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
                meta.remove(field);
            }
        }
        if kind.generation {
            object["metadata"]["generation"] = json!(1);
        }
        if let Some(fields) = object.as_object_mut().filter(|_| kind.status) {
            fields.remove("status");
        }
        // Again: what was taken away may have a default, as the status of a Release has.
        shape::settle(kind, &mut object);
        self.mutate(kind, &mut object);
        self.allocate(kind, &mut object, None);
        managers.write(&mut object);
        self.validate(call, &object, None)?;
        if self.store.get(&at.key()).is_some() {
            return Err(error::exists(at, text(&object, "name")));
        }
        let (bare, uid) = (kind.custom && object.get("status").is_some(), text(&object, "uid").to_owned());
        let reply = self.store_it(call, at, object, 201);
        if bare && !call.dry_run() {
            self.store.is_bare(uid);
        }
        Ok(reply)
    }

    pub(super) fn replace(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let target = &call.target;
        let body = body.filter(Value::is_object).ok_or_else(|| error::bad_request("the body is not an object"))?;
        if target.subresource.as_deref() == Some("scale") {
            let live = self.live(target)?;
            return self.rescale(call, &live, |scale| {
                *scale = body;
                Ok(())
            });
        }
        if let Some(why) = unreadable(call, &body) {
            return Err(error::bad_request(&format!("{} cannot be handled as a {}: {why}", target.kind.kind, target.kind.kind)));
        }
        // A few kinds are made by a replace of what is not there.
        let makes = ["services", "events", "coordination.k8s.io/leases"].contains(&target.kind.full);
        if makes && target.subresource.is_none() && self.store.get(&target.key()).is_none() {
            if !text(&body, "uid").is_empty() {
                return Err(error::conflict(target, "Precondition failed: there is no object with that UID"));
            }
            let mut body = body;
            if let Some(meta) = body["metadata"].as_object_mut() {
                meta.remove("resourceVersion");
            }
            return self.create(call, Some(body));
        }
        let live = self.live(target)?;
        if !text(&body, "uid").is_empty() && text(&body, "uid") != text(&live, "uid") {
            same_object(call, &live, &body)?;
        }
        let unconditional = !target.kind.custom && target.kind.plural != "leases";
        if text(&body, "resourceVersion").is_empty() && !unconditional {
            return Err(error::no_version(target));
        }
        self.update(call, &live, body)
    }

    pub(super) fn patch(&mut self, call: &Call, body: Option<Value>) -> Result<Reply, Refused> {
        let body = body.ok_or_else(|| error::bad_request("the body is empty"))?;
        if call.content_type.starts_with("application/apply-patch") {
            return self.apply(call, &body);
        }
        let live = self.live(&call.target)?;
        if call.target.subresource.as_deref() == Some("scale") {
            return self.patch_scale(call, &live, &body);
        }
        let mut object = (*live).clone();
        if call.content_type.starts_with("application/json-patch") {
            patch::json(&mut object, &body).map_err(|why| error::unfit(&why))?;
        } else {
            patch::merge(&mut object, &body);
        }
        if let Some(why) = unreadable(call, &object) {
            return Err(error::unfit(&why));
        }
        self.update(call, &live, object)
    }

    pub(super) fn live(&self, target: &Target) -> Result<Object, Refused> {
        self.store.get(&target.key()).cloned().ok_or_else(|| error::not_found(target))
    }

    /// Everything but an apply: `object` is what shall be.
    fn update(&mut self, call: &Call, live: &Object, mut object: Value) -> Result<Reply, Refused> {
        let kind = call.target.kind;
        let meant = json!({"metadata": object["metadata"]});
        shape::settle(kind, &mut object);
        self.allocate(kind, &mut object, Some(live));
        confine(call, live, &mut object);
        let mut managers = Managers::read(live);
        // Whoever sends an empty list of managers wants to start anew.
        if meant["metadata"]["managedFields"].as_array().is_some_and(Vec::is_empty) {
            managers = Managers::default();
        } else {
            managers.updated(live, &object, &writer(call, &call.target.api_version()));
        }
        same_object(call, live, &meant)?;
        self.commit(call, live, object, &managers)
    }

    fn apply(&mut self, call: &Call, body: &Value) -> Result<Reply, Refused> {
        let target = &call.target;
        if call.query.get("fieldManager").is_none_or(String::is_empty) {
            return Err(error::no_manager());
        }
        let force = call.query.get("force").is_some_and(|force| force == "true");
        let kind = target.kind;
        let live = self.store.get(&target.key()).cloned();
        if target.subresource.as_deref() == Some("scale") {
            let live = live.ok_or_else(|| error::not_found(target))?;
            return self.apply_scale(call, &live, body, force);
        }
        if live.is_none() && target.subresource.is_some() {
            return Err(error::not_found(target));
        }
        let strictness = Strictness { unknown: true, names: true, integers: false };
        if let Some(why) = typed::misfit(body, Node::root(kind), strictness, "") {
            let name = target.name.as_deref().unwrap_or_default();
            let what = format!("/{name}; {}, Kind={}", target.api_version(), kind.kind);
            return Err(error::plain_internal(&format!("failed to create typed patch object ({what}): {why}")));
        }
        if live.is_none() && !text(body, "uid").is_empty() {
            let why = "uid mismatch: the provided object specified a uid, and no existing object was found";
            return Err(error::conflict(target, why));
        }
        let mut managers = live.as_ref().map(|live| Managers::read(live)).unwrap_or_default();
        let before = live.as_ref().map_or_else(|| shape::empty(kind), |live| (**live).clone());
        let merged = managers.applied(&before, body, &writer(call, &call.target.api_version()), force);
        let mut object = merged.map_err(|conflicts| error::field_conflicts(&conflicts))?;
        // What defaults and admission add belongs to nobody.
        shape::settle(kind, &mut object);
        let Some(live) = live else { return self.born(call, target, object, &managers) };
        self.allocate(kind, &mut object, Some(&live));
        confine(call, &live, &mut object);
        same_object(call, &live, body)?;
        self.commit(call, &live, object, &managers)
    }

    /// Admission, the generation, validation; and stores what has changed.
    pub(super) fn commit(
        &mut self,
        call: &Call,
        live: &Object,
        mut object: Value,
        managers: &Managers,
    ) -> Result<Reply, Refused> {
        let target = &call.target;
        let kind = target.kind;
        self.mutate(kind, &mut object);
        if kind.generation && !target.is_status() && counts(call, live, &object) {
            object["metadata"]["generation"] = json!(live["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let known = Managers::read(live);
        if managers.same_but_time(&known) {
            known.write(&mut object);
        } else {
            managers.write(&mut object);
        }
        self.validate(call, &object, Some(live))?;
        // A default that only the reader sees is stored by the next write, whatever that is for.
        let was_bare = self.store.clothes(text(live, "uid"), call.dry_run());
        if object == **live && !was_bare {
            return Ok(Reply::ok(object));
        }
        if is_deleting(&object) && !is_held(&object) && !call.dry_run() {
            // What goes is what was stored, with the finalizer that is taken away here; the reply is without it.
            self.store.remove(kind, target.key(), live, call.user, call.now);
            return Ok(Reply::ok(object));
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
}

/// Whether this change counts as a new generation.
fn counts(call: &Call, live: &Value, object: &Value) -> bool {
    if call.target.kind.custom {
        let rest = |object: &Value| {
            let mut fields = object.as_object().cloned().unwrap_or_default();
            fields.retain(|field, _| !["metadata", "status"].contains(&field.as_str()));
            fields
        };
        return rest(live) != rest(object);
    }
    // The annotations of a Deployment are copied to its ReplicaSets.
    let annotations =
        call.target.kind.full == "apps/deployments" && live["metadata"]["annotations"] != object["metadata"]["annotations"];
    annotations || live["spec"] != object["spec"]
}

/// A body that names a version or a uid is meant for that one.
pub(super) fn same_object(call: &Call, live: &Value, body: &Value) -> Result<(), Refused> {
    let target = &call.target;
    let uid = text(body, "uid");
    let other = !uid.is_empty() && uid != text(live, "uid");
    if other && call.is_replace {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", text(live, "uid"));
        return Err(error::conflict(target, &why));
    }
    let version = text(body, "resourceVersion");
    if !version.is_empty() && version != text(live, "resourceVersion") {
        return Err(error::conflict(target, error::MODIFIED));
    }
    // A status of a custom kind does not look at the uid.
    if other && !(target.kind.custom && target.is_status()) {
        let fault = format!("Invalid value: {uid:?}: field is immutable");
        return Err(error::invalid(target, &[("metadata.uid".into(), fault)]));
    }
    Ok(())
}

fn keep(live: &Value, object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        match live.get(field) {
            Some(value) => map.insert(field.to_owned(), value.clone()),
            None => map.remove(field),
        };
    }
}

/// The server's own fields.
const SERVER: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

/// Only the part that the path is for changes; the server's own fields never do.
fn confine(call: &Call, live: &Value, object: &mut Value) {
    let kind = call.target.kind;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if call.target.is_status() {
        if kind.custom {
            keep(live, object, "metadata");
        } else if ["apps/deployments", "apps/replicasets"].contains(&kind.full) {
            keep(&live["metadata"], &mut object["metadata"], "labels");
        }
        keep(live, object, "spec");
    } else if kind.status {
        keep(live, object, "status");
    }
    keep(live, object, "apiVersion");
    keep(live, object, "kind");
    for field in SERVER {
        keep(&live["metadata"], &mut object["metadata"], field);
    }
}
