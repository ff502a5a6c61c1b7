//! Which Release is decided about next.
//!
//! In: keys, each with the lane of what happened, and times at which to look again. Out: one key at a time to each worker; a key is
//! never with two workers at once. While it is closed nothing is kept: whoever opens it says everything that there is. First in, first out within a lane; what waits long moves up. The heart ([`state`]) is synchronous
//! and knows no clock; this file only wakes the workers.

pub(crate) mod backoff;
pub(crate) mod lane;
mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub(crate) use lane::Lane;
pub(crate) use state::Figures;
pub(crate) use state::Outcome;
use state::State;

use crate::metrics::Metrics;

/// Namespace and name of a Release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    metrics: Metrics,
}

impl Queue {
    pub(crate) fn new(seed: u64, metrics: Metrics) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), changed: Arc::new(Notify::new()), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work begins, with all of these: what was there before is forgotten, and so are failures.
    pub(crate) fn open(&self, keys: impl IntoIterator<Item = (Key, Lane)>) {
        let mut state = self.lock();
        state.open();
        let now = Instant::now();
        for (key, lane) in keys {
            state.push(key, lane, now);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Nobody works any more.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    /// Something happened to this Release.
    pub(crate) fn push(&self, key: Key, lane: Lane) {
        self.lock().push(key, lane, Instant::now());
        self.changed.notify_one();
    }

    /// The next key; waits for one.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let until = {
                let mut state = self.lock();
                let now = Instant::now();
                if let Some((key, lane, waited)) = state.pop(now) {
                    self.metrics.waited(lane, waited);
                    // Another worker may be idle while more is due.
                    if state.depth() > 0 {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.next_timer()
            };
            let changed = self.changed.notified();
            match until {
                Some(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// How many wait in each lane, and how long.
    pub(crate) fn figures(&self) -> Vec<(Lane, Figures)> {
        self.lock().figures(Instant::now())
    }

    /// Somebody looks at it within this time, or has it in hand; or nobody is to work here.
    pub(crate) fn will_look(&self, key: &Key, within: Duration) -> bool {
        self.lock().will_look(key, Instant::now() + within)
    }

    /// The worker is through with this key.
    pub(crate) fn done(&self, key: &Key, outcome: Outcome) {
        self.lock().done(key, outcome, Instant::now());
        self.changed.notify_one();
    }
}
