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

mod book;
mod hub;
mod pace;

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Parameter,
    sources::{ParameterName, Scope},
};
use futures::{FutureExt as _, future::BoxFuture};

use super::trouble::SourceError;

pub(crate) use book::Swept;
pub(crate) use hub::{ParameterHub, Wiring};

/// `GetParameters` takes so many names.
pub const AT_MOST: usize = 10;

/// Somebody who reads parameters: AWS, or a test's own.
pub trait ParameterStore: Send + Sync + 'static {
    /// One attempt to read at most [`AT_MOST`] names. It may be dropped at any time; deadlines, pace and repetition are the hub's.
    fn read<'a>(&'a self, scope: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>>;

    /// Account and region that are asked there, as far as they are known already: what AWS counts together.
    fn account(&self, scope: &Scope) -> Account {
        (account_of(scope), scope.region.clone())
    }

    /// Who wrote this version. None: nobody knows.
    fn author<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a ParameterName,
        version: i64,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        let _ = (scope, name, version);
        async { Ok(None) }.boxed()
    }
}

/// Account and region; None: the process's own.
pub type Account = (Option<String>, Option<String>);

/// Of the role.
pub(crate) fn account_of(scope: &Scope) -> Option<String> {
    scope.role_arn.as_ref()?.split(':').nth(4).map(str::to_owned)
}

/// What was said. A name that is in neither was not answered: that is no news, and not the news that it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub found: BTreeMap<ParameterName, Parameter>,
    pub missing: BTreeSet<ParameterName>,
}
