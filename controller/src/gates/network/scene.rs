//! What the tests of this room stand on: a cluster and a DNS that are tables, servers on loopback that behave as badly as they are told.
//!
//! In: how they behave. Out: their addresses, what they were asked. Never here: what is expected.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bascule_core::gate::{Ask, Door, Probe, ProbeId, Verdict};
use bascule_crds::GateStage;
use futures::{FutureExt as _, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Network,
    places::{Content, Names, Places, Pod, Secret, Service, Unread},
};
use crate::{
    clock::Clock,
    gates::{Asks as _, Session},
    queue::Key,
    sources::registry::Hidden,
};

/// An authority of these tests and a certificate for `judge.shop.svc`, `hooks.example.com` and 127.0.0.1, good until 2126. They
/// protect nothing.
pub(super) const AUTHORITY: &str = include_str!("testdata/ca.crt");
const CERTIFICATE: &str = include_str!("testdata/server.crt");
const CERTIFICATE_KEY: &str = include_str!("testdata/server.key");

/// 2001-09-09T01:46:40Z
pub(super) const NOW: i64 = 1_000_000_000;

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) pods: Option<Result<Vec<Pod>, String>>,
    pub(super) services: BTreeMap<(String, String), Service>,
    /// None: it must not be read.
    pub(super) secrets: BTreeMap<(String, String), Option<Arc<Content>>>,
    pub(super) secrets_fail: bool,
    pub(super) secret_reads: usize,
    /// Each look-up takes the next answer; the last one stays.
    pub(super) names: BTreeMap<String, Vec<Vec<IpAddr>>>,
    pub(super) look_ups: usize,
}

/// A cluster and the network around it.
#[derive(Clone, Default)]
pub(super) struct Scene(pub(super) Arc<Mutex<Tables>>);

impl Scene {
    pub(super) fn network(&self) -> Network {
        Network::with(Box::new(self.clone()), Box::new(self.clone()), Arc::new(Fixed))
    }

    pub(super) fn has_service(&self, name: &str, service: Service) {
        self.0.lock().unwrap().services.insert(("shop".into(), name.into()), service);
    }

    /// A Service that leads to this server.
    pub(super) fn serves(&self, name: &str, server: &Server) {
        self.has_service(name, Service::At { ip: [127, 0, 0, 1].into(), ports: vec![server.port] });
    }

    pub(super) fn has_secret(&self, namespace: &str, name: &str, content: &[(&str, &str)]) {
        let hidden = |(key, value): &(&str, &str)| ((*key).to_owned(), Hidden::new(value.as_bytes().to_vec()));
        let content = Arc::new(content.iter().map(hidden).collect());
        self.0.lock().unwrap().secrets.insert((namespace.into(), name.into()), Some(content));
    }

    /// Pods by name, each at a server.
    pub(super) fn has_pods(&self, pods: &[(&str, &Server)]) {
        let pod = |(name, server): &(&str, &Server)| Pod {
            name: (*name).to_owned(),
            ip: [127, 0, 0, 1].into(),
            ports: [("http".to_owned(), server.port)].into(),
        };
        self.0.lock().unwrap().pods = Some(Ok(pods.iter().map(pod).collect()));
    }
}

impl Places for Scene {
    fn pods<'a>(&'a self, namespace: &'a str, _: &'a BTreeMap<String, String>) -> BoxFuture<'a, Result<Vec<Pod>, String>> {
        assert_eq!(namespace, "shop");
        let pods = self.0.lock().unwrap().pods.clone().unwrap_or(Ok(Vec::new()));
        async move { pods }.boxed()
    }

    fn service<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Service>, String>> {
        let service = self.0.lock().unwrap().services.get(&(namespace.into(), name.into())).cloned();
        async move { Ok(service) }.boxed()
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, Unread>> {
        let mut tables = self.0.lock().unwrap();
        tables.secret_reads += 1;
        let secret = match tables.secrets.get(&(namespace.into(), name.into())) {
            _ if tables.secrets_fail => Err(Unread("the API server does not answer".into())),
            None => Ok(Secret::Missing),
            Some(None) => Ok(Secret::Forbidden),
            Some(Some(content)) => Ok(Secret::Content(content.clone())),
        };
        async move { secret }.boxed()
    }
}

impl Names for Scene {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        let mut tables = self.0.lock().unwrap();
        tables.look_ups += 1;
        let answer =
            tables.names.get_mut(host).map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        let answer = answer.ok_or_else(|| format!("{host} has no address in DNS"));
        async move { answer }.boxed()
    }
}

pub(super) fn key() -> Key {
    Key { namespace: "shop".into(), name: "web".into() }
}

pub(super) fn probe(ask: Ask) -> Probe {
    let id = ProbeId {
        revision: "abc".into(),
        attempt: Timestamp::UNIX_EPOCH,
        stage: GateStage::BeforeSwitch,
        name: "smoke".into(),
        question: String::new(),
    };
    // Long enough for a busy machine; what waits for its end says less.
    Probe { id, ask, every: SignedDuration::from_secs(5), within: SignedDuration::from_secs(10) }
}

pub(super) fn within(probe: Probe, millis: i64) -> Probe {
    Probe { within: SignedDuration::from_millis(millis), ..probe }
}

pub(super) fn door(endpoints: &[&str]) -> Door {
    Door { namespace: "shop".into(), configured: None, endpoints: endpoints.iter().map(ToString::to_string).collect() }
}

/// A session, sampled as the hub does it.
pub(super) struct Asked {
    session: Box<dyn Session>,
    within: Duration,
}

impl Asked {
    pub(super) fn new(network: &Network, probe: &Probe) -> Self {
        Self { session: network.open(&key(), probe), within: probe.within.unsigned_abs() }
    }

    pub(super) async fn sample(&mut self) -> Verdict {
        if let Err(why) = self.session.prepare().await {
            return Verdict::Unknown(why);
        }
        let until = Instant::now() + self.within;
        timeout_at(until, self.session.sample(until)).await.unwrap_or_else(|_| Verdict::Unknown("the hub has ended it".into()))
    }
}

pub(super) async fn sample(network: &Network, probe: &Probe) -> Verdict {
    Asked::new(network, probe).sample().await
}

pub(super) fn fail(why: &str) -> Verdict {
    Verdict::Fail(why.to_owned())
}

pub(super) fn unknown(why: &str) -> Verdict {
    Verdict::Unknown(why.to_owned())
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// These bytes, and the end.
    Says(String),
    /// These bytes, and silence.
    SaysAndWaits(String),
    /// These bytes, then these again and again, with a pause.
    Repeats(String, String, Duration),
    /// These bytes, then a reset.
    SaysAndResets(String),
}

/// An answer with a length.
pub(super) fn answer(status: u16, body: &str) -> Does {
    Does::Says(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

pub(super) fn json(body: &serde_json::Value) -> Does {
    answer(200, &body.to_string())
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) head: String,
    pub(super) body: String,
}

impl Heard {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

#[derive(Default)]
struct Log {
    heard: Vec<Heard>,
    connections: usize,
    now: usize,
    most: usize,
    written: usize,
}

/// Listens on loopback until it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    log: Arc<Mutex<Log>>,
    _task: AbortOnDropHandle<()>,
}

type Plan = dyn Fn(usize, &Heard) -> Does + Send + Sync;

impl Server {
    pub(super) async fn does(does: Does) -> Self {
        Self::plans(move |_, _| does.clone()).await
    }

    /// One after the other; the last one again and again.
    pub(super) async fn does_each(all: Vec<Does>) -> Self {
        Self::plans(move |index, _| all[index.min(all.len() - 1)].clone()).await
    }

    pub(super) async fn plans(plan: impl Fn(usize, &Heard) -> Does + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(plan), None).await
    }

    pub(super) async fn with_tls(does: Does) -> Self {
        let certificates = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(CERTIFICATE_KEY.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(certificates, key).unwrap()));
        Self::start(Arc::new(move |_, _: &Heard| does.clone()), Some(acceptor)).await
    }

    pub(super) async fn at(port: u16, does: Does) -> Self {
        Self::listen(port, Arc::new(move |_, _: &Heard| does.clone()), None).await
    }

    async fn start(plan: Arc<Plan>, tls: Option<TlsAcceptor>) -> Self {
        Self::listen(0, plan, tls).await
    }

    async fn listen(port: u16, plan: Arc<Plan>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let noted = log.clone();
        let task = tokio::spawn(async move {
            let mut guests = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                noted.lock().unwrap().connections += 1;
                let (plan, log, tls) = (plan.clone(), noted.clone(), tls.clone());
                guests.spawn(async move {
                    match tls {
                        None => serve(stream, plan, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, plan, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, log, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// As a pattern names it.
    pub(super) fn pattern(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.log.lock().unwrap().heard.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.log.lock().unwrap().most
    }

    /// Bytes that somebody took, or that wait for him in the kernel.
    pub(super) fn written(&self) -> usize {
        self.log.lock().unwrap().written
    }
}

/// A port at which nobody listens.
pub(super) async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Can be cut in the middle of a word.
trait Cut {
    fn cut(&self);
}

impl Cut for TcpStream {
    fn cut(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Cut for tokio_rustls::server::TlsStream<TcpStream> {
    fn cut(&self) {
        self.get_ref().0.cut();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Cut + Unpin>(mut stream: S, plan: Arc<Plan>, log: Arc<Mutex<Log>>) {
    let Some(heard) = hear(&mut stream).await else { return };
    let does = {
        let mut log = log.lock().unwrap();
        log.heard.push(heard.clone());
        log.now += 1;
        log.most = log.most.max(log.now);
        plan(log.heard.len() - 1, &heard)
    };
    match does {
        Does::Says(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Does::SaysAndWaits(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            // Until the other side has had enough.
            let _ = stream.read_u8().await;
        }
        Does::Repeats(first, again, pause) => {
            let mut next = first;
            while stream.write_all(next.as_bytes()).await.is_ok() {
                log.lock().unwrap().written += next.len();
                next.clone_from(&again);
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
        }
        Does::SaysAndResets(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.flush().await;
            sleep(Duration::from_millis(20)).await;
            stream.cut();
        }
    }
    log.lock().unwrap().now -= 1;
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        bytes.push(stream.read_u8().await.ok()?);
    };
    let mut heard = Heard { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: String::new() };
    let length = heard.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    heard.body = String::from_utf8(body).unwrap();
    Some(heard)
}
