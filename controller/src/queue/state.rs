//! The queue without its wake-ups: who waits, who is being worked on, who failed how often. Synchronous; the time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bascule_core::mutant::{self, Mutant};
use tokio::time::Instant;

use super::{
    Key, Lane,
    backoff::{Random, pause},
};

/// How a worker leaves a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing more to do now; look again after this time at the latest.
    Rest(Option<Duration>),
    /// It did not work; again after a pause that grows.
    Failed,
}

/// One lane at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) depth: usize,
    /// How long the one that waits longest has waited.
    pub(crate) oldest: Duration,
}

#[derive(Debug, Default)]
struct Entry {
    /// Waiting in this lane since then.
    waiting: Option<(Lane, Instant)>,
    running: bool,
    /// Pushed while it was running.
    dirty: Option<Lane>,
    failures: u32,
    /// When the last failure is to be tried again.
    retry: Option<Instant>,
    timer: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct State {
    lanes: BTreeMap<Lane, VecDeque<Key>>,
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(Instant, Key)>,
    random: Random,
    depth: usize,
    /// Nothing is kept while nobody may work: a standby would gather every key for days.
    open: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            lanes: Lane::ALL.into_iter().map(|lane| (lane, VecDeque::new())).collect(),
            entries: BTreeMap::new(),
            timers: BTreeSet::new(),
            random: Random::new(seed),
            depth: 0,
            open: false,
        }
    }

    /// Empty, whatever was in it; what is being worked on stays with its worker.
    pub(super) fn open(&mut self) {
        self.close();
        self.open = true;
    }

    pub(super) fn close(&mut self) {
        self.open = false;
        self.lanes.values_mut().for_each(VecDeque::clear);
        self.timers.clear();
        self.depth = 0;
        self.entries.retain(|_, entry| entry.running);
        for entry in self.entries.values_mut() {
            *entry = Entry { running: true, ..Entry::default() };
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn figures(&self, now: Instant) -> Vec<(Lane, Figures)> {
        let waits = |lane| {
            let since =
                move |key: &Key| self.entries.get(key)?.waiting.filter(|(in_lane, _)| *in_lane == lane).map(|(_, since)| since);
            // Some are in a slower lane too, and passed over there.
            self.lanes.get(&lane).into_iter().flatten().filter_map(since)
        };
        let of =
            |lane| Figures { depth: waits(lane).count(), oldest: waits(lane).map(|since| now - since).max().unwrap_or_default() };
        Lane::ALL.into_iter().map(|lane| (lane, of(lane))).collect()
    }

    pub(super) fn push(&mut self, key: Key, lane: Lane, now: Instant) {
        if !self.open {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            entry.dirty = Some(entry.dirty.map_or(lane, |dirty| dirty.min(lane)));
            return;
        }
        match entry.waiting {
            Some((known, _)) if known <= lane => return,
            // It stays in the slower lane too; there it is passed over.
            Some((_, since)) => entry.waiting = Some((lane, since)),
            None => {
                entry.waiting = Some((lane, now));
                self.depth += 1;
            }
        }
        self.lanes.entry(lane).or_default().push_back(key);
    }

    /// Look again at that time, or earlier if an earlier one is set.
    pub(super) fn wake(&mut self, key: Key, at: Instant) {
        if !self.open {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.timer.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(known) = entry.timer.replace(at) {
            self.timers.remove(&(known, key.clone()));
        }
        self.timers.insert((at, key));
    }

    /// It waits, is being worked on, or has a timer that is due by then. What failed is tried again after its pause, however long.
    pub(super) fn will_look(&self, key: &Key, by: Instant) -> bool {
        let looks = |entry: &Entry| {
            entry.waiting.is_some()
                || entry.running
                || entry.timer.is_some_and(|at| at <= by || entry.retry.is_some_and(|retry| at <= retry))
        };
        !self.open || self.entries.get(key).is_some_and(looks)
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<(Key, Lane, Duration)> {
        self.ring(now);
        let lane = self.most_urgent(now)?;
        let key = self.lanes.get_mut(&lane)?.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        let (_, since) = entry.waiting.take()?;
        entry.running = true;
        self.depth -= 1;
        Some((key, lane, now.duration_since(since)))
    }

    /// Timers that are due become work.
    fn ring(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, key.clone()));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.timer = None;
            }
            self.push(key, Lane::Switch, now);
        }
    }

    /// The lane whose first real entry is the most urgent; entries that moved to a faster lane are dropped on the way.
    fn most_urgent(&mut self, now: Instant) -> Option<Lane> {
        let entries = &self.entries;
        let heads = self.lanes.iter_mut().filter_map(|(lane, keys)| {
            while let Some(key) = keys.front() {
                match entries.get(key).and_then(|entry| entry.waiting) {
                    Some((in_lane, since)) if in_lane == *lane => return Some((lane.rank(now.duration_since(since)), *lane)),
                    _ => {
                        keys.pop_front();
                    }
                }
            }
            None
        });
        heads.min().map(|(_, lane)| lane)
    }

    pub(super) fn done(&mut self, key: &Key, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.running = false;
        let dirty = entry.dirty.take();
        let at = match outcome {
            Outcome::Rest(after) => {
                entry.failures = 0;
                entry.retry = None;
                after.map(|after| now + after)
            }
            // A run that an event has set off before the retry was due is no further failure: else a few events in a row would
            // put the next attempt minutes away.
            Outcome::Failed => {
                if entry.retry.is_none_or(|due| due <= now) {
                    entry.failures = entry.failures.saturating_add(1);
                    entry.retry = Some(now + pause(entry.failures, &mut self.random));
                }
                entry.retry
            }
        };
        // The new time replaces the old one: what was to be looked at then has just been looked at.
        if let Some(known) = entry.timer.take() {
            self.timers.remove(&(known, key.clone()));
        }
        if let Some(at) = at {
            self.wake(key.clone(), at);
        }
        if let Some(lane) = dirty.filter(|_| !mutant::is(Mutant::DropEvent)) {
            self.push(key.clone(), lane, now);
        }
        let idle = |entry: &Entry| entry.waiting.is_none() && !entry.running && entry.timer.is_none() && entry.failures == 0;
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> State {
        let mut state = State::new(1);
        state.open();
        state
    }

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), name: name.into() }
    }

    fn pop(state: &mut State, now: Instant) -> Option<String> {
        state.pop(now).map(|(key, _, _)| key.name)
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_first_then_in_order() {
        let (mut state, now) = (opened(), Instant::now());
        for (name, lane) in [("a", Lane::Resync), ("b", Lane::Spec), ("c", Lane::Rollback), ("d", Lane::Spec)] {
            state.push(key(name), lane, now);
        }
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut state, now)).collect();
        assert_eq!(order, ["c", "b", "d", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_long_moves_up() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("old"), Lane::Resync, now);
        let later = now + Duration::from_secs(3);
        state.push(key("new"), Lane::Switch, later);
        assert_eq!(pop(&mut state, later).as_deref(), Some("old"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_moves_to_the_faster_lane() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Resync, now);
        state.push(key("b"), Lane::Spec, now);
        state.push(key("a"), Lane::Rollback, now);
        assert_eq!(state.depth(), 2);
        assert_eq!(
            [pop(&mut state, now), pop(&mut state, now), pop(&mut state, now)],
            [Some("a".into()), Some("b".into()), None]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_with_two_workers() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        assert!(pop(&mut state, now).is_some());
        state.push(key("a"), Lane::Switch, now);
        assert_eq!(pop(&mut state, now), None, "it is being worked on");
        state.done(&key("a"), Outcome::Rest(None), now);
        assert!(pop(&mut state, now).is_some(), "and is not forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_events_do_not_wait() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        pop(&mut state, now);
        state.done(&key("a"), Outcome::Failed, now);
        assert_eq!(pop(&mut state, now), None);
        let due = state.next_timer().unwrap();
        assert_eq!(pop(&mut state, due).as_deref(), Some("a"));
        state.done(&key("a"), Outcome::Failed, due);
        assert!(state.next_timer().unwrap() - due > due - now, "longer than the first time");
        state.push(key("a"), Lane::Spec, due);
        assert_eq!(pop(&mut state, due).as_deref(), Some("a"), "an event is not held back");
    }

    #[tokio::test(start_paused = true)]
    async fn events_in_between_do_not_put_the_retry_off() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        pop(&mut state, now);
        state.done(&key("a"), Outcome::Failed, now);
        let due = state.next_timer().unwrap();
        for _ in 0..10 {
            state.push(key("a"), Lane::Switch, now);
            assert!(pop(&mut state, now).is_some());
            state.done(&key("a"), Outcome::Failed, now);
        }
        assert_eq!(state.next_timer(), Some(due));
    }

    #[tokio::test(start_paused = true)]
    async fn a_standby_gathers_nothing() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        state.wake(key("b"), now + Duration::from_secs(1));
        state.close();
        state.push(key("c"), Lane::Rollback, now);
        state.wake(key("d"), now);
        assert_eq!((state.depth(), state.next_timer(), pop(&mut state, now + Duration::from_secs(9))), (0, None, None));
        assert!(state.entries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_worker_still_has_when_it_opens_again_is_not_given_to_another() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        pop(&mut state, now);
        state.close();
        state.open();
        state.push(key("a"), Lane::Resync, now);
        assert_eq!(pop(&mut state, now), None);
        state.done(&key("a"), Outcome::Rest(None), now);
        assert_eq!(pop(&mut state, now).as_deref(), Some("a"), "and is not forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_settled_key_leaves_nothing_behind() {
        let (mut state, now) = (opened(), Instant::now());
        state.push(key("a"), Lane::Spec, now);
        pop(&mut state, now);
        state.done(&key("a"), Outcome::Rest(None), now);
        assert!(state.entries.is_empty() && state.timers.is_empty());
    }
}
