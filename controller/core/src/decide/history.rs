//! What was released, and the way back to it.
//!
//! While the pods of a candidate come up, what it was made from is stored in a ControllerRevision. When it has settled, the status
//! remembers it under a number. A person may return to any of them; from then on that one is wanted, whatever the spec says,
//! until the spec asks for another version than what was left, or a person lifts the hold.

use bascule_crds::{Candidate, GateStage, Hold, Released, ReleasedOutcome, Return, Step as Stage, Version, WorkloadRecord};

use super::{Decision, note};
use crate::{
    input,
    mutant::{self, Mutant},
    plan::{NoteKind, Read, Step},
    revision::{Blocked, Rendered},
};

/// More candidates in a row that come to nothing are a mistake of their own.
const FORSAKEN: usize = 50;

/// A revision to return to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) revision: String,
    pub(super) version: String,
}

impl Decision<'_> {
    /// What is wanted while a person holds the Release at a revision of the history.
    pub(super) fn hold_on(&mut self) {
        let Some(hold) = self.next.hold.clone() else { return };
        if let (Some(left), Ok(asked)) = (&hold.left, &self.wanted)
            && asked.revision.as_str() != left
            && hold.asked.as_ref().is_none_or(|then| asked.asked() != *then)
            && self.next.hold == self.stored.hold
        {
            let message = format!("{} is wanted by now: automation is on again", asked.version);
            self.record_notes.push(note(NoteKind::Operated, message));
            self.next.hold = None;
            self.must_record = true;
            return;
        }
        let Some(revision) = hold.revision else { return };
        if self.wanted.as_ref().is_ok_and(|asked| asked.revision.as_str() == revision) {
            return;
        }
        self.wanted = self.again(&revision);
    }

    /// A revision of the history, from what was stored of it.
    fn again(&mut self, revision: &str) -> Result<Rendered, Blocked> {
        let name = input::name(&self.observed.release.name, revision);
        match self.observed.inputs.get(revision) {
            None => {
                let read = Read::Input { revision: revision.to_owned(), name: name.clone() };
                let hidden =
                    self.lasting_trouble(&read.target()).map(|why| format!("ControllerRevision {name} cannot be read: {why}"));
                self.reads.push(read);
                Err(match hidden {
                    Some(why) => Blocked::Unresolved("Resolving", why),
                    None => Blocked::Waiting(format!("ControllerRevision {name} is being read")),
                })
            }
            Some(None) => Err(Blocked::Unresolved(
                "RollbackBlocked",
                format!("what {revision} was made from is not there any more: ControllerRevision {name} is gone"),
            )),
            Some(Some(input)) => Rendered::again(input, &self.observed.release.spec).ok_or_else(|| {
                Blocked::Unresolved("RollbackBlocked", format!("ControllerRevision {name} does not make {revision} again"))
            }),
        }
    }

    /// Beside the pods, so that it costs no time: what this candidate was made from. What could not be written then is tried again.
    pub(super) fn store(&mut self, candidate: &Candidate) {
        let Some(wanted) = self.source(candidate).filter(|_| !self.is_stored(candidate)) else { return };
        let body = input::object(&self.observed.release, &wanted.input(), self.next_number());
        self.work.push(Step::Store { revision: candidate.revision.clone(), body });
    }

    /// It may be remembered: it can be made again, or that cannot be helped. Users do not wait for a version because of one that may be
    /// wanted later.
    pub(super) fn is_kept(&self, candidate: &Candidate) -> bool {
        let target = format!("revision/{}", candidate.revision);
        let refused = self.observed.troubles.iter().any(|trouble| trouble.lasting && trouble.target == target);
        self.is_stored(candidate) || self.source(candidate).is_none() || refused
    }

    fn is_stored(&self, candidate: &Candidate) -> bool {
        self.observed.stored.as_ref() == Some(&candidate.revision)
            || self.stored.history.iter().any(|released| released.revision == candidate.revision)
    }

    /// None: something else is wanted by now.
    fn source(&self, candidate: &Candidate) -> Option<&Rendered> {
        self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() == candidate.revision)
    }

    fn next_number(&self) -> i64 {
        self.stored.history.iter().map(|released| released.number).max().unwrap_or(0).saturating_add(1)
    }

    /// It has settled.
    pub(super) fn remember_released(&mut self, candidate: &Candidate) {
        let number = self.next_number();
        let writer = || candidate.artifacts.iter().find_map(|artifact| artifact.parameter.as_ref()?.modified_by.clone());
        let first = self.first_number(&candidate.revision);
        self.next.history.push(Released {
            number,
            first,
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            commit: candidate.artifacts.iter().find_map(|artifact| artifact.commit.clone()),
            at: candidate.switched_at.unwrap_or(self.now),
            by: candidate.rollback.as_ref().map_or_else(writer, |it| it.by.clone()),
            outcome: ReleasedOutcome::Settled,
        });
        self.next.history.drain(..self.surplus(1).min(self.next.history.len()));
        // What has traffic, or is kept to return to, and what could not be deleted, waits for the next one.
        self.next.discarded = self.unused(candidate);
    }

    /// Entries that the history does not keep, once so many more have come.
    fn surplus(&self, more: usize) -> usize {
        let kept = usize::try_from(self.observed.release.spec.history).unwrap_or(usize::MAX).max(1);
        (self.stored.history.len() + more).saturating_sub(kept)
    }

    /// Revisions that the history does not have once this one has settled, and of which something is stored.
    fn unused(&self, candidate: &Candidate) -> Vec<String> {
        let (old, kept) = self.stored.history.split_at(self.surplus(1).min(self.stored.history.len()));
        let old = old.iter().map(|released| &released.revision).chain(&self.stored.discarded);
        let stays =
            |revision: &String| *revision == candidate.revision || kept.iter().any(|released| released.revision == *revision);
        let mut unused: Vec<_> =
            old.filter(|revision| !stays(revision) && !self.observed.discarded.contains(*revision)).cloned().collect();
        unused.sort();
        unused.dedup();
        unused
    }

    /// What was stored of revisions that nobody can return to goes before the next one settles: what is left to do is in the status until
    /// it is done. True: something is still there.
    pub(super) fn discard(&mut self, candidate: &Candidate) -> bool {
        let mut unused = self.unused(candidate);
        unused.retain(|revision| !self.is_in_use(revision));
        // To tidy up holds up nothing.
        unused.retain(|revision| self.observed.troubles.iter().all(|it| it.target != format!("revision/{revision}")));
        for revision in &unused {
            let name = input::name(&self.observed.release.name, revision);
            self.work.push(Step::Discard { revision: revision.clone(), name });
        }
        !unused.is_empty()
    }

    fn is_in_use(&self, revision: &str) -> bool {
        let status = self.stored;
        status.active.iter().chain(&status.previous).any(|version| version.revision == revision)
            || status.hold.as_ref().is_some_and(|hold| hold.revision.as_deref() == Some(revision))
    }

    /// Something of it was stored, and it will not settle now.
    pub(super) fn forsake(&mut self, candidate: &Candidate) {
        let revision = &candidate.revision;
        let known = self.next.discarded.contains(revision) || self.next.history.iter().any(|it| it.revision == *revision);
        if !known {
            self.next.discarded.push(revision.clone());
            let surplus = self.next.discarded.len().saturating_sub(FORSAKEN);
            self.next.discarded.drain(..surplus);
        }
    }

    /// There is something to discard before it settles, which takes a step of its own.
    pub(super) fn settles_later(&self) -> bool {
        self.surplus(1) > 0 || !self.stored.discarded.is_empty()
    }

    /// Where a person wants to go back to.
    pub(super) fn goal(&self, named: Option<&str>, force: bool) -> Result<Goal, String> {
        let status = self.stored;
        let active = status.active.as_ref().map(|active| active.revision.as_str());
        let goal = if let Some(named) = named {
            self.named(named)?.ok_or_else(|| {
                let known = |it: &Released| format!("{} ({}, {})", it.number, it.version, it.revision);
                let known: Vec<_> = status.history.iter().map(known).collect();
                let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                format!("{named} is no revision, number or version of the history; it has {known}")
            })?
        } else {
            if let Some(why) = self.is_back() {
                return Err(why);
            }
            let before = status.previous.as_ref().filter(|it| status.rejection(&it.revision).is_none());
            let before = before.map(|it| Goal { revision: it.revision.clone(), version: it.version.clone() });
            let earlier = before.or_else(|| self.last_released_but(active.unwrap_or_default()));
            earlier.ok_or("there is no earlier version to return to")?
        };
        // Before the switch there is something to return from: it makes way.
        let arrives = status.candidate.as_ref().is_some_and(|candidate| candidate.revision != goal.revision);
        if Some(goal.revision.as_str()) == active && !arrives {
            return Err(format!("{} ({}) has the traffic already", goal.version, goal.revision));
        }
        match self.below_floor(&goal) {
            Some(why) if !force => Err(format!("RollbackBlocked: {why}; with force: true and a note it is done all the same")),
            _ => Ok(goal),
        }
    }

    /// Users have left the version that is asked for already: one step further would take them from a good one.
    fn is_back(&self) -> Option<String> {
        let active = self.stored.active.as_ref().filter(|_| self.stored.candidate.is_none())?;
        let asked = self.asked.as_ref().filter(|asked| asked.revision.as_str() != active.revision)?;
        let rejection = self.stored.rejection(asked.revision.as_str())?;
        Some(format!(
            "users are back on {} already: {} was rejected ({}); to return further back, name the revision",
            active.version, asked.version, rejection.reason
        ))
    }

    /// An error: it may mean more than one, and a guess could take users to the wrong one.
    fn named(&self, named: &str) -> Result<Option<Goal>, String> {
        let status = self.stored;
        let of = |it: &Released| Goal { revision: it.revision.clone(), version: it.version.clone() };
        let history = || status.history.iter().rev();
        let version = |it: &Version| Goal { revision: it.revision.clone(), version: it.version.clone() };
        let versions = || status.active.iter().chain(&status.previous);
        if let Some(exactly) = history().find(|it| it.revision == named) {
            return Ok(Some(of(exactly)));
        }
        let numbered = history().find(|it| it.number.to_string() == named).map(of);
        let called = history().find(|it| it.version == named).map(of);
        if let (Some(numbered), Some(called)) = (&numbered, &called)
            && numbered.revision != called.revision
        {
            return Err(format!(
                "{named} is the number of {} ({}) and the version of {}: name the revision",
                numbered.version, numbered.revision, called.revision
            ));
        }
        let by_version = || versions().find(|it| it.revision == named || it.version == named).map(version);
        Ok(numbered.or(called).or_else(by_version))
    }

    /// Code that old does not understand what a migration has made since.
    pub(super) fn below_floor(&self, goal: &Goal) -> Option<String> {
        let floor = self.observed.release.spec.rollback.floor.as_deref().filter(|floor| !floor.is_empty())?;
        if mutant::is(Mutant::IgnoreFloor) {
            return None;
        }
        let lowest = match self.named(floor) {
            Ok(named) => named.and_then(|it| self.first_number(&it.revision)),
            Err(why) => return Some(format!("rollback.floor: {why}")),
        };
        let Some(lowest) = lowest else {
            return Some(format!("rollback.floor is {floor}, which is not in the history, so nobody knows what is older"));
        };
        match self.first_number(&goal.revision) {
            Some(number) if number >= lowest => None,
            Some(_) => Some(format!("{} is older than rollback.floor, {floor}", goal.version)),
            None => Some(format!(
                "{} is not in the history, so nobody knows whether it is older than rollback.floor, {floor}",
                goal.version
            )),
        }
    }

    /// The age of code is that of its first release, also when that has fallen out of the history.
    fn first_number(&self, revision: &str) -> Option<i64> {
        let of = self.stored.history.iter().filter(|it| it.revision == revision);
        of.map(|it| it.first.unwrap_or(it.number)).min()
    }

    /// What it was made from is there, or it needs none of that.
    pub(super) fn can_return(&mut self, goal: &Goal) -> Result<(), Blocked> {
        let runs = self.stored.active.iter().chain(&self.stored.previous).any(|it| it.revision == goal.revision);
        let asked = self.asked.as_ref().is_some_and(|asked| asked.revision.as_str() == goal.revision);
        if runs || asked { Ok(()) } else { self.again(&goal.revision).map(drop) }
    }

    /// From now on the goal is wanted, and what was left does not come back by itself.
    pub(super) fn hold_at(&mut self, goal: &Goal, by: Option<String>, note: Option<String>) {
        let active = || self.stored.active.as_ref().map(|active| active.revision.clone());
        // To return to what the spec asks for leaves nothing that could come back.
        let asked = self.asked.as_ref().filter(|asked| asked.revision.as_str() != goal.revision);
        let left = asked.map(|asked| asked.revision.to_string()).or_else(active);
        // A person's Hold lasts until Resume, wherever a return takes the Release.
        let is_held = self.next.hold.as_ref().is_some_and(|hold| hold.left.is_none());
        let left = left.filter(|_| !is_held);
        let asked = asked.map(Rendered::asked);
        for released in self.next.history.iter_mut().filter(|it| Some(&it.revision) != Some(&goal.revision)) {
            let is_left = self.stored.active.as_ref().is_some_and(|active| active.revision == released.revision);
            if is_left {
                released.outcome = ReleasedOutcome::RolledBack;
            }
        }
        self.next.rejected.retain(|rejection| rejection.revision != goal.revision);
        self.next.hold = Some(Hold { revision: Some(goal.revision.clone()), left, asked, at: self.now, by, note });
        if mutant::is(Mutant::ForgetRollback) {
            self.next.hold = None;
        }
        self.must_record = true;
    }

    /// Its pods still run, all of them: it needs nothing but the traffic.
    pub(super) fn warm(&self, goal: &Goal) -> Option<Version> {
        let previous = self.stored.previous.as_ref().filter(|it| it.revision == goal.revision)?;
        let stands = |record: &WorkloadRecord| {
            let deployment = self.observed.deployments.known()?.get(&previous.track.deployment(&record.name))?;
            let same = deployment.revision == previous.revision
                && [deployment.confirmed, record.generation].contains(&Some(deployment.generation));
            (same && deployment.replicas > 0).then_some(())
        };
        let stands = previous.workloads.iter().all(|record| record.replicas == 0 || stands(record).is_some());
        let free = self.stored.active.as_ref().is_none_or(|active| active.track != previous.track);
        (stands && free && self.answers(previous) == Some(true)).then(|| previous.clone())
    }

    /// It becomes the candidate at once.
    pub(super) fn begin_again(&mut self, version: &Version, by: Option<String>) {
        let candidate = Candidate { rollback: Some(Return { warm: true, by }), ..self.anew(version) };
        let message = format!("{} ({}) is still warm on {}", candidate.version, candidate.revision, candidate.track);
        self.record_notes.push(note(NoteKind::Started, message));
        self.next.candidate = Some(candidate);
        self.must_record = true;
    }

    /// It was rejected and has kept the traffic, for want of a better one; a person wants it after all. It is watched once more, as if it
    /// had just been switched to, and settles as any other does.
    pub(super) fn watch_again(&mut self, version: &Version) {
        let candidate = Candidate {
            step: Stage::Baking,
            summary: Candidate::summarise(&version.version, Stage::Baking),
            prepared_at: Some(self.now),
            ready_at: Some(self.now),
            switched_at: Some(self.now),
            ..self.anew(version)
        };
        self.next.candidate = Some(candidate.clone());
        self.begin_gates(&candidate, GateStage::AfterSwitch);
    }

    /// A version that runs, as a candidate.
    fn anew(&self, version: &Version) -> Candidate {
        let artifacts = version.artifacts.clone();
        Candidate {
            workloads: version.workloads.clone(),
            ..Candidate::new(&version.revision, &version.version, version.track, artifacts, self.now)
        }
    }

    /// How a candidate comes back, if a person asked for it.
    pub(super) fn as_return(&self, revision: &str) -> Option<Return> {
        let hold = self.next.hold.as_ref().filter(|hold| hold.revision.as_deref() == Some(revision))?;
        Some(Return { warm: false, by: hold.by.clone() })
    }
}
