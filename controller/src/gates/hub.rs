//! The probes in the background: one task for each, bounded, never two samples of one at the same time.
//!
//! In: [`Gates::want`] and [`Gates::forget`] from the workers. Out: counts from memory, and a call of [`Wiring::changed`] after each sample
//! that says something new. Never here: HTTP, waiting on behalf of the caller, chance.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bascule_core::gate::{Ask, Probe, ProbeId, Samples, Verdict};
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Asks, Session, kind, name};
use crate::queue::Key;

/// Three hundred releases at once ask some hundred questions a second of 50 ms each; ten times as much as that fits in.
const AT_ONCE: usize = 64;
/// A Prometheus that hangs must not take all the places.
const AT_ONCE_AT_A_SERVER: usize = 32;
/// Nor must one team, with pods that swallow packets, or with many servers that hang, take those of the others.
const AT_ONCE_FOR_A_NAMESPACE: usize = 16;
/// A Release has at most eight gates before the switch and eight after it. What is more than this is a mistake of ours.
const MOST_OF_A_RELEASE: usize = 64;
/// As the Release's schema says; it holds whatever comes in.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// An API server that is well lists pods in milliseconds. What takes longer will not be better for holding a place.
const PREPARED_WITHIN: Duration = Duration::from_secs(5);

/// What the hub is connected to.
pub struct Wiring {
    pub ask: Arc<dyn Asks>,
    /// The process's clock; it dates samples.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Called, outside of every lock, when there is something new for a decision. It must not block.
    pub changed: Arc<dyn Fn(Key) + Send + Sync>,
    /// Called for each sample with the kind of gate and of verdict.
    pub counted: Arc<dyn Fn(&'static str, &'static str) + Send + Sync>,
}

/// Samples, for as long as somebody wants them. Clones share everything; with the last one all probes end.
#[derive(Clone)]
pub struct Gates {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wiring: Wiring,
    places: Arc<Semaphore>,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    releases: BTreeMap<Key, BTreeMap<ProbeId, Running>>,
    lanes: BTreeMap<Lane, Weak<Semaphore>>,
    last_ticket: u64,
}

struct Running {
    probe: Arc<Probe>,
    /// Tells this one from an earlier one of the same id.
    ticket: u64,
    samples: Option<Samples>,
    _task: AbortOnDropHandle<()>,
}

impl Gates {
    /// To be called inside the runtime on which the probes shall run.
    pub fn new(wiring: Wiring) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { shared: Arc::new(Shared { state: Mutex::default(), wiring, places, runtime: Handle::current() }) }
    }

    /// From now on these are all that is asked for this Release. What is new begins with its first sample at once, what is as before goes
    /// on with its counts, and of the others nothing is heard any more.
    pub fn want(&self, key: &Key, probes: Vec<Probe>) {
        // What ends is dropped after the lock is.
        let mut ended = None;
        let mut state = self.shared.lock();
        if probes.is_empty() {
            ended = state.releases.remove(key);
            drop(state);
            return drop(ended);
        }
        if probes.len() > MOST_OF_A_RELEASE {
            tracing::error!(release = %key, gates = probes.len(), "more gates than a Release can have: the last ones are not asked");
        }
        let mut known = state.releases.remove(key).unwrap_or_default();
        let mut next = BTreeMap::new();
        for probe in probes.into_iter().take(MOST_OF_A_RELEASE) {
            let running = match known.remove(&probe.id) {
                Some(running) if *running.probe == probe => running,
                other => {
                    ended.get_or_insert_with(BTreeMap::new).extend(other.map(|other| (probe.id.clone(), other)));
                    self.start(&mut state, key, probe)
                }
            };
            next.insert(running.probe.id.clone(), running);
        }
        state.releases.insert(key.clone(), next);
        drop(state);
        drop((known, ended));
    }

    /// What has been answered, sorted by id; nothing about a probe that was not sampled yet.
    pub fn samples(&self, key: &Key) -> Vec<Samples> {
        let state = self.shared.lock();
        state
            .releases
            .get(key)
            .map(|all| all.values().filter_map(|running| running.samples.clone()).collect())
            .unwrap_or_default()
    }

    /// This Release is gone, or another replica's.
    pub fn forget(&self, key: &Key) {
        self.want(key, Vec::new());
    }

    fn start(&self, state: &mut State, key: &Key, probe: Probe) -> Running {
        let lanes = lanes(key, &probe.ask).into_iter().map(|lane| state.lane(lane)).collect();
        state.last_ticket += 1;
        let (probe, ticket) = (Arc::new(probe), state.last_ticket);
        let pursuit = Pursuit {
            shared: Arc::downgrade(&self.shared),
            asks: self.shared.wiring.ask.clone(),
            places: self.shared.places.clone(),
            lanes,
            key: key.clone(),
            probe: probe.clone(),
            ticket,
        };
        let task = AbortOnDropHandle::new(self.shared.runtime.spawn(pursuit.run()));
        Running { probe, ticket, samples: None, _task: task }
    }
}

/// Those who share places, in the order in which they are passed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Namespace(String),
    Server(String),
}

impl Lane {
    const fn places(&self) -> usize {
        match self {
            Self::Namespace(_) => AT_ONCE_FOR_A_NAMESPACE,
            Self::Server(_) => AT_ONCE_AT_A_SERVER,
        }
    }
}

/// The pods of a namespace are asked by that namespace only; a server may be asked by many.
fn lanes(key: &Key, ask: &Ask) -> Vec<Lane> {
    let server = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        Lane::Server(rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase())
    };
    let own = Lane::Namespace(key.namespace.clone());
    match ask {
        Ask::Http(_) => vec![own],
        Ask::Prometheus(ask) => vec![own, server(&ask.address)],
        Ask::Webhook(ask) => vec![own, server(&ask.url)],
    }
}

impl State {
    fn lane(&mut self, lane: Lane) -> Arc<Semaphore> {
        if let Some(places) = self.lanes.get(&lane).and_then(Weak::upgrade) {
            return places;
        }
        self.lanes.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(lane.places()));
        self.lanes.insert(lane, Arc::downgrade(&places));
        places
    }
}

/// One probe, from its first sample to its last. It does not keep the hub alive.
struct Pursuit {
    shared: Weak<Shared>,
    asks: Arc<dyn Asks>,
    places: Arc<Semaphore>,
    lanes: Vec<Arc<Semaphore>>,
    key: Key,
    probe: Arc<Probe>,
    ticket: u64,
}

impl Pursuit {
    async fn run(self) {
        let every = self.probe.every.unsigned_abs().max(LEAST_PAUSE);
        let mut session = None;
        loop {
            let (began, verdict) = self.turn(&mut session).await;
            let goes_on = self.shared.upgrade().is_some_and(|shared| shared.record(&self, verdict));
            if !goes_on {
                return;
            }
            sleep_until(began + every).await;
        }
    }

    /// One sample, when there is a place for it, and when it began.
    async fn turn(&self, session: &mut Option<Box<dyn Session>>) -> (Instant, Verdict) {
        // The narrowest first: who waits for his own must not hold a place that others could use. None is ever closed; if one were, going
        // on without a place is better than never.
        let mut places = Vec::with_capacity(self.lanes.len() + 1);
        for lane in self.lanes.iter().chain([&self.places]) {
            places.push(lane.acquire().await);
        }
        let began = Instant::now();
        let verdict = AssertUnwindSafe(self.sample(session)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(release = %self.key, gate = self.probe.id.name, "a sample of a gate panicked: a mistake in the controller");
            // Nobody knows what it has left behind.
            *session = None;
            Verdict::Unknown("the controller made a mistake while it asked; its log says more".to_owned())
        });
        (began, verdict)
    }

    async fn sample(&self, session: &mut Option<Box<dyn Session>>) -> Verdict {
        let session = session.get_or_insert_with(|| self.asks.open(&self.key, &self.probe));
        match timeout(PREPARED_WITHIN, session.prepare()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Verdict::Unknown(why),
            Err(_) => return Verdict::Unknown(unprepared()),
        }
        let until = Instant::now() + self.probe.within.unsigned_abs();
        timeout_at(until, session.sample(until)).await.unwrap_or_else(|_| {
            let silence = silence(&self.probe);
            match self.probe.ask {
                Ask::Http(_) => Verdict::Fail(silence),
                Ask::Prometheus(_) | Ask::Webhook(_) => Verdict::Unknown(silence),
            }
        })
    }
}

fn unprepared() -> String {
    format!("where to ask was not found out within {} s: the API server or DNS is slow", PREPARED_WITHIN.as_secs())
}

/// The words for no answer.
pub(super) fn silence(probe: &Probe) -> String {
    format!("no answer within {:#}", probe.within)
}

impl Shared {
    /// Every change under this lock is complete before it can panic, so a poisoned state is still a good one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a sample and tells who may want to know. False when nobody wants it any more.
    fn record(&self, pursuit: &Pursuit, verdict: Verdict) -> bool {
        let at = (self.wiring.now)();
        let (said, news) = {
            let mut state = self.lock();
            let running = state.releases.get_mut(&pursuit.key).and_then(|all| all.get_mut(&pursuit.probe.id));
            let Some(running) = running.filter(|running| running.ticket == pursuit.ticket) else { return false };
            let before = running.samples.take();
            let now = counted(before.as_ref(), &pursuit.probe.id, verdict, at);
            let same = |before: &Samples| (before.passes, before.failures, &before.last) == (now.passes, now.failures, &now.last);
            let news = !before.as_ref().is_some_and(same);
            report(&pursuit.key, before.as_ref(), &now);
            let said = name(&now.last);
            running.samples = Some(now);
            (said, news)
        };
        (self.wiring.counted)(kind(&pursuit.probe.ask), said);
        if news {
            (self.wiring.changed)(pursuit.key.clone());
        }
        true
    }
}

fn counted(before: Option<&Samples>, id: &ProbeId, verdict: Verdict, at: Timestamp) -> Samples {
    let (passes, failures) = before.map_or((0, 0), |before| (before.passes, before.failures));
    let (passes, failures) = match &verdict {
        Verdict::Pass => (passes.saturating_add(1), failures),
        Verdict::Fail(_) => (0, failures.saturating_add(1)),
        Verdict::Unknown(_) => (0, failures),
    };
    let good = if verdict == Verdict::Pass { Some(at) } else { before.and_then(|before| before.good) };
    let began = before.map_or(at, |before| before.began);
    Samples { id: id.clone(), passes, failures, last: verdict, at, began, good }
}

/// A line for each change; what only goes on is worth one to those who look for it.
fn report(key: &Key, before: Option<&Samples>, now: &Samples) {
    let (gate, verdict) = (&now.id.name, name(&now.last));
    let why = match &now.last {
        Verdict::Pass => "",
        Verdict::Fail(why) | Verdict::Unknown(why) => why,
    };
    if before.is_some_and(|before| before.last == now.last) {
        tracing::debug!(release = %key, gate, verdict, why, passes = now.passes, failures = now.failures, "asked again");
    } else {
        tracing::info!(release = %key, gate, revision = now.id.revision, verdict, why, "gate asked");
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").finish_non_exhaustive()
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
