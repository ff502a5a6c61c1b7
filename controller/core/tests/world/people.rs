//! S6 and S7 of what people have asked for: what they returned from stays away, what they hold is held, what is rejected stays so until
//! they say otherwise; and what is remembered of releases is what was released.
//!
//! In: a status that is about to land. Out: the rules that are broken. Written anew from the design's words, never from the core's functions.

use std::collections::BTreeSet;

use bascule_crds::{
    Candidate, HookState, OperationOutcome, OperationSpec, OperationType, RejectReason, ReleaseStatus, Step as Stage,
};

use super::{Rule, World};

/// What people have said so far.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Revisions that somebody has returned from, and that nobody has asked for since.
    left: BTreeSet<String>,
    /// Somebody else has deleted what was stored.
    dropped: bool,
    /// The spec that the candidate began with.
    generation: i64,
}

impl People {
    /// The status that said so is gone.
    pub(super) fn forget(&mut self) {
        self.left.clear();
        self.dropped = true;
    }

    /// Not all that was done is known by now.
    pub fn has_lost(&self) -> bool {
        self.dropped
    }
}

impl World {
    /// Somebody deletes what was stored of the history.
    pub fn drop_revisions(&mut self) {
        self.revisions.clear();
        self.oracle.people.dropped = true;
    }

    pub(super) fn check_people(&mut self, next: &ReleaseStatus) {
        let stored = self.release.status.clone();
        let heard = self.heard(&stored, next);
        self.check_rejections(&stored, next, &heard);
        self.check_return(&stored, next, &heard);
        if let Some(candidate) = next.candidate.as_ref().filter(|it| is_new(&stored, it)) {
            self.oracle.people.generation = self.release.generation;
            self.check_begin(&stored, next, candidate);
        }
        self.check_prepared(&stored, next);
        self.check_runs(&stored, next, &heard);
        self.check_history(&stored, next);
    }

    /// Operations that this status says were carried out, oldest first.
    fn heard(&self, stored: &ReleaseStatus, next: &ReleaseStatus) -> Vec<OperationSpec> {
        let new = next.operations.iter().filter(|record| stored.operations.iter().all(|old| old.uid != record.uid));
        let done = new.filter(|record| record.outcome == OperationOutcome::Done);
        done.filter_map(|record| self.operations.iter().find(|it| it.uid == record.uid)).map(|it| it.spec.clone()).collect()
    }

    /// S6: a rejection is taken back by the one who may, or it is the oldest of too many.
    fn check_rejections(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus, heard: &[OperationSpec]) {
        let lost: Vec<_> = stored.rejected.iter().filter(|old| next.rejection(&old.revision).is_none()).collect();
        let left = stored.hold.as_ref().and_then(|hold| hold.left.clone());
        let mut unexplained = Vec::new();
        for old in lost {
            let lifts = |spec: &OperationSpec| match spec.kind {
                OperationType::Retry => spec.revision.as_ref().is_none_or(|named| *named == old.revision),
                OperationType::Rollback => true,
                OperationType::Resume => old.reason == RejectReason::RolledBack,
                OperationType::Abort | OperationType::Accept | OperationType::Hold => false,
            };
            if heard.iter().any(lifts) {
                self.oracle.people.left.remove(&old.revision);
            } else {
                unexplained.push(old);
            }
        }
        let added = next.rejected.iter().filter(|new| stored.rejection(&new.revision).is_none()).count();
        let surplus = (stored.rejected.len() + added).saturating_sub(self.policy.keep_rejections);
        self.oracle.must(unexplained.len() <= surplus, Rule::S6, || {
            format!("rejections are forgotten, and nobody asked for it: {unexplained:?}")
        });
        let held = unexplained.iter().find(|old| next.hold.is_some() && Some(&old.revision) == left.as_ref());
        self.oracle.must(held.is_none(), Rule::S6, || format!("{held:?} was left by a person, and that is forgotten"));
        for old in unexplained {
            self.oracle.people.left.remove(&old.revision);
        }
    }

    /// S6: after a return the other version is wanted, and what was left is not.
    fn check_return(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus, heard: &[OperationSpec]) {
        let kinds = |kind: OperationType| heard.iter().any(|spec| spec.kind == kind);
        if kinds(OperationType::Resume) || kinds(OperationType::Retry) {
            let left: Vec<_> = self.oracle.people.left.iter().filter(|it| next.rejection(it).is_none()).cloned().collect();
            for revision in left {
                self.oracle.people.left.remove(&revision);
            }
            return;
        }
        if kinds(OperationType::Rollback) {
            let goal = next.hold.as_ref().and_then(|hold| hold.revision.clone());
            self.oracle.must(goal.is_some(), Rule::S6, || "a person has returned, and nothing holds it there".into());
            let Some(goal) = goal else { return };
            self.oracle.people.left.remove(&goal);
            let on_its_way = stored.candidate.as_ref().map(|it| it.revision.clone());
            let had = on_its_way.or(stored.active.as_ref().map(|it| it.revision.clone())).filter(|it| *it != goal);
            if let Some(had) = had {
                let holds = next.rejection(&had).is_some();
                self.oracle.must(holds, Rule::S6, || format!("a person has returned from {had}, which is not remembered"));
                self.oracle.people.left.insert(had);
            }
        }
    }

    /// S6: nothing begins that a person has left, or while a person holds it.
    fn check_begin(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus, candidate: &Candidate) {
        let revision = &candidate.revision;
        let rejected = next.rejection(revision).is_some();
        self.oracle.must(!rejected, Rule::S6, || format!("{} was rejected and starts", candidate.version));
        let left = self.oracle.people.left.contains(revision);
        self.oracle.must(!left, Rule::S6, || format!("{} was left by a person, and starts", candidate.version));
        if let Some(hold) = &next.hold {
            let holds = hold.revision.as_ref() == Some(revision);
            self.oracle.must(holds, Rule::S6, || format!("{} starts, and {hold:?}", candidate.version));
        }
        self.oracle.must(candidate.gates.iter().all(|it| it.at.is_none()), Rule::S4, || {
            format!("{} begins with what gates have said before: {:?}", candidate.version, candidate.gates)
        });
        if let Some(how) = &candidate.rollback {
            let known = next.history.iter().any(|it| it.revision == *revision)
                || stored.active.iter().chain(&stored.previous).any(|it| it.revision == *revision);
            let asked = next.hold.as_ref().is_some_and(|it| it.revision.as_ref() == Some(revision));
            self.oracle.must(known && asked, Rule::S1, || format!("{} returns, and it was never released", candidate.version));
            let is_there = stored.previous.as_ref().is_some_and(|it| it.revision == *revision && it.track == candidate.track);
            self.oracle
                .must(!how.warm || is_there, Rule::S1, || format!("{} is called warm, and is not there", candidate.version));
        }
    }

    /// S7: pods of a revision start after all its hooks have succeeded; what a person returns to has been through them.
    fn check_prepared(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus) {
        let Some(candidate) = next.candidate.as_ref().filter(|it| it.step != Stage::Preparing && it.rollback.is_none()) else {
            return;
        };
        let was_prepared = !is_new(stored, candidate) && stored.candidate.as_ref().is_some_and(|it| it.step != Stage::Preparing);
        if was_prepared {
            return;
        }
        let mut hooks = self.release.spec.hooks.before_start.iter();
        // What a status says is done was done, unless that status was wiped and another process has known it.
        let open = hooks.find(|it| !self.oracle.jobs.is_done(&candidate.revision, &it.name)).map(|it| it.name.clone());
        self.oracle
            .must(open.is_none(), Rule::S7, || format!("{} starts, and hook {open:?} has not succeeded", candidate.version));
    }

    /// S7: what has run runs again because a person says so.
    fn check_runs(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus, heard: &[OperationSpec]) {
        for record in &next.hooks {
            let old = stored.hooks.iter().find(|it| it.is(&record.revision, &record.name));
            let retries = heard.iter().filter(|it| it.kind == OperationType::Retry).count();
            let most = old.map_or(1, |it| it.run) + u32::try_from(retries).unwrap();
            self.oracle.must(record.run <= most, Rule::S7, || format!("{record:?} was {old:?}, and nobody has asked for it"));
            let undone = old.is_some_and(|it| it.state == HookState::Done) && record.state != HookState::Done;
            self.oracle.must(!undone, Rule::S7, || format!("{record:?} was done"));
            let done = record.state == HookState::Done && old.is_none_or(|it| it.state != HookState::Done);
            let is_true = record.job.as_ref().is_some_and(|it| self.oracle.jobs.has_succeeded(&it.uid) == Some(true));
            self.oracle.must(!done || is_true, Rule::S7, || format!("{record:?}, and its Job has not succeeded"));
        }
    }

    /// What is remembered has settled, and can be made again; of the rest nothing is kept.
    fn check_history(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus) {
        let last = stored.history.iter().map(|it| it.number).max().unwrap_or(0);
        for released in next.history.iter().filter(|it| stored.history.iter().all(|old| old.number != it.number)) {
            let settles = stored.candidate.as_ref().is_some_and(|it| it.revision == released.revision)
                && next.candidate.is_none()
                && next.active.as_ref().is_some_and(|it| it.revision == released.revision)
                && next.rejection(&released.revision).is_none();
            self.oracle.must(settles && released.number > last, Rule::Truth, || format!("{released:?} has not settled"));
            let name = bascule_core::input::name(&self.release.name, &released.revision);
            // It could not be written, or what it was made from was overwritten before.
            let troubles = self.process.troubles_at(self.now);
            let refused = troubles.iter().any(|it| it.lasting && it.target == format!("revision/{}", released.revision));
            let overwritten = self.oracle.people.dropped || self.oracle.people.generation != self.release.generation;
            let is_stored = self.revisions.contains_key(&name) || refused || overwritten;
            self.oracle.must(is_stored, Rule::Truth, || format!("{released:?} cannot be made again"));
        }
        let room = usize::try_from(self.release.spec.history).unwrap().max(1);
        let grows = next.history.len() > stored.history.len();
        self.oracle.must(!grows || next.history.len() <= room, Rule::Truth, || format!("{} in the history", next.history.len()));
    }

    /// S3: what can be returned to is kept. What the history does not keep any more goes right before the next one is remembered.
    pub(super) fn check_discarded(&mut self, revision: &str) {
        let status = &self.release.status;
        let room = usize::try_from(self.release.spec.history).unwrap().max(1);
        let old = (status.history.len() + 1).saturating_sub(room);
        let versions = status.active.iter().chain(&status.previous).map(|it| &it.revision);
        let versions = versions.chain(status.history.iter().skip(old).map(|it| &it.revision));
        let mut used = versions.chain(status.candidate.iter().map(|it| &it.revision));
        let held = status.hold.as_ref().is_some_and(|hold| hold.revision.as_deref() == Some(revision));
        let is_used = held || used.any(|it| it == revision);
        self.oracle.must(!is_used, Rule::S3, || format!("what {revision} was made from is deleted, and needed"));
    }
}

fn is_new(stored: &ReleaseStatus, candidate: &Candidate) -> bool {
    let old = stored.candidate.as_ref();
    old.is_none_or(|old| (&old.revision, old.started_at) != (&candidate.revision, candidate.started_at))
}
