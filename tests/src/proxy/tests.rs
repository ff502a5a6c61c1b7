//! Every fault does what it says, against a little API server in this process and seen with kube's client, as a controller sees it.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Bytes, Frame},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body, config::AuthInfo};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};

use super::{Class, Cut, Fault, Moment, Proxy, What};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(5);
const REPLY: &str = r#"{"kind":"Service","metadata":{"resourceVersion":"7"}}"#;

/// What happened, in order: requests as the server got them, `killed`, and what a test adds.
#[derive(Clone, Debug, Default)]
struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    fn tell(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn comes_to(&self, expected: &[&str]) {
        let end = Instant::now() + SOON;
        while self.so_far() != expected && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.so_far(), expected);
    }
}

struct World {
    story: Story,
    proxy: Proxy,
    /// The controller's.
    client: Client,
    /// What the watches of the server tell next.
    events: mpsc::UnboundedSender<&'static str>,
}

/// A server, the proxy before it, and a client before that.
async fn world(faults: Vec<Fault>) -> World {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let story = Story::default();
    let (events, waiting) = mpsc::unbounded_channel();
    let server = server(story.clone(), waiting).await;
    let upstream = client(&server, Some("the right one"));
    let killed = story.clone();
    let proxy = Proxy::start(upstream, Box::new(move || killed.tell("killed"))).await;
    proxy.arm(faults);
    let client = client(&proxy.url(), None);
    World { story, proxy, client, events }
}

fn client(url: &str, token: Option<&str>) -> Client {
    let mut config = Config::new(url.parse().unwrap());
    config.default_retry = false;
    config.auth_info = AuthInfo { token: token.map(|token| token.to_owned().into()), ..AuthInfo::default() };
    Client::try_from(config).unwrap()
}

/// Answers every request with [`REPLY`], and a watch with a line for each event.
async fn server(story: Story, events: mpsc::UnboundedReceiver<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let events = Arc::new(tokio::sync::Mutex::new(events));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (story, events) = (story.clone(), events.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (story, events) = (story.clone(), events.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                    let header = |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
                    story.tell(format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body)).trim().to_owned());
                    let is_watch = head.uri.query().is_some_and(|query| query.contains("watch"));
                    let first = (!is_watch).then(|| Ok::<_, io::Error>(Frame::data(Bytes::from(REPLY))));
                    let rest = stream::unfold(is_watch, move |goes_on| {
                        let events = events.clone();
                        async move {
                            let event = if goes_on { events.lock().await.recv().await? } else { return None };
                            Some((Ok(Frame::data(Bytes::from(event))), true))
                        }
                    });
                    let body = StreamBody::new(stream::iter(first).chain(rest));
                    Response::builder()
                        .header("x-said", format!("{} {}", header("authorization"), header("content-type")))
                        .body(body)
                        .map_err(io::Error::other)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

const PATH: &str = "/api/v1/namespaces/shop/services/web?fieldManager=bascule";
const ARRIVED: &str = "PATCH /api/v1/namespaces/shop/services/web?fieldManager=bascule {}";
const WATCH: &str = "/api/v1/namespaces/shop/services?watch=true";

fn patch() -> Request<Body> {
    let builder = Request::patch(PATH).header("content-type", "application/apply-patch+yaml");
    builder.body(Body::from(b"{}".to_vec())).unwrap()
}

impl World {
    /// Head and whole body, or how it failed.
    async fn send(&self) -> Result<(u16, String), String> {
        let reply =
            tokio::time::timeout(SOON, self.client.send(patch())).await.expect("in time").map_err(|error| error.to_string())?;
        let code = reply.status().as_u16();
        let body = reply.into_body().collect_bytes().await.map_err(|error| format!("in the reply: {error}"))?;
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn watch(&self) -> Body {
        let request = Request::get(WATCH).body(Body::empty()).unwrap();
        tokio::time::timeout(SOON, self.client.send(request)).await.expect("in time").expect("an answer").into_body()
    }
}

async fn next(body: &mut Body) -> Result<String, String> {
    let frame = tokio::time::timeout(SOON, body.frame()).await.expect("in time").ok_or("the end")?;
    Ok(String::from_utf8_lossy(&frame.map_err(|error| error.to_string())?.into_data().expect("data")).into_owned())
}

fn first(what: What) -> Vec<Fault> {
    vec![Fault { of: Class::Request, at: 1, what }]
}

#[allow(clippy::unnecessary_wraps, reason = "compared with what a call gives")]
fn answer() -> Result<(u16, String), String> {
    Ok((200, REPLY.to_owned()))
}

#[tokio::test]
async fn without_a_fault_everything_passes_with_the_rights_of_the_upstream() {
    let world = world(Vec::new()).await;
    let mut request = patch();
    request.headers_mut().insert("authorization", "Bearer a wrong one".parse().unwrap());
    let reply = world.client.send(request).await.unwrap();
    assert_eq!(reply.headers()["x-said"], "Bearer the right one application/apply-patch+yaml");
    assert_eq!(reply.into_body().collect_bytes().await.unwrap(), REPLY);
    assert_eq!(world.story.so_far(), [ARRIVED]);
    assert_eq!(world.proxy.journal()[0].to_string(), "Request   1  PATCH  services/web -> 200");
}

#[tokio::test]
async fn only_the_request_with_that_number_is_hit_and_arming_begins_anew() {
    let second = Fault { of: Class::Service, at: 2, what: What::Answer(503) };
    let world = world(vec![second.clone()]).await;
    for code in [200, 503, 200] {
        assert_eq!(world.send().await.unwrap().0, code);
    }
    world.proxy.arm(vec![second]);
    assert!(world.proxy.journal().is_empty());
    assert_eq!(world.send().await, answer());
    assert_eq!(world.send().await.unwrap().0, 503);
}

#[tokio::test]
async fn a_watch_streams_through() {
    let world = world(Vec::new()).await;
    let mut body = world.watch().await;
    for event in ["one\n", "two\n"] {
        world.events.send(event).unwrap();
        assert_eq!(next(&mut body).await.as_deref(), Ok(event));
    }
}

#[tokio::test]
async fn a_dropped_request_never_arrives() {
    let world = world(first(What::Drop)).await;
    assert!(world.send().await.is_err());
    assert!(world.story.so_far().is_empty());
    assert_eq!(world.send().await, answer());
}

#[tokio::test]
async fn a_delayed_request_arrives_later() {
    let world = world(first(What::Delay(500))).await;
    let began = Instant::now();
    let (reply, ()) = tokio::join!(world.send(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(world.story.so_far().is_empty());
    });
    assert_eq!(reply, answer());
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_refused_request_never_arrives_and_has_the_status_of_an_api_server() {
    for (code, reason) in [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")] {
        let world = world(first(What::Answer(code))).await;
        let reply = world.client.send(patch()).await.unwrap();
        assert_eq!(reply.status(), code);
        assert_eq!(reply.headers().get("retry-after").is_some(), code == 429);
        let status: kube::core::Status = serde_json::from_slice(&reply.into_body().collect_bytes().await.unwrap()).unwrap();
        assert_eq!((status.code, status.reason.as_str()), (code, reason));
        assert_eq!(status.details.map(|details| details.retry_after_seconds), (code == 429).then_some(1));
        assert!(world.story.so_far().is_empty());
    }
}

#[tokio::test]
async fn a_reply_can_be_lost() {
    let world = world(first(What::Cut(Cut::BeforeReply))).await;
    assert!(world.send().await.is_err());
    assert_eq!(world.story.so_far(), [ARRIVED]);
    assert_eq!(world.proxy.journal()[0].code, Some(200));
}

#[tokio::test]
async fn a_reply_can_be_cut_in_the_middle() {
    let world = world(first(What::Cut(Cut::InReply))).await;
    let reply = world.client.send(patch()).await.unwrap();
    assert_eq!(reply.status(), 200);
    let mut body = reply.into_body();
    assert_eq!(next(&mut body).await.as_deref(), Ok(&REPLY[..REPLY.len() / 2]));
    assert!(next(&mut body).await.is_err());
    assert_eq!(world.story.so_far(), [ARRIVED]);
}

#[tokio::test]
async fn a_watch_can_be_cut_in_the_middle_of_an_event() {
    let world = world(vec![Fault { of: Class::Watch, at: 1, what: What::Cut(Cut::InReply) }]).await;
    world.events.send("0123456789\n").unwrap();
    let mut body = world.watch().await;
    assert_eq!(next(&mut body).await.as_deref(), Ok("01234"));
    assert!(next(&mut body).await.is_err_and(|error| error != "the end"));
}

#[tokio::test]
async fn a_held_reply_comes_after_the_request_arrived() {
    let world = world(first(What::Hold(200))).await;
    let began = Instant::now();
    let (reply, ()) = tokio::join!(world.send(), async {
        world.story.comes_to(&[ARRIVED]).await;
        world.story.tell("and is held");
    });
    assert_eq!(reply, answer());
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(world.story.so_far(), [ARRIVED, "and is held"]);
}

#[tokio::test]
async fn a_kill_before_the_commit_loses_the_request() {
    let world = world(first(What::Kill(Moment::BeforeCommit))).await;
    assert!(world.send().await.is_err());
    assert_eq!(world.story.so_far(), ["killed"]);
    assert_eq!(*world.proxy.kills().borrow(), 1);
}

#[tokio::test]
async fn a_kill_after_the_commit_loses_the_reply() {
    let world = world(first(What::Kill(Moment::AfterCommit))).await;
    assert!(world.send().await.is_err());
    assert_eq!(world.story.so_far(), [ARRIVED, "killed"]);
}

#[tokio::test]
async fn a_kill_after_the_reply_gives_all_of_it() {
    let world = world(first(What::Kill(Moment::AfterReply))).await;
    assert_eq!(world.send().await, answer());
    world.story.comes_to(&[ARRIVED, "killed"]).await;
}

#[tokio::test]
async fn a_late_commit_arrives_after_the_death() {
    let world = world(first(What::Kill(Moment::LateCommit(50)))).await;
    assert!(world.send().await.is_err());
    world.story.comes_to(&["killed", ARRIVED]).await;
}

#[tokio::test]
async fn all_watches_can_be_cut_at_a_request() {
    let world = world(first(What::CutWatches)).await;
    let mut body = world.watch().await;
    world.events.send("one\n").unwrap();
    assert_eq!(next(&mut body).await.as_deref(), Ok("one\n"));
    assert_eq!(world.send().await, answer());
    assert!(next(&mut body).await.is_err());
}

#[tokio::test]
async fn watches_can_lag_behind_the_replies() {
    let world = world(first(What::Lag(600))).await;
    let mut body = world.watch().await;
    let began = Instant::now();
    assert_eq!(world.send().await, answer());
    assert!(began.elapsed() < Duration::from_millis(600), "the request itself is not held");
    world.events.send("one\n").unwrap();
    assert_eq!(next(&mut body).await.as_deref(), Ok("one\n"));
    assert!(began.elapsed() >= Duration::from_millis(600));
}
