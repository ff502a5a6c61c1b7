//! Decisions, judged by what was seen when they were made.
//!
//! In: an `Observed` and the plan for it. Out: the rules that it breaks. Written anew from the design's words, never from the core's
//! functions. Never here: what is true; that is asked of the writes that land.

use bascule_core::{Next, Observed, Plan, ReplicaSet, Service, ServiceForm, Sight, Step};
use bascule_crds::{Candidate, RejectReason, ReleaseStatus, Step as Stage, Track, Version};

use super::{Rule, World};

impl World {
    pub(super) fn judge(&mut self, observed: &Observed, plan: &Plan) {
        let status = &observed.release.status;
        let steps: &[Step] = if let Next::Act(steps) = &plan.next { steps } else { &[] };
        for step in steps {
            if let Some((track, revision)) = moved_to(observed, step) {
                self.judge_move(observed, step, track, &revision);
            }
            self.judge_precondition(observed, step);
            self.judge_ignorance(observed, step);
        }
        if let Next::Record(next) = &plan.next {
            self.judge_record(observed, next);
        }
        self.judge_gates(observed, plan);
        if let Some(candidate) = status.candidate.as_ref().filter(|candidate| candidate.step == Stage::Baking) {
            self.judge_bake(observed, plan, candidate);
        }
    }

    /// S1: traffic goes to what is ready, or to where it was settled.
    fn judge_move(&mut self, observed: &Observed, step: &Step, track: Option<Track>, revision: &str) {
        let status = &observed.release.status;
        let Some(track) = track else {
            let holds = status.active.is_none();
            return self.oracle.must(holds, Rule::S1, || format!("to nowhere, although a version is active: {step:?}"));
        };
        let is = |version: &Option<Version>| version.as_ref().is_some_and(|it| it.track == track && it.revision == revision);
        let baking = status.candidate.as_ref().is_some_and(|candidate| candidate.step == Stage::Baking);
        if is(&status.active) || (baking && is(&status.previous)) {
            return;
        }
        let candidate = status.candidate.as_ref().filter(|it| it.track == track && it.revision == revision);
        let Some(candidate) = candidate else {
            return self.oracle.broken(Rule::S1, || format!("{revision} is neither active nor the candidate: {step:?}"));
        };
        let begun = traffic(observed).any(|service| recorded(service, candidate.track, &candidate.revision));
        let ready =
            is_ready(observed, candidate) || (begun && (is_well(observed, candidate) || is_the_last(observed, candidate)));
        self.oracle.must(ready, Rule::S1, || format!("{} was not seen to be ready", candidate.version));
    }

    /// S5: what moves traffic or destroys names exactly what was seen.
    fn judge_precondition(&mut self, observed: &Observed, step: &Step) {
        let service = |name: &str| observed.services.get(name).and_then(|sight| sight.known()?.as_ref());
        let deployment = |name: &str| observed.deployments.known().and_then(|deployments| deployments.get(name));
        let names_service = |name: &str, uid: &str, version: &str| {
            service(name).is_some_and(|it| it.uid == uid && it.resource_version == version)
        };
        let names_deployment = |name: &str, uid: &str, version: Option<&str>| {
            deployment(name).is_some_and(|it| it.uid == uid && version == Some(it.resource_version.as_str()))
        };
        let holds = match step {
            Step::Route(write) => names_service(&write.service, &write.uid, &write.resource_version),
            Step::Select { service, uid, resource_version, .. } | Step::DeletePreview { service, uid, resource_version } => {
                names_service(service, uid, resource_version)
            }
            Step::Scale { deployment: name, uid, resource_version, replicas } => {
                deployment(name).is_some_and(|it| it.uid == *uid && it.replicas < *replicas)
                    || names_deployment(name, uid, resource_version.as_deref())
            }
            Step::DeleteDeployment { deployment: name, uid, resource_version } => {
                names_deployment(name, uid, Some(resource_version))
            }
            Step::Apply { deployment: name, body } => {
                let text = |key: &str| body["metadata"][key].as_str();
                deployment(name).is_none() || text("uid").is_some_and(|uid| names_deployment(name, uid, text("resourceVersion")))
            }
            // Of a Job and of what is stored a second one of the same name is no other.
            Step::Run { .. }
            | Step::Store { .. }
            | Step::Discard { .. }
            | Step::DryRun { .. }
            | Step::Preview { .. }
            | Step::Answer { .. }
            | Step::Prune { .. } => true,
        };
        self.oracle.must(holds, Rule::S5, || format!("no precondition, or not of what was seen: {step:?}"));
    }

    /// S4: nothing is ended on the strength of what could not be seen.
    fn judge_ignorance(&mut self, observed: &Observed, step: &Step) {
        let fewer = matches!(step, Step::Scale { resource_version: Some(_), .. });
        if fewer || matches!(step, Step::DeleteDeployment { .. }) {
            self.oracle.must(observed.deployments.known().is_some(), Rule::S4, || format!("Deployments are unknown: {step:?}"));
        }
        if let Step::Scale { deployment, replicas: 0, .. } = step {
            let track = observed.deployments.known().and_then(|them| them.get(deployment)?.track);
            let status = &observed.release.status;
            // A track with a version on it is scaled for its workloads' sake, whatever the Services say.
            let used =
                status.candidate.as_ref().map(|it| it.track) == track || status.active.as_ref().map(|it| it.track) == track;
            let hidden = observed
                .release
                .spec
                .services
                .iter()
                .find(|it| !matches!(observed.services.get(&it.name), Some(Sight::Known(_))));
            self.oracle.must(used || hidden.is_none(), Rule::S4, || format!("Service {hidden:?} is unknown: {step:?}"));
        }
    }

    /// S4: no gate is passed and nothing is rejected unseen.
    fn judge_record(&mut self, observed: &Observed, next: &ReleaseStatus) {
        let stored = &observed.release.status;
        let Some(candidate) = &stored.candidate else { return };
        let pods = observed.deployments.known().is_some() && observed.replica_sets.known().is_some();
        let rejected = next.rejection(&candidate.revision).filter(|it| stored.rejection(&it.revision) != Some(it));
        if let Some(rejected) = rejected
            && [RejectReason::DeadlineExceeded, RejectReason::BakeFailed].contains(&rejected.reason)
            && candidate.step == Stage::Starting
        {
            let stuck = rejected.message.contains("could be moved");
            self.oracle.must(pods || stuck, Rule::S4, || format!("rejected unseen: {}", rejected.message));
        }
        let place = |status: &ReleaseStatus| status.active.as_ref().map(|it| (it.track, it.revision.clone()));
        if candidate.step != Stage::Baking && place(next) != place(stored) && !is_unseen_commit(observed, candidate) {
            self.oracle.must(pods, Rule::S4, || format!("{} has the traffic unseen", candidate.version));
        }
        let settled = candidate.step == Stage::Baking && next.candidate.is_none() && rejected.is_none();
        let stays = next.active.as_ref().is_some_and(|active| active.revision == candidate.revision);
        if settled && stays {
            let good = pods
                && candidate
                    .workloads
                    .iter()
                    .all(|record| available(observed, candidate, &record.name) >= needed(observed, candidate, &record.name));
            self.oracle.must(good, Rule::S4, || format!("{} is settled unseen", candidate.version));
        }
    }

    /// S2: a bad candidate, a way back that answers: traffic goes back now, before anything else.
    fn judge_bake(&mut self, observed: &Observed, plan: &Plan, candidate: &Candidate) {
        let status = &observed.release.status;
        if !observed.release.spec.rollback.automatic
            || observed.deployments.known().is_none()
            || observed.replica_sets.known().is_none()
        {
            return;
        }
        let bad = candidate
            .workloads
            .iter()
            .any(|record| available(observed, candidate, &record.name) < needed(observed, candidate, &record.name))
            || self.gates_say_no(observed, candidate);
        let Some(previous) = status.previous.as_ref().filter(|it| status.rejection(&it.revision).is_none()) else { return };
        let sets = observed.replica_sets.known().unwrap();
        let answers = previous.workloads.iter().all(|record| {
            let ready = |set: &ReplicaSet| {
                set.track == Some(previous.track)
                    && set.workload == record.name
                    && set.revision == previous.revision
                    && set.available > 0
            };
            record.replicas == 0 || sets.iter().any(ready)
        });
        if !bad || !answers {
            return;
        }
        let held = |target: &str| observed.troubles.iter().any(|it| it.target == target && it.retry_at > self.now);
        let away = |service: &&Service| {
            !recorded(service, previous.track, &previous.revision) || service.selected() != Some(previous.track.as_str())
        };
        let due: Vec<_> = traffic(observed)
            .filter(away)
            .filter(|it| it.record.is_some() && !it.deleting && !held(&format!("service/{}", it.name)))
            .map(|it| it.name.clone())
            .collect();
        let steps: &[Step] = if let Next::Act(steps) = &plan.next { steps } else { &[] };
        let back = |step: &Step| {
            moved_to(observed, step)
                .is_some_and(|(track, revision)| track == Some(previous.track) && revision == previous.revision)
        };
        let goes = |name: &String| steps.iter().any(|step| back(step) && step.target() == format!("service/{name}"));
        let holds = due.is_empty() || (due.iter().all(goes) && steps.iter().all(back));
        self.oracle
            .must(holds, Rule::S2, || format!("{due:?} should go back to {}, and the plan is {:?}", previous.version, plan.next));
    }
}

/// The Services of the Release, as far as they are seen and can be its own.
pub fn traffic(observed: &Observed) -> impl Iterator<Item = &Service> {
    let spec = &observed.release.spec;
    let listed = |service: &Service| spec.services.iter().any(|it| it.name == service.name);
    let usable = |service: &Service| {
        service.preview_of.is_none()
            && service.form != ServiceForm::External
            && !service.base_selector().is_empty()
            && service.claimed_by.as_deref().is_none_or(|by| by == observed.release.name)
    };
    let known = observed.services.values().filter_map(|sight| sight.known()?.as_ref());
    known.filter(move |service| usable(service) && (service.labelled || listed(service)))
}

pub(super) fn recorded(service: &Service, track: Track, revision: &str) -> bool {
    service.record.as_ref().is_some_and(|it| it.track == track.as_str() && it.revision == revision)
}

/// Track and revision that a step brings a Service to.
fn moved_to(observed: &Observed, step: &Step) -> Option<(Option<Track>, String)> {
    match step {
        Step::Route(write) => Some((write.track, write.revision.clone())),
        Step::Select { service, track, .. } => {
            let record = observed.services.get(service)?.known()?.as_ref()?.record.as_ref()?;
            Some((Track::parse(track), record.revision.clone()))
        }
        _ => None,
    }
}

/// The very first version that has a Service already keeps it: there is nothing better.
fn is_unseen_commit(observed: &Observed, candidate: &Candidate) -> bool {
    traffic(observed).any(|service| recorded(service, candidate.track, &candidate.revision))
}

fn available(observed: &Observed, candidate: &Candidate, workload: &str) -> i32 {
    let sets = observed.replica_sets.known().into_iter().flatten();
    let ours =
        sets.filter(|set| set.track == Some(candidate.track) && set.workload == workload && set.revision == candidate.revision);
    ours.map(|set| set.available).sum()
}

/// Pods that were there at the switch, and that nobody has scaled away since.
fn needed(observed: &Observed, candidate: &Candidate, workload: &str) -> i32 {
    let recorded = candidate.workloads.iter().find(|it| it.name == workload).map_or(0, |it| it.replicas);
    let deployment = observed.deployments.known().and_then(|them| them.get(&candidate.track.deployment(workload)));
    recorded.min(deployment.map_or(recorded, |it| it.replicas))
}

/// A part of it answers, and nothing of the version before.
fn is_the_last(observed: &Observed, candidate: &Candidate) -> bool {
    let Some(sets) = observed.replica_sets.known() else { return false };
    let runs = |track: Track, revision: &str| {
        sets.iter().any(|set| set.track == Some(track) && set.revision == revision && set.available > 0)
    };
    let before = observed.release.status.active.as_ref();
    runs(candidate.track, &candidate.revision) && !before.is_some_and(|it| runs(it.track, &it.revision))
}

/// Some of the traffic is on it already, and every pod of it that should run does.
fn is_well(observed: &Observed, candidate: &Candidate) -> bool {
    let (Some(deployments), Some(_)) = (observed.deployments.known(), observed.replica_sets.known()) else { return false };
    candidate.workloads.iter().all(|record| {
        let deployment = deployments.get(&candidate.track.deployment(&record.name));
        deployment.is_some_and(|it| available(observed, candidate, &record.name) >= it.replicas)
    })
}

/// Every workload runs the candidate and nothing else, with all its pods, and as many as the active version has.
fn is_ready(observed: &Observed, candidate: &Candidate) -> bool {
    let (Some(deployments), Some(sets)) = (observed.deployments.known(), observed.replica_sets.known()) else { return false };
    let status = &observed.release.status;
    let strays = sets.iter().any(|set| {
        set.track == Some(candidate.track) && set.revision != candidate.revision && (set.wanted > 0 || set.replicas > 0)
    });
    let workloads = candidate.workloads.iter().all(|record| {
        let Some(deployment) = deployments.get(&candidate.track.deployment(&record.name)) else { return false };
        let serving = status.active.as_ref().and_then(|active| deployments.get(&active.track.deployment(&record.name)));
        deployment.revision == candidate.revision
            && [deployment.confirmed, record.generation].contains(&Some(deployment.generation))
            && deployment.replicas >= serving.map_or(0, |it| it.replicas)
            && available(observed, candidate, &record.name) >= deployment.replicas
    });
    let mut listed = observed.release.spec.services.iter();
    workloads && !strays && listed.all(|it| traffic(observed).any(|service| service.name == it.name))
}
