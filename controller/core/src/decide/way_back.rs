//! Whether there is a version to return to, with everything that it needs: to be known before it is needed.
//!
//! Looked at while the next version is being watched, so that a release costs no write more (a way back costs one), and then seldom. A new
//! process does not look at all Releases at once: what was said before stays until its turn has come.

use bascule_crds::{ConditionStatus, ConditionType, Step as Stage};
use jiff::SignedDuration;

use super::{Decision, history::Goal, later};
use crate::{input, observed::WayBack, plan::Read};

/// It is known where the way back leads, and not yet whether everything is there for it.
const NOT_YET: &str = "NotLookedAt";

/// What a condition says: status, reason and message.
type Word = (ConditionStatus, &'static str, String);

impl Decision<'_> {
    /// None: nothing has been released yet.
    pub(super) fn rollback_ready(&mut self) -> Option<(ConditionType, ConditionStatus, String, String)> {
        let kind = ConditionType::RollbackReady;
        let stored = self.stored.condition(kind).map(|it| (kind, it.status, it.reason.clone(), it.message.clone()));
        let step = self.next.candidate.as_ref().map(|candidate| candidate.step);
        let Some(active) = self.next.active.clone().filter(|_| step.is_none_or(|step| step == Stage::Baking)) else {
            // Before the switch the way back is that of the version before.
            return stored;
        };
        let say = |(status, reason, message): Word| Some((kind, status, reason.to_owned(), message));
        let Some(goal) = self.earlier(&active.revision) else {
            return say((ConditionStatus::False, "NoEarlierVersion", "there is no earlier version to return to".to_owned()));
        };
        let about = stored.filter(|it| it.3.contains(&goal.revision));
        let is_told = about.as_ref().is_some_and(|it| it.2 != NOT_YET);
        match (self.look_back(&goal, is_told), about) {
            // What is found out in the bake is written with its end.
            (Some(word), about) if step.is_none() || about.is_none() => say(word),
            (_, Some(about)) => Some(about),
            // Whoever is paged in the bake asks for the way back from this version: in the write of the switch stands where it leads.
            (_, None) => {
                let message =
                    format!("{} ({}) can be returned to; what it needs is being looked at", goal.version, goal.revision);
                say((ConditionStatus::Unknown, NOT_YET, message))
            }
        }
    }

    /// The version that a person would return to.
    fn earlier(&self, active: &str) -> Option<Goal> {
        let status = &self.next;
        let previous = status.previous.iter().filter(|it| it.revision != active && status.rejection(&it.revision).is_none());
        let previous = previous.map(|it| Goal { revision: it.revision.clone(), version: it.version.clone() }).next();
        previous.or_else(|| self.last_released_but(active))
    }

    /// None: it has not been looked at yet.
    fn look_back(&mut self, goal: &Goal, is_told: bool) -> Option<Word> {
        if let Some(why) = self.below_floor(goal) {
            return Some((ConditionStatus::False, "RollbackBlocked", why));
        }
        let seen = self.observed.way_back.as_ref().filter(|seen| seen.revision == goal.revision).cloned();
        let due = match &seen {
            Some(seen) => later(seen.at, self.policy.look_back),
            // Another process has said it, or nobody ever has, about a version that has been there for long.
            None if is_told || self.is_old() => later(self.observed.since, self.turn()),
            None => self.now,
        };
        if self.now >= due {
            let name = input::name(&self.observed.release.name, &goal.revision);
            self.reads.push(Read::WayBack { revision: goal.revision.clone(), name });
        }
        self.look_at(due);
        seen.map(|seen| word(goal, &seen))
    }

    fn is_old(&self) -> bool {
        let active = self.stored.active.as_ref().filter(|_| self.stored.candidate.is_none());
        active.is_some_and(|active| later(active.since, self.policy.look_back) <= self.observed.since)
    }

    /// Its place within the time between two looks: the same in every process.
    fn turn(&self) -> SignedDuration {
        let hash = self.observed.release.uid.bytes().fold(17_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let secs = u64::try_from(self.policy.look_back.as_secs()).unwrap_or(1).max(1);
        SignedDuration::from_secs(i64::try_from(hash % secs).unwrap_or(0))
    }

    pub(super) fn last_released_but(&self, active: &str) -> Option<Goal> {
        let status = &self.next;
        let mut earlier = status.history.iter().rev().filter(|it| {
            it.revision != active
                && it.outcome == bascule_crds::ReleasedOutcome::Settled
                && status.rejection(&it.revision).is_none()
        });
        earlier.next().map(|it| Goal { revision: it.revision.clone(), version: it.version.clone() })
    }
}

fn word(goal: &Goal, seen: &WayBack) -> Word {
    let who = format!("{} ({})", goal.version, goal.revision);
    if !seen.missing.is_empty() {
        return (
            ConditionStatus::False,
            "SomethingIsGone",
            format!("{who} cannot be returned to as it was: {}", seen.missing.join("; ")),
        );
    }
    if !seen.unseen.is_empty() {
        return (
            ConditionStatus::Unknown,
            "NotAllSeen",
            format!("{who} may be returned to; not looked at: {}", seen.unseen.join("; ")),
        );
    }
    (ConditionStatus::True, "Complete", format!("{who} can be returned to, with all that it needs"))
}
