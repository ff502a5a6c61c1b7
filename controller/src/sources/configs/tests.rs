//! With an API server that is a function, under virtual time.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::StreamExt as _;
use http::{Request, Response, header::ACCEPT};
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::service_fn;

use super::*;

type Frames = futures::stream::BoxStream<'static, Result<http_body::Frame<bytes::Bytes>, Infallible>>;

/// A request for an object takes so long.
const TAKES: Duration = Duration::from_millis(20);

#[derive(Default)]
struct World {
    /// By path of the list, and name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    version: u64,
    watches: Vec<(String, mpsc::UnboundedSender<String>)>,
    log: Vec<String>,
    /// What requests for an object, and for a list, are refused with.
    refused: (Option<u16>, Option<u16>),
}

#[derive(Clone, Default)]
struct Server {
    world: Arc<Mutex<World>>,
    /// Lists and objects that are being answered now, and at most.
    busy: Arc<(AtomicUsize, AtomicUsize)>,
    told: Arc<Mutex<Vec<String>>>,
}

fn path(kind: ConfigKind, namespace: &str) -> String {
    let plural = if kind == ConfigKind::ConfigMaps { "configmaps" } else { "secrets" };
    format!("/api/v1/namespaces/{namespace}/{plural}")
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn map(name: &str) -> ConfigName {
    ConfigName { kind: ConfigKind::ConfigMaps, name: name.into() }
}

impl Server {
    fn configs(&self) -> Configs {
        let (server, told) = (self.clone(), self.told.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (server, request) = (server.clone(), request.map(drop));
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let changed = Arc::new(move |key: Key| told.lock().unwrap().push(key.to_string()));
        Configs::new(Client::new(service, "default"), changed, 7)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn put(&self, kind: ConfigKind, namespace: &str, name: &str, content: &str) {
        let path = path(kind, namespace);
        let mut world = self.world();
        world.version += 1;
        let version = world.version.to_string();
        let object = json!({"metadata": {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": version}, "data": {"a": content}});
        world.objects.entry(path.clone()).or_default().insert(name.to_owned(), object.clone());
        world.show(&path, "MODIFIED", &object);
    }

    fn put_map(&self, name: &str, content: &str) {
        self.put(ConfigKind::ConfigMaps, "shop", name, content);
    }

    fn delete_map(&self, name: &str) {
        let path = path(ConfigKind::ConfigMaps, "shop");
        let mut world = self.world();
        world.version += 1;
        let mut object = world.objects.get_mut(&path).unwrap().remove(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(world.version.to_string());
        world.show(&path, "DELETED", &object);
    }

    /// Everything that was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.world().log)
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    async fn answer(&self, request: Request<()>) -> Response<StreamBody<Frames>> {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let accepts = request.headers().get(ACCEPT).map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let metadata = accepts.contains("as=PartialObjectMetadata");
        let is_watch = query.contains("watch=true");
        let (list, name) = path.rsplit_once('/').unwrap();
        let is_list = matches!(name, "configmaps" | "secrets");
        let what = if is_watch {
            "watch"
        } else if is_list {
            "list"
        } else {
            "get"
        };
        self.world().log.push(format!("{what} {}{path}", if metadata { "metadata of " } else { "" }));
        if is_watch {
            let (sender, lines) = mpsc::unbounded_channel();
            self.world().watches.push((path, sender));
            let lines = futures::stream::unfold(lines, |mut lines| async { Some((lines.recv().await?, lines)) });
            return reply(200, lines.map(|line| Ok(http_body::Frame::data(line.into()))).boxed());
        }
        let busy = self.busy.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.busy.1.fetch_max(busy, Ordering::SeqCst);
        tokio::time::sleep(TAKES).await;
        self.busy.0.fetch_sub(1, Ordering::SeqCst);
        let world = self.world();
        let refused = if is_list { world.refused.1 } else { world.refused.0 };
        if let Some(code) = refused {
            return status(code);
        }
        if is_list {
            world.list(&path, &query)
        } else {
            world.objects.get(list).and_then(|it| it.get(name)).map_or_else(|| status(404), whole)
        }
    }
}

impl World {
    fn show(&mut self, path: &str, event: &str, object: &Value) {
        let line = json!({"type": event, "object": {"metadata": object["metadata"]}});
        self.watches.retain(|(of, watch)| of != path || watch.send(format!("{line}\n")).is_ok());
    }

    fn list(&self, path: &str, query: &str) -> Response<StreamBody<Frames>> {
        let parameter = |name: &str| query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let limit: usize = parameter("limit").unwrap().parse().unwrap();
        assert!(limit * 3 / 2 * 2 <= 30, "a page of objects of 1.5 MiB, as bytes and as text, is at most 30 MiB");
        let from: usize = parameter("continue").map_or(0, |from| from.parse().unwrap());
        let all: Vec<_> = self.objects.get(path).into_iter().flat_map(BTreeMap::values).collect();
        let items: Vec<_> = all.iter().skip(from).take(limit).map(|object| json!({"metadata": object["metadata"]})).collect();
        let next = if from + limit < all.len() { (from + limit).to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        whole(&json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items}))
    }
}

fn reply(code: u16, frames: Frames) -> Response<StreamBody<Frames>> {
    Response::builder().status(code).body(StreamBody::new(frames)).unwrap()
}

fn whole(object: &Value) -> Response<StreamBody<Frames>> {
    let text = object.to_string();
    reply(200, futures::stream::iter([Ok(http_body::Frame::data(text.into()))]).boxed())
}

fn status(code: u16) -> Response<StreamBody<Frames>> {
    let text = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": "X", "code": code});
    reply(code, futures::stream::iter([Ok(http_body::Frame::data(text.to_string().into()))]).boxed())
}

async fn settled() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

fn hash(configs: &Configs, name: &str) -> Answer<Option<String>> {
    configs.known(&key("shop", "web"), &[map(name)])[&map(name)].clone()
}

fn is_hash(answer: &Answer<Option<String>>) -> bool {
    matches!(answer, Answer::Known(Some(_)))
}

#[tokio::test(start_paused = true)]
async fn only_what_somebody_names_is_read_and_at_rest_nothing() {
    let server = Server::default();
    for number in 0..25 {
        server.put_map(&format!("other-{number}"), "1");
    }
    server.put_map("flags", "1");
    let configs = server.configs();
    assert_eq!(configs.ask(&key("shop", "web"), &[map("flags")])[&map("flags")], Answer::Pending);
    settled().await;
    let list = "list metadata of /api/v1/namespaces/shop/configmaps";
    let watch = "watch metadata of /api/v1/namespaces/shop/configmaps";
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|it| *it == list).count(), 3, "{asked:?}");
    assert_eq!(
        asked.iter().filter(|it| *it != list).collect::<Vec<_>>(),
        ["get /api/v1/namespaces/shop/configmaps/flags", watch]
    );
    assert!(is_hash(&hash(&configs, "flags")));
    assert_eq!(server.told(), ["shop/web"]);

    server.put_map("other-1", "2");
    configs.ask(&key("shop", "api"), &[map("flags")]);
    settled().await;
    assert!(is_hash(&hash(&configs, "flags")));
    assert_eq!((server.asked(), server.told()), (vec![], vec![]), "what nobody names is not read, and what is known not again");
    configs.ask(&key("shop", "api"), &[map("other-1")]);
    settled().await;
    assert_eq!(server.asked(), ["get /api/v1/namespaces/shop/configmaps/other-1"]);
    assert_eq!(server.told(), ["shop/api"]);
}

#[tokio::test(start_paused = true)]
async fn only_another_content_is_news() {
    let server = Server::default();
    server.put_map("flags", "1");
    let configs = server.configs();
    configs.ask(&key("shop", "web"), &[map("flags")]);
    settled().await;
    let first = hash(&configs, "flags");
    server.told();
    server.put_map("flags", "1");
    settled().await;
    assert_eq!((hash(&configs, "flags"), server.told()), (first.clone(), vec![]));
    server.put_map("flags", "2");
    assert_eq!(hash(&configs, "flags"), first, "until the next one is read");
    settled().await;
    assert!(hash(&configs, "flags") != first && is_hash(&hash(&configs, "flags")));
    assert_eq!(server.told(), ["shop/web"]);
    server.delete_map("flags");
    settled().await;
    assert_eq!((hash(&configs, "flags"), server.told()), (Answer::Known(None), vec!["shop/web".to_owned()]));
    server.put_map("flags", "1");
    settled().await;
    assert_eq!((hash(&configs, "flags"), server.told()), (first, vec!["shop/web".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn few_large_answers_are_in_memory_at_the_same_time() {
    let server = Server::default();
    let configs = server.configs();
    for tenant in 0..20 {
        let namespace = format!("tenant-{tenant}");
        let names: Vec<_> = (0..15).map(|number| map(&format!("large-{number}"))).collect();
        for name in &names {
            server.put(ConfigKind::ConfigMaps, &namespace, &name.name, "x");
        }
        configs.ask(&key(&namespace, "web"), &names);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let all = (0..20).flat_map(|tenant| {
        let names: Vec<_> = (0..15).map(|number| map(&format!("large-{number}"))).collect();
        configs.known(&key(&format!("tenant-{tenant}"), "web"), &names).into_values()
    });
    assert_eq!(all.filter(is_hash).count(), 300);
    assert_eq!(server.busy.1.load(Ordering::SeqCst), AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_unknown_and_never_gone_and_is_tried_again_with_growing_pauses() {
    let server = Server::default();
    server.put_map("flags", "1");
    let configs = server.configs();
    configs.ask(&key("shop", "web"), &[map("flags")]);
    settled().await;
    server.told();
    server.asked();
    for (code, reason, why) in
        [(500, "Unreachable", "the API server does not answer"), (403, "Denied", "the controller may not read it")]
    {
        server.world().refused.0 = Some(code);
        server.put_map("flags", &code.to_string());
        tokio::time::sleep(Duration::from_secs(600)).await;
        let message = format!("ConfigMap flags cannot be read: {why}");
        assert_eq!(hash(&configs, "flags"), Answer::Failed { reason, message });
        assert_eq!(server.told(), ["shop/web"], "it is told once");
        let asked = server.asked().len();
        assert!((15..=30).contains(&asked), "{asked} requests");
        server.world().refused.0 = None;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(is_hash(&hash(&configs, "flags")));
        assert_eq!(server.told(), ["shop/web"]);
        server.asked();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_holds_up_no_other() {
    let server = Server::default();
    server.put_map("a", "1");
    server.world().refused.0 = Some(500);
    let configs = server.configs();
    configs.ask(&key("shop", "web"), &[map("a")]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    server.world().refused.0 = None;
    server.put_map("b", "1");
    configs.ask(&key("shop", "api"), &[map("b")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_hash(&configs.known(&key("shop", "api"), &[map("b")])[&map("b")]));
    assert!(!is_hash(&hash(&configs, "a")));
}

#[tokio::test(start_paused = true)]
async fn gone_is_what_the_server_says_it_does_not_have() {
    let server = Server::default();
    server.put_map("flags", "1");
    let configs = server.configs();
    // Deleted after the list has shown it, and the watch is late.
    configs.ask(&key("shop", "web"), &[map("flags"), map("never")]);
    tokio::time::sleep(TAKES + TAKES / 2).await;
    server.world().objects.clear();
    settled().await;
    assert_eq!((hash(&configs, "flags"), hash(&configs, "never")), (Answer::Known(None), Answer::Known(None)));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_list_is_told_once() {
    let server = Server::default();
    server.world().refused.1 = Some(403);
    let configs = server.configs();
    configs.ask(&key("shop", "web"), &[map("flags")]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let message = "ConfigMap flags cannot be read: the controller may not list and watch them".to_owned();
    assert_eq!(hash(&configs, "flags"), Answer::Failed { reason: "Denied", message });
    assert_eq!(server.told(), ["shop/web"]);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_followed_as_long_as_somebody_asks_about_it() {
    let server = Server::default();
    server.put_map("flags", "1");
    server.put(ConfigKind::Secrets, "shop", "token", "MQ==");
    let token = ConfigName { kind: ConfigKind::Secrets, name: "token".into() };
    let configs = server.configs();
    configs.ask(&key("shop", "web"), &[map("flags"), token.clone()]);
    configs.ask(&key("shop", "api"), &[map("flags")]);
    settled().await;
    let secret = configs.known(&key("shop", "web"), std::slice::from_ref(&token));
    assert!(is_hash(&secret[&token]) && secret[&token] != hash(&configs, "flags"));
    server.asked();
    configs.forget(&key("shop", "web"));
    // Another name of the same place needs no other watch.
    configs.ask(&key("shop", "api"), &[map("else")]);
    settled().await;
    let open = |server: &Server| {
        let mut open: Vec<_> = server.world().watches.iter().filter(|it| !it.1.is_closed()).map(|it| it.0.clone()).collect();
        open.sort();
        open
    };
    assert_eq!((server.asked(), open(&server)), (vec![], vec![path(ConfigKind::ConfigMaps, "shop")]));
    drop(configs);
    settled().await;
    assert_eq!(open(&server), Vec::<String>::new());
}
