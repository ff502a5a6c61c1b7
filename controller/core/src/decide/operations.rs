//! What people ask of the Release: acted on once, by uid, and answered.
//!
//! The effect and the record that it was done are one write of the Release's status; the answer in the Operation comes from that record.

use bascule_crds::{
    Hold, OperationOutcome, OperationRecord, OperationType, RejectReason, Rejection, ResolvedArtifact, Step as Stage,
};
use jiff::Timestamp;

use super::{Decision, bake::Cause, history::Goal, note};
use crate::{
    mutant::{self, Mutant},
    observed::OperationView,
    plan::{Note, NoteKind, Step},
    revision::Blocked,
};

/// An Abort that is being carried out; its record is written when traffic is where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Abort {
    uid: String,
    name: String,
    message: String,
    reason: RejectReason,
    /// What is wanted afterwards, when it is to return to another one than the version before.
    goal: Option<Goal>,
    by: Option<String>,
    note: Option<String>,
}

impl Abort {
    pub(super) fn cause(&self) -> Cause {
        Cause::Rejected(self.reason, self.message.clone())
    }
}

/// Records that are kept although they are answered, so that a lagging answer is never acted on again.
const RECORDS: usize = 10;

impl Decision<'_> {
    pub(super) fn hear_operations(&mut self) {
        let new = |operation: &&OperationView| {
            mutant::is(Mutant::HearTwice)
                || (!operation.answered && self.stored.operations.iter().all(|record| record.uid != operation.uid))
        };
        let mut unheard: Vec<_> = self.observed.operations.iter().filter(new).collect();
        unheard.sort_by(|a, b| order(a).cmp(&order(b)));
        for operation in unheard {
            match operation.spec.kind {
                OperationType::Abort => self.hear_abort(operation),
                OperationType::Retry => self.hear_retry(operation),
                OperationType::Accept => self.hear_accept(operation),
                // What comes after a return is about what came of it.
                OperationType::Rollback if self.is_changing() => return,
                OperationType::Rollback => {
                    self.hear_rollback(operation);
                    if self.is_changing() {
                        return;
                    }
                }
                OperationType::Hold => self.hear_hold(operation),
                OperationType::Resume => self.hear_resume(operation),
            }
        }
    }

    fn hear_abort(&mut self, operation: &OperationView) {
        let Some(candidate) = self.stored.candidate.as_ref() else {
            return self.refuse(operation, "there is no candidate to abort".into());
        };
        if operation.spec.revision.as_ref().is_some_and(|revision| *revision != candidate.revision) {
            return self.refuse(operation, format!("the candidate is {}, not the revision that was named", candidate.revision));
        }
        let way_back = self.stored.previous.as_ref().filter(|previous| self.stored.rejection(&previous.revision).is_none());
        if candidate.step == Stage::Baking && way_back.is_none() {
            return self.refuse(
                operation,
                format!("{} has all the traffic and there is no earlier good version to return to", candidate.version),
            );
        }
        if self.abort.is_some() {
            return;
        }
        self.abort = Some(abort(operation, RejectReason::Aborted, None));
    }

    /// An earlier Operation is being carried out: what it means to return depends on what comes of it. What is on its way is given up at
    /// once all the same.
    fn is_changing(&self) -> bool {
        self.abort.is_some() || (self.next.hold != self.stored.hold && self.stored.candidate.is_none())
    }

    fn hear_rollback(&mut self, operation: &OperationView) {
        let goal = match self.goal(operation.spec.revision.as_deref(), operation.spec.force) {
            Ok(goal) => goal,
            Err(why) => return self.refuse(operation, why),
        };
        match self.can_return(&goal) {
            Ok(()) => {}
            Err(Blocked::Unresolved("RollbackBlocked", why)) => return self.refuse(operation, format!("RollbackBlocked: {why}")),
            // It is asked for again and again; meanwhile nothing is given up for it.
            Err(Blocked::Unresolved(reason, why) | Blocked::Invalid(reason, why)) => return self.wait(reason, why),
            Err(Blocked::Waiting(_)) => {
                self.quiet = true;
                return;
            }
        }
        let (by, note) = (operation.spec.by.clone(), operation.spec.note.clone());
        match &self.stored.candidate {
            // Two people have had the same thought: one step back is meant, not two.
            Some(candidate) if candidate.rollback.is_some() && operation.spec.revision.is_none() => {
                let message =
                    format!("{} is on its way back already; to return further back, name the revision", candidate.version);
                return self.refuse(operation, message);
            }
            Some(candidate) if candidate.step != Stage::Baking && operation.spec.revision.is_none() => {
                let message = format!(
                    "{} has no traffic yet: Abort gives it up; to return further back, name the revision",
                    candidate.version
                );
                return self.refuse(operation, message);
            }
            // First it is given up: what it has of the traffic goes back.
            Some(_) => {
                self.abort = Some(abort(operation, RejectReason::RolledBack, Some(goal)));
                return;
            }
            None => {}
        }
        self.hold_at(&goal, by.clone(), note);
        self.leave_active(operation, &goal);
        if let Some(version) = self.warm(&goal) {
            self.begin_again(&version, by);
        }
        let message = format!("{} ({}): {}", goal.version, goal.revision, asked(operation));
        self.record_notes.push(note_of(format!("returns to {message}")));
        self.record(
            operation.uid.clone(),
            operation.name.clone(),
            OperationOutcome::Done,
            format!(
                "{} ({}) is wanted now, until another version than what was left is asked for, or Resume: {}",
                goal.version,
                goal.revision,
                asked(operation)
            ),
        );
    }

    /// What had the traffic, and what the spec asks for, do not come back by themselves.
    fn leave_active(&mut self, operation: &OperationView, goal: &Goal) {
        let active = self.stored.active.as_ref().map(|active| (active.revision.clone(), active.version.clone()));
        let asked_for = self.asked.as_ref().map(|asked| (asked.revision.to_string(), asked.version.clone()));
        let message = asked(operation);
        for (revision, version) in active.into_iter().chain(asked_for) {
            if revision != goal.revision && self.next.rejection(&revision).is_none() && !mutant::is(Mutant::ForgetRollback) {
                let had_traffic = self.stored.active.as_ref().is_some_and(|active| active.revision == revision);
                let (at, message, reason) = (self.now, message.clone(), RejectReason::RolledBack);
                self.next.rejected.push(Rejection { revision, version, reason, message, at, had_traffic });
            }
        }
        self.forget_rejections();
    }

    fn hear_hold(&mut self, operation: &OperationView) {
        let held = self.next.hold.clone();
        self.next.hold = Some(Hold {
            revision: held.and_then(|hold| hold.revision),
            left: None,
            asked: None,
            at: self.now,
            by: operation.spec.by.clone(),
            note: operation.spec.note.clone(),
        });
        self.record_notes.push(note_of(format!("automation is off: {}", asked(operation))));
        self.record(
            operation.uid.clone(),
            operation.name.clone(),
            OperationOutcome::Done,
            format!("nothing new starts until Resume: {}", asked(operation)),
        );
    }

    fn hear_resume(&mut self, operation: &OperationView) {
        let Some(hold) = self.next.hold.take() else {
            return self.refuse(operation, "there is no hold to lift".into());
        };
        let wanted = self.wanted.as_ref().ok().map(|wanted| wanted.revision.to_string());
        let returned = |rejection: &Rejection| {
            rejection.reason == RejectReason::RolledBack && [&hold.left, &wanted].contains(&&Some(rejection.revision.clone()))
        };
        self.next.rejected.retain(|rejection| !returned(rejection));
        self.record_notes.push(note_of(format!("automation is on again: {}", asked(operation))));
        self.record(
            operation.uid.clone(),
            operation.name.clone(),
            OperationOutcome::Done,
            format!("what the spec asks for is wanted again: {}", asked(operation)),
        );
    }

    fn hear_retry(&mut self, operation: &OperationView) {
        let wanted = self.wanted.as_ref().ok().map(|wanted| wanted.revision.to_string());
        let wanted_is = wanted.is_some() && operation.spec.revision.as_ref().is_none_or(|named| Some(named) == wanted.as_ref());
        let Some(revision) = operation.spec.revision.clone().or(wanted) else {
            return self
                .wait("Resolving", format!("Operation {} waits until it is known which revision is wanted", operation.name));
        };
        if self.next.rejection(&revision).is_none() {
            return self.refuse(operation, format!("{revision} is not rejected"));
        }
        self.next.rejected.retain(|rejection| rejection.revision != revision);
        self.retry_hooks(&revision);
        let active = self.stored.active.as_ref().filter(|active| active.revision == revision);
        if let Some(active) = active.filter(|_| wanted_is && self.stored.candidate.is_none()) {
            self.watch_again(active);
        }
        if self.next.hold.as_ref().is_some_and(|hold| hold.left.as_ref() == Some(&revision)) {
            self.next.hold = None;
        }
        self.record_notes.push(note(NoteKind::Operated, format!("{revision} is tried again: {}", asked(operation))));
        self.record(
            operation.uid.clone(),
            operation.name.clone(),
            OperationOutcome::Done,
            format!("{revision} may be tried again: {}", asked(operation)),
        );
    }

    /// The record of what was released last becomes that of the older one: from then on it is what newer ones are compared with.
    fn hear_accept(&mut self, operation: &OperationView) {
        if self.wanted.is_err() || (self.sources.is_unseen() && self.sources.passed.is_empty()) {
            return self
                .wait("Resolving", format!("Operation {} waits until it is known what the parameters say", operation.name));
        }
        let is_meant = |passed: &&ResolvedArtifact| {
            let names = [
                passed.tag.as_ref(),
                passed.digest.as_ref(),
                passed.commit.as_ref(),
                passed.order.as_ref().map(|order| &order.value),
            ];
            operation.spec.revision.as_ref().is_none_or(|named| names.contains(&Some(named)))
        };
        let accepted: Vec<_> = self.sources.passed.iter().filter(is_meant).cloned().collect();
        if accepted.is_empty() {
            let what = operation.spec.revision.as_ref().map_or("nothing".into(), |named| format!("no build {named}"));
            return self.refuse(operation, format!("{what} is passed over as out of order"));
        }
        let mut names = Vec::new();
        for passed in accepted {
            names.push(crate::sources::name(&passed));
            if let Some(last) = self.next.artifacts.iter_mut().find(|last| last.name == passed.name) {
                *last = passed;
            }
        }
        let names = names.join(", ");
        let message = format!("{names} is followed although it is older: {}", asked(operation));
        self.record_notes.push(note(NoteKind::Operated, message.clone()));
        self.record(operation.uid.clone(), operation.name.clone(), OperationOutcome::Done, message);
    }

    fn refuse(&mut self, operation: &OperationView, why: String) {
        self.record(operation.uid.clone(), operation.name.clone(), OperationOutcome::Refused, why);
    }

    /// The Abort is carried out.
    pub(super) fn record_abort(&mut self) {
        if let Some(abort) = self.abort.clone() {
            let version = self.stored.candidate.as_ref().map_or("the candidate", |candidate| &candidate.version);
            let message = format!("{version} is given up");
            if let Some(goal) = &abort.goal {
                self.hold_at(goal, abort.by.clone(), abort.note.clone());
            }
            self.record(abort.uid, abort.name, OperationOutcome::Done, message);
        }
    }

    fn record(&mut self, uid: String, name: String, outcome: OperationOutcome, message: String) {
        let answered = |record: &OperationRecord| {
            self.observed.operations.iter().all(|operation| operation.uid != record.uid || operation.answered)
        };
        while self.next.operations.len() >= RECORDS {
            let Some(oldest) = self.next.operations.iter().position(answered) else { break };
            self.next.operations.remove(oldest);
        }
        self.next.operations.push(OperationRecord { uid, name, outcome, message, at: self.now });
        self.must_record = true;
    }

    pub(super) fn answer_operations(&mut self) {
        let mut operations: Vec<_> = self.observed.operations.iter().collect();
        operations.sort_by(|a, b| order(a).cmp(&order(b)));
        for operation in operations.iter().filter(|operation| !operation.answered) {
            if let Some(record) = self.stored.operations.iter().find(|record| record.uid == operation.uid) {
                self.tidy.push(Step::Answer {
                    operation: operation.name.clone(),
                    uid: operation.uid.clone(),
                    resource_version: operation.resource_version.clone(),
                    outcome: record.outcome,
                    message: record.message.clone(),
                    at: record.at,
                });
            }
        }
        let answered: Vec<_> = operations.iter().filter(|operation| operation.answered).collect();
        let surplus = answered.len().saturating_sub(self.policy.keep_operations);
        for operation in &answered[..surplus] {
            self.tidy.push(Step::Prune {
                operation: operation.name.clone(),
                uid: operation.uid.clone(),
                resource_version: operation.resource_version.clone(),
            });
        }
    }
}

fn abort(operation: &OperationView, reason: RejectReason, goal: Option<Goal>) -> Abort {
    Abort {
        uid: operation.uid.clone(),
        name: operation.name.clone(),
        message: asked(operation),
        reason,
        goal,
        by: operation.spec.by.clone(),
        note: operation.spec.note.clone(),
    }
}

fn note_of(message: String) -> Note {
    note(NoteKind::Operated, message)
}

/// Times of creation have seconds, so two of one moment are common.
fn order(operation: &OperationView) -> (Timestamp, &str) {
    (operation.created, &operation.name)
}

fn asked(operation: &OperationView) -> String {
    let by = operation.spec.by.as_deref().unwrap_or("somebody");
    match operation.spec.note.as_deref() {
        Some(note) => format!("{:?} by {by}: {note}", operation.spec.kind),
        None => format!("{:?} by {by}", operation.spec.kind),
    }
}
