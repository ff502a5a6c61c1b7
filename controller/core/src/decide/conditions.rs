//! What status says of it all: conditions in the words of kstatus, and what an autoscaler reads.

use bascule_crds::{Condition, ConditionStatus, ConditionType, Rejection, scale_selector};

use super::{Decision, note, workloads::sum};
use crate::{
    mutant::{self, Mutant},
    observed::Sight,
    plan::NoteKind,
    sources::{Freshness, OUT_OF_ORDER, Obstacle},
};

/// What is said of a version that is wanted and was rejected. Whoever counts finds by it which of them is meant.
pub fn was_rejected(rejection: &Rejection) -> String {
    format!("{} was rejected ({}): {}", rejection.version, rejection.reason, rejection.message)
}

impl Decision<'_> {
    pub(super) fn say(&mut self) {
        if let Some(message) = self.trouble() {
            self.wait("Retrying", message);
        }
        self.say_held();
        self.say_hold();
        self.say_gates();
        self.next.observed_generation = self.observed.release.generation;
        self.say_scale();
        let (ready, reconciling, stalled) = self.progress_conditions();
        self.tell_stalled();
        self.tell_passed();
        let mut conditions = vec![ready, reconciling, stalled];
        conditions.extend(self.availability());
        conditions.extend(self.freshness());
        conditions.extend(self.rollback_ready());
        let conditions = conditions
            .into_iter()
            .map(|(kind, status, reason, message)| self.condition(kind, status, &reason, message))
            .collect();
        self.next.conditions = conditions;
    }

    /// What holds up something that is still to be done; what is no longer wanted holds up nothing.
    fn trouble(&self) -> Option<String> {
        let steps = [&self.traffic, &self.work, &self.tidy].into_iter().flatten().map(crate::Step::target);
        let wanted: Vec<_> =
            steps.chain(self.reads.iter().map(crate::Read::target)).filter(|target| !target.starts_with("operation/")).collect();
        let troubles = self.observed.troubles.iter().filter(|trouble| trouble.lasting && wanted.contains(&trouble.target));
        troubles.min_by_key(|trouble| &trouble.target).map(|trouble| trouble.message.clone())
    }

    /// Once, when it begins.
    fn tell_passed(&mut self) {
        let stored = self.stored.condition(ConditionType::SourcesFresh);
        for (reason, message) in self.sources.passed_over() {
            if !stored.is_some_and(|stored| stored.message.contains(message)) {
                let kind = if reason == OUT_OF_ORDER { NoteKind::PassedOver } else { NoteKind::SourceChanged };
                self.record_notes.push(note(kind, format!("{reason}: {message}")));
            }
        }
    }

    /// Once, when it begins; that a version was rejected has been told already.
    fn tell_stalled(&mut self) {
        let Some((reason, message)) = self.stalled.clone().filter(|(reason, _)| *reason != "Rejected") else { return };
        let known = self
            .stored
            .condition(ConditionType::Stalled)
            .is_some_and(|stored| stored.reason == reason && stored.message == message);
        if !known {
            self.record_notes.push(note(NoteKind::Stalled, format!("{reason}: {message}")));
        }
    }

    /// Replicas and selector of the active version, else of the candidate.
    fn say_scale(&mut self) {
        let place = self
            .next
            .active
            .as_ref()
            .map(|active| active.track)
            .or_else(|| self.next.candidate.as_ref().map(|candidate| candidate.track));
        let (Some(track), Some(deployments)) = (place, self.observed.deployments.known()) else { return };
        let spec = &self.observed.release.spec;
        let driven: Vec<_> =
            spec.workloads.iter().filter(|workload| workload.replicas.is_none()).map(|workload| workload.name.as_str()).collect();
        let names =
            if driven.is_empty() { spec.workloads.iter().map(|workload| workload.name.as_str()).collect() } else { driven };
        self.next.selector = scale_selector(&self.observed.release.name, track, &names);
        // Autoscalers expect the replicas of one workload; where several are driven, they all have the same.
        let replicas = names.iter().filter_map(|name| Some(deployments.get(&track.deployment(name))?.replicas)).max();
        self.next.replicas = replicas.unwrap_or(0);
    }

    fn progress_conditions(&self) -> (Said, Said, Said) {
        use ConditionType::{Ready, Reconciling, Stalled};
        let idle = || (Reconciling, false.into(), "Idle".to_owned(), String::new());
        let going = |reason: &str, message: String| (Reconciling, true.into(), reason.to_owned(), message);
        let fine = || (Stalled, false.into(), "NotStalled".to_owned(), String::new());
        let not_ready = |reason: &str, message: String| (Ready, false.into(), reason.to_owned(), message);

        if let Some((reason, message)) = &self.stalled {
            let stalled = (Stalled, true.into(), (*reason).to_owned(), message.clone());
            return (not_ready(reason, message.clone()), idle(), stalled);
        }
        if let Some((reason, message)) = &self.waiting {
            let reconciling = if ["Suspended", "Held"].contains(reason) { idle() } else { going(reason, message.clone()) };
            return (not_ready(reason, message.clone()), reconciling, fine());
        }
        if let Some(candidate) = &self.next.candidate {
            let message = if candidate.message.is_empty() {
                format!("{} on {}", candidate.summary, candidate.track)
            } else {
                format!("{} on {}: {}", candidate.summary, candidate.track, candidate.message)
            };
            return (not_ready("Progressing", message.clone()), going("Progressing", message), fine());
        }
        let wanted = self.wanted.as_ref().ok();
        match (&self.next.active, wanted) {
            (Some(active), Some(wanted)) if active.revision == wanted.revision.as_str() => {
                match self.next.rejection(&active.revision) {
                    Some(rejection) => {
                        let message = format!(
                            "{} has the traffic but was rejected ({}): {}",
                            active.version, rejection.reason, rejection.message
                        );
                        let stalled = (Stalled, true.into(), "Rejected".to_owned(), message.clone());
                        (not_ready("Rejected", message), idle(), stalled)
                    }
                    None => (
                        (Ready, true.into(), "Settled".to_owned(), format!("{} is active on {}", active.version, active.track)),
                        idle(),
                        fine(),
                    ),
                }
            }
            (_, Some(wanted)) => match self.next.rejection(wanted.revision.as_str()) {
                Some(rejection) => {
                    let message = was_rejected(rejection);
                    let stalled = (Stalled, true.into(), "Rejected".to_owned(), message.clone());
                    (not_ready("Rejected", message), idle(), stalled)
                }
                None => {
                    (not_ready("Progressing", format!("{} is next", wanted.version)), going("Progressing", String::new()), fine())
                }
            },
            (_, None) => (not_ready("Progressing", String::new()), going("Progressing", String::new()), fine()),
        }
    }

    /// None while it cannot be seen: then the condition stays as it was.
    fn availability(&self) -> Option<Said> {
        let kind = ConditionType::Available;
        let Some(active) = &self.next.active else {
            return Some((kind, false.into(), "NothingActive".into(), "no version has had traffic yet".into()));
        };
        let (Sight::Known(deployments), Sight::Known(sets)) = (&self.observed.deployments, &self.observed.replica_sets) else {
            return self
                .stored
                .condition(kind)
                .map(|stored| (kind, stored.status, stored.reason.clone(), stored.message.clone()));
        };
        let short: Vec<_> = active
            .workloads
            .iter()
            .filter(|record| {
                // One that made way has none for a while, and that is not what anybody wants.
                let least = i32::from(self.wanted_replicas(&record.name).unwrap_or(0) > 0);
                let deployment = deployments.get(&active.track.deployment(&record.name));
                let wanted = deployment.map_or(record.replicas, |deployment| deployment.replicas).max(least);
                let of = |set: &&crate::observed::ReplicaSet| {
                    set.track == Some(active.track) && set.workload == record.name && set.revision == active.revision
                };
                sum(sets.iter().filter(of).map(|set| set.available)) < wanted
            })
            .map(|record| record.name.as_str())
            .collect();
        Some(if short.is_empty() {
            (kind, true.into(), "AllPodsReady".into(), "every workload has all its pods".into())
        } else {
            (kind, false.into(), "PodsMissing".into(), format!("not all pods are ready: {}", short.join(", ")))
        })
    }

    /// A pointer that is known and cannot be followed. While a candidate is on its way, that is the story.
    fn say_held(&mut self) {
        if self.next.candidate.is_some() {
            return;
        }
        let Some(Obstacle::Waiting(reason, why) | Obstacle::Wrong(reason, why)) = self.sources.held.clone() else { return };
        // What was rejected is what was asked for before.
        let why = match self.stalled.take_if(|(reason, _)| *reason == "Rejected") {
            Some((_, rejected)) => format!("{why}; before it {rejected}"),
            None => why,
        };
        if matches!(self.sources.held, Some(Obstacle::Wrong(..))) {
            self.stall(reason, why);
        } else {
            self.wait(reason, why);
        }
    }

    /// Not only when the next version starts: at the write that made the mistake.
    fn say_gates(&mut self) {
        if self.next.candidate.is_none() {
            self.gates_are_wrong();
        }
    }

    /// A person has returned to another version than the spec asks for.
    fn say_hold(&mut self) {
        let Some(hold) = self.next.hold.clone().filter(|hold| hold.revision.is_some()) else { return };
        let active = self.next.active.as_ref().filter(|active| Some(&active.revision) == hold.revision.as_ref());
        let Some(active) = active.map(|active| active.version.clone()).filter(|_| self.next.candidate.is_none()) else { return };
        let by = hold.by.as_deref().unwrap_or("somebody");
        let note = hold.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let left = hold.left.as_ref().map(|left| self.version_of(left));
        let message = match &left {
            Some(left) => format!(
                "{active} is active: {by} returned to it{note}; automation is off until another version than {left} is asked for, or Resume"
            ),
            // Whoever came last, the one who returned or the one who holds it there.
            None => format!("{active} is active, and held there by {by}{note} until Resume"),
        };
        self.stall("RolledBack", message);
    }

    /// What people call a revision.
    fn version_of(&self, revision: &str) -> String {
        let rejected = self.next.rejection(revision).map(|it| it.version.clone());
        let released = || self.next.history.iter().find(|it| it.revision == revision).map(|it| it.version.clone());
        rejected.or_else(released).unwrap_or_else(|| revision.to_owned())
    }

    /// All that there is to say of the sources: what is worst gives the reason.
    fn freshness(&self) -> Option<Said> {
        let kind = ConditionType::SourcesFresh;
        let stored = self.stored.condition(kind);
        let mut said: Vec<_> =
            self.sources.said.iter().filter(|said| !matches!(said, Freshness::Fresh | Freshness::Unseen)).collect();
        said.sort_by(|a, b| b.cmp(a));
        said.dedup();
        let texts: Vec<_> = said.iter().map(|said| self.text(said)).collect();
        // What nobody has looked at yet stays as it was said, unless there is something new.
        if self.sources.is_unseen()
            && texts.iter().all(|text| stored.is_some_and(|stored| stored.message.contains(text.as_str())))
        {
            return stored.map(|stored| (kind, stored.status, stored.reason.clone(), stored.message.clone()));
        }
        let message = texts.join("; ");
        match said.first() {
            None if self.sources.said.is_empty() => None,
            Some(Freshness::Stale { reason, .. }) => {
                let stays = if self.next.artifacts.is_empty() { "" } else { "; what was resolved last stays wanted" };
                Some((kind, false.into(), (*reason).to_owned(), format!("{message}{stays}")))
            }
            Some(Freshness::Passed { reason, .. }) => Some((kind, true.into(), (*reason).to_owned(), message)),
            _ => Some((kind, true.into(), "Fresh".into(), "every parameter has been read".into())),
        }
    }

    /// Since when it is so a new process does not know: what has been said already stays.
    fn text(&self, said: &Freshness) -> String {
        let (Freshness::Passed { message, .. } | Freshness::Stale { message, .. }) = said else { return String::new() };
        let stored = self.stored.condition(ConditionType::SourcesFresh).map_or("", |stored| stored.message.as_str());
        let Some((about, _)) = message.split_once(SINCE) else { return message.clone() };
        let told = stored.find(&format!("{about}{SINCE}")).map(|at| &stored[at..]);
        told.and_then(|told| told.split("; ").next()).map_or_else(|| message.clone(), str::to_owned)
    }

    /// The time changes only with the status, so that a condition that says the same is the same.
    fn condition(&self, kind: ConditionType, status: ConditionStatus, reason: &str, message: String) -> Condition {
        let since = self
            .stored
            .condition(kind)
            .filter(|stored| stored.status == status && !mutant::is(Mutant::RestlessStatus))
            .map_or(self.now, |stored| stored.last_transition_time);
        Condition {
            kind,
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: since,
            observed_generation: self.observed.release.generation,
        }
    }
}

/// Before the time at which a failure began.
const SINCE: &str = " since ";

type Said = (ConditionType, ConditionStatus, String, String);
