//! What lies under the keys of S3.
//!
//! In: which object, where, as whom. Out: its version and checksum, once; later only whether it still is the same. Never here: its bytes.

use std::{fmt, time::Duration};

use bascule_core::{Archive, sources::Scope};
use futures::{FutureExt as _, future::BoxFuture};

use super::{
    lookup::{self, Failure, Fetch, Kind},
    trouble::SourceError,
};

/// Somebody who knows what lies in a bucket: AWS, or a test's own.
pub trait ArchiveStore: Send + Sync + 'static {
    /// One attempt. None: there is no such object.
    fn look<'a>(&'a self, scope: &'a Scope, bucket: &'a str, key: &'a str)
    -> BoxFuture<'a, Result<Option<Archive>, SourceError>>;
}

/// Archives, as something to look up.
#[derive(Clone, Copy, Debug)]
pub struct Archives;

impl Kind for Archives {
    type Question = Question;
    type Found = Archive;
    type Error = ArchiveError;

    fn shown(found: &Archive) -> String {
        let record = &found.record;
        record.version_id.clone().or_else(|| record.etag.clone()).unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub scope: Scope,
    pub bucket: String,
    pub key: String,
    pub watch: bool,
    /// The version of the pointer: what it leads to is looked up for each.
    pub written: i64,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl lookup::Question for Question {
    fn lane(&self) -> &str {
        &self.bucket
    }

    fn watches(&self) -> bool {
        self.watch
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{about} cannot be looked up: {source}")]
    Trouble { about: String, source: SourceError },
}

impl Failure for ArchiveError {
    fn unreachable(what: String) -> Self {
        Self::Trouble { about: "S3".into(), source: SourceError::Unreachable(what) }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Missing(_) => "NotFound",
            Self::Trouble { source, .. } => source.reason(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Trouble { source, .. } if source.is_transient())
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// One who answers for S3.
pub(crate) struct Answering<S: ?Sized>(pub(crate) std::sync::Arc<S>);

impl<S: ArchiveStore + ?Sized> Fetch<Archives> for Answering<S> {
    fn fetch<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Archive, ArchiveError>> {
        async move {
            match self.0.look(&question.scope, &question.bucket, &question.key).await {
                Ok(Some(found)) => Ok(found),
                Ok(None) => Err(ArchiveError::Missing(question.to_string())),
                Err(source) => Err(ArchiveError::Trouble { about: question.to_string(), source }),
            }
        }
        .boxed()
    }
}
