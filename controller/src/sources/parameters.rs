//! The values of parameters, asked of Parameter Store: each once for all who want it, ten in one call, and never faster than told.
//!
//! In: which parameters a key wants, where, and how often they are to be read. Out: at once what is known; later, when an answer changed,
//! a call with the key of everyone who asked. Never here: AWS itself (a [`ParameterStore`] does that), what an answer means for a Release.
//!
//! ```text
//! worker ── ask(key, names) ──> Book (pure) <── record ── a task for each scope ── pace ── ParameterStore
//!    ^                            │
//!    └──────── changed(key) ──────┘
//! ```

#[cfg(feature = "aws")]
mod aws;
mod book;
mod hub;
mod pace;

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Parameter,
    sources::{ParameterName, Scope},
};
use futures::{FutureExt as _, future::BoxFuture};

#[cfg(feature = "aws")]
pub use aws::AwsStore;
pub(crate) use hub::{ParameterHub, Wiring};

/// `GetParameters` takes so many names.
pub const AT_MOST: usize = 10;

/// Somebody who reads parameters: AWS, or a test's own.
pub trait ParameterStore: Send + Sync + 'static {
    /// One attempt to read at most [`AT_MOST`] names. It may be dropped at any time; deadlines, pace and repetition are the hub's.
    fn read<'a>(&'a self, scope: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>>;
}

/// What was said. A name that is in neither was not answered: that is no news, and not the news that it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub found: BTreeMap<ParameterName, Parameter>,
    pub missing: BTreeSet<ParameterName>,
}

/// For a controller that was built or started without AWS.
#[derive(Clone, Copy, Debug)]
pub struct NoStore;

impl ParameterStore for NoStore {
    fn read<'a>(&'a self, _: &'a Scope, _: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        let why = "this controller was started without AWS";
        async move { Err(SourceError::Refused(why.to_owned())) }.boxed()
    }
}

/// Why there is no answer, by what has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Rights or credentials are missing.
    #[error("{0}")]
    Denied(String),
    /// Too many questions, of ours or of others in the same account.
    #[error("{0}")]
    Throttled(String),
    /// No answer, or a failure on the other side: time may heal it.
    #[error("{0}")]
    Unreachable(String),
    /// AWS does not take the question.
    #[error("{0}")]
    Refused(String),
}

impl SourceError {
    /// As a reason of a condition, and a label of metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => "AccessDenied",
            Self::Throttled(_) => "Throttled",
            Self::Unreachable(_) => "Unreachable",
            Self::Refused(_) => "RequestRefused",
        }
    }

    /// Time may heal it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_))
    }
}
