//! The lookups in the background: bounded, never twice at the same time, repeated with growing pauses.
//!
//! In: [`Lookups::ask`] and [`Lookups::forget`] from the workers, hints from the queue of events. Out: answers from memory, and a call
//! of [`Wiring::changed`] for each key whose answer changed. Never here: HTTP, credentials, waiting on behalf of the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::pause;
use super::book::{Book, Recorded};
use super::{Answer, Failure as _, Fetch, Kind, Question as _};

/// Enough to start a thousand Releases in seconds at 20 ms a lookup, few enough to be a polite guest.
const AT_ONCE: usize = 8;
/// A server that swallows packets holds a place for the whole deadline; it must not take them all.
const AT_ONCE_IN_A_LANE: usize = 4;
/// One attempt with everything in it: reading pull secrets, logging in, asking. A healthy registry needs well under one
/// second; what takes ten will not be better for waiting longer, and the next attempt starts afresh.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(10);
/// What is watched is looked at so often. It is for reports, not for decisions; the queue of events makes it faster.
const WATCHED_EVERY: Duration = Duration::from_secs(900);
/// What was found and is still asked for is not what somebody needs: a label is missing, a bucket keeps no versions. Else it would be
/// pinned, and only watched.
const AGAIN_EVERY: Duration = Duration::from_secs(120);

/// What the hub is connected to.
pub struct Wiring<K, W: Kind> {
    pub fetch: Arc<dyn Fetch<W>>,
    /// The process's clock; it dates failures.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A random number from 0 to 1, for the spread of pauses.
    pub fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Called, outside of every lock, for each key with an answer that changed. It must not block.
    pub changed: Arc<dyn Fn(K) + Send + Sync>,
    /// Called for each attempt with its outcome: `Found`, or [`super::Failure::category`].
    pub counted: Arc<dyn Fn(&'static str) + Send + Sync>,
}

/// Answers, for as long as somebody asks for them. Clones share everything; with the last one all lookups end.
pub struct Lookups<K, W: Kind> {
    shared: Arc<Shared<K, W>>,
}

/// How many questions are where.
#[cfg(test)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pending: usize,
    pub found: usize,
    pub failed: usize,
}

struct Shared<K, W: Kind> {
    state: Mutex<State<K, W>>,
    wiring: Wiring<K, W>,
    turns: Arc<Semaphore>,
    runtime: Handle,
}

struct State<K, W: Kind> {
    book: Book<K, Lookup, W>,
    lanes: BTreeMap<String, Weak<Lane>>,
}

/// A task that ends when nobody holds it.
struct Lookup {
    task: AbortHandle,
    /// Something may have changed: now, instead of after the pause.
    hint: Arc<Notify>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all lookups at one server share.
struct Lane {
    turns: Semaphore,
    quiet_until: Mutex<Option<Instant>>,
}

impl<K: Clone + Ord + Send + 'static, W: Kind> Lookups<K, W> {
    /// To be called inside the runtime on which the lookups shall run.
    pub fn new(wiring: Wiring<K, W>) -> Self {
        let state = State { book: Book::default(), lanes: BTreeMap::new() };
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wiring, turns, runtime: Handle::current() }) }
    }

    /// What is known about these, in their order. From now on they are all that `key` wants to know: what it asked for before and does
    /// not repeat is let go.
    pub fn ask(&self, key: &K, questions: &[W::Question]) -> Vec<Answer<W::Found>> {
        let mut state = self.shared.lock();
        let State { book, lanes, .. } = &mut *state;
        let all: BTreeSet<_> = questions.iter().cloned().collect();
        book.ask(key, &all, |question, ticket| self.start(lanes, question, ticket));
        questions.iter().map(|question| book.answer(question)).collect()
    }

    /// `key` is gone; what only it asked for is dropped, running lookups included.
    pub fn forget(&self, key: &K) {
        self.shared.lock().book.forget(key);
    }

    /// Something may have happened to these: those that are still looked for are looked at now.
    pub fn hint(&self, meant: impl Fn(&W::Question) -> bool) {
        self.shared.lock().book.lookups(meant).for_each(|lookup| lookup.hint.notify_one());
    }

    #[cfg(test)]
    pub fn counts(&self) -> Counts {
        let state = self.shared.lock();
        let (pending, found, failed) = state.book.count();
        Counts { pending, found, failed }
    }

    fn start(&self, lanes: &mut BTreeMap<String, Weak<Lane>>, question: &W::Question, ticket: u64) -> Lookup {
        let lane = lanes.get(question.lane()).and_then(Weak::upgrade).unwrap_or_else(|| {
            lanes.retain(|_, lane| lane.strong_count() > 0);
            let lane = Arc::new(Lane { turns: Semaphore::new(AT_ONCE_IN_A_LANE), quiet_until: Mutex::new(None) });
            lanes.insert(question.lane().to_owned(), Arc::downgrade(&lane));
            lane
        });
        let hint = Arc::new(Notify::new());
        let pursuit = Pursuit {
            shared: Arc::downgrade(&self.shared),
            fetch: Arc::clone(&self.shared.wiring.fetch),
            turns: Arc::clone(&self.shared.turns),
            lane,
            question: question.clone(),
            ticket,
            hint: Arc::clone(&hint),
            // What is only watched is pinned already: a restart must not ask for all of it at once.
            first: question.watches().then(|| WATCHED_EVERY.mul_f64((self.shared.wiring.fraction)())),
        };
        Lookup { task: self.shared.runtime.spawn(pursuit.run()).abort_handle(), hint }
    }
}

/// One question on its way to an answer. It does not keep the hub alive.
struct Pursuit<K, W: Kind> {
    shared: Weak<Shared<K, W>>,
    fetch: Arc<dyn Fetch<W>>,
    turns: Arc<Semaphore>,
    lane: Arc<Lane>,
    question: W::Question,
    ticket: u64,
    hint: Arc<Notify>,
    first: Option<Duration>,
}

impl<K: Clone + Ord + Send + 'static, W: Kind> Pursuit<K, W> {
    async fn run(self) {
        if let Some(first) = self.first {
            self.pause(first).await;
        }
        loop {
            let outcome = self.attempt().await;
            let Some(wait) = self.shared.upgrade().and_then(|shared| shared.record(&self, &outcome)) else { return };
            if outcome.as_ref().err().and_then(W::Error::retry_after).is_some() {
                self.lane.be_quiet_for(wait);
            }
            self.pause(wait).await;
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            biased;
            () = self.hint.notified() => {}
            () = sleep(wait) => {}
        }
    }

    async fn attempt(&self) -> Result<W::Found, W::Error> {
        // The lane first: waiting for a slow registry must not hold a place that others could use.
        let _turns = (self.lane.turn().await, self.turns.acquire().await);
        let late = || W::Error::unreachable(format!("no answer about {} within {} s", self.question, ATTEMPT_DEADLINE.as_secs()));
        timeout(ATTEMPT_DEADLINE, self.fetch.fetch(&self.question)).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Lane {
    /// A place at this registry, once it does not want to be left alone.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        loop {
            // The semaphore is never closed; if it were, going on without a place is better than never.
            let turn = self.turns.acquire().await.ok();
            let quiet_until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            match quiet_until {
                Some(end) if end > Instant::now() => {
                    drop(turn);
                    sleep_until(end).await;
                }
                _ => return turn,
            }
        }
    }

    fn be_quiet_for(&self, wait: Duration) {
        let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet_until = (*quiet_until).max(Some(Instant::now() + wait));
    }
}

impl<K: Clone + Ord, W: Kind> Shared<K, W> {
    /// Every change under this lock is complete before it can panic, so a poisoned state is still a good one.
    fn lock(&self) -> MutexGuard<'_, State<K, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the outcome and tells those who asked. Gives the pause before the next attempt, if there shall be one.
    fn record(&self, pursuit: &Pursuit<K, W>, outcome: &Result<W::Found, W::Error>) -> Option<Duration> {
        let question = &pursuit.question;
        let now = (self.wiring.now)();
        (self.wiring.counted)(outcome.as_ref().map_or_else(W::Error::category, |_| "Found"));
        let recorded = {
            let mut state = self.lock();
            state.book.record(question, pursuit.ticket, outcome.as_ref(), now)?
        };
        report::<K, W>(question, outcome, &recorded);
        for key in recorded.tell {
            (self.wiring.changed)(key);
        }
        let fraction = (self.wiring.fraction)();
        let every = if question.watches() { WATCHED_EVERY } else { AGAIN_EVERY };
        Some(outcome.as_ref().err().map_or_else(
            || every.mul_f64(0.75 + fraction / 2.0),
            |error| pause(recorded.failures, error.retry_after(), fraction),
        ))
    }
}

/// A line for each change; what only goes on is worth one to those who look for it.
fn report<K, W: Kind>(question: &W::Question, outcome: &Result<W::Found, W::Error>, recorded: &Recorded<K>) {
    let news = !recorded.tell.is_empty();
    match outcome {
        Ok(found) if news && !question.watches() => tracing::info!(artifact = %question, found = %W::shown(found), "found"),
        Ok(_) => tracing::debug!(artifact = %question, "looked at"),
        Err(why) if news => tracing::warn!(artifact = %question, category = why.category(), %why, "not found"),
        Err(why) => tracing::debug!(artifact = %question, failures = recorded.failures, %why, "still not found"),
    }
}

impl<K, W: Kind> Clone for Lookups<K, W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, W: Kind> fmt::Debug for Lookups<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl<K, W: Kind> fmt::Debug for Wiring<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").finish_non_exhaustive()
    }
}
