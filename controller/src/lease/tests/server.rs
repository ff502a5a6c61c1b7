//! A server for one Lease: enough of the API for an election, and everything that can go wrong on the way to it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};

/// There and back again takes 10 ms.
const ONE_WAY: Duration = Duration::from_millis(5);

/// The way between one process and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// Nothing arrives, and nobody says so.
    Cut,
    /// Requests arrive, and answers do not.
    Deaf,
    /// Requests and answers pass, and the watch shows nothing.
    Blind,
    /// Every answer is 503.
    Failing,
}

#[derive(Debug, Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    watchers: Vec<(&'static str, mpsc::UnboundedSender<String>)>,
    ways: BTreeMap<&'static str, Way>,
    writes: u32,
    conflicts: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Server(Arc<Mutex<State>>);

type Chunk = Result<Frame<Bytes>, Infallible>;
type Answer = Response<StreamBody<BoxStream<'static, Chunk>>>;

impl Server {
    /// As the chart makes it: there, and held by nobody.
    pub(super) fn with_lease() -> Self {
        let server = Self::default();
        server.state().put(json!({"metadata": {"name": super::LEASE, "namespace": "ns", "uid": "u0"}, "spec": {}}));
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn holder(&self) -> String {
        let state = self.state();
        let holder = state.lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str());
        holder.unwrap_or_default().to_owned()
    }

    pub(super) fn lease(&self) -> Value {
        self.state().lease.clone().unwrap_or_default()
    }

    pub(super) fn way(&self, of: &'static str, way: Way) {
        self.state().ways.insert(of, way);
    }

    pub(super) fn writes(&self) -> u32 {
        self.state().writes
    }

    pub(super) fn conflicts(&self) -> u32 {
        self.state().conflicts
    }

    /// `kubectl delete lease`.
    pub(super) fn delete(&self) {
        let mut state = self.state();
        if let Some(mut lease) = state.lease.take() {
            state.version += 1;
            lease["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.show("DELETED", &lease);
        }
    }

    /// Another hand.
    pub(super) fn edit(&self, patch: &Value) {
        let mut state = self.state();
        let mut lease = state.lease.clone().unwrap();
        merge(&mut lease, patch);
        state.put(lease);
    }

    pub(super) fn client(&self, who: &'static str) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(who, request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, who: &'static str, request: Request<Body>) -> Answer {
        sleep(ONE_WAY).await;
        if self.way_of(who) == Way::Cut {
            std::future::pending::<()>().await;
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if query.contains("watch=true") {
            assert!(query.contains("metadata.name"), "only the one Lease is watched: {query}");
            return self.watch(who);
        }
        let (code, value) = if self.way_of(who) == Way::Failing {
            status(503, "away")
        } else {
            self.state().handle(&parts.method, parts.uri.path(), &body)
        };
        sleep(ONE_WAY).await;
        if matches!(self.way_of(who), Way::Cut | Way::Deaf) {
            std::future::pending::<()>().await;
        }
        let chunk: Chunk = Ok(Frame::data(value.to_string().into()));
        Response::builder().status(code).body(StreamBody::new(futures::stream::iter([chunk]).boxed())).unwrap()
    }

    fn way_of(&self, who: &str) -> Way {
        self.state().ways.get(who).copied().unwrap_or(Way::Open)
    }

    fn watch(&self, who: &'static str) -> Answer {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        self.state().watchers.push((who, sender));
        let lines = futures::stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            sleep(ONE_WAY).await;
            let chunk: Chunk = Ok(Frame::data(line.into()));
            Some((chunk, receiver))
        });
        Response::new(StreamBody::new(lines.boxed()))
    }
}

impl State {
    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let named = path.ends_with(super::LEASE);
        match *method {
            Method::GET if named => self.lease.clone().map_or_else(|| status(404, "not found"), |lease| (200, lease)),
            Method::GET => {
                let version = json!({"resourceVersion": self.version.to_string()});
                (200, json!({"metadata": version, "items": self.lease.iter().collect::<Vec<_>>()}))
            }
            Method::POST => {
                self.writes += 1;
                if self.lease.is_some() {
                    self.conflicts += 1;
                    return status(409, "already exists");
                }
                let mut lease: Value = serde_json::from_slice(body).unwrap();
                lease["metadata"]["uid"] = json!(format!("u{}", self.version));
                (201, self.put(lease))
            }
            Method::PATCH => {
                self.writes += 1;
                let change: Value = serde_json::from_slice(body).unwrap();
                let Some(mut lease) = self.lease.clone() else { return status(404, "not found") };
                for field in ["uid", "resourceVersion"] {
                    assert!(change["metadata"][field].is_string(), "no write without a precondition: {change}");
                    if change["metadata"][field] != lease["metadata"][field] {
                        self.conflicts += 1;
                        return status(409, "the object has been modified");
                    }
                }
                merge(&mut lease, &change);
                (200, self.put(lease))
            }
            _ => status(405, "not here"),
        }
    }

    fn put(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if self.lease.is_some() { "MODIFIED" } else { "ADDED" };
        self.show(kind, &lease);
        self.lease = Some(lease.clone());
        lease
    }

    fn show(&mut self, kind: &str, lease: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": lease}));
        let ways = &self.ways;
        self.watchers.retain(|(who, watcher)| {
            let shown = !matches!(ways.get(who), Some(Way::Cut | Way::Blind));
            !shown || watcher.send(line.clone()).is_ok()
        });
    }
}

fn status(code: u16, message: &str) -> (u16, Value) {
    (code, json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": "", "message": message}))
}

fn merge(target: &mut Value, patch: &Value) {
    match patch.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                merge(&mut target[name], value);
            }
        }
        None => *target = patch.clone(),
    }
}
