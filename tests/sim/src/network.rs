//! The way between a controller and the API server: latency, and whatever goes wrong there.
//!
//! A request that was sent arrives even when its sender is dead by then.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::oneshot;
use tower::{BoxError, Service};

use crate::{
    api::{Reply, Request, Target},
    fault::What,
    process::Life,
    server::{Sent, Server},
    watch,
};

pub type Bodied = UnsyncBoxBody<Bytes, Infallible>;

/// One process's way to the server.
#[derive(Clone, Debug)]
pub struct Line {
    pub server: Arc<Server>,
    pub life: Arc<Life>,
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Bodied>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let line = self.clone();
        async move {
            let request = read(request, line.life.user()).await?;
            line.life.thaw().await;
            if line.life.is_dead() {
                return std::future::pending().await;
            }
            if request.query.get("watch").is_some_and(|watch| watch == "true") {
                return line.watch(request).await;
            }
            let (sender, reply) = oneshot::channel();
            // On its own: once it is sent, it does not need its sender any more.
            tokio::spawn(line.clone().carry(request, sender));
            let reply = reply.await;
            line.life.thaw().await;
            if line.life.is_dead() {
                return std::future::pending().await;
            }
            match reply {
                Ok(reply) => Ok(answer(&reply)),
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }
}

impl Line {
    /// Milliseconds on the way.
    fn latency(&self) -> Duration {
        let mut inside = self.server.inside();
        // Mostly quick, now and then not.
        let most = if inside.latency.once_in(20) { 40 } else { 4 };
        Duration::from_millis(inside.latency.between(1, most))
    }

    fn fault(&self, request: &Request) -> Option<What> {
        let now = u64::try_from(self.server.elapsed().as_millis()).unwrap_or(0);
        let mut inside = self.server.inside();
        let sent = inside.sent.entry(self.life.replica()).or_default();
        let reads = request.method == "GET" || request.query.contains_key("dryRun");
        sent.push(if reads { Sent::Read } else { Sent::Write });
        let k = sent.len() as u64;
        if self.life.replica() == 0 && inside.faults.parted(now) {
            return Some(What::Lose);
        }
        // Only the first replica's requests are numbered in a plan.
        if self.life.replica() == 0 { inside.faults.at_request(k) } else { None }
    }

    async fn carry(self, mut request: Request, sender: oneshot::Sender<Reply>) {
        let fault = self.fault(&request);
        if matches!(fault, Some(What::CrashBefore)) {
            self.life.kill();
            return;
        }
        tokio::time::sleep(self.latency()).await;
        match fault {
            Some(What::Lose) => {
                // Whoever waits gives up by himself.
                std::future::pending::<()>().await;
            }
            Some(What::Answer { code, retry_after }) => {
                let reply = refusal(code, retry_after);
                tokio::time::sleep(self.latency()).await;
                let _ = sender.send(reply);
                return;
            }
            Some(What::Delay(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            _ => {}
        }
        request.abandoned = sender.is_closed();
        let mut reply = self.at_server(&request);
        match fault {
            Some(What::Duplicate) => {
                tokio::time::sleep(self.latency()).await;
                self.server.carry_out(&request);
            }
            Some(What::CrashAfterCommit) => {
                self.life.kill();
                return;
            }
            Some(What::LoseReply) => std::future::pending::<()>().await,
            Some(What::DelayReply(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            _ => {}
        }
        tokio::time::sleep(self.latency()).await;
        if self.life.is_parted(&self.server) {
            std::future::pending::<()>().await;
        }
        reply.body["metadata"].as_object_mut().map(|meta| meta.remove("managedFields"));
        let _ = sender.send(reply);
        if matches!(fault, Some(What::CrashAfterReply)) {
            // It sees the reply, and may do with it what needs no time.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            self.life.kill();
        }
    }

    fn at_server(&self, request: &Request) -> Reply {
        let is_list = request.method == "GET" && Target::parse(&request.path).is_some_and(|target| target.name.is_none());
        if is_list && !request.query.contains_key("continue") {
            let age = self.server.inside().faults.age_of_list();
            if let Some(age) = age {
                return watch::older_list(&self.server, request, age);
            }
        }
        self.server.carry_out(request)
    }

    async fn watch(&self, request: Request) -> Result<http::Response<Bodied>, BoxError> {
        tokio::time::sleep(self.latency()).await;
        if self.life.is_parted(&self.server) {
            return std::future::pending().await;
        }
        let events = watch::events(self.server.clone(), self.life.clone(), &request);
        let frames = events.map(|line| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(line))));
        Ok(http::Response::new(StreamBody::new(frames).boxed_unsync()))
    }
}

fn refusal(code: u16, retry_after: u64) -> Reply {
    let (reason, message) = match code {
        409 => ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
        422 => ("Invalid", "it is invalid: spec: Invalid value: refused for a moment"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "etcdserver: request timed out"),
    };
    let retry = (code == 429).then_some(retry_after);
    Reply { code, body: crate::api::plain(code, reason, message, retry) }
}

fn answer(reply: &Reply) -> http::Response<Bodied> {
    let bytes = serde_json::to_vec(&reply.body).unwrap_or_default();
    let mut response = http::Response::new(Full::new(Bytes::from(bytes)).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(reply.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

async fn read(request: http::Request<Body>, user: String) -> Result<Request, BoxError> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect_bytes().await?;
    let body = if bytes.is_empty() { None } else { Some(serde_json::from_slice::<Value>(&bytes)?) };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Request {
        user,
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        content_type: header("content-type"),
        body,
        abandoned: false,
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            (decoded(key), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let hex = String::from_utf8_lossy(&hex).into_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
