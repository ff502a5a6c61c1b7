//! What all parts of one run share: the API server, the clock, chance, the history and those who judge it.
//!
//! Every request of anybody goes through [`Server::carry_out`]: there the history grows by a line, the oracles look at what has changed,
//! and everybody who watches is woken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bascule_controller::told::Told;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    api::{Api, Reply, Request},
    chance::Chance,
    fault::Faults,
    oracle::Oracle,
    outside::Outside,
};

/// Monday morning: the time at which every run begins.
const BEGIN: &str = "2026-01-05T10:00:00Z";

/// One request that was carried out.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: SignedDuration,
    pub user: String,
    pub method: String,
    pub path: String,
    pub dry_run: bool,
    pub code: u16,
    /// Of the store afterwards.
    pub version: u64,
    /// The controller's write in short words.
    pub words: Option<String>,
}

/// What a request of a controller can leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: it reads, or is a dry run.
    Read,
    Write,
}

#[derive(Debug)]
pub struct Inside {
    pub api: Api,
    pub latency: Chance,
    pub history: Vec<Asked>,
    pub faults: Faults,
    pub oracle: Oracle,
    pub outside: Outside,
    /// What each replica has sent since the beginning, in this order.
    pub sent: BTreeMap<usize, Vec<Sent>>,
    seen: usize,
}

#[derive(Debug)]
pub struct Server {
    inside: Mutex<Inside>,
    version: Told<u64>,
    start: Instant,
    begin: Timestamp,
}

impl Server {
    pub fn new(seed: u64, faults: Faults) -> Arc<Self> {
        let inside = Inside {
            api: Api::new(),
            latency: Chance::part(seed, "latency"),
            history: Vec::new(),
            faults,
            outside: Outside::default(),
            oracle: Oracle::default(),
            sent: BTreeMap::new(),
            seen: 0,
        };
        Arc::new(Self {
            inside: Mutex::new(inside),
            version: Told::new(0),
            start: Instant::now(),
            begin: BEGIN.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// Never held over an await.
    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the beginning of the run.
    pub fn elapsed(&self) -> SignedDuration {
        SignedDuration::try_from(self.start.elapsed()).unwrap_or_default()
    }

    pub fn now(&self) -> Timestamp {
        self.begin + self.elapsed()
    }

    /// The last commit.
    pub fn version(&self) -> u64 {
        self.version.now()
    }

    pub async fn until_newer(&self, than: u64) {
        self.version.until(|version| *version != than).await;
    }

    pub fn carry_out(&self, request: &Request) -> Reply {
        let now = self.now();
        let at = self.elapsed();
        let mut inside = self.inside();
        let reply = inside.api.call(now, request);
        let version = inside.api.store.version();
        let words = request.user.starts_with("bascule").then(|| words(request)).flatten();
        let dry_run = request.query.contains_key("dryRun");
        let Inside { api, oracle, seen, history, .. } = &mut *inside;
        history.push(Asked {
            at,
            user: request.user.clone(),
            method: request.method.clone(),
            path: request.path.clone(),
            dry_run,
            code: reply.code,
            version,
            words,
        });
        oracle.asked(request, &reply, api, at);
        for change in &api.store.log()[*seen..] {
            oracle.committed(change, api, at);
        }
        *seen = api.store.log().len();
        drop(inside);
        if self.version() != version {
            self.version.tell(version);
        }
        reply
    }
}

fn words(request: &Request) -> Option<String> {
    let method = match request.method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => return None,
    };
    let content_type =
        if request.content_type.starts_with("application/apply-patch") { "application/apply-patch+yaml" } else { "" };
    bascule_scenarios::words(&bascule_scenarios::Call {
        method,
        path: request.path.clone(),
        query: request.query.clone(),
        content_type,
        body: request.body.clone(),
    })
}
