//! The rest of the cluster: models of the controllers that turn a Deployment into ready endpoints, and of the pods.
//!
//! In: the store. Out: requests, like those of the real ones. Each model says what it would do next about one object; which of them acts
//! first, and how much later, is chance. Never here: anything about Bascule.

mod autoscaler;
mod deployment;
mod endpoint_slice;
mod garbage;
mod job;
mod pod;
mod replica_set;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{Kind, Request, Store},
    chance::Chance,
    server::Server,
};

/// What a model sees: the store, and when each pod was started.
#[derive(Debug)]
pub struct View<'a> {
    pub store: &'a Store,
    pub now: Timestamp,
    pub started: &'a BTreeMap<String, Timestamp>,
}

/// What the models would do now, and when one of them wants to look again.
#[derive(Debug, Default)]
pub struct Wishes {
    pub requests: Vec<Request>,
    pub wake: Option<Timestamp>,
}

impl Wishes {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
    }
}

/// Runs for as long as the run does.
pub async fn run(server: Arc<Server>, seed: u64) {
    let mut chance = Chance::part(seed, "cluster");
    let mut started = BTreeMap::new();
    loop {
        let version = server.version();
        let wishes = wishes(&server, &mut started);
        if let Some(request) = chance.pick(&wishes.requests) {
            // Caches of these controllers lag a little too.
            tokio::time::sleep(Duration::from_millis(chance.between(0, 5))).await;
            server.carry_out(request);
            continue;
        }
        let wake = wishes.wake.map(|at| Duration::try_from(at.duration_since(server.now())).unwrap_or_default());
        tokio::select! {
            biased;
            () = server.until_newer(version) => {}
            () = tokio::time::sleep(wake.unwrap_or(Duration::from_secs(3_600))) => {}
        }
    }
}

fn wishes(server: &Server, started: &mut BTreeMap<String, Timestamp>) -> Wishes {
    let now = server.now();
    let inside = server.inside();
    let store = &inside.api.store;
    for pod in store.all("pods") {
        started.entry(text(pod, "/metadata/uid").to_owned()).or_insert(now);
    }
    let view = View { store, now, started };
    let mut wishes = Wishes::default();
    deployment::wish(&view, &mut wishes);
    replica_set::wish(&view, &mut wishes);
    job::wish(&view, &mut wishes);
    pod::wish(&view, &mut wishes);
    endpoint_slice::wish(&view, &mut wishes);
    autoscaler::wish(&view, &mut wishes);
    garbage::wish(&view, &mut wishes);
    wishes
}

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn controlled_by(object: &Value, uid: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|owner| owner["controller"] == true && owner["uid"] == uid)
}

fn deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

fn owner(kind: &Kind, object: &Value) -> Value {
    serde_json::json!([{
        "apiVersion": kind.api_version(), "kind": kind.kind, "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

fn kind(full: &str) -> &'static Kind {
    Kind::named(full).unwrap_or_else(|| unreachable!("the models name only kinds that exist"))
}

fn create(user: &str, full: &str, object: Value) -> Request {
    let namespace = text(&object, "/metadata/namespace").to_owned();
    Request {
        user: user.into(),
        method: "POST".into(),
        path: kind(full).path(Some(&namespace), None),
        content_type: "application/json".into(),
        body: Some(object),
        ..Request::default()
    }
}

fn patch(user: &str, full: &str, object: &Value, subresource: &str, body: Value) -> Request {
    let path = path_of(full, object);
    Request {
        user: user.into(),
        method: "PATCH".into(),
        path: if subresource.is_empty() { path } else { format!("{path}/{subresource}") },
        content_type: "application/merge-patch+json".into(),
        body: Some(body),
        ..Request::default()
    }
}

fn delete(user: &str, full: &str, object: &Value) -> Request {
    Request {
        user: user.into(),
        method: "DELETE".into(),
        path: path_of(full, object),
        body: Some(serde_json::json!({"preconditions": {"uid": object["metadata"]["uid"]}})),
        ..Request::default()
    }
}

fn path_of(full: &str, object: &Value) -> String {
    kind(full).path(Some(text(object, "/metadata/namespace")), Some(text(object, "/metadata/name")))
}
