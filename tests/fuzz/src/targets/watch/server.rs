//! An API server that shows whatever it is told to: lists with strange objects in them, watches with strange lines. It takes no
//! write, and remembers who was asked about.
//!
//! In: a [`Case`]. Out: a service for `kube::Client`. It says which Services were looked for, and what was to be written.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

/// One of the kinds that are watched: its path, its list, its group.
#[derive(Clone, Copy, Debug)]
struct Kind {
    plural: &'static str,
    name: &'static str,
    version: &'static str,
}

const KINDS: [Kind; 10] = [
    Kind { plural: "releases", name: "Release", version: "bascule.dev/v1alpha1" },
    Kind { plural: "operations", name: "Operation", version: "bascule.dev/v1alpha1" },
    Kind { plural: "environments", name: "Environment", version: "bascule.dev/v1alpha1" },
    Kind { plural: "deployments", name: "Deployment", version: "apps/v1" },
    Kind { plural: "replicasets", name: "ReplicaSet", version: "apps/v1" },
    Kind { plural: "jobs", name: "Job", version: "batch/v1" },
    Kind { plural: "services", name: "Service", version: "v1" },
    Kind { plural: "endpointslices", name: "EndpointSlice", version: "discovery.k8s.io/v1" },
    Kind { plural: "namespaces", name: "Namespace", version: "v1" },
    Kind { plural: "nodes", name: "Node", version: "v1" },
];

/// The plural that a name stands for; the first kind where it stands for none.
pub(super) fn plural(name: &str) -> &'static str {
    KINDS.iter().find(|kind| kind.plural == name).unwrap_or(&KINDS[0]).plural
}

pub(super) fn plurals() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().map(|kind| kind.plural)
}

/// What is shown beside what is in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// Plural, and the text of an object in its list.
    pub(super) listed: Vec<(&'static str, String)>,
    /// Plural, and a line of its first watch.
    pub(super) watched: Vec<(&'static str, Vec<u8>)>,
    /// Text of objects that are in order and always listed.
    pub(super) fine: Vec<(&'static str, String)>,
    /// The same, but shown by the first watch of their kind, after the strange lines; listed from then on.
    pub(super) late: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub(super) struct Server {
    case: Case,
    /// Kinds whose first watch was opened.
    opened: Mutex<BTreeSet<&'static str>>,
    /// `namespace/service` that was looked for.
    pub(super) asked: watch::Sender<BTreeSet<String>>,
    /// Paths of what it was to write.
    pub(super) written: Mutex<BTreeSet<String>>,
}

type Frames = futures::stream::BoxStream<'static, Result<http_body::Frame<bytes::Bytes>, Infallible>>;

impl Server {
    pub(super) fn new(case: Case) -> Arc<Self> {
        Arc::new(Self { case, opened: Mutex::default(), asked: watch::Sender::default(), written: Mutex::default() })
    }

    pub(super) fn answer(&self, request: &Request<Body>) -> Response<StreamBody<Frames>> {
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let query = request.uri().query().unwrap_or_default();
        if let ["api", "v1", "namespaces", namespace, "services", name] = path.as_slice() {
            self.asked.send_modify(|asked| {
                asked.insert(format!("{namespace}/{name}"));
            });
        }
        if request.method() != http::Method::GET {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(request.uri().path().to_owned());
        }
        let kind = KINDS.into_iter().find(|kind| path.last() == Some(&kind.plural));
        match kind.filter(|_| request.method() == http::Method::GET) {
            Some(kind) if query.contains("watch=true") => self.watch(kind),
            Some(kind) => whole(200, self.list(kind)),
            None => whole(404, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404}).to_string()),
        }
    }

    fn list(&self, kind: Kind) -> String {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).contains(kind.plural);
        let late = self.case.late.iter().filter(|_| opened);
        let items = self.case.listed.iter().chain(&self.case.fine).chain(late);
        let items: Vec<&str> = items.filter(|(plural, _)| *plural == kind.plural).map(|(_, text)| text.as_str()).collect();
        let head =
            json!({"kind": format!("{}List", kind.name), "apiVersion": kind.version, "metadata": {"resourceVersion": "100"}});
        head.to_string().replacen('{', &format!("{{\"items\":[{}],", items.join(",")), 1)
    }

    fn watch(&self, kind: Kind) -> Response<StreamBody<Frames>> {
        let first = self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.plural);
        let mut lines: Vec<Vec<u8>> = Vec::new();
        if first {
            let of_kind = |plural: &&'static str| *plural == kind.plural;
            lines.extend(self.case.watched.iter().filter(|(plural, _)| of_kind(plural)).map(|(_, line)| line.clone()));
        }
        // A watch that is opened again continues after the list, so it shows them again.
        let late = self.case.late.iter().filter(|(plural, _)| *plural == kind.plural);
        lines.extend(late.map(|(_, object)| format!("{{\"type\":\"ADDED\",\"object\":{object}}}").into_bytes()));
        let lines = lines.into_iter().map(|mut line| {
            line.push(b'\n');
            Ok(http_body::Frame::data(line.into()))
        });
        // It stays open: a watch that ends says nothing about what was in it.
        reply(200, futures::stream::iter(lines.collect::<Vec<_>>()).chain(futures::stream::pending()).boxed())
    }
}

fn whole(code: u16, text: String) -> Response<StreamBody<Frames>> {
    reply(code, futures::stream::iter([Ok(http_body::Frame::data(text.into()))]).boxed())
}

fn reply(code: u16, frames: Frames) -> Response<StreamBody<Frames>> {
    let mut response = Response::new(StreamBody::new(frames));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// An object of the API server: text, since some are deeper than a tree in memory should be.
pub(super) fn object(namespace: &str, name: &str, plural: &str, rest: &Value) -> Value {
    let kind = KINDS.iter().find(|kind| kind.plural == plural).unwrap_or(&KINDS[0]);
    let mut object = json!({
        "apiVersion": kind.version,
        "kind": kind.name,
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}-{plural}"), "resourceVersion": "50", "generation": 1,
                     "creationTimestamp": "2026-01-05T09:00:00Z"},
    });
    if let (Some(object), Some(rest)) = (object.as_object_mut(), rest.as_object()) {
        object.extend(rest.clone());
    }
    object
}
