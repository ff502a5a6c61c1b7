//! The invariants of the design, asked of every write that lands, with what is true at that moment.
//!
//! In: the world before and after. Out: the rules that are broken: a scenario ends at the first, a property asks for one rule and
//! reads them. Written anew from the design's words, never from the core's functions.

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{Deployment, Note, NoteKind, Observed, Service, ServiceForm, Step};
use bascule_crds::{ReleaseStatus, Step as Stage, Track, Version};
use serde_json::Value;

use super::{World, jobs::Ledger, judge::recorded, people::People, tally::Tally};

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    /// A decision comes to an end.
    Rests,
    /// S1 to S5 for one whose status is older than what he writes to, or who has not seen what he writes over.
    Old,
    /// The order of lists means nothing.
    Order,
    /// Status says where traffic is.
    Truth,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Only this one counts, and is kept; None: any of them ends the test.
    pub only: Option<Rule>,
    pub failures: Vec<String>,
    /// Who writes has not seen the last status.
    outdated: bool,
    pub tally: Tally,
    /// Services that the user has made once.
    pub made: BTreeSet<String>,
    /// Revisions that were fully ready on a track, since they were put there.
    pub proved: BTreeSet<(Track, String)>,
    /// Templates as we wrote them last, by Deployment.
    written: BTreeMap<String, Value>,
    /// uids of Operations that were acted on.
    acted_on: BTreeSet<String>,
    pub(super) jobs: Ledger,
    pub people: People,
}

impl Oracle {
    pub fn broken(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        let rule = if self.outdated { Rule::Old } else { rule };
        match self.only {
            None => panic!("{rule:?}: {}", what()),
            Some(only) if only == rule => self.failures.push(format!("{rule:?}: {}", what())),
            Some(_) => {}
        }
    }

    /// The status is wiped: what it was the only record of nobody can know.
    pub(super) fn forget(&mut self) {
        self.acted_on.clear();
        self.jobs.forget();
        self.people.forget();
    }

    pub(super) fn must(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(rule, what);
        }
    }

    pub(super) fn wrote(&mut self, deployment: &str, template: &Value) {
        self.written.insert(deployment.to_owned(), template.clone());
    }
}

/// What was true before a write.
pub(super) struct Before {
    deployments: BTreeMap<String, Deployment>,
    services: BTreeMap<String, Service>,
    written: Option<Value>,
}

impl World {
    pub(super) fn before(&self, step: &Step) -> Before {
        let written = if let Step::Apply { deployment, .. } = step { self.oracle.written.get(deployment).cloned() } else { None };
        Before { deployments: self.deployments.clone(), services: self.services.clone(), written }
    }

    /// Remembers which revision was fully ready where: every workload has all its pods, and nothing else runs on the track.
    pub(super) fn prove(&mut self) {
        let status = &self.release.status;
        let Some(candidate) = status.candidate.as_ref().filter(|candidate| candidate.step != Stage::Baking) else { return };
        let ready = candidate.workloads.iter().all(|record| {
            let Some(deployment) = self.deployments.get(&candidate.track.deployment(&record.name)) else { return false };
            let sets = || {
                self.sets
                    .values()
                    .map(|set| &set.view)
                    .filter(|set| set.track == Some(candidate.track) && set.workload == record.name)
            };
            let available: i32 = sets().filter(|set| set.revision == candidate.revision).map(|set| set.available).sum();
            deployment.revision == candidate.revision
                && available >= deployment.replicas
                && sets().filter(|set| set.revision != candidate.revision).all(|set| set.replicas == 0)
        });
        if ready {
            self.oracle.proved.insert((candidate.track, candidate.revision.clone()));
        }
    }

    pub(super) fn check_landed(&mut self, observed: &Observed, step: &Step, before: &Before) {
        let seen = |name: &str| observed.deployments.known().is_some_and(|them| them.contains_key(name));
        let unseen =
            matches!(step, Step::Apply { deployment, .. } if before.deployments.contains_key(deployment) && !seen(deployment));
        self.oracle.outdated = unseen || observed.release.status != self.release.status;
        self.check_write(observed, step, before);
        self.oracle.outdated = false;
    }

    fn check_write(&mut self, observed: &Observed, step: &Step, before: &Before) {
        match step {
            Step::Route(write) => self.check_traffic(observed, &write.service, before),
            Step::Select { service, .. } => self.check_traffic(observed, service, before),
            Step::Apply { deployment, .. } => self.check_apply(observed, deployment, before),
            Step::Scale { deployment, replicas, .. } => self.check_kept(observed, deployment, *replicas, before),
            Step::DeleteDeployment { deployment, .. } => self.check_deleted(deployment, before),
            Step::Preview { service, .. } => {
                let taken = before.services.get(service).filter(|it| it.owner.as_deref() != Some(&self.release.uid));
                let message = taken.map(|_| format!("Service {service} was somebody else's"));
                if let Some(message) = message {
                    self.oracle.broken(Rule::S5, || message);
                }
            }
            Step::Discard { revision, .. } => self.check_discarded(revision),
            Step::DryRun { .. }
            | Step::DeletePreview { .. }
            | Step::Answer { .. }
            | Step::Prune { .. }
            | Step::Run { .. }
            | Step::Store { .. } => {}
        }
    }

    /// S1: a Service that points to a track points to a revision that was fully ready there.
    fn check_traffic(&mut self, observed: &Observed, service: &str, before: &Before) {
        let serves = |it: &Service| !self.endpoints(it).ready.is_empty();
        // Before it was claimed it may have served the pods of a candidate, which must not be.
        let cut =
            before.services.get(service).is_some_and(|it| it.record.is_some() && serves(it)) && !serves(&self.services[service]);
        // One who sees everything may move it back to where nobody answers: another hand had moved it, or has wiped the status.
        let known = self.release.status.active.is_some();
        if cut && known && !self.process.is_live() {
            self.oracle.broken(Rule::S1, || format!("{service} was served, and is pointed to where nobody answers"));
        }
        let Some(record) = self.services[service].record.clone() else { return };
        let Some(track) = Track::parse(&record.track) else { return };
        self.check_gated(observed, &before.services, track, &record.revision);
        let proved = self.oracle.proved.contains(&(track, record.revision.clone()));
        self.oracle.must(proved, Rule::S1, || {
            format!("{service} is on {} on {track}, which was never fully ready there", record.revision)
        });
    }

    /// S3: what has traffic, or may get it back, keeps its template; S5: no late write replaces pods that it has not seen.
    fn check_apply(&mut self, observed: &Observed, name: &str, before: &Before) {
        // Denied: nothing was written.
        let Some(now) = self.deployments.get(name).cloned() else { return };
        let status = self.release.status.clone();
        let changed = before.written.is_some() && before.written.as_ref() != self.templates.get(name);
        for (version, what) in [(&status.active, "the active version"), (&status.previous, "the way back")] {
            let kept = version
                .as_ref()
                .filter(|it| Some(it.track) == now.track && it.workloads.iter().any(|record| record.name == now.workload));
            let baking = status.candidate.as_ref().is_some_and(|candidate| candidate.step == Stage::Baking);
            if let Some(kept) = kept.filter(|_| what == "the active version" || baking) {
                let same = now.revision == kept.revision && !changed;
                self.oracle
                    .must(same, Rule::S3, || format!("{name} has {what} {} and was written as {}", kept.revision, now.revision));
            }
        }
        let early = status
            .candidate
            .as_ref()
            .is_some_and(|it| it.step == Stage::Preparing && it.revision == now.revision && Some(it.track) == now.track);
        self.oracle.must(!early, Rule::S7, || format!("{name} starts {}, and its hooks are not through", now.revision));
        if let Some(old) = before.deployments.get(name).filter(|old| old.revision != now.revision) {
            let seen = observed.deployments.known().and_then(|them| them.get(name)).map(|it| it.resource_version.as_str());
            let fresh = seen == Some(old.resource_version.as_str());
            self.oracle.must(fresh, Rule::S5, || {
                format!("{name} had {} and was written as {} by one who had not seen it", old.revision, now.revision)
            });
            self.oracle.proved.retain(|(track, revision)| Some(*track) != now.track || *revision == now.revision);
        }
    }

    /// S4: nothing that a Service points to is scaled to nothing; S3: the way back is kept during the bake.
    fn check_kept(&mut self, observed: &Observed, name: &str, replicas: i32, before: &Before) {
        let Some(old) = before.deployments.get(name).filter(|old| replicas < old.replicas) else { return };
        // What was wanted when it was looked: a user who has changed his mind since may see it carried out.
        let spec = &observed.release.spec;
        let track = old.track.map_or("", Track::as_str);
        let wanted = spec
            .workloads
            .iter()
            .find(|workload| workload.name == old.workload)
            .map(|it| it.replicas.or(spec.replicas).unwrap_or(1));
        let status = &self.release.status;
        let of = |version: &Option<Version>| {
            version
                .as_ref()
                .is_some_and(|it| Some(it.track) == old.track && it.workloads.iter().any(|record| record.name == old.workload))
        };
        let serves = of(&status.active);
        let pointed = self.services.values().any(|it| it.preview_of.is_none() && it.labelled && it.selected() == Some(track));
        // One that cannot run twice ends first.
        if self.recreates(&old.workload) {
            return;
        }
        let way_back = status.candidate.as_ref().is_some_and(|it| it.step == Stage::Baking) && of(&status.previous);
        let message = format!("{name}: {} to {replicas}", old.replicas);
        self.oracle.must(!(serves && pointed && replicas == 0 && wanted != Some(0)), Rule::S4, || {
            format!("{message}, and it has the traffic")
        });
        self.oracle.must(!way_back, Rule::S3, || format!("{message}, and it is the way back"));
    }

    fn recreates(&self, workload: &str) -> bool {
        let spec = self.release.spec.workloads.iter().find(|it| it.name == workload);
        spec.is_some_and(|it| it.strategy.kind == bascule_crds::WorkloadStrategyType::Recreate)
    }

    fn check_deleted(&mut self, name: &str, before: &Before) {
        let old = &before.deployments[name];
        let status = &self.release.status;
        let baking = status.candidate.as_ref().is_some_and(|candidate| candidate.step == Stage::Baking);
        let kept = status.active.iter().chain(status.previous.iter().filter(|_| baking));
        let mut workloads = kept.filter(|it| Some(it.track) == old.track).flat_map(|it| &it.workloads);
        let holds = old.replicas == 0 && workloads.all(|record| record.name != old.workload);
        self.oracle.must(holds, Rule::S3, || format!("{name} is deleted, and needed"));
    }

    /// S6 and S7, and that the status says where traffic is.
    pub(super) fn check_record(&mut self, next: &ReleaseStatus, notes: &[Note]) {
        let stored = self.release.status.clone();
        self.check_people(next);
        let new = next.operations.iter().filter(|record| stored.operations.iter().all(|old| old.uid != record.uid));
        for record in new {
            let first = self.oracle.acted_on.insert(record.uid.clone());
            self.oracle.must(first, Rule::S7, || format!("{} is acted on again", record.name));
        }
        let place = |status: &ReleaseStatus| status.active.as_ref().map(|it| (it.track, it.revision.clone()));
        let moved = place(next) != place(&stored);
        if let Some(active) = next.active.as_ref().filter(|_| moved && self.process.is_live()) {
            let recalled = notes.iter().any(|note| note.kind == NoteKind::Healed);
            let ours = self
                .services
                .values()
                .filter(|it| it.preview_of.is_none() && it.labelled && it.form != ServiceForm::External && !it.deleting);
            // The very first version keeps what it has when it is given up: the rest of it never had any.
            let first = stored.active.is_none();
            let nowhere = |it: &Service| first && it.record.as_ref().is_none_or(|record| Track::parse(&record.track).is_none());
            let elsewhere = ours
                .filter(|it| !it.base_selector().is_empty() && !recorded(it, active.track, &active.revision) && !nowhere(it))
                .map(|it| it.name.clone())
                .next();
            self.oracle
                .must(recalled || elsewhere.is_none(), Rule::Truth, || format!("{elsewhere:?} is not on {}", active.version));
        }
    }
}
