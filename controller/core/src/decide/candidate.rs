//! From wanted to switched: when a candidate starts, what gives it up, and the step that gives it the traffic.

use bascule_crds::{Candidate, GateStage, OnSupersede, RejectReason, Step as Stage, Track, Version, WorkloadRecord, names};
use jiff::Timestamp;

use super::{
    Decision,
    bake::{self, Cause},
    conditions::was_rejected,
    gates::Gated,
    later, note,
    traffic::{Move, Services, Target},
    workloads::{Health, Proved, Readiness},
};
use crate::{
    mutant::{self, Mutant},
    observed::{Refusal, Service},
    plan::{NoteKind, Step},
    revision::{Blocked, Rendered},
};

impl Decision<'_> {
    /// No candidate: keep what is, and begin when something else is wanted.
    pub(super) fn resting(&mut self) {
        let services = self.services();
        if self.recall(&services.seen) {
            return;
        }
        let home = self.home();
        let reason = if home == Target::Nowhere { "claimed" } else { "healed" };
        let steady = self.steer(&services.seen, &home, Move::Heal, reason) && services.are_complete();
        if self.next.candidate.is_some() {
            // A person has just made it one.
            return;
        }
        let Some(wanted) = self.wanted_or_why() else { return };
        if self.stored.active.as_ref().is_some_and(|active| active.revision == wanted.revision.as_str()) {
            return;
        }
        if let Some(rejection) = self.next.rejection(wanted.revision.as_str()) {
            return self.stall("Rejected", was_rejected(rejection));
        }
        if let Some((reason, why)) = self.paused() {
            let message = format!("{why}: {} is not started", wanted.version);
            return self.wait(reason, message);
        }
        if steady {
            let other = |track: Track| if mutant::is(Mutant::StartOnTheActiveTrack) { track } else { track.other() };
            let track = self.stored.active.as_ref().map_or(Track::Blue, |active| other(active.track));
            self.begin(&wanted, &services.seen, track);
        }
    }

    /// The status is empty, and the Services still say where they were pointed: that is where traffic belongs, not nowhere.
    fn recall(&mut self, services: &[&Service]) -> bool {
        if self.stored.active.is_some() {
            return false;
        }
        let mut records = services.iter().filter_map(|service| service.record.as_ref());
        let Some((track, revision)) = records.find_map(|record| Some((Track::parse(&record.track)?, record.revision.clone())))
        else {
            return false;
        };
        let workloads = self.running(track, &revision);
        if workloads.is_empty() {
            return false;
        }
        let wanted = self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() == revision);
        self.next.active = Some(Version {
            version: wanted.map_or_else(|| revision.clone(), |wanted| wanted.version.clone()),
            artifacts: wanted.map(|wanted| wanted.artifacts.clone()).unwrap_or_default(),
            revision,
            track,
            workloads,
            since: self.now,
        });
        self.must_record = true;
        self.record_notes
            .push(note(NoteKind::Healed, "the status was empty; what has traffic was read from the Services".into()));
        true
    }

    /// The wanted revision; else the reason goes to the status.
    fn wanted_or_why(&mut self) -> Option<Rendered> {
        match self.wanted.clone() {
            Ok(wanted) => return Some(wanted),
            Err(Blocked::Waiting(why)) => {
                self.quiet = true;
                self.wait("Resolving", why);
            }
            Err(Blocked::Unresolved(reason, why)) => self.wait(reason, why),
            Err(Blocked::Invalid(reason, why)) => self.stall(reason, why),
        }
        None
    }

    /// Makes `wanted` the candidate, once the server would take its Deployments. True when it did.
    fn begin(&mut self, wanted: &Rendered, services: &[&Service], track: Track) -> bool {
        if let Some(service) = services.iter().find(|service| !selects_any(service, wanted, &self.observed.release.name)) {
            let selector: Vec<_> = service.base_selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!(
                "Service {} selects {}, which no workload's pods carry: give the labels to a template, or select {}={}",
                service.name,
                selector.join(","),
                names::RELEASE,
                self.observed.release.name
            );
            self.stall("SelectorMismatch", message);
            if !service.labelled {
                self.look_for(&service.name);
            }
            return false;
        }
        // The way back is not held up by hooks that it will not run, nor by gates that it can be asked without.
        let returns = self.as_return(wanted.revision.as_str()).is_some();
        if (!returns && self.gates_are_wrong())
            || !self.can_run_twice(wanted)
            || !self.may_use(wanted, track)
            || !self.checked(wanted, track)
        {
            return false;
        }
        let record = |name: &String| WorkloadRecord { name: name.clone(), replicas: 0, generation: None };
        let artifacts = wanted.artifacts.clone();
        let mut candidate = Candidate {
            workloads: wanted.workloads.iter().map(|workload| record(&workload.name)).collect(),
            rollback: self.as_return(wanted.revision.as_str()),
            ..Candidate::new(wanted.revision.as_str(), &wanted.version, track, artifacts, self.now)
        };
        self.first_step(&mut candidate);
        self.next.candidate = Some(candidate);
        self.must_record = true;
        self.record_notes.push(note(NoteKind::Started, format!("{} ({}) starts on {track}", wanted.version, wanted.revision)));
        true
    }

    /// The server takes this revision: the dry run says so, or its Deployments are there and nothing was refused since. Asks when it
    /// was not asked, and again, seldom, after a no: the reason may have been a quota or a policy.
    fn checked(&mut self, wanted: &Rendered, track: Track) -> bool {
        let check = self.observed.check.as_ref().filter(|check| check.revision == wanted.revision.as_str());
        match check.map(|check| (later(check.at, self.policy.recheck), check.refusal.clone())) {
            Some((_, None)) => return true,
            Some((again, Some(refusal))) if self.now < again => {
                match refusal {
                    Refusal::Taken(why) => self.stall("NameTaken", why),
                    Refusal::Invalid(why) => self.stall("TemplateInvalid", why),
                }
                self.look_at(again);
                return false;
            }
            None if self.is_started(wanted, track) => return true,
            Some(_) | None => {}
        }
        let returns = self.as_return(wanted.revision.as_str()).is_some();
        let jobs = if returns { Vec::new() } else { self.job_bodies(wanted, track) };
        let deployments = self.bodies(wanted, track);
        self.work.push(Step::DryRun { revision: wanted.revision.to_string(), deployments, jobs });
        self.quiet = true;
        false
    }

    /// A candidate that has not all the traffic yet.
    pub(super) fn advancing(&mut self, candidate: &Candidate) {
        let services = self.services();
        let goal = Target::At { track: candidate.track, revision: candidate.revision.clone() };
        let home = self.home();
        let committed = services.seen.iter().any(|service| goal.recorded_on(service));
        let readiness = self.readiness(candidate);
        let gated = self.gated_before(candidate, &readiness, committed);

        let left = bake::begun(&services.seen, &home, candidate);
        let met = left.is_some() || candidate.step >= Stage::Switching;
        let cause = left.or_else(|| self.given_up(candidate, &readiness, &gated, &services, committed));
        match cause {
            Some(cause) if committed => return self.leave(candidate, &services, &home, cause),
            // A Service that cannot be seen may already be on the candidate: first look, then give up.
            Some(Cause::Rejected(reason, message)) if !services.unknown => {
                self.reject_met(candidate, reason, &message, met);
                self.record_abort();
                self.probes.clear();
                return;
            }
            Some(_) => return,
            None => {}
        }
        if !committed && services.are_complete() && (self.superseded(candidate, &services.seen) || self.yields(candidate)) {
            return;
        }
        if !self.prepared(candidate) {
            self.steer(&services.seen, &home, Move::Heal, "healed");
            return;
        }
        self.start(candidate);
        self.store(candidate);
        match readiness {
            Readiness::Ready if self.paused().is_some() && !committed => {
                self.steer(&services.seen, &home, Move::Heal, "healed");
                self.progress(Stage::Verifying, String::new());
                self.forget_open_gates();
                self.follow_gate_jobs(candidate);
                if let Some((reason, why)) = self.paused() {
                    self.wait(reason, format!("{why}: {} is ready and gets no traffic", candidate.version));
                }
            }
            // Some of the Services are on it and all its pods are well: the rest follows, whatever else has changed.
            _ if committed && self.health(candidate, Proved::AllThatRun) == Health::Unknown => self.quiet = true,
            _ if committed => {
                if self.steer(&services.seen, &goal, Move::Decided, "released") && services.are_complete() {
                    self.commit(candidate);
                } else {
                    self.switching(candidate);
                }
            }
            Readiness::Ready if !services.are_complete() => {}
            // It will make way as soon as the other one can start: until then nobody gets what nobody wants any more.
            Readiness::Ready if self.is_outdated(candidate) => {
                self.steer(&services.seen, &home, Move::Heal, "healed");
                self.progress(Stage::Verifying, "another version is wanted by now".to_owned());
            }
            Readiness::Ready if gated != Gated::Passed => {
                self.steer(&services.seen, &home, Move::Heal, "healed");
                let why = if let Gated::NotYet(why) = gated { why } else { String::new() };
                self.progress(Stage::Verifying, why);
            }
            Readiness::Ready => {
                if self.steer(&services.seen, &goal, Move::Decided, "released") || mutant::is(Mutant::RecordBeforeSwitch) {
                    self.commit(candidate);
                }
                if mutant::is(Mutant::RecordBeforeSwitch) {
                    self.traffic.clear();
                }
            }
            Readiness::NotYet(_) => {
                self.steer(&services.seen, &home, Move::Heal, "healed");
                self.ask_why(candidate);
                // Without counts: each pod that gets ready would be a write.
                let why = self.waits_for_ends(candidate).or_else(|| self.reasons(candidate)).unwrap_or_default();
                self.progress(Stage::Starting, why);
                self.look_at(self.deadline(candidate));
            }
            Readiness::Unknown(_) => {
                self.steer(&services.seen, &home, Move::Heal, "healed");
            }
        }
    }

    /// Some of the Services are on it, and it is to be given up: back, if somebody answers there. Where nobody does, a version whose pods are
    /// well gets the rest of the traffic, and the bake goes on from there. While nobody is well nothing is moved, until time or a person
    /// ends it: then it is the last settled version's turn.
    fn leave(&mut self, candidate: &Candidate, services: &Services<'_>, home: &Target, cause: Cause) {
        let goal = Target::At { track: candidate.track, revision: candidate.revision.clone() };
        let over = self.abort.is_some() || self.now >= self.deadline(candidate);
        let health = self.health(candidate, Proved::AllThatRun);
        // At the end a version of which a part answers is better than one of which nothing does.
        let forward = health == Health::Good || (over && self.only_candidate_runs(candidate));
        match (self.home_answers(), health) {
            // The way back asks the new version nothing.
            (Some(true), _) => {
                self.steer(&services.seen, home, Move::Decided, &cause.to_record(candidate));
            }
            (None, _) | (_, Health::Unknown) => self.quiet = true,
            (Some(false), _) if forward => {
                let there = self.steer(&services.seen, &goal, Move::Decided, "released") && services.are_complete();
                if there || over {
                    self.commit_in_place(candidate, cause);
                } else {
                    self.switching(candidate);
                }
            }
            (Some(false), Health::Bad(why)) if !over => {
                self.wait("WayBackNotAvailable", format!("{why}, and there is no version with ready pods to return to"));
                self.switching(candidate);
            }
            (Some(false), _) if *home == Target::Nowhere => self.commit_in_place(candidate, cause),
            (Some(false), _) => {
                self.steer(&services.seen, home, Move::Decided, &cause.to_record(candidate));
            }
        }
    }

    /// The switch does not go on at the moment. Only then it is said: one that goes through is over before it could be written.
    fn switching(&mut self, candidate: &Candidate) {
        self.progress(Stage::Switching, String::new());
        self.look_at(self.deadline(candidate));
    }

    /// It is given up and keeps the traffic that it has: there is nowhere to go. The bake ends it; without one it is over now.
    fn commit_in_place(&mut self, candidate: &Candidate, cause: Cause) {
        let Some(switched) = self.take_over(candidate) else { return };
        if let Cause::Rejected(reason, message) = cause {
            // That is no release to remember.
            let message = format!("{message}; there is no good version to return to, so traffic stays");
            self.reject_met(candidate, reason, &message, true);
            self.record_abort();
        } else {
            self.settle(&switched);
        }
    }

    /// What ends a candidate that has not all the traffic: a person, time, or going bad in the middle of the switch.
    fn given_up(
        &self,
        candidate: &Candidate,
        readiness: &Readiness,
        gated: &Gated,
        services: &Services<'_>,
        committed: bool,
    ) -> Option<Cause> {
        if let Some(abort) = &self.abort {
            return Some(abort.cause());
        }
        if let Gated::Failed(why) = gated {
            return Some(Cause::Rejected(RejectReason::GateFailed, why.clone()));
        }
        let late = self.now >= self.deadline(candidate) && self.paused().is_none() && candidate.step != Stage::Preparing;
        if committed {
            if let Health::Bad(why) = self.health(candidate, Proved::AllThatRun) {
                return Some(Cause::Rejected(RejectReason::BakeFailed, format!("went bad during the switch: {why}")));
            }
            // Users must not be split between two versions for ever because one Service refuses to move, or is gone.
            let stuck = self.stuck(candidate, services).filter(|_| late)?;
            return Some(Cause::Rejected(RejectReason::DeadlineExceeded, format!("not all Services could be moved: {stuck}")));
        }
        let Readiness::NotYet(why) = readiness else { return None };
        late.then(|| {
            let why = self.waits_for_ends(candidate).or_else(|| self.reasons(candidate)).unwrap_or_else(|| why.clone());
            let deadline = self.observed.release.spec.strategy.progress_deadline;
            Cause::Rejected(RejectReason::DeadlineExceeded, format!("not ready within {deadline}: {why}"))
        })
    }

    /// Why the switch does not come to its end, if it has not: a move whose answer was lost may be there all the same.
    fn stuck(&self, candidate: &Candidate, services: &Services<'_>) -> Option<String> {
        let goal = Target::At { track: candidate.track, revision: candidate.revision.clone() };
        let unmoved = |target: &str| {
            let name = target.strip_prefix("service/");
            services.seen.iter().any(|service| Some(service.name.as_str()) == name && !goal.reached_by(service))
        };
        let refuses = self.observed.troubles.iter().find(|trouble| unmoved(&trouble.target));
        let lacks = (services.are_known() && !services.are_complete()).then(|| self.hindrance()).flatten();
        let leaves = services.seen.iter().find(|service| service.deleting && !goal.reached_by(service));
        let leaves = || leaves.map(|service| format!("Service {} is being deleted", service.name));
        refuses.map(|trouble| trouble.message.clone()).or(lacks).or_else(leaves)
    }

    fn deadline(&self, candidate: &Candidate) -> Timestamp {
        later(candidate.prepared_at.unwrap_or(candidate.started_at), self.observed.release.spec.strategy.progress_deadline.get())
    }

    /// Once the pods are ready, and only as long as nothing has moved.
    fn gated_before(&mut self, candidate: &Candidate, readiness: &Readiness, committed: bool) -> Gated {
        let asked = *readiness == Readiness::Ready && !committed && candidate.step != Stage::Preparing;
        if !asked || self.paused().is_some() {
            return Gated::NotYet(String::new());
        }
        self.gated(candidate)
    }

    /// A person, or the spec, says that nothing new starts: reason, and in words.
    pub(super) fn paused(&self) -> Option<(&'static str, String)> {
        // Who returns to an earlier version means it, whatever is suspended.
        if self.next.hold.as_ref().is_some_and(|hold| hold.revision.is_some()) {
            return None;
        }
        if self.observed.release.spec.suspend {
            return Some(("Suspended", "suspended".to_owned()));
        }
        let hold = self.next.hold.as_ref().filter(|hold| hold.revision.is_none())?;
        let by = hold.by.as_deref().unwrap_or("somebody");
        let note = hold.note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
        Some(("Held", format!("held by {by}{note}")))
    }

    /// Something else is wanted by now, and nothing of this candidate has traffic. True when it makes way.
    fn superseded(&mut self, candidate: &Candidate, services: &[&Service]) -> bool {
        match self.refusal(candidate) {
            // The dry run would say yes again, and so on for ever.
            Some(Refusal::Invalid(why)) => {
                self.reject(candidate, RejectReason::Refused, &why);
                return true;
            }
            Some(Refusal::Taken(why)) => {
                self.stall("NameTaken", why);
                self.dismiss(candidate);
                return true;
            }
            None => {}
        }
        let Ok(wanted) = self.wanted.clone() else { return false };
        if !self.is_outdated(candidate) || self.paused().is_some() {
            return false;
        }
        let unwanted = self.stored.active.as_ref().is_some_and(|active| active.revision == wanted.revision.as_str())
            || self.next.rejection(wanted.revision.as_str()).is_some();
        if unwanted {
            self.next.candidate = None;
            self.must_record = true;
        } else if !self.begin(&wanted, services, candidate.track) {
            return false;
        }
        self.forsake(candidate);
        let message = format!("{} ({}) makes way for {}", candidate.version, candidate.revision, wanted.version);
        self.record_notes.insert(0, note(NoteKind::Superseded, message));
        true
    }

    /// Something else is wanted, and does not wait for it.
    fn is_outdated(&self, candidate: &Candidate) -> bool {
        // A candidate whose template is no longer in the spec cannot be started, only continued.
        let waits = self.observed.release.spec.strategy.on_supersede == OnSupersede::Wait && self.all_started(candidate);
        !waits && self.wanted.as_ref().is_ok_and(|wanted| wanted.revision.as_str() != candidate.revision)
    }

    /// Held while what cannot run twice has ended for it: users do not wait for a person. It starts anew when the hold is over.
    fn yields(&mut self, candidate: &Candidate) -> bool {
        let Some((_, why)) = self.paused().filter(|_| self.ends_others(candidate)) else { return false };
        self.dismiss(candidate);
        let back = self.stored.active.as_ref().map_or("the version before", |active| &active.version);
        let message =
            format!("{} ({}) makes way for {back}, which had ended for it: {why}", candidate.version, candidate.revision);
        self.record_notes.insert(0, note(NoteKind::Superseded, message));
        true
    }

    /// The server took the dry run but not the real thing.
    pub(super) fn refusal(&self, candidate: &Candidate) -> Option<Refusal> {
        self.observed.check.as_ref().filter(|check| check.revision == candidate.revision)?.refusal.clone()
    }

    /// All Services are on the candidate: that was the switch.
    fn commit(&mut self, candidate: &Candidate) {
        if let Some(switched) = self.take_over(candidate) {
            self.settle(&switched);
        }
    }

    /// It is the active version from now on. Returned is one that nothing more is asked of.
    fn take_over(&mut self, candidate: &Candidate) -> Option<Candidate> {
        let mut switched = candidate.clone();
        switched.workloads = self.stand_for(candidate);
        switched.message = String::new();
        switched.ready_at.get_or_insert(self.now);
        switched.switched_at = Some(self.now);
        self.next.previous.clone_from(&self.stored.active);
        self.next.active = Some(switched.as_version(self.now));
        let bake = self.observed.release.spec.strategy.bake;
        let gated = !self.observed.release.spec.gates.after_switch.is_empty();
        let watched = !bake.get().is_zero() || gated || self.settles_later() || !self.is_kept(candidate);
        let message = format!("{} ({}) on {} has the traffic", candidate.version, candidate.revision, candidate.track);
        self.record_notes.push(note(NoteKind::Switched, message));
        self.must_record = true;
        if !watched {
            return Some(switched);
        }
        switched.step = Stage::Baking;
        switched.summary = Candidate::summarise(&switched.version, Stage::Baking);
        self.next.candidate = Some(switched.clone());
        self.begin_gates(&switched, GateStage::AfterSwitch);
        None
    }

    /// It is what runs now, and is remembered as such.
    pub(super) fn settle(&mut self, candidate: &Candidate) {
        self.next.candidate = None;
        self.remember_released(candidate);
        self.must_record = true;
        let message = format!("{} ({}) on {}", candidate.version, candidate.revision, candidate.track);
        self.record_notes.push(note(NoteKind::Settled, message));
    }

    pub(super) fn progress(&mut self, step: Stage, message: String) {
        if let Some(candidate) = &mut self.next.candidate {
            candidate.step = step;
            candidate.summary = Candidate::summarise(&candidate.version, step);
            candidate.message = message;
            if step >= Stage::Verifying {
                candidate.ready_at.get_or_insert(self.now);
            }
        }
    }
}

/// A workload's pods carry everything that the Service selects by.
fn selects_any(service: &Service, wanted: &Rendered, release: &str) -> bool {
    let selector = service.base_selector();
    wanted.workloads.iter().any(|workload| {
        let mut labels = workload.labels();
        labels.insert(names::RELEASE.to_owned(), release.to_owned());
        labels.insert(names::WORKLOAD.to_owned(), workload.name.clone());
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}
