//! Events for people, written beside everything else: one task, a bounded channel. What does not fit is dropped and counted; no
//! release ever waits for an Event.

use std::sync::{Arc, Mutex, PoisonError};

use bascule_core::{Note, ReleaseView};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{clock::Clock, metrics::Metrics, tasks::Tasks};

/// Three for each of 300 releases at once, with room to spare.
const CAPACITY: usize = 2_048;
/// The API server cuts longer notes.
const LONGEST_NOTE: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Emitter {
    /// None once it is closed.
    sender: Mutex<Option<mpsc::Sender<Message>>>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Message {
    namespace: String,
    release: String,
    uid: String,
    note: Note,
    at: Timestamp,
}

impl Emitter {
    pub(crate) fn start(client: Client, metrics: Metrics, clock: Arc<dyn Clock>, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        tasks.spawn(emit(client, receiver, metrics.clone()));
        Self { sender: Mutex::new(Some(sender)), metrics, clock }
    }

    pub(crate) fn tell(&self, release: &ReleaseView, note: Note) {
        self.metrics.noted(&note.kind.reason());
        let message = Message {
            namespace: release.namespace.clone(),
            release: release.name.clone(),
            uid: release.uid.clone(),
            note,
            at: self.clock.now(),
        };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(|sender| sender.try_send(message).is_err()) {
            self.metrics.event_dropped();
        }
    }

    /// No more; what is in the channel is still written.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

async fn emit(client: Client, mut receiver: mpsc::Receiver<Message>, metrics: Metrics) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("events.k8s.io", "v1", "Event"));
    let mut count: u64 = 0;
    while let Some(message) = receiver.recv().await {
        count += 1;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &message.namespace, &resource);
        let body = body(&message, count);
        let Ok(event) = serde_json::from_value(body) else { continue };
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            metrics.event_dropped();
            tracing::debug!(release = message.release, error = %error, "an Event could not be written");
        }
    }
}

fn body(message: &Message, count: u64) -> serde_json::Value {
    let note: String = message.note.message.chars().take(LONGEST_NOTE).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            // Time and a count: unique also when two are written in one millisecond.
            "name": format!("{}.{:x}.{count:x}", message.release, message.at.as_microsecond()),
            "namespace": message.namespace,
        },
        "eventTime": format!("{:.6}", message.at),
        "reportingController": "bascule-controller",
        "reportingInstance": "bascule-controller",
        "action": message.note.kind.reason(),
        "reason": message.note.kind.reason(),
        "type": if message.note.kind.is_warning() { "Warning" } else { "Normal" },
        "regarding": {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "Release",
            "name": message.release,
            "namespace": message.namespace,
            "uid": message.uid,
        },
        "note": note,
    })
}
