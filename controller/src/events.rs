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
/// In bytes; the API server refuses an Event with a longer note.
const LONGEST_NOTE: usize = 1_024;
/// A name has at most 253 characters, and time and count need up to 34.
const LONGEST_PREFIX: usize = 200;

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
    let note = cut(&message.note.message, LONGEST_NOTE);
    let prefix = cut(&message.release, LONGEST_PREFIX).trim_end_matches(['.', '-']);
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            // Time and a count: unique also when two are written in one millisecond.
            "name": format!("{prefix}.{:x}.{count:x}", message.at.as_microsecond()),
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

/// The beginning of a text, so many bytes at most.
fn cut(text: &str, longest: usize) -> &str {
    let end = text.char_indices().map(|(start, c)| start + c.len_utf8()).take_while(|end| *end <= longest).last();
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use bascule_core::NoteKind;

    use super::*;

    #[test]
    fn an_event_of_a_release_with_the_longest_name_is_taken() {
        let release = format!("{}.{}", "r".repeat(199), "x".repeat(53));
        let note = Note { kind: NoteKind::Rejected, message: "ä".repeat(900) };
        let at = "2026-01-05T10:00:00Z".parse().unwrap();
        let body = body(&Message { namespace: "shop".into(), release, uid: "u".into(), note, at }, u64::MAX);
        let name = body["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        assert_eq!(body["note"].as_str().unwrap().len(), LONGEST_NOTE);
        assert_eq!(body["regarding"]["name"].as_str().unwrap().len(), 253);
    }
}
