//! The Job controller, and what gates measure: the answers of the world outside.

use std::collections::BTreeMap;

use bascule_core::{
    Job, JobState,
    gate::{Ask, Probe, ProbeId, Samples, Verdict},
    input::Input,
};
use bascule_crds::names;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Rule, World};

/// A Job, and what its pod is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub view: Job,
    pub image: String,
    ends: Option<(Timestamp, JobState)>,
}

/// What a process has measured by one probe.
#[derive(Clone, Debug)]
pub struct Sampled {
    probe: Probe,
    samples: Samples,
    next: Timestamp,
}

impl World {
    /// POST of a Job. One of that name that is there already stays as it is.
    pub(super) fn create_job(&mut self, name: &str, body: &Value) {
        self.write(format!("run {name}"));
        if self.jobs.contains_key(name) {
            return;
        }
        let label = |key: &str| body["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let field = body["metadata"]["annotations"][names::FIELD].as_str().unwrap_or_default();
        let key = format!("{}/{field}", label(names::REVISION));
        if label(names::JOB) == "hook" {
            let again = self.oracle.ran.entry(key.clone()).or_default();
            *again += 1;
            let (times, retried) = (*again, self.release.status.hooks.iter().map(|it| it.run as usize).max().unwrap_or(1));
            self.oracle.must(times <= retried, Rule::S7, || format!("hook {key} runs for the {times}. time"));
        }
        let image = body["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        let deadline = SignedDuration::from_secs(body["spec"]["activeDeadlineSeconds"].as_i64().unwrap());
        let after = |secs: i64| self.now + SignedDuration::from_secs(secs);
        let failed = || JobState::Failed("BackoffLimitExceeded".into());
        let (at, state) = match image.rsplit_once("--").map(|(_, tail)| tail) {
            Some("fails") => (self.now, failed()),
            Some("hangs") => (self.now + deadline, JobState::Failed("DeadlineExceeded".into())),
            Some(tail) if tail.starts_with("slow") => (after(tail[4..].parse().unwrap()), JobState::Succeeded),
            _ => (self.now, JobState::Succeeded),
        };
        let view = Job {
            name: name.to_owned(),
            uid: format!("{name}-{}", self.version),
            owner: Some(self.release.uid.clone()),
            is_hook: label(names::JOB) == "hook",
            state: JobState::Running,
        };
        self.jobs.insert(name.to_owned(), Running { view, image, ends: Some((at, state)) });
    }

    /// A Job that runs is seen to run before it is seen to end.
    pub(super) fn jobs_move(&mut self) {
        for job in self.jobs.values_mut() {
            if let Some((_, state)) = job.ends.take_if(|(at, _)| *at <= self.now) {
                job.view.state = state;
            }
        }
    }

    pub(super) fn next_job_change(&self) -> Option<Timestamp> {
        self.jobs.values().filter_map(|job| job.ends.as_ref()).map(|(at, _)| *at).filter(|at| *at > self.now).min()
    }

    /// Somebody deletes all Jobs.
    pub fn drop_jobs(&mut self) {
        self.jobs.clear();
    }

    pub(super) fn next_sample(&self) -> Option<Timestamp> {
        self.process.sampled.values().map(|it| it.next).filter(|at| *at > self.now).min()
    }

    /// Exactly these are asked from now on. True: somebody has answered.
    pub(super) fn sample(&mut self, probes: &[Probe]) -> bool {
        let mut kept: BTreeMap<ProbeId, Sampled> = BTreeMap::new();
        let mut answered = false;
        for probe in probes {
            let known = self.process.sampled.remove(&probe.id).filter(|known| known.probe == *probe);
            let due = known.as_ref().is_none_or(|known| known.next <= self.now);
            let mut asked = known.unwrap_or_else(|| Sampled {
                probe: probe.clone(),
                samples: Samples {
                    id: probe.id.clone(),
                    passes: 0,
                    failures: 0,
                    last: Verdict::Unknown("not asked".into()),
                    at: self.now,
                    began: self.now,
                    good: None,
                },
                next: self.now,
            });
            if due {
                let verdict = self.measure(probe);
                let samples = &mut asked.samples;
                samples.passes = if verdict == Verdict::Pass { samples.passes + 1 } else { 0 };
                samples.failures += u32::from(matches!(verdict, Verdict::Fail(_)));
                samples.good = if verdict == Verdict::Pass { Some(self.now) } else { samples.good };
                samples.last = verdict;
                samples.at = self.now;
                asked.next = self.now + probe.every;
                answered = true;
            }
            kept.insert(probe.id.clone(), asked);
        }
        self.process.sampled = kept;
        answered
    }

    /// What the world says by itself, or as it was told to by the name of the gate.
    fn measure(&self, probe: &Probe) -> Verdict {
        if let Ask::Http(_) = probe.ask
            && self.killed.contains(&probe.id.revision)
        {
            return Verdict::Fail("connection refused".into());
        }
        self.gauges.get(&probe.id.name).cloned().unwrap_or(Verdict::Pass)
    }

    pub(super) fn samples(&self) -> Vec<Samples> {
        self.process.sampled.values().map(|it| it.samples.clone()).collect()
    }

    pub(super) fn store_input(&mut self, revision: &str, body: &Value) {
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        self.write(format!("store {revision}"));
        self.revisions.entry(name).or_insert_with(|| body["data"].clone());
        self.process.stored = Some(revision.to_owned());
        self.process.discarded.remove(revision);
    }

    pub(super) fn read_input(&mut self, revision: &str, name: &str) {
        let input = self.revisions.get(name).map(|data| serde_json::from_value::<Input>(data.clone()).unwrap());
        self.process.inputs.insert(revision.to_owned(), input);
    }
}
