//! The digests behind image tags, asked of the registries, and what images say of themselves.
//!
//! In: which image, on whose behalf. Out: at once an [`Answer`] from memory; later, when an answer changed, a call with the
//! key of everyone who asked. Never here: a decision about what an answer means for a Release, a write to the API server,
//! a second look at a tag that has been resolved, but to report that it has moved.
//!
//! ```text
//! worker ── ask(key, images) ──> RegistryHub ── Lookups ──> Fetch = Resolver ──> RegistryClient ──> registry
//!                                                             │ only after a 401 or 403
//!                                                             └─> pull secrets, ECR by the Environment's role, the controller's file
//! ```

mod challenge;
mod client;
mod credential_file;
mod credentials;
mod ecr;
mod error;
mod hidden;
mod hub;
mod labels;
mod pull_secrets;
mod resolver;
mod tokens;
mod transport;

#[cfg(test)]
mod fake_registry;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bascule_core::{
    image::{Digest, Reference},
    sources::{Scope, Wish},
};
use futures::future::BoxFuture;

use super::lookup::{self, Kind};

pub use client::{RegistryClient, StartError};
pub use credential_file::CredentialFile;
pub use credentials::{ConfigError, ConfigFormat, Keyring, Source};
#[cfg(feature = "aws")]
pub(crate) use ecr::region as ecr_region;
pub use ecr::{EcrLogin, EcrLogins, EcrRefusal};
pub use error::{LookupError, Tried};
pub use hidden::Hidden;
pub(crate) use hub::Answering;
pub use hub::RegistryHub;
pub use pull_secrets::{KubePullSecrets, PullSecretConfig, PullSecrets, PullSecretsFound, PullSecretsUnread};
pub use resolver::Resolver;
pub use transport::PlainHttp;

/// One image that somebody wants pinned, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    pub reference: Reference,
    pub access: Access,
    /// Who we are in AWS, where it is one of AWS' registries.
    pub aws: Scope,
    pub wish: Wish,
    /// The version of the pointer: what it leads to is looked up for each.
    pub written: i64,
}

/// An image, as far as anybody wanted to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub digest: Digest,
    /// Of its configuration; empty unless they were asked for.
    pub labels: BTreeMap<String, String>,
    /// As in `linux/arm64`; empty when that is not known.
    pub platforms: BTreeSet<String>,
}

impl From<Digest> for Described {
    fn from(digest: Digest) -> Self {
        Self { digest, labels: BTreeMap::new(), platforms: BTreeSet::new() }
    }
}

/// Whose credentials may be used. It is part of what makes two questions the same: a namespace never profits from an
/// answer that another namespace's pull secret has opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Those of the controller, or none.
    Controller,
    /// Also these pull secrets.
    PullSecrets { namespace: String, names: BTreeSet<String> },
    /// Also the pull secrets of this service account.
    ServiceAccount { namespace: String, name: String },
}

impl Access {
    /// What the kubelet would use for pods that name these pull secrets and this service account. As in the kubelet, a
    /// service account's own secrets count only for pods that name none.
    pub fn of_pods(namespace: &str, pull_secrets: impl IntoIterator<Item = String>, service_account: Option<&str>) -> Self {
        let names: BTreeSet<String> = pull_secrets.into_iter().filter(|name| !name.is_empty()).collect();
        let namespace = namespace.to_owned();
        if names.is_empty() {
            let name = service_account.filter(|name| !name.is_empty()).unwrap_or("default").to_owned();
            Self::ServiceAccount { namespace, name }
        } else {
            Self::PullSecrets { namespace, names }
        }
    }
}

pub type Answer = lookup::Answer<Described>;

/// Images, as something to look up.
#[derive(Clone, Copy, Debug)]
pub struct Images;

impl Kind for Images {
    type Question = Question;
    type Found = Described;
    type Error = LookupError;

    fn shown(found: &Described) -> String {
        found.digest.to_string()
    }
}

/// A tag to look up. Equal questions are asked once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub registry: String,
    pub repository: String,
    /// Or a digest, where only what the image says of itself is asked for.
    pub tag: String,
    pub access: Access,
    /// None: it is not a registry of AWS.
    pub aws: Option<Scope>,
    pub wish: Wish,
    pub written: i64,
}

impl lookup::Question for Question {
    fn lane(&self) -> &str {
        &self.registry
    }

    fn watches(&self) -> bool {
        self.wish == Wish::Watch
    }
}

impl Question {
    /// None when the reference already carries a digest, and that is all that is wanted.
    pub fn of(request: &ImageRequest) -> Option<Self> {
        Some(Self {
            registry: request.reference.registry().to_owned(),
            repository: request.reference.repository().to_owned(),
            tag: match request.reference.digest() {
                Some(digest) if matches!(request.wish, Wish::About | Wish::Order) => digest.to_string(),
                _ => request.reference.open_tag()?.to_owned(),
            },
            access: request.access.clone(),
            aws: ecr::region(request.reference.registry()).map(|_| request.aws.clone()),
            wish: request.wish,
            written: request.written,
        })
    }
}

/// It is one of AWS' registries.
pub(crate) fn is_ecr(registry: &str) -> bool {
    ecr::region(registry).is_some()
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

/// Something that can look a tag up: the [`Resolver`], or a test's own.
pub trait Fetch: Send + Sync + 'static {
    /// One attempt. It may be dropped at any time; deadlines, repetition and limits are the hub's.
    fn describe<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>>;

    /// Whether answers depend on the namespace that asks. Where they do not, all namespaces share one question.
    fn reads_pull_secrets(&self) -> bool {
        true
    }
}
