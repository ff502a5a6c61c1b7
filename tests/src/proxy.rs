//! A real HTTP proxy between a controller and its API server, in which any request can go wrong.
//!
//! In: plain HTTP on loopback, and faults as data. Out: the same requests over TLS with the controller's own rights, watch bodies
//! streamed through, and a journal of what passed. It never repeats, caches or changes a request that no fault is about.

mod fault;
mod journal;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub use fault::{Class, Cut, Fault, Moment, What};
pub use journal::Entry;
use journal::{Entered, Journal};
use stream::Watches;

type Stream = UnsyncBoxBody<Bytes, io::Error>;
type Reply = Response<Stream>;
/// Ends the controller's process, at once.
pub type Killer = Box<dyn Fn() + Send + Sync>;

pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    listener: JoinHandle<()>,
}

struct Inner {
    upstream: Client,
    journal: Mutex<Journal>,
    kill: Killer,
    kills: watch::Sender<u64>,
    watches: Watches,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Listens on a free port of loopback. `upstream` knows the way, the CA and the rights.
    pub async fn start(upstream: Client, kill: Killer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("find a free port");
        let address = listener.local_addr().expect("know the port");
        let inner = Arc::new(Inner {
            upstream,
            journal: Mutex::default(),
            kill,
            kills: watch::Sender::new(0),
            watches: Watches::default(),
        });
        let state = inner.clone();
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(state.clone(), stream));
            }
        });
        Self { address, inner, listener }
    }

    /// For a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Counting begins anew, with these faults.
    pub fn arm(&self, faults: Vec<Fault>) {
        self.inner.journal().arm(faults);
    }

    /// What has passed since it was armed.
    pub fn journal(&self) -> Vec<Entry> {
        self.inner.journal().entries.clone()
    }

    /// How often it has killed the controller, for whoever starts it again.
    pub fn kills(&self) -> watch::Receiver<u64> {
        self.inner.kills.subscribe()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream) {
    let kill_at_the_end = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (inner, kill_at_the_end) = (inner.clone(), kill_at_the_end.clone());
        async move { inner.pass(request, &kill_at_the_end).await }
    });
    // An error is a cut that a fault asked for, or a controller that died.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if kill_at_the_end.load(Ordering::Acquire) {
        inner.kill();
    }
}

impl Inner {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        (self.kill)();
        self.kills.send_modify(|count| *count += 1);
    }

    /// One request. An error cuts the connection without an answer.
    async fn pass(self: Arc<Self>, request: Request<Incoming>, kill_at_the_end: &AtomicBool) -> io::Result<Reply> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request::from_parts(head, body);
        let entered = self.journal().enter(request.method(), request.uri());
        match entered.fault {
            None => self.forward(request, entered).await,
            Some(What::Drop) => Err(cut()),
            Some(What::Delay(ms)) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.forward(request, entered).await
            }
            Some(What::Answer(code)) => Ok(refusal(code)),
            Some(What::Cut(Cut::BeforeReply)) => {
                self.forward(request, entered).await?;
                Err(cut())
            }
            Some(What::Cut(Cut::InReply)) => Ok(stream::half(self.forward(request, entered).await?)),
            Some(What::Hold(ms)) => {
                let reply = self.forward(request, entered).await?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(reply)
            }
            Some(What::CutWatches) => {
                self.watches.cut();
                self.forward(request, entered).await
            }
            Some(What::Lag(ms)) => {
                self.watches.silence(Duration::from_millis(ms));
                self.forward(request, entered).await
            }
            Some(What::Kill(moment)) => self.kill_at(moment, request, entered, kill_at_the_end).await,
        }
    }

    async fn kill_at(
        self: &Arc<Self>,
        moment: Moment,
        request: Request<Bytes>,
        entered: Entered,
        kill_at_the_end: &AtomicBool,
    ) -> io::Result<Reply> {
        match moment {
            Moment::BeforeCommit => {
                self.kill();
                Err(cut())
            }
            Moment::AfterCommit => {
                self.forward(request, entered).await?;
                self.kill();
                Err(cut())
            }
            Moment::AfterReply => {
                let mut reply = self.forward(request, entered).await?;
                // The connection ends when the whole reply is in the hands of the kernel.
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                kill_at_the_end.store(true, Ordering::Release);
                Ok(reply)
            }
            Moment::LateCommit(ms) => {
                // On its own: this connection ends with the process that made it.
                let late = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let _ = late.forward(request, entered).await;
                });
                self.kill();
                Err(cut())
            }
        }
    }

    async fn forward(&self, request: Request<Bytes>, entered: Entered) -> io::Result<Reply> {
        let (mut head, body) = request.into_parts();
        // These are about the connection to us; the way on has its own, and kube puts in who asks.
        for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::AUTHORIZATION] {
            head.headers.remove(name);
        }
        let reply = self.upstream.send(Request::from_parts(head, Body::from(body))).await.map_err(io::Error::other)?;
        self.journal().answered(entered.place, reply.status().as_u16());
        let (mut head, body) = reply.into_parts();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            head.headers.remove(name);
        }
        let body = body.map_err(io::Error::other).boxed_unsync();
        let body = if entered.class == Class::Watch { self.watches.follow(body) } else { body };
        Ok(Response::from_parts(head, body))
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the proxy cuts this connection")
}

/// As the API server says it.
fn refusal(code: u16) -> Reply {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "Unknown",
    };
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the test", "reason": reason, "code": code,
    });
    if code == 429 {
        status["details"] = json!({"retryAfterSeconds": 1});
    }
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}
