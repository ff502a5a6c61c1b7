//! What cannot run twice at the same time: its pods end on one track before they start on the other, in both directions.
//!
//! A workload says so by `strategy.type: Recreate`. Everything else is as for all the others: it is gated, and the template that it had
//! before is the way back. Volumes that only one node can write are refused without it.

use bascule_crds::{Candidate, Step as Stage, Track, WorkloadStrategyType};

use super::{Decision, later, workloads::of};
use crate::{
    input::Needs,
    mutant::{self, Mutant},
    observed::ReplicaSet,
    plan::Read,
    revision::Rendered,
};

impl Decision<'_> {
    /// A volume that only one node can write cannot be in two tracks; pods of the new version would wait for it for ever.
    pub(super) fn can_run_twice(&mut self, wanted: &Rendered) -> bool {
        for workload in wanted.workloads.iter().filter(|workload| !self.recreates(&workload.name)) {
            for claim in Needs::of([&workload.template]).volumes {
                match self.observed.volumes.get(&claim) {
                    None => {
                        self.read_first(Read::Volume { claim });
                        return false;
                    }
                    Some(Some(modes)) if !modes.iter().any(|mode| mode.ends_with("Many")) => {
                        let message = format!(
                            "spec.workloads[{}].template: PersistentVolumeClaim {claim} is {}, so two versions cannot have it at the same \
                             time: use one that many can have (ReadWriteMany), or set strategy.type: Recreate for this workload, with a gap \
                             in which nobody answers",
                            workload.name,
                            modes.join(", ")
                        );
                        self.stall("VolumeNotShared", message);
                        self.look_at(later(self.now, self.policy.recheck));
                        return false;
                    }
                    Some(_) => {}
                }
            }
        }
        self.sees_ends(wanted)
    }

    /// Before anything ends: that a pod which was told to end still runs must be seen, or two of them may run at once.
    fn sees_ends(&mut self, wanted: &Rendered) -> bool {
        let sets = self.observed.replica_sets.known().into_iter().flatten();
        let blind = |set: &&ReplicaSet| set.observed && set.replicas > 0 && set.terminating.is_none();
        let mut recreated = wanted.workloads.iter().map(|workload| &workload.name).filter(|name| self.recreates(name));
        let unseen = sets.filter(blind).map(|set| &set.workload).collect::<Vec<_>>();
        let Some(workload) = recreated.find(|name| unseen.contains(name)) else { return true };
        let message = format!(
            "spec.workloads[{workload}].strategy.type: Recreate must see when the last pod has ended, and this cluster does not say so: it \
             takes Kubernetes 1.35, or the feature gate DeploymentReplicaSetTerminatingReplicas before it"
        );
        self.stall("RecreateNotPossible", message);
        false
    }

    /// Its pods cannot run beside those of another version.
    pub(super) fn recreates(&self, workload: &str) -> bool {
        let spec = self.observed.release.spec.workloads.iter().find(|it| it.name == workload);
        spec.is_some_and(|it| it.strategy.kind == WorkloadStrategyType::Recreate)
    }

    /// Pods of this workload are still there, or may be; also such as are ending, which have their volume as long as they run.
    pub(super) fn lingers(&self, track: Track, workload: &str) -> bool {
        let scaled = self.deployment(track, workload).is_some_and(|deployment| deployment.replicas > 0);
        let ends = |set: &ReplicaSet| set.terminating.unwrap_or(0) > 0 && !mutant::is(Mutant::EndingIsEnded);
        let is_there = |set: &ReplicaSet| set.wanted > 0 || set.replicas > 0 || ends(set) || !set.observed;
        let runs = |sets: &Vec<ReplicaSet>| of(sets, track, workload).any(is_there);
        scaled || self.observed.replica_sets.known().is_none_or(runs)
    }

    /// One that cannot run twice ends on this track first. True: it has not ended yet.
    pub(super) fn makes_way(&mut self, track: Track, workload: &str) -> bool {
        if !self.recreates(workload) || !self.lingers(track, workload) {
            return false;
        }
        if let Some(deployment) = self.deployment(track, workload).filter(|it| self.is_ours(it) && !it.deleting).cloned() {
            self.scale(&deployment, 0);
        }
        true
    }

    /// What cannot run twice ends for this candidate: then it is this one or nobody.
    pub(super) fn ends_others(&self, candidate: &Candidate) -> bool {
        let Some(active) = self.stored.active.as_ref().filter(|_| candidate.step != Stage::Preparing) else { return false };
        let has = |name: &String| active.workloads.iter().any(|record| record.name == *name);
        candidate.workloads.iter().any(|record| self.recreates(&record.name) && has(&record.name))
    }

    /// It has ended on this track for the sake of the candidate.
    pub(super) fn is_replaced(&self, track: Track, workload: &str) -> bool {
        let candidate = self.stored.candidate.as_ref().filter(|it| it.track != track && it.step != Stage::Preparing);
        let has = |candidate: &Candidate| candidate.workloads.iter().any(|record| record.name == workload);
        self.recreates(workload) && candidate.is_some_and(has)
    }
}
