//! The Job controller, and what gates measure: the answers of the world outside. S7: what must run once runs once.

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Job, JobState, Observed,
    gate::{Ask, Probe, ProbeId, Samples, Verdict},
    input::Input,
};
use bascule_crds::{Candidate, GateStage, ReleaseStatus, names};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Rule, World};

/// A Job, and what its pod is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub view: Job,
    pub image: String,
    revision: String,
    field: String,
    made_at: Timestamp,
    ends: Option<(Timestamp, JobState)>,
}

/// What a process has measured by one probe.
#[derive(Clone, Debug)]
pub struct Sampled {
    pub(super) probe: Probe,
    pub(super) samples: Samples,
    /// Answers so far.
    times: u32,
    next: Timestamp,
}

impl Sampled {
    pub(super) fn is_answered(&self) -> bool {
        self.times > 0
    }
}

/// What is true of Jobs, whatever the cluster still shows of them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// How those that have ended did, by uid.
    ended: BTreeMap<String, bool>,
    /// Names of those whose uid a status has had.
    recorded: BTreeSet<String>,
    /// How often each hook of each revision was created.
    ran: BTreeMap<(String, String), u32>,
    /// Hooks of revisions that have succeeded.
    done: BTreeSet<(String, String)>,
}

impl Ledger {
    /// None: it has not ended.
    pub(super) fn has_succeeded(&self, uid: &str) -> Option<bool> {
        self.ended.get(uid).copied()
    }

    pub(super) fn is_done(&self, revision: &str, hook: &str) -> bool {
        self.done.contains(&(revision.to_owned(), hook.to_owned()))
    }

    /// The record of what was created is lost; nobody can know it any more but by the Jobs themselves.
    pub(super) fn forget(&mut self) {
        self.recorded.clear();
        self.ran.clear();
    }
}

/// Name of the hook that a field is about.
fn hook_of(field: &str) -> Option<&str> {
    Some(field.strip_prefix("spec.hooks.beforeStart[")?.split_once(']')?.0)
}

impl World {
    /// POST of a Job. One of that name that is there already stays as it is.
    pub(super) fn create_job(&mut self, observed: &Observed, name: &str, body: &Value) {
        self.write(format!("run {name}"));
        if self.jobs.contains_key(name) {
            return;
        }
        let label = |key: &str| body["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let field = body["metadata"]["annotations"][names::FIELD].as_str().unwrap_or_default();
        let again = self.oracle.jobs.recorded.contains(name);
        self.oracle.must(!again, Rule::S7, || format!("Job {name} for {field} is created again, and its uid is in the status"));
        if let Some(hook) = hook_of(field) {
            self.check_hook(observed, &label(names::REVISION), hook);
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
            created: self.now,
            state: JobState::Running,
        };
        let (revision, field) = (label(names::REVISION), field.to_owned());
        let running = Running { view, image, revision, field, made_at: self.now, ends: Some((at, state)) };
        self.jobs.insert(name.to_owned(), running);
    }

    /// S7: once for each run, never two at once, and in the order in which they are written.
    fn check_hook(&mut self, observed: &Observed, revision: &str, hook: &str) {
        let times = self.oracle.jobs.ran.entry((revision.to_owned(), hook.to_owned())).or_default();
        *times += 1;
        let times = *times;
        let runs = self.release.status.hooks.iter().find(|it| it.is(revision, hook)).map_or(0, |it| it.run);
        self.oracle.must(times <= runs, Rule::S7, || {
            format!("hook {hook} of {revision} runs for the {times}. time, and the status says {runs}")
        });
        let other = self.jobs.values().find(|job| job.view.is_hook && job.view.state == JobState::Running);
        let other = other.map(|job| format!("{} of {}", job.field, job.revision));
        self.oracle.must(other.is_none(), Rule::S7, || format!("hook {hook} of {revision} starts while {other:?} runs"));
        let spec = &observed.release.spec;
        let mut before = spec.hooks.before_start.iter().take_while(|it| it.name != hook);
        let early = before.find(|it| !self.oracle.jobs.is_done(revision, &it.name)).map(|it| it.name.clone());
        self.oracle
            .must(early.is_none(), Rule::S7, || format!("hook {hook} of {revision} starts before {early:?} has succeeded"));
    }

    /// uid of the Job of a gate, in this attempt.
    pub(super) fn job_of(&self, candidate: &Candidate, stage: GateStage, gate: &str) -> Option<String> {
        let stage = match stage {
            GateStage::BeforeSwitch => "beforeSwitch",
            GateStage::AfterSwitch => "afterSwitch",
        };
        let field = format!("spec.gates.{stage}[{gate}]");
        let is_meant = |job: &&Running| {
            job.revision == candidate.revision && job.field.starts_with(&field) && job.made_at >= candidate.started_at
        };
        self.jobs.values().find(is_meant).map(|job| job.view.uid.clone())
    }

    /// What a status says from now on of Jobs that were created.
    pub(super) fn note_jobs(&mut self, next: &ReleaseStatus) {
        let of_gates = next.candidate.iter().flat_map(|it| &it.gates).filter_map(|it| it.job.as_ref());
        let of_hooks = next.hooks.iter().filter_map(|it| it.job.as_ref());
        self.oracle.jobs.recorded.extend(of_gates.chain(of_hooks).map(|it| it.name.clone()));
    }

    /// A Job that runs is seen to run before it is seen to end.
    pub(super) fn jobs_move(&mut self) {
        let ledger = &mut self.oracle.jobs;
        for job in self.jobs.values_mut() {
            if let Some((_, state)) = job.ends.take_if(|(at, _)| *at <= self.now) {
                let good = state == JobState::Succeeded;
                ledger.ended.insert(job.view.uid.clone(), good);
                if let Some(hook) = hook_of(&job.field).filter(|_| good) {
                    ledger.done.insert((job.revision.clone(), hook.to_owned()));
                }
                job.view.state = state;
            }
        }
    }

    pub(super) fn next_job_change(&self) -> Option<Timestamp> {
        self.jobs.values().filter_map(|job| job.ends.as_ref()).map(|(at, _)| *at).filter(|at| *at > self.now).min()
    }

    /// Somebody deletes all Jobs. Of one that no status knows nobody can tell that it was there.
    pub fn drop_jobs(&mut self) {
        let ledger = &mut self.oracle.jobs;
        for (name, job) in std::mem::take(&mut self.jobs) {
            let key = hook_of(&job.field).map(|hook| (job.revision.clone(), hook.to_owned()));
            if let Some(times) = key.and_then(|key| ledger.ran.get_mut(&key)).filter(|_| !ledger.recorded.contains(&name)) {
                *times = times.saturating_sub(1);
            }
        }
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
                times: 0,
                next: self.now + self.latency.min(probe.within),
            });
            if asked.next <= self.now {
                let verdict = self.measure(probe);
                let samples = &mut asked.samples;
                samples.passes = if verdict == Verdict::Pass { samples.passes + 1 } else { 0 };
                samples.failures += u32::from(matches!(verdict, Verdict::Fail(_)));
                samples.good = if verdict == Verdict::Pass { Some(self.now) } else { samples.good };
                samples.last = verdict;
                samples.at = self.now;
                asked.times += 1;
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

    /// What has been answered so far.
    pub(super) fn samples(&self) -> Vec<Samples> {
        self.process.sampled.values().filter(|it| it.is_answered()).map(|it| it.samples.clone()).collect()
    }

    /// Probes of a plan that would be answered at this very moment.
    pub fn due_samples(&self, probes: &[Probe]) -> usize {
        let known = |probe: &Probe| self.process.sampled.get(&probe.id).filter(|known| known.probe == *probe);
        let at = |probe: &Probe| known(probe).map_or(self.now + self.latency.min(probe.within), |known| known.next);
        probes.iter().filter(|probe| at(probe) <= self.now).count()
    }

    pub(super) fn store_input(&mut self, revision: &str, body: &Value) {
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        self.write(format!("store {revision}"));
        self.revisions.entry(name).or_insert_with(|| body["data"].clone());
        self.process.stored = Some(revision.to_owned());
        self.process.discarded.remove(revision);
        self.process.inputs.remove(revision);
    }

    pub(super) fn read_input(&mut self, revision: &str, name: &str) {
        let input = self.revisions.get(name).map(|data| serde_json::from_value::<Input>(data.clone()).unwrap());
        self.process.inputs.insert(revision.to_owned(), input);
    }
}
