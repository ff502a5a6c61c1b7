//! The OCI distribution API, as far as it is needed to learn the digest behind a tag and the labels of an image.
//!
//! In: a question, and one login at a time. Out: a digest, or what the registry demands or says instead. Never here: which
//! login to try (the resolver's part), repetition (the hub's part), layers.

use bascule_core::{image::Digest, sources::Wish};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::challenge::{self, Challenge};
use super::credentials::Login;
use super::error::LookupError;
use super::hidden::Hidden;
use super::labels::{self, About};
use super::tokens::{Purpose, Tokens};
use super::transport::{PlainHttp, Transport, place_of, read_bounded, refusal};
use super::{Described, Question};
use crate::sources::lookup::Failure as _;

/// Indexes first: one digest for all architectures is what a fleet of mixed nodes needs.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The size that registries must accept at least, and in practice refuse beyond.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;
/// Mostly the history of its layers.
const LARGEST_CONFIG: usize = 4 * 1024 * 1024;
/// Tokens are a few KB, with the claims of very many groups some dozens.
const LARGEST_TOKEN_ANSWER: usize = 64 * 1024;
/// What an image says of itself is often kept elsewhere, where we may not get; the rest of an attempt is for the digest.
const ABOUT_WITHIN: Duration = Duration::from_secs(4);
/// What a digest says never changes. Some KB each.
const REMEMBERED: usize = 2048;

/// Asks registries.
#[derive(Debug)]
pub struct RegistryClient {
    transport: Transport,
    tokens: Tokens,
    /// By repository and digest.
    known: Mutex<BTreeMap<(String, String), About>>,
}

/// The client could not be made; nothing was asked yet.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no TLS provider is installed in this process")]
    NoCryptoProvider,
    #[error("the HTTP client for registries could not be made: {0}")]
    Client(reqwest::Error),
}

/// What a registry says to somebody who shows nothing.
#[derive(Debug)]
pub(super) enum First {
    Found(Described),
    Challenged(Vec<Challenge>),
}

/// A manifest's digest, or a 401 or 403 with its demands.
enum Manifest {
    Found(Described),
    Refused(Vec<Challenge>),
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<Hidden<String>>,
    #[serde(default)]
    access_token: Option<Hidden<String>>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl RegistryClient {
    /// The process must have installed its TLS provider before.
    pub fn new(plain: PlainHttp) -> Result<Self, StartError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(StartError::NoCryptoProvider);
        }
        Ok(Self {
            transport: Transport::new(plain).map_err(StartError::Client)?,
            tokens: Tokens::default(),
            known: Mutex::default(),
        })
    }

    /// Asks without showing anything: most images are public, and a credential that is not needed is not sent.
    pub(super) async fn ask(&self, question: &Question) -> Result<First, LookupError> {
        Ok(match self.manifest(question, None).await? {
            Manifest::Found(found) => First::Found(found),
            Manifest::Refused(challenges) => First::Challenged(challenges),
        })
    }

    /// Asks again in the way that was demanded, with a login or as nobody in particular. None: it was refused.
    pub(super) async fn ask_as(
        &self,
        question: &Question,
        challenges: &[Challenge],
        login: Option<&Login>,
    ) -> Result<Option<Described>, LookupError> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service.as_deref(), scope.as_deref())),
            Challenge::Basic => None,
        });
        match (bearer, login) {
            (Some((realm, service, scope)), _) => self.with_token(question, realm, service, scope, login).await,
            (None, Some(login)) if challenges.contains(&Challenge::Basic) => {
                self.with_header(question, &basic(question, login)?).await
            }
            // Nothing to show, or no way to show it: that was tried already.
            (None, _) => Ok(None),
        }
    }

    async fn with_token(
        &self,
        question: &Question,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Option<Described>, LookupError> {
        let purpose = Purpose::new(&question.registry, &question.repository, login);
        if let Some(token) = self.tokens.get(&purpose) {
            if let Some(found) = self.with_header(question, &bearer(question, &token)?).await? {
                return Ok(Some(found));
            }
            self.tokens.drop(&purpose);
        }
        let Some((token, life)) = self.fetch_token(question, realm, service, scope, login).await? else { return Ok(None) };
        let found = self.with_header(question, &bearer(question, &token)?).await?;
        // Some servers give everybody a token; one that opens nothing is not worth keeping.
        if found.is_some() {
            self.tokens.keep(purpose, token, life);
        }
        Ok(found)
    }

    async fn with_header(&self, question: &Question, authorization: &HeaderValue) -> Result<Option<Described>, LookupError> {
        Ok(match self.manifest(question, Some(authorization)).await? {
            Manifest::Found(found) => Some(found),
            Manifest::Refused(_) => None,
        })
    }

    /// A token and its life time; none when the login is refused.
    async fn fetch_token(
        &self,
        question: &Question,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Option<(Hidden<String>, Option<Duration>)>, LookupError> {
        let unfit = |what| LookupError::malformed(&question.registry, what);
        let mut url = Url::parse(realm).map_err(|_| unfit("the address of its token server is none"))?;
        if !self.transport.is_safe(&url) {
            return Err(unfit("the address of its token server is not https"));
        }
        // It is the registry that names it, and any tenant may name a registry.
        let registry = place_of(&self.transport.address(&question.registry, "/")?);
        if !self.transport.leads(&registry, &url) {
            return Err(unfit("the address of its token server is one that it has no business with"));
        }
        let usual_scope = format!("repository:{}:pull", question.repository);
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", scope.unwrap_or(&usual_scope));
        }
        let server = place_of(&url);
        let authorization = login.map(|login| basic(question, login)).transpose()?;
        let response = self.transport.send(Method::GET, url, HeaderMap::new(), authorization.as_ref()).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            status if status.is_success() => {}
            _ => return Err(refusal(&server, &response)),
        }
        let body = read_bounded(response, LARGEST_TOKEN_ANSWER).await?;
        // The words of a JSON error could quote the token.
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| LookupError::malformed(&server, "it is not the JSON of a token"))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.reveal().is_empty());
        let token = token.ok_or_else(|| LookupError::malformed(&server, "there is no token in it"))?;
        Ok(Some((token, answer.expires_in.map(Duration::from_secs))))
    }

    async fn manifest(&self, question: &Question, authorization: Option<&HeaderValue>) -> Result<Manifest, LookupError> {
        if !matches!(question.wish, Wish::About | Wish::Order) {
            return self.digest(question, authorization).await;
        }
        let response = self.request_manifest(Method::GET, question, &question.tag, authorization).await?;
        if let Some(refused) = Self::check(question, &response)? {
            return Ok(refused);
        }
        let (digest, body) = read_manifest(question, response).await?;
        let asked = tokio::time::timeout(ABOUT_WITHIN, self.about(question, &digest, &body, authorization)).await;
        let late =
            || Err(LookupError::unreachable(format!("{} does not show the configuration of the image", question.registry)));
        let about = match asked.unwrap_or_else(|_| late()) {
            // Nothing waits for it, whatever the reason is.
            Err(why) if question.wish == Wish::About => {
                tracing::warn!(image = %question, %why, "the image does not tell what it is");
                About::default()
            }
            about => about?,
        };
        Ok(Manifest::Found(Described { digest, labels: about.labels, platforms: about.platforms }))
    }

    /// What was read once of a digest is known for ever; but only who may read its manifest gets so far.
    async fn about(
        &self,
        question: &Question,
        digest: &Digest,
        body: &[u8],
        authorization: Option<&HeaderValue>,
    ) -> Result<About, LookupError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (format!("{}/{}", question.registry, question.repository), digest.to_string());
        if let Some(about) = known().get(&key).cloned() {
            return Ok(about);
        }
        let about = self.read_about(question, body, authorization).await?;
        let mut known = known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, about.clone());
        Ok(about)
    }

    /// From the manifest, or that of one platform where there are several, to the configuration.
    async fn read_about(
        &self,
        question: &Question,
        body: &[u8],
        authorization: Option<&HeaderValue>,
    ) -> Result<About, LookupError> {
        let unfit = |what: String| LookupError::malformed(&question.registry, what);
        let (config, platforms) = match labels::next(body).map_err(unfit)? {
            labels::Next::Config(config) => (config, None),
            labels::Next::Manifest(digest, platforms) => {
                let response = self.request_manifest(Method::GET, question, &digest, authorization).await?;
                if Self::check(question, &response)?.is_some() {
                    return Err(unfit("it shows the index of an image and refuses one of its manifests".to_owned()));
                }
                match labels::next(&read_manifest(question, response).await?.1).map_err(unfit)? {
                    labels::Next::Config(config) => (config, Some(platforms).filter(|platforms| !platforms.is_empty())),
                    labels::Next::Manifest(..) => return Err(unfit("an index of the image names another index".to_owned())),
                }
            }
        };
        let url = self.transport.address(&question.registry, &format!("/v2/{}/blobs/{config}", question.repository))?;
        let response = self.transport.fetch(url, authorization).await?;
        if !response.status().is_success() {
            return Err(refusal(&question.registry, &response));
        }
        let body = read_bounded(response, LARGEST_CONFIG).await?;
        let computed = Digest::from_sha256(Sha256::digest(&body).into());
        if Digest::parse(&config).is_ok_and(|stated| stated.algorithm() == computed.algorithm() && stated != computed) {
            return Err(unfit("the configuration of the image does not match its digest".to_owned()));
        }
        let about = labels::read(&body).map_err(unfit)?;
        Ok(About { platforms: platforms.unwrap_or(about.platforms), ..about })
    }

    /// HEAD, which costs no pull on Docker Hub; GET where the answer to that has no digest.
    async fn digest(&self, question: &Question, authorization: Option<&HeaderValue>) -> Result<Manifest, LookupError> {
        let response = self.request_manifest(Method::HEAD, question, &question.tag, authorization).await?;
        let head_is_unknown = matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if !head_is_unknown {
            if let Some(refused) = Self::check(question, &response)? {
                return Ok(refused);
            }
            if let Some(digest) = stated_digest(question, &response)? {
                return Ok(Manifest::Found(digest.into()));
            }
        }
        let response = self.request_manifest(Method::GET, question, &question.tag, authorization).await?;
        if let Some(refused) = Self::check(question, &response)? {
            return Ok(refused);
        }
        Ok(Manifest::Found(read_manifest(question, response).await?.0.into()))
    }

    async fn request_manifest(
        &self,
        method: Method,
        question: &Question,
        name: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, LookupError> {
        let url = self.transport.address(&question.registry, &format!("/v2/{}/manifests/{name}", question.repository))?;
        let accept = MANIFESTS.iter().map(|kind| (ACCEPT, HeaderValue::from_static(kind))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        );
        self.transport.send(method, url, accept, authorization).await
    }

    /// None for a success; otherwise the demands of a 401 or 403, or an error.
    fn check(question: &Question, response: &Response) -> Result<Option<Manifest>, LookupError> {
        match response.status() {
            status if status.is_success() => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let headers = response.headers().get_all(WWW_AUTHENTICATE);
                Ok(Some(Manifest::Refused(challenge::parse(headers.iter().filter_map(|value| value.to_str().ok())))))
            }
            StatusCode::NOT_FOUND => Err(LookupError::NotFound {
                repository: format!("{}/{}", question.registry, question.repository),
                tag: question.tag.clone(),
            }),
            _ => Err(refusal(&question.registry, response)),
        }
    }
}

/// The whole of it, and what it is called.
async fn read_manifest(question: &Question, response: Response) -> Result<(Digest, Vec<u8>), LookupError> {
    if !has_manifest_type(&response) {
        return Err(LookupError::malformed(&question.registry, "it does not say that it is an image manifest"));
    }
    let stated = stated_digest(question, &response)?;
    let body = read_bounded(response, LARGEST_MANIFEST).await?;
    let computed = Digest::from_sha256(Sha256::digest(&body).into());
    match stated {
        Some(stated) if stated.algorithm() == computed.algorithm() && stated != computed => {
            Err(LookupError::malformed(&question.registry, "the manifest does not match its digest"))
        }
        Some(stated) => Ok((stated, body)),
        None => Ok((computed, body)),
    }
}

/// The digest in the header, where there is one and the answer can be a manifest at all.
fn stated_digest(question: &Question, response: &Response) -> Result<Option<Digest>, LookupError> {
    let unfit = |what| LookupError::malformed(&question.registry, what);
    let Some(value) = response.headers().get(CONTENT_DIGEST) else { return Ok(None) };
    if response.headers().contains_key(CONTENT_TYPE) && !has_manifest_type(response) {
        return Err(unfit("it is no image manifest of a kind that nodes can run today"));
    }
    let digest = value.to_str().ok().and_then(|text| Digest::parse(text).ok());
    digest.map(Some).ok_or_else(|| unfit("its Docker-Content-Digest is not a digest"))
}

/// A log-in page of a proxy answers 200 too.
fn has_manifest_type(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    MANIFESTS.iter().any(|manifest| manifest.eq_ignore_ascii_case(kind))
}

fn basic(question: &Question, login: &Login) -> Result<HeaderValue, LookupError> {
    let pair = format!("{}:{}", login.username.reveal(), login.password.reveal());
    secret_header(question, &format!("Basic {}", STANDARD.encode(pair)))
}

fn bearer(question: &Question, token: &Hidden<String>) -> Result<HeaderValue, LookupError> {
    secret_header(question, &format!("Bearer {}", token.reveal()))
}

fn secret_header(question: &Question, text: &str) -> Result<HeaderValue, LookupError> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| LookupError::malformed(&question.registry, "its token has characters that a header cannot carry"))?;
    // Keeps it out of every dump of a request.
    value.set_sensitive(true);
    Ok(value)
}
