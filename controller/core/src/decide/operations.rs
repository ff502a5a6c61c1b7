//! What people ask of the Release: acted on once, by uid, and answered.
//!
//! The effect and the record that it was done are one write of the Release's status; the answer in the Operation comes from that record.

use bascule_crds::{OperationOutcome, OperationRecord, OperationType, ResolvedArtifact, Step as Stage};
use jiff::Timestamp;

use super::{Decision, note};
use crate::{
    mutant::{self, Mutant},
    observed::OperationView,
    plan::{NoteKind, Step},
};

/// An Abort that is being carried out; its record is written when traffic is where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Abort {
    uid: String,
    name: String,
    pub(super) message: String,
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
        self.abort = Some(Abort { uid: operation.uid.clone(), name: operation.name.clone(), message: asked(operation) });
    }

    fn hear_retry(&mut self, operation: &OperationView) {
        let wanted = self.wanted.as_ref().ok().map(|wanted| wanted.revision.to_string());
        let Some(revision) = operation.spec.revision.clone().or(wanted) else {
            return self
                .wait("Resolving", format!("Operation {} waits until it is known which revision is wanted", operation.name));
        };
        if self.next.rejection(&revision).is_none() {
            return self.refuse(operation, format!("{revision} is not rejected"));
        }
        self.next.rejected.retain(|rejection| rejection.revision != revision);
        self.record_notes.push(note(NoteKind::Operated, format!("{revision} is tried again: {}", asked(operation))));
        self.record(
            operation.uid.clone(),
            operation.name.clone(),
            OperationOutcome::Done,
            format!("{revision} may be tried again"),
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
        self.record_notes
            .push(note(NoteKind::Operated, format!("{names} is followed although it is older: {}", asked(operation))));
        self.record(operation.uid.clone(), operation.name.clone(), OperationOutcome::Done, format!("{names} is followed"));
    }

    fn refuse(&mut self, operation: &OperationView, why: String) {
        self.record(operation.uid.clone(), operation.name.clone(), OperationOutcome::Refused, why);
    }

    /// The Abort is carried out.
    pub(super) fn record_abort(&mut self) {
        if let Some(abort) = self.abort.clone() {
            let version = self.stored.candidate.as_ref().map_or("the candidate", |candidate| &candidate.version);
            self.record(abort.uid, abort.name, OperationOutcome::Done, format!("{version} is given up"));
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
