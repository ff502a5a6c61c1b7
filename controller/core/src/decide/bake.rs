//! The new version has the traffic and is watched; the old one is warm. When it goes bad: traffic back first, then rejected.

use bascule_crds::{Candidate, RejectReason, Step as Stage, Version};
use jiff::Timestamp;

use super::{
    Decision,
    gates::Gated,
    later, note,
    traffic::{Move, Services, Target},
    workloads::{Health, Proved},
};
use crate::{
    mutant::{self, Mutant},
    observed::Service,
    plan::NoteKind,
};

/// Why traffic goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Rejected(RejectReason, String),
    /// The spec asks for the previous version again: not a fault of this one.
    Reverted,
}

/// How a record on a Service says that nobody was at fault.
const REVERTED: &str = "Reverted";

impl Cause {
    /// What the commit record says. It names the attempt, so that the record of an earlier one is never taken for this one.
    pub(super) fn to_record(&self, candidate: &Candidate) -> String {
        let attempt = attempt(candidate);
        match self {
            Self::Rejected(reason, message) => format!("{reason} {attempt}: {message}"),
            Self::Reverted => format!("{REVERTED} {attempt}: the spec asks for the version before it"),
        }
    }

    /// Read back from the commit record: a restart between the move and the status must not forget why.
    fn from_record(text: &str, candidate: &Candidate) -> Option<Self> {
        let (head, message) = text.split_once(": ")?;
        let kind = head.strip_suffix(&attempt(candidate))?.trim_end();
        let reason = match kind {
            REVERTED => return Some(Self::Reverted),
            "Aborted" => RejectReason::Aborted,
            "BakeFailed" => RejectReason::BakeFailed,
            "DeadlineExceeded" => RejectReason::DeadlineExceeded,
            "Refused" => RejectReason::Refused,
            "GateFailed" => RejectReason::GateFailed,
            "RolledBack" => RejectReason::RolledBack,
            _ => return None,
        };
        Some(Self::Rejected(reason, message.to_owned()))
    }
}

/// A revision that is retried is another attempt.
fn attempt(candidate: &Candidate) -> String {
    format!("{} of {}", candidate.revision, candidate.started_at)
}

/// A move back that has begun: some Service is recorded at `home`, and the record gives up this very attempt.
pub(super) fn begun(services: &[&Service], home: &Target, candidate: &Candidate) -> Option<Cause> {
    let mut records = services.iter().filter(|service| home.recorded_on(service)).filter_map(|service| service.record.as_ref());
    records.find_map(|record| Cause::from_record(&record.reason, candidate))
}

impl Decision<'_> {
    pub(super) fn baking(&mut self, candidate: &Candidate) {
        let services = self.services();
        let goal = Target::At { track: candidate.track, revision: candidate.revision.clone() };
        let health = self.health(candidate, Proved::AtTheSwitch);
        let gated = self.watched(candidate);
        // A version that was itself rejected is no place to return to.
        let way_back = self.stored.previous.clone().filter(|previous| self.stored.rejection(&previous.revision).is_none());
        let bad = bad(&health, &gated);
        let cause = self.cause(candidate, &services.seen, way_back.as_ref(), bad.as_ref());
        let answers = way_back.as_ref().map_or(Some(false), |previous| self.answers(previous));
        match (cause, way_back) {
            // Whether there is a way back is seen in a moment; until then nothing is moved.
            (Some(_), _) if answers.is_none() => self.quiet = true,
            (Some(cause), Some(previous)) if answers == Some(true) => self.go_back(candidate, &services, &previous, cause),
            (Some(Cause::Rejected(reason, message)), way_back) => {
                self.steer(&services.seen, &goal, Move::Heal, "healed");
                self.stay(candidate, reason, &message, way_back.as_ref());
            }
            (Some(Cause::Reverted) | None, _) => {
                let there = self.steer(&services.seen, &goal, Move::Heal, "healed") && services.are_complete();
                self.store(candidate);
                self.watch(candidate, &health, bad, &gated, there);
            }
        }
    }

    fn cause(
        &self,
        candidate: &Candidate,
        services: &[&Service],
        way_back: Option<&Version>,
        bad: Option<&(RejectReason, String)>,
    ) -> Option<Cause> {
        let back = way_back.map(|previous| Target::At { track: previous.track, revision: previous.revision.clone() });
        let begun = back.and_then(|back| begun(services, &back, candidate));
        if begun.is_some() {
            return begun;
        }
        if let Some(abort) = &self.abort {
            return Some(abort.cause());
        }
        match bad {
            Some((reason, why)) if self.observed.release.spec.rollback.automatic && !mutant::is(Mutant::NeverGoBack) => {
                return Some(Cause::Rejected(*reason, why.clone()));
            }
            Some(_) | None => {}
        }
        let wanted = self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() != candidate.revision)?;
        let reverted = way_back.is_some_and(|previous| previous.revision == wanted.revision.as_str());
        (reverted && self.paused().is_none()).then_some(Cause::Reverted)
    }

    /// Traffic back first; the rest is remembered when it is there.
    fn go_back(&mut self, candidate: &Candidate, services: &Services<'_>, previous: &Version, cause: Cause) {
        let back = Target::At { track: previous.track, revision: previous.revision.clone() };
        // One that is gone or not ours must not hold up the others; one that cannot be seen is looked at before it is over.
        if !self.steer(&services.seen, &back, Move::Decided, &cause.to_record(candidate)) || services.unknown {
            return;
        }
        let mut home = previous.clone();
        home.since = self.now;
        self.next.active = Some(home);
        self.next.previous = None;
        let message = format!("traffic is back on {} ({}) on {}", previous.version, previous.revision, previous.track);
        self.record_notes.push(note(NoteKind::SwitchedBack, message));
        match cause {
            Cause::Rejected(reason, message) => {
                self.reject(candidate, reason, &message);
                self.record_abort();
            }
            Cause::Reverted => self.dismiss(candidate),
        }
    }

    /// It went bad, and nobody answers where traffic could return to: a bad version is better than none. The way back has until
    /// the end of the bake to come up again; then the candidate is given up where it is, so that a better one can start.
    fn stay(&mut self, candidate: &Candidate, reason: RejectReason, message: &str, way_back: Option<&Version>) {
        let over = self.bake_over(candidate);
        match way_back {
            Some(previous) if self.now < over => {
                self.wait(
                    "WayBackNotAvailable",
                    format!("{message}; {} on {} has no ready pods to return to", previous.version, previous.track),
                );
                self.look_at(over);
            }
            _ => {
                self.reject(candidate, reason, &format!("{message}; there is no good version to return to, so traffic stays"));
                self.record_abort();
            }
        }
    }

    fn bake_over(&self, candidate: &Candidate) -> Timestamp {
        later(candidate.switched_at.unwrap_or(candidate.started_at), self.observed.release.spec.strategy.bake.get())
    }

    fn watch(&mut self, candidate: &Candidate, health: &Health, bad: Option<(RejectReason, String)>, gated: &Gated, there: bool) {
        let over = self.bake_over(candidate);
        if let Some((reason, why)) = bad {
            let newer = self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() != candidate.revision);
            if let Some(newer) = newer.filter(|_| self.paused().is_none()) {
                if self.now < over {
                    self.look_at(over);
                    return self.wait("BakeFailing", format!("{why}; rollback.automatic is off"));
                }
                // It may not go back by itself, and somebody has a better one: the way is forward.
                let message = format!("{why}; rollback.automatic is off, and {} is wanted now", newer.version);
                return self.reject(candidate, reason, &message);
            }
            return self.wait("BakeFailing", format!("{why}; rollback.automatic is off"));
        }
        if let Gated::NotYet(why) = gated {
            self.progress(Stage::Baking, why.clone());
        } else {
            self.progress(Stage::Baking, String::new());
        }
        if self.now < over {
            return self.look_at(over);
        }
        let well = *health == Health::Good && *gated == Gated::Passed;
        if well && there && self.is_kept(candidate) && !self.discard(candidate) {
            self.settle(candidate);
            self.probes.clear();
        }
    }
}

/// What speaks against it, and how that is called.
fn bad(health: &Health, gated: &Gated) -> Option<(RejectReason, String)> {
    match (health, gated) {
        (Health::Bad(why), _) => Some((RejectReason::BakeFailed, why.clone())),
        (_, Gated::Failed(why)) => Some((RejectReason::GateFailed, why.clone())),
        _ => None,
    }
}
