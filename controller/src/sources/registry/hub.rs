//! The lookups in the background: bounded, never twice at the same time, repeated with growing pauses.
//!
//! In: [`RegistryHub::ask`] and [`RegistryHub::forget`] from the workers. Out: answers from memory, and a call of
//! [`Wiring::changed`] for each key whose answer changed. Never here: HTTP, credentials, waiting on behalf of the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::pause;
use super::book::{Book, Recorded};
use super::{Access, Answer, Described, Fetch, ImageRequest, LookupError, Question};

/// Enough to start a thousand Releases in seconds at 20 ms a lookup, few enough to be a polite guest.
const AT_ONCE: usize = 8;
/// A registry that swallows packets holds a place for the whole deadline; it must not take them all.
const AT_ONCE_PER_REGISTRY: usize = 4;
/// One attempt with everything in it: reading pull secrets, logging in, asking. A healthy registry needs well under one
/// second; what takes ten will not be better for waiting longer, and the next attempt starts afresh.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(10);

/// What the hub is connected to.
pub struct Wiring<K> {
    pub fetch: Arc<dyn Fetch>,
    /// The process's clock; it dates failures.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A random number from 0 to 1, for the spread of pauses.
    pub fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Called, outside of every lock, for each key with an answer that changed. It must not block.
    pub changed: Arc<dyn Fn(K) + Send + Sync>,
}

/// The digests of tags, for as long as somebody asks for them. Clones share everything; with the last one all lookups end.
pub struct RegistryHub<K> {
    shared: Arc<Shared<K>>,
}

/// What a page of metrics wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pending: usize,
    pub resolved: usize,
    pub failed: usize,
    /// Attempts since the start by outcome: `Resolved`, or [`LookupError::category`].
    pub attempts: BTreeMap<&'static str, u64>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    wiring: Wiring<K>,
    turns: Arc<Semaphore>,
    runtime: Handle,
}

struct State<K> {
    book: Book<K, Lookup>,
    lanes: BTreeMap<String, Weak<Lane>>,
    attempts: BTreeMap<&'static str, u64>,
}

/// A task that ends when nobody holds it.
struct Lookup(AbortHandle);

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What all lookups at one registry share.
struct Lane {
    turns: Semaphore,
    quiet_until: Mutex<Option<Instant>>,
}

impl<K: Clone + Ord + Send + 'static> RegistryHub<K> {
    /// To be called inside the runtime on which the lookups shall run.
    pub fn new(wiring: Wiring<K>) -> Self {
        let state = State { book: Book::default(), lanes: BTreeMap::new(), attempts: BTreeMap::new() };
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wiring, turns, runtime: Handle::current() }) }
    }

    /// What is known about these images, in their order. From now on they are all that `key` wants to know: what it asked
    /// for before and does not repeat is let go.
    pub fn ask(&self, key: &K, requests: &[ImageRequest]) -> Vec<Answer> {
        let questions: Vec<Option<Question>> = requests.iter().map(|request| self.question(request)).collect();
        let mut state = self.shared.lock();
        let State { book, lanes, .. } = &mut *state;
        book.ask(key, &questions.iter().flatten().cloned().collect(), |question, ticket| self.start(lanes, question, ticket));
        let answer = |(request, question): (&ImageRequest, &Option<Question>)| match question {
            Some(question) => book.answer(question),
            None => request.reference.digest().map_or(Answer::Pending, |digest| Answer::Resolved(digest.clone().into())),
        };
        requests.iter().zip(&questions).map(answer).collect()
    }

    /// `key` is gone; what only it asked for is dropped, running lookups included.
    pub fn forget(&self, key: &K) {
        self.shared.lock().book.forget(key);
    }

    pub fn counts(&self) -> Counts {
        let state = self.shared.lock();
        let (pending, resolved, failed) = state.book.count();
        Counts { pending, resolved, failed, attempts: state.attempts.clone() }
    }

    fn question(&self, request: &ImageRequest) -> Option<Question> {
        let mut question = Question::of(request)?;
        if !self.shared.wiring.fetch.reads_pull_secrets() {
            question.access = Access::Controller;
        }
        Some(question)
    }

    fn start(&self, lanes: &mut BTreeMap<String, Weak<Lane>>, question: &Question, ticket: u64) -> Lookup {
        let lane = lanes.get(&question.registry).and_then(Weak::upgrade).unwrap_or_else(|| {
            lanes.retain(|_, lane| lane.strong_count() > 0);
            let lane = Arc::new(Lane { turns: Semaphore::new(AT_ONCE_PER_REGISTRY), quiet_until: Mutex::new(None) });
            lanes.insert(question.registry.clone(), Arc::downgrade(&lane));
            lane
        });
        let pursuit = Pursuit {
            shared: Arc::downgrade(&self.shared),
            fetch: Arc::clone(&self.shared.wiring.fetch),
            turns: Arc::clone(&self.shared.turns),
            lane,
            question: question.clone(),
            ticket,
        };
        Lookup(self.shared.runtime.spawn(pursuit.run()).abort_handle())
    }
}

/// One question on its way to a digest. It does not keep the hub alive.
struct Pursuit<K> {
    shared: Weak<Shared<K>>,
    fetch: Arc<dyn Fetch>,
    turns: Arc<Semaphore>,
    lane: Arc<Lane>,
    question: Question,
    ticket: u64,
}

impl<K: Clone + Ord + Send + 'static> Pursuit<K> {
    async fn run(self) {
        loop {
            let outcome = self.attempt().await;
            let Some(wait) = self.shared.upgrade().and_then(|shared| shared.record(&self, &outcome)) else { return };
            if outcome.as_ref().err().and_then(LookupError::retry_after).is_some() {
                self.lane.be_quiet_for(wait);
            }
            sleep(wait).await;
        }
    }

    async fn attempt(&self) -> Result<Described, LookupError> {
        // The lane first: waiting for a slow registry must not hold a place that others could use.
        let _turns = (self.lane.turn().await, self.turns.acquire().await);
        let late =
            || LookupError::unreachable(format!("no answer about {} within {} s", self.question, ATTEMPT_DEADLINE.as_secs()));
        timeout(ATTEMPT_DEADLINE, self.fetch.describe(&self.question)).await.unwrap_or_else(|_| Err(late()))
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

impl<K: Clone + Ord> Shared<K> {
    /// Every change under this lock is complete before it can panic, so a poisoned state is still a good one.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the outcome and tells those who asked. Gives the pause before the next attempt, if there shall be one.
    fn record(&self, pursuit: &Pursuit<K>, outcome: &Result<Described, LookupError>) -> Option<Duration> {
        let question = &pursuit.question;
        let now = (self.wiring.now)();
        let recorded = {
            let mut state = self.lock();
            *state.attempts.entry(outcome.as_ref().map_or_else(LookupError::category, |_| "Resolved")).or_default() += 1;
            state.book.record(question, pursuit.ticket, outcome.as_ref(), now)?
        };
        report(question, outcome, &recorded);
        for key in recorded.tell {
            (self.wiring.changed)(key);
        }
        let error = outcome.as_ref().err()?;
        Some(pause(recorded.failures, error.retry_after(), (self.wiring.fraction)()))
    }
}

/// A line for each change; what only goes on is worth one to those who look for it.
fn report<K>(question: &Question, outcome: &Result<Described, LookupError>, recorded: &Recorded<K>) {
    match outcome {
        Ok(found) => tracing::info!(image = %question, digest = %found.digest, "tag resolved"),
        Err(why) if recorded.tell.is_empty() => {
            tracing::debug!(image = %question, failures = recorded.failures, %why, "tag still not resolved");
        }
        Err(why) => tracing::warn!(image = %question, category = why.category(), %why, "tag not resolved"),
    }
}

impl<K> Clone for RegistryHub<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for RegistryHub<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryHub").finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Wiring<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
