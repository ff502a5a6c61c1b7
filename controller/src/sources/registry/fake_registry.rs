//! A small registry for the tests of this module: real HTTP on a loopback port, with the ways to log in that exist.
//!
//! In: what it holds, and how it behaves. Out: its address, and what it was asked. Never here: pushes, layers, TLS.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bascule_core::image::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How it lets people in.
#[derive(Clone, Debug, Default)]
pub(super) enum Door {
    #[default]
    Open,
    Basic {
        user: &'static str,
        password: &'static str,
    },
    /// Tokens at `/token`; `users` get one that opens `repository`, everybody else one that opens nothing, unless
    /// `anonymous` may read too.
    Bearer {
        user: &'static str,
        password: &'static str,
        anonymous: bool,
    },
    /// 403 without a word.
    Shut,
}

/// What the answer to a manifest request looks like.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) body: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) stated: Option<String>,
}

impl Manifest {
    pub(super) fn new(text: &str) -> Self {
        let stated = Some(digest_of(text).to_string());
        Self { body: text.as_bytes().to_vec(), kind: OCI_INDEX, stated }
    }
}

pub(super) fn digest_of(text: &str) -> Digest {
    Digest::from_sha256(Sha256::digest(text).into())
}

#[derive(Default)]
struct Inside {
    door: Door,
    manifests: BTreeMap<String, Manifest>,
    blobs: BTreeMap<String, String>,
    /// The place of another one, to which it sends those who want a blob.
    elsewhere: Option<String>,
    /// Given instead of the true answer, one for each request.
    scripted: VecDeque<Response<Body>>,
    log: Vec<String>,
    no_head: bool,
    place: String,
    realm: Option<String>,
    tokens_given: u32,
    tokens_revoked: bool,
}

/// Runs until it is dropped.
pub(super) struct FakeRegistry {
    inside: Arc<Mutex<Inside>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeRegistry {
    pub(super) async fn start(door: Door) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let inside = Arc::new(Mutex::new(Inside { door, place, ..Inside::default() }));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inside, task }
    }

    pub(super) fn place(&self) -> String {
        self.inside.lock().unwrap().place.clone()
    }

    /// `name` is `repository:tag`.
    pub(super) fn hold(&self, name: &str, manifest: Manifest) {
        self.inside.lock().unwrap().manifests.insert(name.to_owned(), manifest);
    }

    pub(super) fn hold_blob(&self, text: &str) {
        self.put_blob(&digest_of(text).to_string(), text);
    }

    pub(super) fn put_blob(&self, digest: &str, text: &str) {
        self.inside.lock().unwrap().blobs.insert(digest.to_owned(), text.to_owned());
    }

    pub(super) fn keep_blobs_at(&self, other: &Self) {
        self.inside.lock().unwrap().elsewhere = Some(other.place());
    }

    pub(super) fn answer_next_with(&self, status: u16, headers: &[(&'static str, String)]) {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        self.inside.lock().unwrap().scripted.push_back(response.body(Body::empty()).unwrap());
    }

    pub(super) fn know_no_head(&self) {
        self.inside.lock().unwrap().no_head = true;
    }

    pub(super) fn send_for_tokens_to(&self, realm: &str) {
        self.inside.lock().unwrap().realm = Some(realm.to_owned());
    }

    pub(super) fn revoke_tokens(&self) {
        self.inside.lock().unwrap().tokens_revoked = true;
    }

    /// One line for each request since the last look: `METHOD path [way of authorization]`.
    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.inside.lock().unwrap().log)
    }
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response<Body> {
    let mut inside = inside.lock().unwrap();
    let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let way = shown.split(' ').next().unwrap_or_default().to_owned();
    let line = format!("{} {} {way}", request.method(), request.uri());
    inside.log.push(line.trim_end().to_owned());
    if let Some(response) = inside.scripted.pop_front() {
        return response;
    }
    if request.uri().path() == "/token" {
        return token(&mut inside, &shown);
    }
    if let Some(refusal) = refuse(&mut inside, &shown) {
        return refusal;
    }
    manifest(&inside, &request)
}

fn status(code: StatusCode) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

fn credentials(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn token(inside: &mut Inside, shown: &str) -> Response<Body> {
    let Door::Bearer { user, password, anonymous } = inside.door else { return status(StatusCode::NOT_FOUND) };
    let opens = match shown {
        "" => anonymous,
        shown if shown == credentials(user, password) => true,
        _ => return status(StatusCode::UNAUTHORIZED),
    };
    inside.tokens_given += 1;
    inside.tokens_revoked = false;
    let kind = if opens { "key" } else { "toy" };
    let body = format!(r#"{{"token": "{kind}-{}", "expires_in": 300}}"#, inside.tokens_given);
    Response::builder().header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()
}

fn refuse(inside: &mut Inside, shown: &str) -> Option<Response<Body>> {
    let challenge = match inside.door {
        Door::Open => return None,
        Door::Shut => return Some(status(StatusCode::FORBIDDEN)),
        Door::Basic { user, password } if shown == credentials(user, password) => return None,
        Door::Basic { .. } => "Basic realm=\"fake\"".to_owned(),
        Door::Bearer { .. } if shown.starts_with("Bearer key-") && !inside.tokens_revoked => return None,
        Door::Bearer { .. } => {
            let realm = inside.realm.clone().unwrap_or_else(|| format!("http://{}/token", inside.place));
            format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"repository:shop/web:pull\"")
        }
    };
    let response = Response::builder().status(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge);
    Some(response.body(Body::empty()).unwrap())
}

fn manifest(inside: &Inside, request: &Request) -> Response<Body> {
    if let Some((_, digest)) = request.uri().path().split_once("/blobs/") {
        if let Some(place) = &inside.elsewhere {
            let target = format!("http://{place}{}", request.uri().path());
            return Response::builder().status(307).header(header::LOCATION, target).body(Body::empty()).unwrap();
        }
        return inside
            .blobs
            .get(digest)
            .map_or_else(|| status(StatusCode::NOT_FOUND), |text| Response::new(Body::from(text.clone())));
    }
    let head = request.method() == Method::HEAD;
    if head && inside.no_head {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri().path();
    let name =
        path.strip_prefix("/v2/").and_then(|path| path.split_once("/manifests/")).map(|(name, tag)| format!("{name}:{tag}"));
    let Some(manifest) = name.and_then(|name| inside.manifests.get(&name)) else { return status(StatusCode::NOT_FOUND) };
    if !accepts(request.headers(), OCI_INDEX) {
        return status(StatusCode::NOT_ACCEPTABLE);
    }
    let mut response = Response::builder().header(header::CONTENT_TYPE, manifest.kind);
    if let Some(stated) = &manifest.stated {
        response = response.header("Docker-Content-Digest", stated);
    }
    response.body(if head { Body::empty() } else { Body::from(manifest.body.clone()) }).unwrap()
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
}
