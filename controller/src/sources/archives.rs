//! What lies under the keys of S3.
//!
//! In: which object, where, as whom. Out: its version and checksum, once; later only whether it still is the same. Never here: its bytes.

use std::{fmt, time::Duration};

use bascule_core::{Archive, sources::Scope};
use bascule_crds::ArchiveRecord;
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

    /// One attempt: can exactly this still be fetched? By its version; where the bucket kept none, by its key.
    fn keeps<'a>(&'a self, scope: &'a Scope, pinned: &'a ArchiveRecord) -> BoxFuture<'a, Result<bool, SourceError>> {
        async move {
            let newest = self.look(scope, &pinned.bucket, &pinned.key).await?;
            let is_newest = newest.is_some_and(|newest| is_same(pinned, &newest.record));
            if pinned.version_id.is_some() && !is_newest {
                return Err(SourceError::Refused("it is not the newest version, and no others can be asked for".to_owned()));
            }
            Ok(is_newest)
        }
        .boxed()
    }
}

/// Whether this is what was pinned. The same content under another version is not the same where pods fetch by version.
pub(super) fn is_same(pinned: &ArchiveRecord, seen: &ArchiveRecord) -> bool {
    if pinned.version_id.is_some() {
        return seen.version_id == pinned.version_id;
    }
    match (&pinned.sha256, &seen.sha256) {
        (Some(pinned), Some(seen)) => pinned == seen,
        _ => (&pinned.etag, pinned.size) == (&seen.etag, seen.size),
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A bucket with one object.
    struct Bucket(Option<ArchiveRecord>);

    impl ArchiveStore for Bucket {
        fn look<'a>(&'a self, _: &'a Scope, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Archive>, SourceError>> {
            async { Ok(self.0.clone().map(|record| Archive { record, metadata: BTreeMap::new() })) }.boxed()
        }
    }

    fn record(version: Option<&str>, etag: &str, sha256: Option<&str>) -> ArchiveRecord {
        let text = |text: &str| text.to_owned();
        ArchiveRecord {
            bucket: text("b"),
            key: text("k"),
            version_id: version.map(text),
            etag: Some(text(etag)),
            sha256: sha256.map(text),
            size: 3,
        }
    }

    async fn keeps(pinned: &ArchiveRecord, newest: Option<&ArchiveRecord>) -> Option<bool> {
        Bucket(newest.cloned()).keeps(&Scope::default(), pinned).await.ok()
    }

    #[tokio::test]
    async fn without_a_version_only_the_same_content_is_still_there() {
        let pinned = record(None, "e1", Some("s1"));
        for (newest, kept) in [
            (None, false),
            (Some(record(None, "e1", Some("s1"))), true),
            // Stored again, in other parts.
            (Some(record(None, "e2", Some("s1"))), true),
            (Some(record(None, "e2", Some("s2"))), false),
            // Versions were turned on since, and it was overwritten.
            (Some(record(Some("v2"), "e2", Some("s2"))), false),
            (Some(record(None, "e1", None)), true),
            (Some(record(None, "e2", None)), false),
        ] {
            assert_eq!(keeps(&pinned, newest.as_ref()).await, Some(kept), "{newest:?}");
        }
        let unsigned = record(None, "e1", None);
        assert_eq!(keeps(&unsigned, Some(&record(None, "e2", Some("s1")))).await, Some(false));
        assert_eq!(keeps(&unsigned, Some(&ArchiveRecord { size: 4, ..unsigned.clone() })).await, Some(false));
    }

    #[tokio::test]
    async fn of_a_version_that_is_not_the_newest_nobody_knows_who_cannot_ask_for_it() {
        let pinned = record(Some("v1"), "e1", Some("s1"));
        assert_eq!(keeps(&pinned, Some(&pinned)).await, Some(true));
        assert_eq!(keeps(&pinned, Some(&record(Some("v2"), "e1", Some("s1")))).await, None);
        assert_eq!(keeps(&pinned, None).await, None, "a delete marker lies over it, or it is gone");
    }
}
