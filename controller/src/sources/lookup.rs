//! Things that are looked up outside of the cluster, one by one: what lies behind a tag, what lies under a key.
//!
//! In: which questions a key asks. Out: at once an [`Answer`] from memory; later, when an answer changed, a call with the key of
//! everyone who asked. Never here: what is asked, and of whom: that is what a [`Kind`] is.
//!
//! ```text
//! worker ── ask(key, questions) ──> Lookups ── at most 8 at once ──> Fetch ──> registry, S3
//!    ^                              Book (pure)
//!    └──────── changed(key) ───────────┘
//! ```

mod backoff;
mod book;
mod hub;

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;

#[cfg(test)]
pub(crate) use hub::Counts;
pub use hub::{Lookups, Wiring};

/// What is looked up.
pub trait Kind: Send + Sync + 'static {
    type Question: Question;
    type Found: Clone + PartialEq + Send + Sync + 'static;
    type Error: Failure;

    /// For the log.
    fn shown(found: &Self::Found) -> String;
}

/// Equal questions are asked once.
pub trait Question: Clone + Ord + fmt::Display + Send + Sync + 'static {
    /// Who is asked: what shares places and pauses.
    fn lane(&self) -> &str;

    /// The answer is not the end of it: it is asked again once in a while, to see whether it changes.
    fn watches(&self) -> bool;
}

/// Why there is no answer. Its words stay the same while the reason does.
pub trait Failure: fmt::Display + Send + Sync + 'static {
    fn unreachable(what: String) -> Self;

    /// Label of a metric.
    fn category(&self) -> &'static str;

    /// Time may heal it without anybody doing anything.
    fn is_transient(&self) -> bool;

    /// How long the other side wants to be left alone.
    fn retry_after(&self) -> Option<Duration>;
}

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<F> {
    /// Nobody has answered yet.
    Pending,
    /// This is it, for as long as the asker keeps asking.
    Found(F),
    /// The last attempt failed; more follow by themselves.
    Failed {
        /// One sentence for people. It stays the same while the reason does.
        why: String,
        /// [`Failure::category`]
        category: &'static str,
        /// Time may heal it; otherwise somebody has to do something.
        transient: bool,
        /// When the first of the failures in a row was seen.
        since: Timestamp,
    },
}

/// Somebody who can look it up, or a test's own.
pub trait Fetch<W: Kind>: Send + Sync + 'static {
    /// One attempt. It may be dropped at any time; deadlines, repetition and limits are the hub's.
    fn fetch<'a>(&'a self, question: &'a W::Question) -> BoxFuture<'a, Result<W::Found, W::Error>>;
}
