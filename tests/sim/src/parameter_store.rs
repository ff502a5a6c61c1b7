//! A Parameter Store with a history, and with everything that goes wrong with one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bascule_controller::sources::parameters::{Batch, ParameterStore, SourceError};
use bascule_core::{
    Parameter,
    sources::{ParameterName, Scope},
};
use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// What is true: each parameter with all its versions.
#[derive(Clone, Debug, Default)]
pub struct Values {
    versions: BTreeMap<String, Vec<Parameter>>,
    /// What is the matter, and until when in milliseconds.
    troubles: Vec<(StoreTrouble, u64)>,
}

/// What may be the matter for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StoreTrouble {
    Throttled,
    Unreachable,
    /// It takes the question and never answers.
    Silent,
    Denied,
    /// It leaves every name out.
    Half,
    /// It answers with what was true before the last write.
    Old,
    /// It says that there is no such parameter.
    Missing,
}

impl StoreTrouble {
    pub const ALL: [Self; 7] =
        [Self::Throttled, Self::Unreachable, Self::Silent, Self::Denied, Self::Half, Self::Old, Self::Missing];
}

impl Values {
    pub fn put(&mut self, name: &str, value: &str, at: Timestamp) {
        let versions = self.versions.entry(name.to_owned()).or_default();
        let version = i64::try_from(versions.len()).unwrap_or(i64::MAX) + 1;
        versions.push(Parameter { value: value.to_owned(), version, secure: false, modified_at: Some(at) });
    }

    pub fn newest(&self, name: &str) -> Option<&Parameter> {
        self.versions.get(name)?.last()
    }

    pub fn upset(&mut self, trouble: StoreTrouble, until: u64) {
        self.troubles.push((trouble, until));
    }

    pub fn cease(&mut self) {
        self.troubles.clear();
    }

    fn answer(&self, names: &[ParameterName], now: u64) -> Result<Batch, SourceError> {
        let trouble = self.troubles.iter().rfind(|(_, until)| now < *until).map(|(trouble, _)| *trouble);
        let mut batch = Batch::default();
        match trouble {
            Some(StoreTrouble::Throttled) => return Err(SourceError::Throttled("Rate exceeded".into())),
            Some(StoreTrouble::Unreachable | StoreTrouble::Silent) => {
                return Err(SourceError::Unreachable("connection refused".into()));
            }
            Some(StoreTrouble::Denied) => return Err(SourceError::Denied("not authorized".into())),
            Some(StoreTrouble::Half) => return Ok(batch),
            Some(StoreTrouble::Old | StoreTrouble::Missing) | None => {}
        }
        for name in names {
            let versions = self.versions.get(name.base()).map_or(&[][..], Vec::as_slice);
            let seen = match trouble {
                Some(StoreTrouble::Missing) => None,
                Some(StoreTrouble::Old) => versions.iter().rev().nth(1).or(versions.last()),
                _ => versions.last(),
            };
            match seen {
                Some(parameter) => drop(batch.found.insert(name.clone(), parameter.clone())),
                None => drop(batch.missing.insert(name.clone())),
            }
        }
        Ok(batch)
    }

    fn is_silent(&self, now: u64) -> bool {
        self.troubles.iter().rfind(|(_, until)| now < *until).is_some_and(|(trouble, _)| *trouble == StoreTrouble::Silent)
    }
}

/// The way from a process to it.
#[derive(Debug)]
pub struct Store {
    pub server: Arc<Server>,
}

impl ParameterStore for Store {
    fn read<'a>(&'a self, _: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = u64::try_from(self.server.elapsed().as_millis()).unwrap_or(0);
            if self.server.inside().parameters.is_silent(now) {
                return futures::future::pending().await;
            }
            self.server.inside().parameters.answer(names, now)
        }
        .boxed()
    }
}
