//! The digests behind image tags, asked of the registries.
//!
//! In: which image, on whose behalf. Out: at once an [`Answer`] from memory; later, when an answer changed, a call with the
//! key of everyone who asked. Never here: a decision about what an answer means for a Release, a write to the API server,
//! a second look at a tag that has been resolved.
//!
//! ```text
//! worker ── ask(key, images) ──> RegistryHub ── at most 8 at once ──> Fetch = Resolver ──> RegistryClient ──> registry
//!    ^                             Book (pure)                          │ only after a 401 or 403
//!    └──────── changed(key) ──────────┘                                 └─> pull secrets, the controller's file
//! ```

mod backoff;
mod book;
mod challenge;
mod client;
mod credential_file;
mod credentials;
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

use bascule_core::image::{Digest, Reference};
use futures::future::BoxFuture;
use jiff::Timestamp;

pub use client::{RegistryClient, StartError};
pub use credential_file::CredentialFile;
pub use credentials::{ConfigError, ConfigFormat, Keyring, Source};
pub use error::{LookupError, Tried};
pub use hidden::Hidden;
pub use hub::{Counts, RegistryHub, Wiring};
pub use pull_secrets::{KubePullSecrets, PullSecretConfig, PullSecrets, PullSecretsFound, PullSecretsUnread};
pub use resolver::Resolver;
pub use transport::PlainHttp;

/// One image that somebody wants pinned, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    pub reference: Reference,
    pub access: Access,
    /// Also what its configuration says.
    pub labels: bool,
}

/// An image, as far as anybody wanted to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub digest: Digest,
    /// Of its configuration; empty unless they were asked for.
    pub labels: BTreeMap<String, String>,
}

impl From<Digest> for Described {
    fn from(digest: Digest) -> Self {
        Self { digest, labels: BTreeMap::new() }
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

/// What is known about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody has answered yet.
    Pending,
    /// This is the image, for as long as the asker keeps asking.
    Resolved(Described),
    /// The last attempt failed; more follow by themselves.
    Failed {
        /// One sentence for people. It stays the same while the reason does.
        why: String,
        /// [`LookupError::category`]
        category: &'static str,
        /// Time may heal it; otherwise somebody has to do something.
        transient: bool,
        /// When the first of the failures in a row was seen.
        since: Timestamp,
    },
}

/// A tag to look up. Equal questions are asked once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub registry: String,
    pub repository: String,
    /// Or a digest, where only the labels are asked for.
    pub tag: String,
    pub access: Access,
    pub labels: bool,
}

impl Question {
    /// None when the reference already carries a digest, and that is all that is wanted.
    pub fn of(request: &ImageRequest) -> Option<Self> {
        Some(Self {
            registry: request.reference.registry().to_owned(),
            repository: request.reference.repository().to_owned(),
            tag: match request.reference.digest() {
                Some(digest) if request.labels => digest.to_string(),
                _ => request.reference.open_tag()?.to_owned(),
            },
            access: request.access.clone(),
            labels: request.labels,
        })
    }
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
