//! The fast path: events of AWS that say that something may have changed.
//!
//! In: messages of a queue that EventBridge fills. Out: hints, by which what is named is asked about now instead of in the next round.
//! Nothing else is ever done with one: an event has neither value nor version, may come twice, late or not at all, and anybody may have
//! written it. What is not understood is deleted like the rest.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::trouble::SourceError;
use crate::shell::Shell;

/// A queue that answers "nothing" at once is not asked all the time.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where events come from: AWS, or a test's own.
pub trait HintQueue: Send + Sync + 'static {
    fn exists(&self) -> bool;

    /// Waits some seconds for messages. It may be dropped at any time: what it had then comes again.
    fn receive(&self) -> BoxFuture<'_, Result<Vec<Message>, SourceError>>;

    fn delete(&self, handles: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub body: String,
    pub handle: String,
}

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Parameter {
        name: String,
    },
    /// Without a tag: any of them.
    Image {
        repository: String,
        tag: Option<String>,
    },
    Archive {
        bucket: String,
        key: String,
    },
}

impl Hint {
    /// Label of a metric.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Parameter { .. } => "parameter",
            Self::Image { .. } => "image",
            Self::Archive { .. } => "archive",
        }
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    source: String,
    #[serde(default, rename = "detail-type")]
    kind: String,
    #[serde(default)]
    detail: Value,
}

/// None: it is no event that means anything here.
pub(crate) fn read(body: &str) -> Option<Hint> {
    let event: Event = serde_json::from_str(body).ok()?;
    let text =
        |pointer: &str| event.detail.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    match (event.source.as_str(), event.kind.as_str()) {
        ("aws.ssm", "Parameter Store Change") => Some(Hint::Parameter { name: text("/name")? }),
        ("aws.ecr", "ECR Image Action") => Some(Hint::Image { repository: text("/repository-name")?, tag: text("/image-tag") }),
        ("aws.s3", "Object Created" | "Object Deleted") => {
            Some(Hint::Archive { bucket: text("/bucket/name")?, key: text("/object/key")? })
        }
        _ => None,
    }
}

/// Listens while this process leads: a standby would only take the events away.
pub(crate) async fn listen(shell: Arc<Shell>, queue: Arc<dyn HintQueue>, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let term = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            term = shell.leadership.gained() => term,
        };
        loop {
            let asked = Instant::now();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = shell.leadership.over(term) => break,
                received = queue.receive() => received,
            };
            let pause = match received {
                Ok(messages) => {
                    failures = 0;
                    let any = !messages.is_empty();
                    take(&shell, &*queue, messages).await;
                    if any { Duration::ZERO } else { AT_MOST_EVERY.saturating_sub(asked.elapsed()) }
                }
                Err(why) => {
                    if failures == 0 {
                        tracing::warn!(%why, "the queue of events cannot be read; parameters are read by their interval all the same");
                    }
                    failures += 1;
                    (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(7))).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }
}

async fn take(shell: &Shell, queue: &dyn HintQueue, messages: Vec<Message>) {
    for message in &messages {
        let hint = read(&message.body);
        shell.metrics.hinted(hint.as_ref().map_or("ignored", Hint::kind));
        tracing::debug!(?hint, "an event");
        if let Some(hint) = hint {
            shell.sources.hint(&hint);
        }
    }
    let handles: Vec<_> = messages.into_iter().map(|message| message.handle).collect();
    if !handles.is_empty()
        && let Err(why) = queue.delete(handles).await
    {
        tracing::debug!(%why, "events that were heard could not be deleted; they come again, and do no harm");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(event: &Value) -> Option<Hint> {
        read(&event.to_string())
    }

    #[test]
    fn events_of_the_three_services_are_understood() {
        let parameter = json!({"version": "0", "source": "aws.ssm", "detail-type": "Parameter Store Change", "region": "us-east-1",
            "detail": {"operation": "Update", "name": "/shop/web/image", "type": "String", "description": ""}});
        assert_eq!(of(&parameter), Some(Hint::Parameter { name: "/shop/web/image".into() }));
        let pushed = json!({"source": "aws.ecr", "detail-type": "ECR Image Action",
            "detail": {"result": "SUCCESS", "repository-name": "shop/web", "image-digest": "sha256:0", "action-type": "PUSH", "image-tag": "v1"}});
        assert_eq!(of(&pushed), Some(Hint::Image { repository: "shop/web".into(), tag: Some("v1".into()) }));
        let created = json!({"source": "aws.s3", "detail-type": "Object Created",
            "detail": {"bucket": {"name": "shop"}, "object": {"key": "web/a b.zip", "version-id": "x"}}});
        assert_eq!(of(&created), Some(Hint::Archive { bucket: "shop".into(), key: "web/a b.zip".into() }));
    }

    #[test]
    fn what_is_something_else_means_nothing() {
        for body in ["", "x", "[]", "null", "{}", r#"{"Event": "s3:TestEvent"}"#, r#"{"source": "aws.ssm", "detail": 7}"#] {
            assert_eq!(read(body), None, "{body}");
        }
        assert_eq!(of(&json!({"source": "aws.ssm", "detail-type": "Parameter Store Change", "detail": {"name": ""}})), None);
        assert_eq!(
            of(&json!({"source": "aws.ssm", "detail-type": "Parameter Store Policy Action", "detail": {"name": "/a"}})),
            None
        );
    }

    #[test]
    fn an_event_that_ends_in_the_middle_means_nothing() {
        let whole = json!({"source": "aws.ssm", "detail-type": "Parameter Store Change", "detail": {"name": "/a"}}).to_string();
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None);
        }
        assert!(read(&whole).is_some());
    }
}
