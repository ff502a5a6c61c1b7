//! The gate of type `webhook`: somebody else decides, at once or later. An error and silence are no answer.
//!
//! In: a probe. Out: verdicts. Never here: a place that the door does not let through, also when the other side names it.
//!
//! Whoever receives it can check that it came from here and is not old: `Bascule-Signature` is `v1=` and the HMAC-SHA256, in hex, of
//! `Bascule-Timestamp`, a dot and the body, with what is under `key` of the Secret. What is repeated has the same `Idempotency-Key`.

use std::{sync::Arc, time::Duration};

use bascule_core::gate::{Door, Probe, ProbeId, Verdict, WebhookAsk};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use hmac::{Hmac, Mac as _};
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{
    Shared,
    door::{self, Allowed},
    in_time,
    line::Line,
    places::Content,
    query::first_words,
    transport::Reply,
    words,
};
use crate::{
    gates::{Session, hub::silence},
    queue::Key,
};

/// A verdict and a sentence.
const LARGEST_ANSWER: usize = 64 * 1024;

/// One such gate on its way.
pub(super) struct Webhook {
    shared: Arc<Shared>,
    ask: WebhookAsk,
    body: Bytes,
    /// The same for all of this probe, and for no other.
    once: String,
    within: Duration,
    silence: String,
    /// Where the verdict will be, as the other side has said.
    poll: Option<Allowed>,
    ready: Option<Ready>,
}

struct Ready {
    first: Allowed,
    line: Line,
    secret: Arc<Content>,
}

impl Webhook {
    pub(super) fn new(shared: Arc<Shared>, key: &Key, probe: &Probe, ask: &WebhookAsk) -> Self {
        // What is configured is a Prometheus: nobody to decide.
        let door = Door { configured: None, ..ask.door.clone() };
        Self {
            shared,
            ask: WebhookAsk { door, ..ask.clone() },
            body: Bytes::from(ask.body.to_string()),
            once: once(key, &probe.id),
            within: probe.within.unsigned_abs(),
            silence: silence(probe),
            poll: None,
            ready: None,
        }
    }

    async fn find(&mut self) -> Result<(), String> {
        self.ready = None;
        let WebhookAsk { url, secret, door, .. } = &self.ask;
        let first = door::pass(door, url).map_err(|why| format!("the webhook is not called: {why}"))?;
        let secret = match secret {
            Some(secret) if secret.namespace != door.namespace => {
                return Err("the Secret of a webhook is one of the Release's own namespace".to_owned());
            }
            Some(secret) => self.shared.secret(secret).await?,
            None => Arc::default(),
        };
        if self.ask.secret.is_some() && key(&secret).is_none() {
            return Err("the Secret has no `key` to sign with".to_owned());
        }
        let authority = secret.get("ca.crt").map(|pem| pem.reveal().as_slice());
        let line = self.shared.line(&door.namespace, self.poll.as_ref().unwrap_or(&first), authority).await?;
        self.ready = Some(Ready { first, line, secret });
        Ok(())
    }

    async fn ask(&mut self, until: Instant) -> Verdict {
        let Some(ready) = &self.ready else { return Verdict::Unknown("the webhook was not called".to_owned()) };
        let Ok(request) = self.request(ready) else { return Verdict::Unknown("the request cannot be made".to_owned()) };
        match ready.line.send(&self.shared, request, LARGEST_ANSWER, in_time(until, self.within)).await {
            Ok(reply) => self.hear(&reply),
            Err(trouble) => Verdict::Unknown(format!("the webhook: {}", trouble.words(&self.silence))),
        }
    }

    fn request(&self, ready: &Ready) -> Result<Request<Full<Bytes>>, http::Error> {
        let (method, body) = if self.poll.is_some() { (Method::GET, Bytes::new()) } else { (Method::POST, self.body.clone()) };
        let at = self.shared.clock.now().as_second().to_string();
        let mut request = ready.line.request(method).header("idempotency-key", &self.once).header("bascule-timestamp", &at);
        if self.poll.is_none() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key(&ready.secret) {
            request = request.header("bascule-signature", signature(key, &at, &body));
        }
        request.body(Full::new(body))
    }

    fn hear(&mut self, reply: &Reply) -> Verdict {
        if matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE) && self.poll.take().is_some() {
            return Verdict::Unknown("the webhook has forgotten about this: it is called anew".to_owned());
        }
        if !reply.status.is_success() {
            return Verdict::Unknown(format!("the webhook answered {}{}", reply.status.as_u16(), first_words(reply)));
        }
        let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok().filter(|_| !reply.cut);
        let Some(Answer { verdict, message, poll }) = answer else {
            return Verdict::Unknown(format!("the webhook's answer has no verdict{}", first_words(reply)));
        };
        let message = message.as_deref().map(words::sentence).filter(|message| !message.is_empty());
        if verdict != "pending" {
            self.poll = None;
        }
        match verdict.as_str() {
            "pass" => Verdict::Pass,
            "fail" => Verdict::Fail(message.unwrap_or_else(|| "the webhook says fail".to_owned())),
            "pending" => self.wait(message, poll.as_deref()),
            other => {
                Verdict::Unknown(format!("the webhook's verdict is {}, and not pass, fail or pending", words::expression(other)))
            }
        }
    }

    fn wait(&mut self, message: Option<String>, poll: Option<&str>) -> Verdict {
        if let (Some(poll), Some(ready)) = (poll, &self.ready) {
            match door::pass_on(&self.ask.door, &ready.first, poll) {
                Ok(allowed) => self.poll = Some(allowed),
                Err(why) => return Verdict::Unknown(format!("the webhook's poll is not followed: {why}")),
            }
        }
        Verdict::Unknown(message.map_or_else(|| "pending".to_owned(), |message| format!("pending: {message}")))
    }
}

#[derive(Deserialize)]
struct Answer {
    verdict: String,
    message: Option<String>,
    poll: Option<String>,
}

fn key(secret: &Content) -> Option<&[u8]> {
    secret.get("key").map(|key| key.reveal().as_slice()).filter(|key| !key.is_empty())
}

/// Two attempts are never one: each part is said with its length.
fn once(key: &Key, id: &ProbeId) -> String {
    let attempt = id.attempt.as_nanosecond().to_string();
    let stage = format!("{:?}", id.stage);
    let mut hash = Sha256::new();
    for part in [&key.namespace, &key.name, &id.revision, &attempt, &stage, &id.name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    words::hex(&hash.finalize())
}

fn signature(key: &[u8], at: &str, body: &[u8]) -> String {
    // A key of any length will do: what is longer than a block is hashed first.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", words::hex(&mac.finalize().into_bytes()))
}

impl Session for Webhook {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), String>> {
        self.find().boxed()
    }

    fn sample(&mut self, until: Instant) -> BoxFuture<'_, Verdict> {
        self.ask(until).boxed()
    }
}

#[cfg(test)]
mod tests;
