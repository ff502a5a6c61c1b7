//! What cannot run twice at the same time: its pods end on one track before they start on the other, in both directions.
//!
//! A workload says so by `strategy.type: Recreate`. Everything else is as for all the others: it is gated, and the template that it had
//! before is the way back. Volumes that only one node can write are refused without it.

use std::collections::BTreeMap;

use bascule_crds::{Candidate, Step as Stage, Track};

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
        true
    }

    pub(super) fn recreates(&self, workload: &str) -> bool {
        self.observed.release.recreates(workload)
    }

    /// Pods of this workload are still there on a track, or may be. The watches say when that cannot be; that it is over says the API server
    /// itself, for a pod that is ending still has its volume, and no count shows it.
    pub(super) fn lingers(&mut self, workload: &str) -> bool {
        let tracks = [Track::Blue, Track::Green];
        let deployments: Vec<_> =
            tracks.iter().filter_map(|track| self.deployment(*track, workload)).filter(|it| self.is_ours(it)).collect();
        let is_there = |set: &ReplicaSet| set.wanted > 0 || set.replicas > 0 || !set.observed;
        let runs = |sets: &Vec<ReplicaSet>| tracks.iter().any(|track| of(sets, *track, workload).any(is_there));
        if deployments.iter().any(|it| it.replicas > 0) || self.observed.replica_sets.known().is_none_or(runs) {
            return true;
        }
        if mutant::is(Mutant::EndingIsEnded) {
            return false;
        }
        let generations: BTreeMap<_, _> = deployments.iter().map(|it| (it.name.clone(), it.generation)).collect();
        if let Some(seen) = self.observed.ended.get(workload) {
            let again = later(seen.at, self.policy.look_for_ends);
            let is_left = seen.left.is_some() || seen.generations != generations;
            if self.now < again {
                self.look_at(again);
                return is_left;
            }
        }
        self.read_first(Read::Ends { workload: workload.to_owned() });
        true
    }

    /// One that cannot run twice ends on the other track first. True: it has not ended yet.
    pub(super) fn makes_way(&mut self, candidate: &Candidate, workload: &str) -> bool {
        if !self.recreates(workload) {
            return false;
        }
        if let Some(other) =
            self.deployment(candidate.track.other(), workload).filter(|it| self.is_ours(it) && !it.deleting).cloned()
            && other.replicas > 0
        {
            self.scale(&other, 0);
            return true;
        }
        self.candidate_replicas(workload) > 0 && !self.has_pods(candidate.track, workload) && self.lingers(workload)
    }

    /// It is to have some; then nothing waits for it any more.
    pub(super) fn has_pods(&self, track: Track, workload: &str) -> bool {
        self.deployment(track, workload).is_some_and(|deployment| deployment.replicas > 0)
    }

    /// What a candidate that cannot run twice waits for, once that takes longer than it should.
    pub(super) fn waits_for_ends(&self, candidate: &Candidate) -> Option<String> {
        let long = self.now >= later(candidate.prepared_at.unwrap_or(candidate.started_at), self.policy.look_after);
        let left = |workload: &String| self.observed.ended.get(workload)?.left.as_ref();
        let waits = candidate
            .workloads
            .iter()
            .map(|record| &record.name)
            .filter(|name| long && self.recreates(name) && !self.has_pods(candidate.track, name));
        waits.into_iter().find_map(left).map(|left| format!("waits until the version before has ended: {left}"))
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
