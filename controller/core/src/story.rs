//! What one write of the status tells, for those who count and draw: metrics and traces.
//!
//! In: the status before and after. Out: what has happened in between. Everything comes from what is stored, so that a candidate whose
//! controller was replaced half-way has one story and not two halves.

use bascule_crds::{Candidate, GateStage, GateState, RejectReason, Rejection, ReleaseStatus, ResolvedArtifact, Step};
use jiff::{SignedDuration, Timestamp};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A candidate begins.
    Began,
    /// A step is over.
    Passed { step: Step, took: SignedDuration },
    /// A gate has come to its end.
    Gated { stage: GateStage, passed: bool },
    /// All traffic is on it, so long after somebody had asked for it.
    Arrived { lead: SignedDuration },
    /// Users had met a bad version, and are back on a good one.
    Restored { by: Restorer, took: SignedDuration },
    /// A candidate came to its end.
    Ended(Box<Ending>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restorer {
    Automatic,
    Person,
}

/// The end of a candidate, with everything that is known of its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub outcome: Outcome,
    pub candidate: Candidate,
    /// Why, when it was rejected.
    pub reason: Option<RejectReason>,
    pub message: String,
    pub at: Timestamp,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is the version that runs.
    Settled,
    /// The same, and a person had asked for it: it had been released before.
    Returned,
    /// Users have not met it.
    Rejected,
    /// Users had met it, and are back on the version before.
    SwitchedBack,
    /// It went bad, and has kept the traffic: there was no better one to return to, or it may not go back by itself.
    Kept,
    /// Something else was wanted, before users had met it.
    Superseded,
}

impl Outcome {
    pub const ALL: [Self; 6] = [Self::Settled, Self::Returned, Self::Rejected, Self::SwitchedBack, Self::Kept, Self::Superseded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Returned => "Returned",
            Self::Rejected => "Rejected",
            Self::SwitchedBack => "SwitchedBack",
            Self::Kept => "Kept",
            Self::Superseded => "Superseded",
        }
    }
}

/// What has happened between these two, in order.
pub fn story(before: &ReleaseStatus, after: &ReleaseStatus, now: Timestamp) -> Vec<Happening> {
    let mut told = Vec::new();
    let is_same = |a: &Candidate, b: &Candidate| a.revision == b.revision && a.started_at == b.started_at;
    match (&before.candidate, &after.candidate) {
        (None, None) => {}
        (None, Some(_)) => told.push(Happening::Began),
        (Some(was), Some(is)) if is_same(was, is) => progress(&mut told, before, was, is),
        (Some(was), next) => {
            end(&mut told, before, was, after, now);
            if next.is_some() {
                told.push(Happening::Began);
            }
        }
    }
    told
}

/// The same candidate, further on its way.
fn progress(told: &mut Vec<Happening>, before: &ReleaseStatus, was: &Candidate, is: &Candidate) {
    let mut passed = |step, from: Option<Timestamp>, to: Option<Timestamp>| {
        if let (Some(from), Some(to)) = (from, to) {
            told.push(Happening::Passed { step, took: to.duration_since(from) });
        }
    };
    if was.step == Step::Preparing && is.step > Step::Preparing {
        passed(Step::Preparing, Some(is.started_at), is.prepared_at);
    }
    if was.ready_at.is_none() {
        passed(Step::Starting, is.prepared_at.or(Some(is.started_at)), is.ready_at);
    }
    if was.switched_at.is_none() {
        passed(Step::Verifying, is.ready_at, is.switched_at);
    }
    for gate in &is.gates {
        let known = was.gates.iter().find(|known| known.stage == gate.stage && known.name == gate.name);
        if gate.state != GateState::Running && known.is_none_or(|known| known.state != gate.state) {
            told.push(Happening::Gated { stage: gate.stage, passed: gate.state == GateState::Passed });
        }
    }
    if let Some(at) = is.switched_at.filter(|_| was.switched_at.is_none()) {
        arrive(told, before, is, at);
    }
}

fn arrive(told: &mut Vec<Happening>, before: &ReleaseStatus, candidate: &Candidate, at: Timestamp) {
    if candidate.rollback.is_none() {
        told.push(Happening::Arrived { lead: at.duration_since(asked_at(before, candidate)) });
    }
    // A person has left a version that they found bad, or has brought a better one in the place of one that has kept the traffic.
    let left = before.active.as_ref().filter(|active| before.rejection(&active.revision).is_some());
    if let Some(left) = left {
        told.push(Happening::Restored { by: Restorer::Person, took: at.duration_since(left.since) });
    }
}

/// When somebody asked for this version: what is new of its parameters was written, else it was begun. A parameter of March asks for
/// nothing in June, and not for a Release that is made in June either.
fn asked_at(before: &ReleaseStatus, candidate: &Candidate) -> Timestamp {
    let Some(active) = &before.active else { return candidate.started_at };
    let is_same = |a: &ResolvedArtifact, b: &ResolvedArtifact| {
        a.name == b.name && a.reference == b.reference && a.image == b.image && a.archive == b.archive
    };
    let new = candidate.artifacts.iter().filter(|artifact| !active.artifacts.iter().any(|it| is_same(it, artifact)));
    let written = new.filter_map(|artifact| artifact.parameter.as_ref()?.modified_at).max();
    written.map_or(candidate.started_at, |written| written.min(candidate.started_at))
}

fn end(told: &mut Vec<Happening>, before: &ReleaseStatus, was: &Candidate, after: &ReleaseStatus, now: Timestamp) {
    let mut candidate = was.clone();
    let is_active = after.active.as_ref().is_some_and(|active| active.revision == was.revision);
    let settled = after.history.last().filter(|last| Some(*last) != before.history.last() && last.revision == was.revision);
    let rejection = after.rejection(&was.revision).filter(|rejection| before.rejection(&was.revision) != Some(*rejection));
    let had_traffic = was.step >= Step::Switching || rejection.is_some_and(|rejection| rejection.had_traffic);
    let outcome = match (settled, rejection) {
        (Some(_), _) if was.rollback.is_some() => Outcome::Returned,
        (Some(_), _) => Outcome::Settled,
        (None, Some(_)) if had_traffic && is_active => Outcome::Kept,
        // Without a rejection: somebody wants the version before it again.
        (None, _) if had_traffic && !is_active => Outcome::SwitchedBack,
        (None, Some(_)) => Outcome::Rejected,
        (None, None) => Outcome::Superseded,
    };
    if settled.is_some() && was.switched_at.is_none() {
        // Without a bake it has the traffic and settles in one write.
        candidate.ready_at.get_or_insert(now);
        candidate.switched_at = Some(now);
        progress(told, before, was, &candidate);
    } else if let (Some(_), Some(at)) = (settled, was.switched_at) {
        told.push(Happening::Passed { step: Step::Baking, took: now.duration_since(at) });
    }
    end_gates(told, &mut candidate, settled.is_some(), rejection);
    if let Some(at) = was.switched_at.filter(|_| outcome == Outcome::SwitchedBack) {
        let by = match rejection.map(|rejection| rejection.reason) {
            None | Some(RejectReason::Aborted | RejectReason::RolledBack) => Restorer::Person,
            Some(_) => Restorer::Automatic,
        };
        told.push(Happening::Restored { by, took: now.duration_since(at) });
    }
    let reason = rejection.map(|rejection| rejection.reason);
    let message = rejection.map(|rejection| rejection.message.clone()).unwrap_or_default();
    told.push(Happening::Ended(Box::new(Ending { outcome, candidate, reason, message, at: now })));
}

/// What gates said last is in no later status: one that has failed is in the words of the rejection, and one that is asked to the end of
/// the bake has passed when it settles.
fn end_gates(told: &mut Vec<Happening>, candidate: &mut Candidate, settled: bool, rejection: Option<&Rejection>) {
    let no = rejection.filter(|rejection| rejection.reason == RejectReason::GateFailed).map(|rejection| &rejection.message);
    for gate in candidate.gates.iter_mut().filter(|gate| gate.state == GateState::Running) {
        let failed = no.is_some_and(|no| no.starts_with(&format!("gate {}: ", gate.name)));
        if failed || (settled && gate.stage == GateStage::AfterSwitch) {
            gate.state = if failed { GateState::Failed } else { GateState::Passed };
            told.push(Happening::Gated { stage: gate.stage, passed: !failed });
        }
    }
}
