//! What is not certain: requests that fail, objects whose write had no reply, and what is known while a watch shows nothing.
//!
//! In: failures, and what was read anew. Out: when to try again, what a person should know, and whether something may be moved by what is
//! known.

use std::time::Duration;

use bascule_core::Trouble;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Cache;
use crate::queue::{Key, backoff::pause};

#[derive(Debug)]
pub(super) struct Sure {
    /// The version of the Release.
    version: String,
    at: Instant,
}

/// A step that fails, so many times in a row.
#[derive(Debug)]
pub(super) struct Failing {
    failures: u32,
    pub(super) trouble: Trouble,
}

impl Failing {
    /// A failed step is tried again when it is due; one that was not for long is not wanted any more, and belongs to another story.
    pub(super) fn is_tried(&self, now: Timestamp) -> bool {
        self.trouble.retry_at + OBSOLETE > now
    }
}

/// How long a failure may be nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It may heal at the next attempt.
    Once,
    /// The API server asks for silence, and the gate is closed anyway: only a long one matters.
    Throttled,
}

/// The API server may ask for silence that long before a person should know.
const SILENCE: SignedDuration = SignedDuration::from_secs(10);
/// How long what was read is good enough to move something by, while a watch is broken: one decision and its steps.
const SURE_WHILE_BLIND: Duration = Duration::from_secs(2);
/// How long a failed step may be due and not tried again.
const OBSOLETE: SignedDuration = SignedDuration::from_secs(60);

/// An object whose state is not known, because a write to it had no reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Release(String),
    Deployment(String),
    Service(String),
    Job(String),
}

impl Cache {
    /// A step failed: it is not tried again for a while that grows.
    pub(crate) fn failed(&mut self, key: &Key, target: &str, message: String, patience: Patience, now: Timestamp) {
        let known = self.memory(key).troubles.get(target).filter(|failing| failing.is_tried(now));
        let (failures, since) = known.map_or((1, now), |failing| (failing.failures.saturating_add(1), failing.trouble.since));
        let lasting = match patience {
            Patience::Once => failures > 1,
            Patience::Throttled => now.duration_since(since) > SILENCE,
        };
        // A second at first: a person who watches sees it come back.
        let delay = pause(failures.saturating_add(4), &mut self.random);
        let retry_at = now + SignedDuration::try_from(delay).unwrap_or_default();
        let trouble = Trouble { target: target.to_owned(), message, since, retry_at, lasting };
        self.memory(key).troubles.insert(target.to_owned(), Failing { failures, trouble });
    }

    pub(crate) fn succeeded(&mut self, key: &Key, target: &str) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.troubles.remove(target);
        }
    }

    /// Since when something about it fails again and again.
    pub(crate) fn failing_since(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let troubles = self.memory.get(key)?.troubles.values().filter(|failing| failing.trouble.lasting && failing.is_tried(now));
        troubles.map(|failing| failing.trouble.since).min()
    }

    pub(crate) fn doubt(&mut self, key: &Key, object: Object) {
        self.memory(key).uncertain.insert(object);
    }

    pub(crate) fn doubts(&self, key: &Key) -> Vec<Object> {
        self.memory.get(key).map(|memory| memory.uncertain.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn certain(&mut self, key: &Key, object: &Object) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.uncertain.remove(object);
        }
    }

    /// Whether what is known of this Release is not older than this process, its term, its lists and the last failure of a watch.
    pub(crate) fn is_sure(&self, key: &Key, now: Instant) -> bool {
        self.sure(key, now).is_some()
    }

    /// Whether this very version of the Release was read and not only watched.
    pub(crate) fn is_sure_of(&self, key: &Key, version: &str, now: Instant) -> bool {
        self.sure(key, now).is_some_and(|sure| sure.version == version)
    }

    fn sure(&self, key: &Key, now: Instant) -> Option<&Sure> {
        let sure = self.memory.get(key)?.sure.as_ref()?;
        // While nothing tells of changes, what was read gets old.
        let is_blind = self.blind.values().any(|until| now < *until);
        (!is_blind || now < sure.at + SURE_WHILE_BLIND).then_some(sure)
    }

    pub(crate) fn now_sure(&mut self, key: &Key, now: Instant) {
        let version = self.releases.get(&key.namespace, &key.name).map(|release| release.resource_version().to_owned());
        self.memory(key).sure = version.map(|version| Sure { version, at: now });
    }

    /// A list may come from a server that is behind.
    pub(crate) fn listed_again(&mut self) {
        for memory in self.memory.values_mut() {
            memory.sure = None;
        }
    }

    /// The watch of this kind shows nothing any more, and what has happened since is not known. One that is begun again says nothing as
    /// long as nothing happens: it works when no failure has come by `until`.
    pub(crate) fn blind_for(&mut self, kind: &'static str, until: Instant) {
        self.blind.insert(kind, until);
        self.listed_again();
    }

    pub(crate) fn sees(&mut self, kind: &'static str) {
        self.blind.remove(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn lasting(failures: &[(i64, Patience)]) -> Vec<bool> {
        let (mut cache, key) = (Cache::new(1, at(0)), Key { namespace: "shop".into(), name: "web".into() });
        let fails = |(seconds, patience): &(i64, Patience)| {
            cache.failed(&key, "service/web", "why".into(), *patience, at(*seconds));
            cache.memory(&key).troubles["service/web"].trouble.lasting
        };
        failures.iter().map(fails).collect()
    }

    #[test]
    fn what_heals_at_the_next_attempt_is_not_said() {
        assert_eq!(lasting(&[(0, Patience::Once), (1, Patience::Once)]), [false, true]);
        assert_eq!(lasting(&[(0, Patience::Once), (3_600, Patience::Once)]), [false, false], "another story");
    }

    #[test]
    fn what_is_not_tried_any_more_does_not_fail_for_ever() {
        let (mut cache, key) = (Cache::new(1, at(0)), Key { namespace: "shop".into(), name: "web".into() });
        for seconds in [0, 5, 10] {
            cache.failed(&key, "read/pods/r1", "why".into(), Patience::Once, at(seconds));
        }
        assert_eq!(cache.failing_since(&key, at(60)), Some(at(0)));
        assert_eq!(cache.failing_since(&key, at(600)), None, "its candidate has long made way");
    }

    #[test]
    fn silence_is_said_only_when_it_is_long() {
        let silent = |seconds: i64| (seconds, Patience::Throttled);
        assert_eq!(lasting(&[silent(0), silent(2), silent(9), silent(11)]), [false, false, false, true]);
    }
}
