//! One task for each scope: takes what is due, waits for its turn, asks, and tells those whose answer changed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bascule_core::sources::{ParameterName, ParameterQuestion, Parameters, Scope};
use jiff::Timestamp;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Account, Batch, ParameterStore, SourceError,
    book::{Book, Swept, Wanted},
    pace::{Pace, Patience},
};

/// The SDK waits for ever unless told otherwise. A healthy answer takes some 20 ms.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// No Environment takes the whole budget of its account for itself.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Nobody waits longer for the name of who wrote it.
const AUTHOR_WITHIN: Duration = Duration::from_secs(2);
/// Whoever may not read histories is not asked again for so long.
const NO_AUTHORS_FOR: Duration = Duration::from_secs(600);
/// When it was only slow.
const NO_AUTHORS_NOW: Duration = Duration::from_secs(30);

/// What the hub is connected to.
pub(crate) struct Wiring<K> {
    pub(crate) store: Arc<dyn ParameterStore>,
    /// The process's clock; it dates failures.
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A random number from 0 to 1, for the spread of pauses.
    pub(crate) fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Called, outside of every lock, for each key with an answer that changed. It must not block.
    pub(crate) changed: Arc<dyn Fn(K) + Send + Sync>,
    /// Called when every parameter of a scope has been asked for once; `parameters` are those of all scopes.
    pub(crate) swept: Arc<dyn Fn(Swept) + Send + Sync>,
}

/// The values of parameters, for as long as somebody asks for them.
pub(crate) struct ParameterHub<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    wiring: Wiring<K>,
    runtime: Handle,
}

struct State<K> {
    desks: BTreeMap<Scope, Desk<K>>,
    /// Where each key asks.
    asks: BTreeMap<K, Scope>,
    /// By account and region: what AWS counts together.
    paces: BTreeMap<Account, Arc<Mutex<Pace>>>,
}

struct Desk<K> {
    book: Book<K>,
    wake: Arc<Notify>,
    task: AbortHandle,
}

impl<K> Drop for Desk<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K> fmt::Debug for ParameterHub<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParameterHub").finish_non_exhaustive()
    }
}

impl<K: Clone + Ord + Send + 'static> ParameterHub<K> {
    /// To be called inside the runtime on which it shall ask.
    pub(crate) fn new(wiring: Wiring<K>) -> Self {
        let state = State { desks: BTreeMap::new(), asks: BTreeMap::new(), paces: BTreeMap::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wiring, runtime: Handle::current() }) }
    }

    /// The oldest answer that somebody goes by, in any scope.
    pub(crate) fn oldest_answer(&self) -> Option<Timestamp> {
        self.shared.lock().desks.values().filter_map(|desk| desk.book.oldest_answer()).min()
    }

    /// What is known about these, by whatever they are called. From now on they are all that `key` wants.
    pub(crate) fn ask(
        &self,
        key: &K,
        scope: &Scope,
        every: Duration,
        wanted: &BTreeMap<String, ParameterQuestion>,
    ) -> Parameters {
        let names: Wanted = wanted.values().map(|question| (question.name.clone(), question.followed)).collect();
        let mut state = self.shared.lock();
        if state.asks.get(key).is_some_and(|before| before != scope || names.is_empty()) {
            state.leave(key);
        }
        if names.is_empty() {
            return Parameters::new();
        }
        if !state.desks.contains_key(scope) {
            let desk = self.open(&mut state, scope);
            state.desks.insert(scope.clone(), desk);
        }
        state.asks.insert(key.clone(), scope.clone());
        let Some(desk) = state.desks.get_mut(scope) else { return Parameters::new() };
        if desk.book.ask(key, &names, every.max(AT_MOST_EVERY), Instant::now()) {
            desk.wake.notify_one();
        }
        wanted.iter().map(|(artifact, question)| (artifact.clone(), desk.book.answer(&question.name))).collect()
    }

    /// What is known, without asking: for those who only look.
    pub(crate) fn known(&self, scope: &Scope, wanted: &BTreeMap<String, ParameterQuestion>) -> Parameters {
        let state = self.shared.lock();
        let Some(desk) = state.desks.get(scope) else { return Parameters::new() };
        wanted.iter().map(|(artifact, question)| (artifact.clone(), desk.book.answer(&question.name))).collect()
    }

    pub(crate) fn forget(&self, key: &K) {
        self.shared.lock().leave(key);
    }

    /// Somebody may have written the parameter of this name: whoever wants it is told soon.
    pub(crate) fn hint(&self, name: &str) {
        for desk in self.shared.lock().desks.values_mut() {
            if desk.book.hint(name) {
                desk.wake.notify_one();
            }
        }
    }

    fn open(&self, state: &mut State<K>, scope: &Scope) -> Desk<K> {
        let now = Instant::now();
        let account = self.shared.wiring.store.account(scope);
        let pace = state.paces.entry(account).or_insert_with(|| Arc::new(Mutex::new(Pace::new(now))));
        let wake = Arc::new(Notify::new());
        let clerk = Clerk {
            shared: Arc::downgrade(&self.shared),
            store: self.shared.wiring.store.clone(),
            scope: scope.clone(),
            pace: pace.clone(),
            wake: wake.clone(),
            patience: Patience::default(),
            no_authors_until: now,
        };
        Desk { book: Book::new(now), wake, task: self.shared.runtime.spawn(clerk.run()).abort_handle() }
    }
}

impl<K: Clone + Ord> State<K> {
    /// The desk closes with the last one who asks there.
    fn leave(&mut self, key: &K) {
        let Some(scope) = self.asks.remove(key) else { return };
        if let Some(desk) = self.desks.get_mut(&scope) {
            desk.book.ask(key, &Wanted::new(), Duration::ZERO, Instant::now());
            if desk.book.is_empty() {
                self.desks.remove(&scope);
            }
        }
    }
}

impl<K> Shared<K> {
    /// Every change under this lock is complete before it can panic, so a poisoned state is still a good one.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for one scope. It does not keep the hub alive.
struct Clerk<K> {
    shared: Weak<Shared<K>>,
    store: Arc<dyn ParameterStore>,
    scope: Scope,
    pace: Arc<Mutex<Pace>>,
    wake: Arc<Notify>,
    patience: Patience,
    no_authors_until: Instant,
}

/// What to do next.
enum Turn {
    Ask(Vec<ParameterName>),
    Sleep(Instant),
}

impl<K: Clone + Ord + Send + 'static> Clerk<K> {
    async fn run(mut self) {
        loop {
            match self.turn() {
                None => return,
                Some(Turn::Sleep(until)) => {
                    tokio::select! {
                        biased;
                        () = self.wake.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
                Some(Turn::Ask(names)) => {
                    let at = self.pace().take(Instant::now());
                    sleep_until(at).await;
                    let asked = timeout(ANSWER_WITHIN, self.store.read(&self.scope, &names)).await;
                    let late = || Err(SourceError::Unreachable(format!("no answer within {} s", ANSWER_WITHIN.as_secs())));
                    let mut outcome = asked.unwrap_or_else(|_| late());
                    if let Ok(batch) = &mut outcome {
                        self.authors(batch).await;
                    }
                    let Some(pause) = self.record(&names, &outcome) else { return };
                    sleep(pause).await;
                }
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in who wrote what is news, where that may be read and costs nobody a turn.
    async fn authors(&mut self, batch: &mut Batch) {
        if Instant::now() < self.no_authors_until {
            return;
        }
        let Some(shared) = self.shared.upgrade() else { return };
        let news = shared.lock().desks.get(&self.scope).map(|desk| desk.book.news(batch)).unwrap_or_default();
        drop(shared);
        for (name, version) in news {
            if !self.pace().take_spare(Instant::now()) {
                return;
            }
            let asked = timeout(AUTHOR_WITHIN, self.store.author(&self.scope, &name, version)).await;
            match asked.unwrap_or_else(|_| Err(SourceError::Unreachable("no answer in time".to_owned()))) {
                Ok(author) => {
                    if let Some(parameter) = batch.found.get_mut(&name) {
                        parameter.modified_by = author;
                    }
                }
                Err(error) => {
                    tracing::debug!(role = self.scope.role_arn, region = self.scope.region, parameter = %name, %error, "nobody says who wrote it");
                    let pause = if error.is_transient() { NO_AUTHORS_NOW } else { NO_AUTHORS_FOR };
                    self.no_authors_until = Instant::now() + pause;
                    return;
                }
            }
        }
    }

    fn turn(&self) -> Option<Turn> {
        let shared = self.shared.upgrade()?;
        let mut state = shared.lock();
        let all = state.desks.values().map(|desk| desk.book.len()).sum();
        let book = &mut state.desks.get_mut(&self.scope)?.book;
        let now = Instant::now();
        if let Some(swept) = book.swept(now) {
            (shared.wiring.swept)(Swept { parameters: all, ..swept });
        }
        let names = book.batch(now);
        Some(if names.is_empty() { Turn::Sleep(book.next_at()) } else { Turn::Ask(names) })
    }

    /// Remembers the outcome and tells those who asked. Gives the pause before the next call.
    fn record(&mut self, names: &[ParameterName], outcome: &Result<Batch, SourceError>) -> Option<Duration> {
        let shared = self.shared.upgrade()?;
        let now = (shared.wiring.now)();
        let tell = shared.lock().desks.get_mut(&self.scope)?.book.record(names, outcome, now);
        if let (Err(error), false) = (outcome, tell.is_empty()) {
            tracing::warn!(role = self.scope.role_arn, region = self.scope.region, parameters = names.len(), error = %error, "parameters cannot be read");
        }
        for key in tell {
            (shared.wiring.changed)(key);
        }
        Some(match outcome {
            Err(error) if error.is_transient() => self.patience.failed((shared.wiring.fraction)()),
            Ok(_) | Err(_) => {
                self.patience.went_well();
                Duration::ZERO
            }
        })
    }
}

#[cfg(test)]
mod tests;
