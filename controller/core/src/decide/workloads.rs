//! Deployments and their pods: whether they are ready, how many there should be, and when the old ones may go.
//!
//! The active track and the way back are changed in nothing but replicas; a hand edit of what is settled is put right.

use std::collections::BTreeMap;

use bascule_crds::{Candidate, Step as Stage, Track, Version, WorkloadRecord};
use jiff::Timestamp;
use serde_json::Value;

use super::{Decision, later, note, traffic::Services};
use crate::{
    body,
    mutant::{self, Mutant},
    observed::{Deployment, PodReport, Refusal, ReplicaSet, Sight},
    plan::{NoteKind, Read, Step},
    revision::Rendered,
};

/// Whether a candidate may have the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotYet(String),
    Unknown(String),
}

/// Whether a version keeps the traffic that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad(String),
    Unknown,
}

/// How many pods have been ready once, and so must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proved {
    /// In the middle of the switch: all, since nothing is scaled before it is over.
    AllThatRun,
    /// After it: as many as the status has recorded.
    AtTheSwitch,
}

impl<'a> Decision<'a> {
    pub(super) fn deployment(&self, track: Track, workload: &str) -> Option<&Deployment> {
        self.observed.deployments.known()?.get(&track.deployment(workload))
    }

    pub(super) fn is_ours(&self, deployment: &Deployment) -> bool {
        deployment.owner.as_deref() == Some(self.observed.release.uid.as_str())
    }

    /// Replicas that the spec wants of a workload; None when the spec no longer has it.
    pub(super) fn wanted_replicas(&self, workload: &str) -> Option<i32> {
        let spec = &self.observed.release.spec;
        let own = spec.workloads.iter().find(|candidate| candidate.name == workload)?;
        Some(own.replicas.or(spec.replicas).unwrap_or(1))
    }

    /// As many as the spec wants, and not fewer than serve now.
    pub(super) fn candidate_replicas(&self, workload: &str) -> i32 {
        let serving = self.stored.active.as_ref().and_then(|active| self.deployment(active.track, workload));
        self.wanted_replicas(workload).unwrap_or(1).max(serving.map_or(0, |deployment| deployment.replicas))
    }

    /// No Deployment of another owner stands where the candidate's would.
    pub(super) fn may_use(&mut self, wanted: &Rendered, track: Track) -> bool {
        let deployments = match &self.observed.deployments {
            Sight::Known(deployments) => deployments,
            Sight::Unknown(_) => {
                self.quiet = true;
                return false;
            }
        };
        for workload in &wanted.workloads {
            let name = track.deployment(&workload.name);
            match deployments.get(&name) {
                Some(deployment) if deployment.deleting => {
                    self.wait("DeploymentDeleting", format!("Deployment {name} is being deleted"));
                    return false;
                }
                Some(deployment) if !self.is_ours(deployment) => {
                    self.stall(
                        "NameTaken",
                        format!(
                            "Deployment {name} exists and is not managed by this Release: delete it, or rename workload {}",
                            workload.name
                        ),
                    );
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    /// Bodies for a dry run.
    pub(super) fn bodies(&self, wanted: &Rendered, track: Track) -> Vec<Value> {
        let release = &self.observed.release;
        let revision = wanted.revision.as_str();
        let body = |workload| body::deployment(release, workload, track, revision, self.candidate_replicas(&workload.name), None);
        wanted.workloads.iter().map(body).collect()
    }

    pub(super) fn is_started(&self, wanted: &Rendered, track: Track) -> bool {
        wanted.workloads.iter().all(|workload| self.runs(track, &workload.name, wanted.revision.as_str()))
    }

    pub(super) fn all_started(&self, candidate: &Candidate) -> bool {
        candidate.workloads.iter().all(|workload| self.runs(candidate.track, &workload.name, &candidate.revision))
    }

    fn runs(&self, track: Track, workload: &str, revision: &str) -> bool {
        self.deployment(track, workload).is_some_and(|deployment| deployment.revision == revision && self.is_ours(deployment))
    }

    /// Brings the candidate's Deployments to its template and replicas, in one write each.
    pub(super) fn start(&mut self, candidate: &Candidate) {
        // What the server has refused is given up, not repeated.
        if self.observed.deployments.known().is_none() || self.refusal(candidate).is_some() {
            return;
        }
        let wanted = self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() == candidate.revision).cloned();
        for record in &candidate.workloads {
            if self.makes_way(candidate, &record.name) {
                continue;
            }
            let replicas = self.candidate_replicas(&record.name);
            let template =
                wanted.as_ref().and_then(|wanted| wanted.workloads.iter().find(|workload| workload.name == record.name));
            let deployment = self.deployment(candidate.track, &record.name).cloned();
            let stands = !mutant::is(Mutant::ApplyAgain)
                && deployment.as_ref().is_some_and(|deployment| {
                    deployment.revision == candidate.revision && deployment.confirmed == Some(deployment.generation)
                });
            match (template, deployment) {
                (_, Some(deployment)) if deployment.deleting => {}
                (_, Some(deployment)) if !self.is_ours(&deployment) => {
                    self.stall("NameTaken", format!("Deployment {} exists and is not managed by this Release", deployment.name));
                }
                (Some(template), deployment) if !stands => {
                    let known = deployment.map(|deployment| (deployment.uid, deployment.resource_version));
                    let body = body::deployment(
                        &self.observed.release,
                        template,
                        candidate.track,
                        &candidate.revision,
                        replicas,
                        known.as_ref().map(|(uid, version)| (uid.as_str(), version.as_str())),
                    );
                    self.work.push(Step::Apply { deployment: candidate.track.deployment(&record.name), body });
                }
                (_, Some(deployment)) if deployment.revision == candidate.revision => self.scale(&deployment, replicas),
                _ => {}
            }
        }
    }

    /// Fewer replicas end pods: then the write holds only for the Deployment as it was seen.
    pub(super) fn scale(&mut self, deployment: &Deployment, replicas: i32) {
        if deployment.replicas == replicas {
            return;
        }
        let fewer = replicas < deployment.replicas;
        let step = Step::Scale {
            deployment: deployment.name.clone(),
            uid: deployment.uid.clone(),
            resource_version: fewer.then(|| deployment.resource_version.clone()),
            replicas,
        };
        if fewer { self.tidy.push(step) } else { self.work.push(step) }
    }

    /// All pods of all workloads are those of the candidate, and available.
    pub(super) fn readiness(&self, candidate: &Candidate) -> Readiness {
        let sets = match (&self.observed.deployments, &self.observed.replica_sets) {
            (Sight::Known(_), Sight::Known(sets)) => sets,
            (Sight::Unknown(why), _) | (_, Sight::Unknown(why)) => return Readiness::Unknown(why.clone()),
        };
        let stray = |set: &&ReplicaSet| {
            set.track == Some(candidate.track) && candidate.workloads.iter().all(|record| record.name != set.workload)
        };
        let strays = sets.iter().filter(stray).filter(|set| set.wanted > 0 || set.replicas > 0);
        if let Some(set) = strays.min_by_key(|set| &set.name) {
            return Readiness::NotYet(format!("pods of {} are still there", set.name));
        }
        for record in &candidate.workloads {
            let Some(deployment) = self.deployment(candidate.track, &record.name) else {
                return Readiness::NotYet(format!("{} is not started", record.name));
            };
            let wanted = self.candidate_replicas(&record.name);
            if deployment.revision != candidate.revision || !stands(deployment, record) || deployment.replicas < wanted {
                return Readiness::NotYet(format!("{} is being started", record.name));
            }
            let (ours, others): (Vec<_>, Vec<_>) =
                of(sets, candidate.track, &record.name).partition(|set| set.revision == candidate.revision);
            if let Some(other) = others.iter().find(|set| set.wanted > 0 || set.replicas > 0) {
                return Readiness::NotYet(format!("pods of {} are still there", other.name));
            }
            let running: Vec<_> = ours.iter().filter(|set| set.wanted > 0 || set.replicas > 0).collect();
            let available = sum(running.iter().map(|set| set.available));
            let settled = match running.as_slice() {
                [] => deployment.replicas == 0 && ours.iter().any(|set| set.observed),
                [set] => set.observed && set.wanted == deployment.replicas && set.available >= deployment.replicas,
                _ => false,
            };
            if !settled && !mutant::is(Mutant::SwitchBeforeReady) {
                return Readiness::NotYet(format!("{}: {available} of {} pods are ready", record.name, deployment.replicas));
            }
        }
        Readiness::Ready
    }

    /// None of the pods that were ready is missing.
    pub(super) fn health(&self, candidate: &Candidate, proved: Proved) -> Health {
        let (Some(_), Some(sets)) = (self.observed.deployments.known(), self.observed.replica_sets.known()) else {
            return Health::Unknown;
        };
        for record in &candidate.workloads {
            let deployment = self.deployment(candidate.track, &record.name);
            let wanted = deployment.map_or(record.replicas, |deployment| deployment.replicas);
            let needed = match proved {
                // The status has no number for one that is gone by now.
                Proved::AllThatRun if deployment.is_none() => {
                    return Health::Bad(format!("Deployment {} is gone", candidate.track.deployment(&record.name)));
                }
                Proved::AllThatRun => wanted,
                // Pods that a scale-up is still to bring are no failure.
                Proved::AtTheSwitch => record.replicas.min(wanted),
            };
            let available = available(sets, candidate.track, &record.name, &candidate.revision);
            if available < needed {
                return Health::Bad(format!("{}: {available} of {needed} pods are ready", record.name));
            }
        }
        Health::Good
    }

    /// Somebody answers there: every workload has a ready pod. None: that cannot be seen yet.
    pub(super) fn answers(&self, version: &Version) -> Option<bool> {
        let sets = self.observed.replica_sets.known()?;
        let serves = |record: &WorkloadRecord| {
            // One that cannot run twice comes back when the other has ended, and not before; one that was proved without pods may have to
            // have some by now.
            let none = record.replicas == 0 && self.wanted_replicas(&record.name).unwrap_or(0) == 0;
            none || self.recreates(&record.name) || available(sets, version.track, &record.name, &version.revision) > 0
        };
        Some(version.workloads.iter().all(serves))
    }

    /// Somebody answers where the last settled version is; nobody before the first one.
    pub(super) fn home_answers(&self) -> Option<bool> {
        self.stored.active.as_ref().map_or(Some(false), |active| self.answers(active))
    }

    /// Some pod of the candidate answers, and none of the last settled version.
    pub(super) fn only_candidate_runs(&self, candidate: &Candidate) -> bool {
        let Some(sets) = self.observed.replica_sets.known() else { return false };
        let runs = |workloads: &[WorkloadRecord], track, revision: &str| {
            workloads.iter().any(|record| available(sets, track, &record.name, revision) > 0)
        };
        let home = self.stored.active.as_ref();
        runs(&candidate.workloads, candidate.track, &candidate.revision)
            && !home.is_some_and(|home| runs(&home.workloads, home.track, &home.revision))
    }

    /// Every workload of the candidate has a pod that answers.
    pub(super) fn any_ready(&self, candidate: &Candidate) -> bool {
        let Some(sets) = self.observed.replica_sets.known() else { return false };
        let wanted = candidate.workloads.iter().filter(|record| self.candidate_replicas(&record.name) > 0);
        wanted.into_iter().all(|record| available(sets, candidate.track, &record.name, &candidate.revision) > 0)
    }

    /// Workloads of ours that run this revision on this track.
    pub(super) fn running(&self, track: Track, revision: &str) -> Vec<WorkloadRecord> {
        let deployments = self.observed.deployments.known().into_iter().flat_map(BTreeMap::values);
        let ours =
            deployments.filter(|it| it.track == Some(track) && it.revision == revision && self.is_ours(it) && !it.deleting);
        ours.map(|it| WorkloadRecord { name: it.workload.clone(), replicas: it.replicas, generation: it.confirmed }).collect()
    }

    /// What we stand for from now on: replicas that were proved, and the generation that our write left.
    pub(super) fn stand_for(&self, candidate: &Candidate) -> Vec<WorkloadRecord> {
        let record = |record: &WorkloadRecord| {
            let deployment = self.deployment(candidate.track, &record.name);
            WorkloadRecord {
                name: record.name.clone(),
                replicas: deployment.map_or(0, |deployment| deployment.replicas),
                generation: deployment
                    .filter(|deployment| deployment.confirmed == Some(deployment.generation))
                    .map(|deployment| deployment.generation),
            }
        };
        candidate.workloads.iter().map(record).collect()
    }

    /// The active track: replicas follow the spec, and another hand's edit is put right where the template is still at hand.
    pub(super) fn keep_active(&mut self) {
        let (Some(active), Some(_)) = (&self.stored.active, self.observed.deployments.known()) else { return };
        let template = self.wanted.as_ref().ok().filter(|wanted| wanted.revision.as_str() == active.revision).cloned();
        for record in &active.workloads {
            let name = active.track.deployment(&record.name);
            let Some(replicas) = self.wanted_replicas(&record.name) else { continue };
            let starts = replicas > 0 && !self.has_pods(active.track, &record.name);
            if self.is_replaced(active.track, &record.name)
                || (starts && self.recreates(&record.name) && self.lingers(&record.name))
            {
                continue;
            }
            let rendered =
                template.as_ref().and_then(|wanted| wanted.workloads.iter().find(|workload| workload.name == record.name));
            let deployment = self.deployment(active.track, &record.name).cloned();
            match (deployment, rendered) {
                (Some(deployment), _) if deployment.deleting => {}
                (Some(deployment), _) if !self.is_ours(&deployment) => {
                    self.stall("NameTaken", format!("Deployment {name} exists and is not managed by this Release"));
                }
                (Some(deployment), Some(rendered)) if !stands(&deployment, record) => {
                    let known = Some((deployment.uid.as_str(), deployment.resource_version.as_str()));
                    let body =
                        body::deployment(&self.observed.release, rendered, active.track, &active.revision, replicas, known);
                    self.heal(name, body, "was changed by another hand");
                }
                (None, Some(rendered)) => {
                    if !self.is_taken(&active.revision) {
                        let body =
                            body::deployment(&self.observed.release, rendered, active.track, &active.revision, replicas, None);
                        self.heal(name, body, "was deleted by another hand");
                    }
                }
                (Some(deployment), _) => self.scale(&deployment, replicas),
                (None, None) => self.wait("DeploymentMissing", format!("Deployment {name} was deleted by another hand")),
            }
        }
        self.remember_generations();
    }

    /// Another owner has come to where a Deployment of this revision was: it is theirs until they go, which is looked for seldom.
    fn is_taken(&mut self, revision: &str) -> bool {
        let check = self.observed.check.as_ref().filter(|check| check.revision == revision);
        let Some((Some(Refusal::Taken(why)), at)) = check.map(|check| (check.refusal.clone(), check.at)) else { return false };
        let again = later(at, self.policy.recheck);
        self.look_at(again);
        if self.now < again {
            self.stall("NameTaken", why);
        }
        self.now < again
    }

    fn heal(&mut self, name: String, body: Value, what: &str) {
        self.work_notes.push(note(NoteKind::Healed, format!("Deployment {name} {what}; put right")));
        self.work.push(Step::Apply { deployment: name, body });
    }

    fn remember_generations(&mut self) {
        let Some(mut active) = self.next.active.take() else { return };
        for record in &mut active.workloads {
            if let Some(deployment) = self
                .deployment(active.track, &record.name)
                .filter(|deployment| deployment.confirmed == Some(deployment.generation))
            {
                record.generation = Some(deployment.generation);
            }
        }
        self.next.active = Some(active);
    }

    /// Deployments that no version needs now: warm as long as they may be needed, then at 0, and gone when nobody knows them.
    pub(super) fn keep_idle(&mut self) {
        let Some(deployments) = self.observed.deployments.known() else { return };
        for deployment in deployments.values() {
            let Some(track) = deployment.track.filter(|_| self.is_ours(deployment) && !deployment.deleting) else { continue };
            let busy = self.version_on(track);
            if busy.iter().flatten().any(|record| record.name == deployment.workload) {
                continue;
            }
            if self.recreates(&deployment.workload) && busy.is_none() {
                // It cannot wait beside the other.
                self.scale(deployment, 0);
                if deployment.replicas == 0 {
                    self.sweep(deployment);
                }
            } else if self.is_way_back(track) {
                let warm = self.wanted_replicas(&deployment.workload).unwrap_or(0).max(deployment.replicas);
                self.scale(deployment, warm);
            } else if deployment.replicas == 0 {
                self.sweep(deployment);
            } else if busy.is_some() {
                // A workload that the version on this track does not have: left by one that made way.
                self.scale(deployment, 0);
            } else {
                self.wind_down(deployment, track);
            }
        }
    }

    /// Workloads of the versions that have the traffic on this track or are to get it; None: there is no such version.
    fn version_on(&self, track: Track) -> Option<Vec<&'a WorkloadRecord>> {
        let candidate = self.stored.candidate.iter().map(|candidate| (candidate.track, &candidate.workloads));
        let versions = candidate.chain(self.stored.active.iter().map(|active| (active.track, &active.workloads)));
        let here: Vec<_> = versions.filter(|(on, _)| *on == track).map(|(_, workloads)| workloads).collect();
        (!here.is_empty()).then(|| here.into_iter().flatten().collect())
    }

    fn is_way_back(&self, track: Track) -> bool {
        let baking = self.stored.candidate.as_ref().is_some_and(|candidate| candidate.step == Stage::Baking);
        baking && self.stored.previous.as_ref().is_some_and(|previous| previous.track == track)
    }

    fn wind_down(&mut self, deployment: &Deployment, track: Track) {
        let until = self.warm_until(deployment, track);
        if self.now < until {
            return self.look_at(until);
        }
        match self.is_drained(track) {
            Some(false) if self.now < later(until, self.policy.drain_bound) => {
                self.look_at(later(until, self.policy.drain_bound));
            }
            Some(_) => self.scale(deployment, 0),
            None => {}
        }
    }

    fn warm_until(&self, deployment: &Deployment, track: Track) -> Timestamp {
        let strategy = &self.observed.release.spec.strategy;
        let delay = strategy.scale_down_delay.get();
        let was_active =
            self.stored.previous.as_ref().filter(|previous| previous.track == track && previous.revision == deployment.revision);
        if mutant::is(Mutant::DropTheWayBack) {
            return self.now;
        }
        if let (Some(_), Some(active)) = (was_active, &self.stored.active) {
            return later(active.since, delay.max(strategy.bake.get()));
        }
        self.stored.rejection(&deployment.revision).map_or(self.now, |rejection| later(rejection.at, delay))
    }

    /// No Service points there, and none sends there any more. None: a Service points there, or it cannot be seen.
    fn is_drained(&mut self, track: Track) -> Option<bool> {
        let services = Some(self.services()).filter(Services::hide_nothing)?.seen;
        let points = |service: &&&crate::observed::Service| {
            service.selected() == Some(track.as_str())
                || service.selected().is_none()
                || service.record.as_ref().is_some_and(|record| record.track == track.as_str())
        };
        if services.iter().any(|service| points(&service)) {
            return None;
        }
        let sets: Vec<_> = self
            .observed
            .replica_sets
            .known()?
            .iter()
            .filter(|set| set.track == Some(track))
            .map(|set| set.name.as_str())
            .collect();
        let mut drained = true;
        for service in services {
            let endpoints = self.observed.endpoints.get(&service.name).and_then(Sight::known)?;
            drained &= !endpoints.any_of(sets.iter().copied());
        }
        Some(drained)
    }

    /// A Deployment at 0 of a workload that no version here knows any more.
    fn sweep(&mut self, deployment: &Deployment) {
        let stored = self.stored;
        let versions = stored
            .active
            .iter()
            .map(|version| &version.workloads)
            .chain(stored.previous.iter().map(|version| &version.workloads));
        let records = versions.chain(stored.candidate.iter().map(|candidate| &candidate.workloads));
        let known = records.flatten().any(|record| record.name == deployment.workload)
            || self.observed.release.spec.workloads.iter().any(|workload| workload.name == deployment.workload);
        if !known {
            self.tidy.push(Step::DeleteDeployment {
                deployment: deployment.name.clone(),
                uid: deployment.uid.clone(),
                resource_version: deployment.resource_version.clone(),
            });
        }
    }

    /// What the pods of this very attempt said: those of an earlier one at the same revision are gone.
    fn report(&self, candidate: &Candidate) -> Option<&PodReport> {
        let is_of = |report: &&PodReport| report.revision == candidate.revision && report.at >= candidate.started_at;
        self.observed.pods.as_ref().filter(is_of)
    }

    /// Asks the pods why they are not ready, after a while and then seldom.
    pub(super) fn ask_why(&mut self, candidate: &Candidate) {
        let due = match self.report(candidate) {
            None => later(candidate.started_at, self.policy.look_after),
            Some(report) => later(report.at, self.policy.look_again),
        };
        if self.now >= due {
            self.reads.push(Read::Pods { revision: candidate.revision.clone(), track: candidate.track });
        }
        self.look_at(due);
    }

    /// Why the candidate's pods are not ready, in their own words.
    pub(super) fn reasons(&self, candidate: &Candidate) -> Option<String> {
        let failures = self.observed.replica_sets.known().into_iter().flatten();
        let failures = failures.filter(|set| set.revision == candidate.revision && set.track == Some(candidate.track));
        let mut reasons: Vec<String> = failures.filter_map(|set| set.failure.clone()).collect();
        reasons.sort();
        reasons.dedup();
        match self.report(candidate) {
            Some(report) => reasons.extend(report.reasons.iter().cloned()),
            // A restart has forgotten what the pods said. Until they are asked again, the status keeps it.
            None if reasons.is_empty() && !candidate.message.is_empty() => reasons.push(candidate.message.clone()),
            None => {}
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The Deployment is as our last write left it, in this process or before.
fn stands(deployment: &Deployment, record: &WorkloadRecord) -> bool {
    [deployment.confirmed, record.generation].contains(&Some(deployment.generation))
}

pub(super) fn of<'a>(sets: &'a [ReplicaSet], track: Track, workload: &str) -> impl Iterator<Item = &'a ReplicaSet> {
    sets.iter().filter(move |set| set.track == Some(track) && set.workload == workload)
}

fn available(sets: &[ReplicaSet], track: Track, workload: &str, revision: &str) -> i32 {
    sum(of(sets, track, workload).filter(|set| set.revision == revision).map(|set| set.available))
}

/// Counts come from statuses that anybody with the right may have written.
pub(super) fn sum(counts: impl Iterator<Item = i32>) -> i32 {
    counts.fold(0, i32::saturating_add)
}
