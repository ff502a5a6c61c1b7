//! S1, S2 and S4 of gates: what passes was really measured, what fails was really asked, and nothing is settled on silence.
//!
//! In: a decision, or a write that lands, and what was measured by the process that made it. Out: the rules that are broken. Written anew
//! from the design's words, never from the core's functions.

use std::collections::BTreeMap;

use bascule_core::{
    JobState, Next, Observed, Plan, Service, Step,
    gate::{Ask, ProbeId, Verdict},
};
use bascule_crds::{Candidate, Gate, GateRecord, GateStage, GateState, RejectReason, ReleaseStatus, Step as Stage, Track};
use jiff::SignedDuration;

use super::{
    Rule, World,
    jobs::Sampled,
    judge::{recorded, traffic},
};

/// What of a gate was really found out, by this process and for this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Good,
    Bad,
    /// It was asked, or cannot be, and neither is true.
    Open,
    /// It has not been asked yet.
    Unasked,
}

impl World {
    /// Of one decision.
    pub(super) fn judge_gates(&mut self, observed: &Observed, plan: &Plan) {
        let stored = &observed.release.status;
        let Some(candidate) = stored.candidate.clone() else { return };
        let baking = candidate.step == Stage::Baking;
        match &plan.next {
            Next::Record(next) => {
                self.judge_passed(observed, plan, &candidate, next);
                let rejected = next.rejection(&candidate.revision).filter(|it| stored.rejection(&it.revision) != Some(it));
                if rejected.is_some_and(|it| it.reason == RejectReason::GateFailed) {
                    self.judge_failed(observed, plan, &candidate);
                }
                let stays = next.active.as_ref().is_some_and(|active| active.revision == candidate.revision);
                if baking && next.candidate.is_none() && rejected.is_none() && stays {
                    let silent = self.open(observed, plan, &candidate, GateStage::AfterSwitch);
                    self.oracle.must(silent.is_none(), Rule::S4, || format!("settled, and gate {silent:?} does not say well"));
                }
            }
            Next::Act(steps) => {
                let given_up = |step: &Step| matches!(step, Step::Route(write) if write.reason.starts_with(&RejectReason::GateFailed.to_string()));
                if steps.iter().any(given_up) {
                    self.judge_failed(observed, plan, &candidate);
                }
            }
            Next::Rest => {}
        }
    }

    /// S4: a gate passes on good answers, and on nothing else.
    fn judge_passed(&mut self, observed: &Observed, plan: &Plan, candidate: &Candidate, next: &ReleaseStatus) {
        let Some(later) = &next.candidate else { return };
        let same = (&later.revision, later.started_at) == (&candidate.revision, candidate.started_at);
        let known = |it: &GateRecord| {
            same && candidate.gates.iter().any(|old| (old.stage, &old.name, old.state) == (it.stage, &it.name, it.state))
        };
        for record in later.gates.iter().filter(|it| it.state == GateState::Passed && !known(it)) {
            let gate = gates(observed, record.stage).find(|it| it.name == record.name);
            let found = gate.map(|gate| self.found(plan, later, gate, Some(record), record.stage));
            self.oracle.must(same && found == Some(Found::Good), Rule::S4, || {
                format!("gate {} of {} is recorded as passed, and it was {found:?}", record.name, later.version)
            });
        }
    }

    /// S4: what is given up for a gate's sake was asked, and has said no or nothing good in time.
    fn judge_failed(&mut self, observed: &Observed, plan: &Plan, candidate: &Candidate) {
        let stage = if candidate.step == Stage::Baking { GateStage::AfterSwitch } else { GateStage::BeforeSwitch };
        // It was decided before, and is carried out.
        let attempt = format!("{} of {}", candidate.revision, candidate.started_at);
        let begun = traffic(observed).filter_map(|service| service.record.as_ref()).any(|it| it.reason.contains(&attempt));
        let failed = candidate.gates.iter().any(|it| it.stage == stage && it.state == GateState::Failed);
        let bake = observed.release.spec.strategy.bake.get();
        let justified = |gate: &Gate| {
            let record = record(candidate, stage, &gate.name);
            let found = self.found(plan, candidate, gate, record, stage);
            let least = if stage == GateStage::AfterSwitch { bake } else { SignedDuration::ZERO };
            let late = record.is_some_and(|it| self.now.duration_since(it.since) >= gate.timeout.get().max(least));
            // A watch that stands still shows a Job that runs on and on.
            let job = record.and_then(|it| it.job.as_ref()).and_then(|job| observed.jobs.known()?.get(&job.name));
            let runs = job.is_some_and(|it| it.state == JobState::Running);
            found == Found::Bad || (late && (found == Found::Open || runs))
        };
        let holds = begun || failed || gates(observed, stage).any(justified);
        let found = || {
            let each = gates(observed, stage);
            each.map(|it| (it.name.clone(), self.found(plan, candidate, it, record(candidate, stage, &it.name), stage)))
                .collect::<Vec<_>>()
        };
        let found = found();
        self.oracle.must(holds, Rule::S4, || format!("{} is given up for a gate's sake: {found:?}", candidate.version));
    }

    /// The first gate of a stage that does not say well.
    fn open(&self, observed: &Observed, plan: &Plan, candidate: &Candidate, stage: GateStage) -> Option<String> {
        if is_warm(candidate) {
            return None;
        }
        let good = |gate: &&Gate| self.found(plan, candidate, gate, record(candidate, stage, &gate.name), stage) == Found::Good;
        gates(observed, stage).find(|gate| !good(gate)).map(|gate| gate.name.clone())
    }

    fn found(&self, plan: &Plan, candidate: &Candidate, gate: &Gate, record: Option<&GateRecord>, stage: GateStage) -> Found {
        if gate.job.is_some() {
            let known = record.and_then(|it| it.job.as_ref()).map(|job| job.uid.clone());
            let Some(uid) = known.or_else(|| self.job_of(candidate, stage, &gate.name)) else { return Found::Open };
            let gone = self.jobs.values().all(|it| it.view.uid != uid);
            return match self.oracle.jobs.has_succeeded(&uid) {
                Some(true) => Found::Good,
                Some(false) => Found::Bad,
                None if gone => Found::Bad,
                None => Found::Open,
            };
        }
        let is_of = |id: &ProbeId| is_of(id, candidate, stage, &gate.name);
        let mut asked = self.process.sampled.iter().filter(|(id, it)| is_of(id) && it.is_answered());
        let sampled = asked.find(|(_, it)| asks(gate, candidate.track, it)).map(|(_, it)| it);
        match sampled.map(|it| &it.samples) {
            Some(it) if it.failures >= gate.failures() => Found::Bad,
            Some(it) if it.passes >= gate.successes() && it.last == Verdict::Pass => Found::Good,
            None if plan.probes.iter().any(|probe| is_of(&probe.id)) => Found::Unasked,
            _ => Found::Open,
        }
    }

    /// S1, as a write lands: before it gets any traffic every gate of this attempt has passed, and the status says so.
    pub(super) fn check_gated(&mut self, observed: &Observed, before: &BTreeMap<String, Service>, track: Track, revision: &str) {
        let status = &self.release.status;
        let Some(candidate) = status.candidate.as_ref().filter(|it| it.step != Stage::Baking) else { return };
        let is_home = status.active.as_ref().is_some_and(|it| it.track == track && it.revision == revision);
        if is_home || candidate.revision != revision || candidate.track != track {
            return;
        }
        // Once a part of the traffic is on it, the rest follows.
        if before.values().any(|it| it.preview_of.is_none() && recorded(it, track, revision)) {
            return;
        }
        let passed =
            |gate: &Gate| record(candidate, GateStage::BeforeSwitch, &gate.name).is_some_and(|it| it.state == GateState::Passed);
        // What was wanted when it was looked.
        let open = gates(observed, GateStage::BeforeSwitch).find(|gate| !passed(gate)).map(|gate| gate.name.clone());
        let holds = is_warm(candidate) || open.is_none();
        self.oracle.must(holds, Rule::S1, || format!("{revision} gets traffic, and gate {open:?} has not passed"));
    }

    /// S2: gates that say no while users are on it, by what was seen.
    pub(super) fn gates_say_no(&self, observed: &Observed, candidate: &Candidate) -> bool {
        let no = |gate: &Gate| {
            let known = record(candidate, GateStage::AfterSwitch, &gate.name).is_some();
            let meant = |id: &ProbeId| {
                let sampled = self.process.sampled.get(id).filter(|it| asks(gate, candidate.track, it));
                sampled.is_some() && is_of(id, candidate, GateStage::AfterSwitch, &gate.name)
            };
            known && observed.samples.iter().any(|it| it.failures >= gate.failures() && meant(&it.id))
        };
        !is_warm(candidate) && gates(observed, GateStage::AfterSwitch).any(no)
    }
}

fn is_of(id: &ProbeId, candidate: &Candidate, stage: GateStage, gate: &str) -> bool {
    (&id.revision, id.attempt, id.stage, id.name.as_str()) == (&candidate.revision, candidate.started_at, stage, gate)
}

fn is_warm(candidate: &Candidate) -> bool {
    candidate.rollback.as_ref().is_some_and(|it| it.warm)
}

fn gates(observed: &Observed, stage: GateStage) -> std::slice::Iter<'_, Gate> {
    let gates = &observed.release.spec.gates;
    match stage {
        GateStage::BeforeSwitch => gates.before_switch.iter(),
        GateStage::AfterSwitch => gates.after_switch.iter(),
    }
}

fn record<'a>(candidate: &'a Candidate, stage: GateStage, name: &str) -> Option<&'a GateRecord> {
    candidate.gates.iter().find(|it| it.stage == stage && it.name == name)
}

/// What was asked is what the gate says by now.
fn asks(gate: &Gate, track: Track, sampled: &Sampled) -> bool {
    match &sampled.probe.ask {
        Ask::Http(ask) => gate.http.as_ref().is_some_and(|it| it.path == ask.path),
        Ask::Prometheus(ask) => {
            gate.prometheus.as_ref().is_some_and(|it| it.query.replace("$(release.track)", track.as_str()) == ask.query)
        }
        Ask::Webhook(ask) => gate.webhook.as_ref().is_some_and(|it| it.url == ask.url),
    }
}
