//! From wanted to switched: when a candidate starts, what gives it up, and the step that gives it the traffic.

use bascule_crds::{Candidate, OnSupersede, RejectReason, Step as Stage, Track, WorkloadRecord, names};
use jiff::Timestamp;

use super::{
    Decision, note,
    traffic::{Move, Target},
    workloads::Readiness,
};
use crate::{
    observed::{Refusal, Service},
    plan::{NoteKind, Step},
    revision::{Blocked, Rendered},
};

impl Decision<'_> {
    /// No candidate: keep what is, and begin when something else is wanted.
    pub(super) fn resting(&mut self) {
        let services = self.services();
        let home = self.home();
        let steady = services.as_ref().is_some_and(|services| self.steer(services, &home, Move::Heal, "healed"));
        let Some(wanted) = self.wanted_or_why() else { return };
        if self.stored.active.as_ref().is_some_and(|active| active.revision == wanted.revision.as_str()) {
            return;
        }
        if let Some(rejection) = self.next.rejection(wanted.revision.as_str()) {
            let message = format!("{} was rejected ({}): {}", rejection.version, rejection.reason, rejection.message);
            return self.stall("Rejected", message);
        }
        if self.observed.release.spec.suspend {
            let message = format!("suspended: {} is not started", wanted.version);
            return self.wait("Suspended", message);
        }
        if let Some(services) = services.filter(|_| steady) {
            let track = self.stored.active.as_ref().map_or(Track::Blue, |active| active.track.other());
            self.begin(&wanted, &services, track);
        }
    }

    /// The wanted revision; else the reason goes to the status.
    fn wanted_or_why(&mut self) -> Option<Rendered> {
        match self.wanted.clone() {
            Ok(wanted) => return Some(wanted),
            Err(Blocked::Waiting(why)) => {
                self.quiet = true;
                self.wait("Resolving", why);
            }
            Err(Blocked::Unresolved(why)) => self.wait("ArtifactUnresolved", why),
            Err(Blocked::Invalid(why)) => self.stall("SpecInvalid", why),
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
            return false;
        }
        if !self.may_use(wanted, track) || !self.checked(wanted, track) {
            return false;
        }
        self.next.candidate = Some(Candidate {
            revision: wanted.revision.to_string(),
            version: wanted.version.clone(),
            track,
            step: Stage::Starting,
            summary: Candidate::summarise(&wanted.version, Stage::Starting),
            message: String::new(),
            artifacts: wanted.artifacts.clone(),
            workloads: wanted
                .workloads
                .iter()
                .map(|workload| WorkloadRecord { name: workload.name.clone(), replicas: 0, generation: None })
                .collect(),
            started_at: self.now,
            switched_at: None,
        });
        self.must_record = true;
        self.record_notes.push(note(NoteKind::Started, format!("{} ({}) starts on {track}", wanted.version, wanted.revision)));
        true
    }

    /// The dry run of this revision was answered with yes; asks when it was not asked.
    fn checked(&mut self, wanted: &Rendered, track: Track) -> bool {
        if self.is_started(wanted, track) {
            return true;
        }
        match self.observed.check.as_ref().filter(|check| check.revision == wanted.revision.as_str()) {
            Some(check) if check.refusal.is_none() => true,
            Some(check) if self.now < check.at + self.policy.recheck => {
                match &check.refusal {
                    Some(Refusal::Taken(why)) => self.stall("NameTaken", why.clone()),
                    Some(Refusal::Invalid(why)) => self.stall("TemplateInvalid", why.clone()),
                    None => {}
                }
                self.look_at(check.at + self.policy.recheck);
                false
            }
            _ => {
                let deployments = self.bodies(wanted, track);
                self.work.push(Step::DryRun { revision: wanted.revision.to_string(), deployments });
                self.quiet = true;
                false
            }
        }
    }

    /// A candidate that has not all the traffic yet.
    pub(super) fn advancing(&mut self, candidate: &Candidate) {
        let services = self.services();
        let goal = Target::At { track: candidate.track, revision: candidate.revision.clone() };
        let home = self.home();
        let committed = services.as_ref().is_some_and(|services| services.iter().any(|service| goal.recorded_on(service)));
        let readiness = self.readiness(candidate);

        if let Some((reason, message)) = self.given_up(candidate, &readiness, committed) {
            match services {
                Some(services) if committed => {
                    self.steer(&services, &home, Move::Decided, &format!("{reason}: {message}"));
                }
                // A Service that cannot be seen may already be on the candidate: first look, then give up.
                None => {}
                Some(_) => {
                    self.reject(candidate, reason, &message);
                    self.record_abort();
                }
            }
            return;
        }
        if !committed && services.is_some() && self.superseded(candidate, services.as_deref().unwrap_or_default()) {
            return;
        }
        self.start(candidate);
        let Some(services) = services else { return };
        match readiness {
            Readiness::Ready if self.observed.release.spec.suspend && !committed => {
                self.steer(&services, &home, Move::Heal, "healed");
                self.progress(Stage::Verifying, String::new());
                self.wait("Suspended", format!("suspended: {} is ready and gets no traffic", candidate.version));
            }
            Readiness::Ready => {
                if self.steer(&services, &goal, Move::Decided, "released") {
                    self.commit(candidate);
                }
            }
            Readiness::NotYet(_) | Readiness::Unknown(_) if committed => {}
            Readiness::NotYet(_) => {
                self.steer(&services, &home, Move::Heal, "healed");
                self.ask_why(candidate);
                // Without counts: each pod that gets ready would be a write.
                let why = self.reasons(candidate).unwrap_or_default();
                self.progress(Stage::Starting, why);
                self.look_at(self.deadline(candidate));
            }
            Readiness::Unknown(_) => {
                self.steer(&services, &home, Move::Heal, "healed");
            }
        }
    }

    /// What ends a candidate that has not all the traffic: a person, time, or going bad in the middle of the switch.
    fn given_up(&self, candidate: &Candidate, readiness: &Readiness, committed: bool) -> Option<(RejectReason, String)> {
        if let Some(abort) = &self.abort {
            return Some((RejectReason::Aborted, abort.message.clone()));
        }
        let Readiness::NotYet(why) = readiness else { return None };
        if committed {
            return Some((RejectReason::BakeFailed, format!("went bad during the switch: {why}")));
        }
        let late = self.now >= self.deadline(candidate) && !self.observed.release.spec.suspend;
        late.then(|| {
            let why = self.reasons(candidate).unwrap_or_else(|| why.clone());
            (
                RejectReason::DeadlineExceeded,
                format!("not ready within {}: {why}", self.observed.release.spec.strategy.progress_deadline),
            )
        })
    }

    fn deadline(&self, candidate: &Candidate) -> Timestamp {
        candidate.started_at + self.observed.release.spec.strategy.progress_deadline.get()
    }

    /// Something else is wanted by now, and nothing of this candidate has traffic. True when it makes way.
    fn superseded(&mut self, candidate: &Candidate, services: &[&Service]) -> bool {
        if let Some(refused) = self.refused(candidate) {
            self.stall("TemplateInvalid", refused);
            self.next.candidate = None;
            self.must_record = true;
            return true;
        }
        let Ok(wanted) = self.wanted.clone() else { return false };
        if wanted.revision.as_str() == candidate.revision || self.observed.release.spec.suspend {
            return false;
        }
        let unwanted = self.stored.active.as_ref().is_some_and(|active| active.revision == wanted.revision.as_str())
            || self.next.rejection(wanted.revision.as_str()).is_some();
        // A candidate whose template is no longer in the spec cannot be started, only continued.
        let waits = self.observed.release.spec.strategy.on_supersede == OnSupersede::Wait && self.all_started(candidate);
        if waits {
            return false;
        }
        if unwanted {
            self.next.candidate = None;
            self.must_record = true;
        } else if !self.begin(&wanted, services, candidate.track) {
            return false;
        }
        let message = format!("{} ({}) makes way for {}", candidate.version, candidate.revision, wanted.version);
        self.record_notes.insert(0, note(NoteKind::Superseded, message));
        true
    }

    /// The server took the dry run but not the real thing.
    fn refused(&self, candidate: &Candidate) -> Option<String> {
        let check = self.observed.check.as_ref().filter(|check| check.revision == candidate.revision)?;
        match check.refusal.as_ref()? {
            Refusal::Invalid(why) | Refusal::Taken(why) => Some(why.clone()),
        }
    }

    /// All Services are on the candidate: that was the switch.
    fn commit(&mut self, candidate: &Candidate) {
        let mut switched = candidate.clone();
        switched.workloads = self.stand_for(candidate);
        switched.message = String::new();
        switched.switched_at = Some(self.now);
        self.next.previous.clone_from(&self.stored.active);
        self.next.active = Some(switched.as_version(self.now));
        let bake = self.observed.release.spec.strategy.bake;
        let kind = format!("{} ({}) on {}", candidate.version, candidate.revision, candidate.track);
        self.record_notes.push(note(NoteKind::Switched, format!("{kind} has the traffic")));
        if bake.get().is_zero() {
            self.next.candidate = None;
            self.record_notes.push(note(NoteKind::Settled, kind));
        } else {
            switched.step = Stage::Baking;
            switched.summary = Candidate::summarise(&switched.version, Stage::Baking);
            self.next.candidate = Some(switched);
        }
        self.must_record = true;
    }

    fn progress(&mut self, step: Stage, message: String) {
        if let Some(candidate) = &mut self.next.candidate {
            candidate.step = step;
            candidate.summary = Candidate::summarise(&candidate.version, step);
            candidate.message = message;
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
