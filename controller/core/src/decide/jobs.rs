//! Jobs of hooks and gates: each is created once, and what came of it is read from the cluster.
//!
//! The name says which attempt it is, so to create it a second time changes nothing. Once its uid is in the status it is never
//! created again: one that is gone by then has been deleted by another hand, and nobody knows what it did.

use std::collections::BTreeMap;

use bascule_crds::{Candidate, JobRecord, JobTemplate, Track, names};
use jiff::{SignedDuration, Timestamp};

use super::{Decision, later};
use crate::{
    body::{self, JobBody},
    mutant::{self, Mutant},
    observed::{Job, JobState, Sight},
    plan::{Read, Step},
    revision::{Rendered, short_hash, variables_of},
    variables::substitute,
};

/// A Job that is to run.
pub(super) struct Wanted<'a> {
    pub(super) kind: &'static str,
    /// As in `spec.hooks.beforeStart[migrate]`.
    pub(super) field: String,
    /// What makes it another one: the attempt, or the run.
    pub(super) attempt: String,
    pub(super) name: &'a str,
    pub(super) template: &'a JobTemplate,
    pub(super) timeout: SignedDuration,
    /// When it was to begin.
    pub(super) since: Timestamp,
    pub(super) record: Option<&'a JobRecord>,
}

/// What has become of it.
pub(super) enum Outcome {
    /// Not known at the moment, or on its way: look again.
    Pending,
    /// It was created: to be remembered before anything else.
    Created(JobRecord),
    Running,
    /// With its last words.
    Succeeded(JobRecord, String),
    Failed(JobRecord, String),
    /// It is gone, or was never seen; whether it ran cannot be known.
    Lost(String),
}

/// Whether it has ended, and with which words.
pub(super) enum End {
    Running,
    /// It has; its words are being read.
    Unheard,
    Succeeded(String),
    Failed(String),
}

/// A Job that was to begin so long ago and is not there may have run, ended and been tidied away by Kubernetes.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(12);
/// The Job controller ends it at its deadline; if nobody does, it is over all the same after this.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

impl Decision<'_> {
    /// Brings it forward by one step, and says where it is.
    pub(super) fn run(&mut self, candidate: &Candidate, wanted: &Wanted<'_>) -> Outcome {
        let name = self.job_name(candidate, wanted);
        let jobs = match &self.observed.jobs {
            Sight::Known(jobs) => jobs,
            Sight::Unknown(_) => {
                self.quiet = true;
                return Outcome::Pending;
            }
        };
        let job = jobs.get(&name).filter(|job| job.owner.as_deref() == Some(self.observed.release.uid.as_str()));
        let Some(job) = job else { return self.create(candidate, wanted, name) };
        let record = JobRecord { name: name.clone(), uid: job.uid.clone() };
        if wanted.record.is_some_and(|known| known.uid != job.uid) {
            return Outcome::Lost(format!("Job {name} was replaced by another hand; whether the first one ran is not known"));
        }
        match self.end_of(job) {
            End::Running if wanted.record.is_none() => Outcome::Created(record),
            End::Running => {
                // From when it was there: it may have waited for long before.
                let end = later(later(job.created.max(wanted.since), wanted.timeout), GRACE);
                if self.now >= end {
                    return Outcome::Failed(record, format!("Job {name} was to end within {}", told(wanted.timeout)));
                }
                self.look_at(end);
                Outcome::Running
            }
            End::Unheard => Outcome::Pending,
            End::Succeeded(words) => Outcome::Succeeded(record, words),
            End::Failed(words) => Outcome::Failed(record, words),
        }
    }

    pub(super) fn end_of(&mut self, job: &Job) -> End {
        if job.state == JobState::Running {
            return End::Running;
        }
        let Some(words) = self.last_words(&job.name) else { return End::Unheard };
        match &job.state {
            JobState::Failed(why) if words.is_empty() => End::Failed(why.clone()),
            JobState::Failed(_) => End::Failed(words),
            JobState::Succeeded | JobState::Running => End::Succeeded(words),
        }
    }

    /// None: they are being read.
    fn last_words(&mut self, job: &str) -> Option<String> {
        if let Some(words) = self.observed.words.get(job) {
            return Some(words.clone());
        }
        let read = Read::Words { job: job.to_owned() };
        // That it failed does not wait for what it said.
        if self.observed.troubles.iter().any(|trouble| trouble.target == read.target()) {
            return Some(String::new());
        }
        self.read_first(read);
        None
    }

    /// Of all Jobs that a revision may need, for a dry run: whether the server would take them.
    pub(super) fn job_bodies(&self, wanted: &Rendered, track: Track) -> Vec<serde_json::Value> {
        let artifacts = wanted.artifacts.clone();
        let candidate = Candidate::new(wanted.revision.as_str(), &wanted.version, track, artifacts, self.now);
        let spec = &self.observed.release.spec;
        let hooks = spec.hooks.before_start.iter().map(|hook| ("hook", "hooks.beforeStart", &hook.name, &hook.job, hook.timeout));
        let gates = |stage, gates: &'_ [bascule_crds::Gate]| {
            let jobs = gates.iter().filter_map(|gate| Some((gate.name.clone(), gate.job.clone()?, gate.timeout)));
            jobs.map(move |(name, job, timeout)| ("gate", stage, name, job, timeout)).collect::<Vec<_>>()
        };
        let hooks = hooks.map(|(kind, stage, name, job, timeout)| (kind, stage, name.clone(), job.clone(), timeout));
        let all = hooks
            .chain(gates("gates.beforeSwitch", &spec.gates.before_switch))
            .chain(gates("gates.afterSwitch", &spec.gates.after_switch));
        let bodies = all.filter_map(|(kind, stage, name, template, timeout)| {
            let wanted = Wanted {
                kind,
                field: format!("spec.{stage}[{name}]"),
                attempt: "dry run".to_owned(),
                name: &name,
                template: &template,
                timeout: timeout.get(),
                since: self.now,
                record: None,
            };
            let job = self.job_name(&candidate, &wanted);
            self.job_body(&candidate, &wanted, &job).ok()
        });
        bodies.collect()
    }

    fn create(&mut self, candidate: &Candidate, wanted: &Wanted<'_>, name: String) -> Outcome {
        if wanted.record.is_some() && !self.observed.absent.contains(&name) {
            // What a watch does not show may be there all the same.
            self.read_first(Read::Job { job: name });
            return Outcome::Pending;
        }
        if wanted.record.is_some() && !mutant::is(Mutant::RunAgain) {
            return Outcome::Lost(gone(&name));
        }
        // Since this process looks it would have been seen.
        if self.observed.since >= later(wanted.since, FORGOTTEN) {
            return Outcome::Lost(format!(
                "Job {name} was to begin at {} and is not there; whether it ran is not known",
                wanted.since
            ));
        }
        let target = format!("job/{name}");
        let refused = self.observed.troubles.iter().find(|trouble| trouble.target == target);
        if let Some(trouble) = refused.filter(|it| self.now >= later(it.since.max(wanted.since), wanted.timeout)) {
            return Outcome::Lost(trouble.message.clone());
        }
        match self.job_body(candidate, wanted, &name) {
            Ok(body) => {
                self.work.push(Step::Run { job: name, body });
                Outcome::Pending
            }
            // The Environment cannot be read at the moment, or does not accept the namespace: nothing has run, and nothing is lost.
            Err(None) => {
                self.quiet = true;
                Outcome::Pending
            }
            Err(Some(why)) => Outcome::Lost(why),
        }
    }

    /// None as an error: it cannot be said at the moment.
    pub(super) fn job_body(
        &self,
        candidate: &Candidate,
        wanted: &Wanted<'_>,
        name: &str,
    ) -> Result<serde_json::Value, Option<String>> {
        let field = format!("{}.job.template", wanted.field);
        let variables = variables_of(self.observed, candidate, &self.pod_hash(candidate)).map_err(|_| None)?;
        let template = substitute(&wanted.template.template, &field, &variables).map_err(|error| Some(error.to_string()))?;
        let job = JobBody {
            name,
            kind: wanted.kind,
            revision: &candidate.revision,
            field,
            template,
            deadline: wanted.timeout,
            environment: self.environment(candidate),
        };
        Ok(body::job(&self.observed.release, &job))
    }

    /// Readable, and another one for each run. Its pods' names are longer by six.
    pub(super) fn job_name(&self, candidate: &Candidate, wanted: &Wanted<'_>) -> String {
        self.name_of_job(&candidate.revision, &wanted.field, &wanted.attempt, wanted.name)
    }

    pub(super) fn name_of_job(&self, revision: &str, field: &str, attempt: &str, name: &str) -> String {
        let release = &self.observed.release;
        let hash = short_hash(format!("{}/{revision}/{field}/{attempt}", release.uid));
        let readable: String = format!("{}-{name}", release.name).chars().take(44).collect();
        format!("{}-{hash}", readable.trim_end_matches(['-', '.']))
    }

    /// What a Job is told of the candidate.
    fn environment(&self, candidate: &Candidate) -> BTreeMap<String, String> {
        let release = &self.observed.release;
        let mut environment = BTreeMap::from([
            ("BASCULE_RELEASE".to_owned(), release.name.clone()),
            ("BASCULE_NAMESPACE".to_owned(), release.namespace.clone()),
            ("BASCULE_REVISION".to_owned(), candidate.revision.clone()),
            ("BASCULE_VERSION".to_owned(), candidate.version.clone()),
            ("BASCULE_TRACK".to_owned(), candidate.track.to_string()),
        ]);
        for artifact in &candidate.artifacts {
            let archive = artifact.archive.as_ref();
            let fields = [
                ("IMAGE", artifact.image.as_ref()),
                ("TAG", artifact.tag.as_ref()),
                ("DIGEST", artifact.digest.as_ref()),
                ("COMMIT", artifact.commit.as_ref()),
                ("BUCKET", archive.map(|archive| &archive.bucket)),
                ("KEY", archive.map(|archive| &archive.key)),
                ("VERSION_ID", archive.and_then(|archive| archive.version_id.as_ref())),
                ("SHA256", archive.and_then(|archive| archive.sha256.as_ref())),
            ];
            let name = upper(&artifact.name);
            let known = fields.into_iter().filter_map(|(field, value)| Some((format!("BASCULE_{name}_{field}"), value?.clone())));
            environment.extend(known);
        }
        let urls = self.addresses().into_iter().map(|(service, port)| {
            let url = format!("http://{}.{}.svc:{port}", names::preview(&service), release.namespace);
            (format!("BASCULE_URL_{}", upper(&service)), url)
        });
        environment.extend(urls);
        environment
    }

    /// Services that have a preview, with the port that it answers on.
    pub(super) fn addresses(&self) -> Vec<(String, i32)> {
        let spec = &self.observed.release.spec;
        let services = spec.services.iter().filter(|_| spec.preview);
        let port = |name: &String| {
            let service = self.observed.services.get(name)?.known()?.as_ref()?;
            Some((name.clone(), service.ports.first()?.port))
        };
        services.filter_map(|reference| port(&reference.name)).collect()
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}

/// Of one that the status knows.
pub(super) fn gone(job: &str) -> String {
    format!("Job {job} is gone, and its end was not seen; what it did is not known")
}

pub(super) fn told(duration: SignedDuration) -> String {
    format!("{} s", duration.as_secs())
}
