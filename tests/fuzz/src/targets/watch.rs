//! Objects as lists and watches may show them, through the whole controller: client, watches, projection, cache, queue, worker.
//!
//! An input is a document `{"list": [{"kind": "releases", "object": {…}}], "watch": [{"kind": …, "type": "MODIFIED", "object": {…}}]}`, or
//! else a line that every watch shows. The string `deep:N` in it stands for lists in lists, N deep. All of it is of a namespace of its
//! own; the promise is that two Releases in another one, which are in order, are looked after all the same: one that is in the list, and
//! one that the watch shows last.

mod server;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Once, PoisonError},
    time::Duration,
};

use bascule_controller::{
    Controller, Settings, client,
    clock::Clock,
    sources::registry::{Described, Fetch, LookupError, Question},
};
use bascule_core::{Policy, image::Digest};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::outcome::Outcome;
use server::{Case, Server, object, plural};

/// Virtual time in which a Release that is in order must have been looked after: some pauses of a watch that failed, and to spare.
const PATIENCE: Duration = Duration::from_secs(300);
/// Each line that cannot be read makes the watch pause for longer; so many are over within the patience.
const LINES: usize = 8;
/// Where strange things are.
const WILD: &str = "wild";
/// Where everything is in order.
const CALM: &str = "calm";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    list: Vec<Shown>,
    watch: Vec<Shown>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    kind: Value,
    #[serde(rename = "type")]
    event: Value,
    object: Value,
}

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    judge(case(data))
}

/// The paths of all that the controller wants to write when it sees this.
pub fn writes(data: &[u8]) -> BTreeSet<String> {
    let server = Server::new(case(data));
    play(&server);
    server.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn judge(case: Case) -> Outcome {
    let asked = play(&Server::new(case));
    let found = |name: &str| asked.contains(&format!("{CALM}/{name}"));
    assert!(found("listed"), "a Release that is in order is not looked after, because of another object in a list");
    assert!(found("late"), "a Release that is in order is not looked after, because of what a watch has shown before");
    if asked.iter().any(|name| name.starts_with(WILD)) {
        Outcome::accepted("looked after")
    } else {
        Outcome::refused("left alone")
    }
}

fn play(server: &Arc<Server>) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(drive(server))
}

/// Runs the controller until both Releases that are in order were looked after; gives all the Services that were looked for.
async fn drive(server: &Arc<Server>) -> BTreeSet<String> {
    // One for the process, as in `main`.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
    let (answering, mut asked) = (server.clone(), server.asked.subscribe());
    let service = tower::service_fn(move |request| {
        let reply = answering.answer(&request);
        async move { Ok::<_, Infallible>(reply) }
    });
    let settings = Settings {
        namespace: None,
        listen: None,
        meters: None,
        cluster_reads: bascule_controller::ClusterReads::All,
        metrics_per_release: true,
        collector: None,
        registry_credentials: None,
        read_pull_secrets: false,
        plain_http_registries: Vec::new(),
        fetch: Some(Arc::new(Registry)),
        registries_elsewhere: Vec::new(),
        cloud: None,
        gates: None,
        lease: None,
        seed: 1,
        policy: Policy::default(),
    };
    let stop = CancellationToken::new();
    let controller =
        async { Controller::new(client::over(service), settings, Arc::new(PausedClock::default()))?.run(stop.clone()).await };
    let both = async {
        let names = ["listed", "late"].map(|name| format!("{CALM}/{name}"));
        let _ = tokio::time::timeout(PATIENCE, asked.wait_for(|asked| names.iter().all(|name| asked.contains(name)))).await;
        // What is wild has the same chance.
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(controller, both);
    assert!(ended.is_ok(), "{ended:?}");
    server.asked.borrow().clone()
}

fn case(data: &[u8]) -> Case {
    let mut case = Case::default();
    match serde_json::from_slice::<Input>(data) {
        Ok(input) => {
            for (index, shown) in input.list.into_iter().enumerate() {
                let kind = plural(shown.kind.as_str().unwrap_or_default());
                case.listed.push((kind, deep(&as_stored(shown.object, kind, index))));
            }
            for shown in input.watch.into_iter().take(LINES) {
                let kind = plural(shown.kind.as_str().unwrap_or_default());
                let line = deep(&json!({"type": shown.event, "object": in_the_wild(shown.object)}));
                case.watched.push((kind, line.into_bytes()));
            }
        }
        Err(_) => {
            for kind in server::plurals() {
                let lines = data.split(|byte| *byte == b'\n').take(LINES);
                case.watched.extend(lines.map(|line| (kind, line.to_vec())));
            }
        }
    }
    case.fine.push(("namespaces", object("", CALM, "namespaces", &json!({})).to_string()));
    case.fine.push(("namespaces", object("", WILD, "namespaces", &json!({})).to_string()));
    case.fine.push(("releases", in_order("listed")));
    case.late.push(("releases", in_order("late")));
    case
}

fn in_order(name: &str) -> String {
    let template = json!({"spec": {"containers": [{"name": "web", "image": "web:v1"}]}});
    let spec = json!({"workloads": [{"name": name, "template": template}], "services": [{"name": name}]});
    object(CALM, name, "releases", &json!({"spec": spec})).to_string()
}

/// What an event says is not about those that are in order.
fn in_the_wild(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("namespace").is_some_and(|namespace| namespace == CALM)
    {
        metadata.insert("namespace".into(), json!(WILD));
    }
    object
}

/// What is stored has been through the API server: it has an identity, and its metadata is of the right types.
fn as_stored(object: Value, kind: &str, index: usize) -> Value {
    let mut stored = if object.is_object() { object } else { json!({ "spec": object }) };
    let mut metadata: serde_json::Map<String, Value> = match stored["metadata"].take() {
        Value::Object(metadata) => metadata.into_iter().filter(|(name, value)| is_metadata(name, value)).collect(),
        _ => serde_json::Map::new(),
    };
    metadata.insert("name".into(), json!(format!("wild-{index}")));
    metadata.insert("uid".into(), json!(format!("wild-{kind}-{index}")));
    metadata.insert("resourceVersion".into(), json!("50"));
    if ["namespaces", "environments", "nodes"].contains(&kind) {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".into(), json!(WILD));
    }
    stored["metadata"] = metadata.into();
    stored
}

fn is_metadata(name: &str, value: &Value) -> bool {
    match name {
        "labels" | "annotations" => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        "generation" => value.is_i64(),
        "creationTimestamp" | "deletionTimestamp" => value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()),
        "ownerReferences" => serde_json::from_value::<Vec<OwnerReference>>(value.clone()).is_ok(),
        _ => false,
    }
}

/// As text, with `deep:N` written out.
fn deep(value: &Value) -> String {
    let mut text = value.to_string();
    while let Some((head, tail)) = text.split_once("\"deep:") {
        let Some((depth, rest)) = tail.split_once('"') else { break };
        let depth = depth.parse::<usize>().unwrap_or(1).min(20_000);
        text = format!("{head}{}0{}{rest}", "[".repeat(depth), "]".repeat(depth));
    }
    text
}

/// Virtual time.
#[derive(Debug)]
struct PausedClock {
    start: tokio::time::Instant,
}

impl Default for PausedClock {
    fn default() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or_default();
        start.checked_add(passed).unwrap_or(start)
    }
}

/// Every tag is there.
#[derive(Debug)]
struct Registry;

impl Fetch for Registry {
    fn describe<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        Box::pin(async { Ok(Digest::from_sha256([7; 32]).into()) })
    }
}
