//! What must have run before any pod of a revision starts: one Job after the other, each once for a revision.
//!
//! What came of a hook is kept by revision in the status, whatever becomes of the candidate: a revision that comes back finds it done.

use bascule_crds::{Candidate, Hook, HookRecord, HookState, JobRecord, RejectReason, Step as Stage};

use super::{
    Decision,
    jobs::{End, Outcome, Wanted, gone},
    note,
};
use crate::{
    mutant::{self, Mutant},
    observed::{JobState, Sight},
    plan::{NoteKind, Read},
};

/// Records of hooks that are kept beside those of revisions that may come back at any moment.
const KEPT: usize = 40;
/// Of the words of an older one: enough for the name of a backup.
const BEGINNING: usize = 120;

impl Decision<'_> {
    fn hooks(&self, candidate: &Candidate) -> Vec<Hook> {
        // One that returns has been here before.
        if candidate.rollback.is_some() { Vec::new() } else { self.observed.release.spec.hooks.before_start.clone() }
    }

    /// The first step of a candidate: its hooks, or its pods.
    pub(super) fn first_step(&mut self, candidate: &mut Candidate) {
        let Some(first) = self.hooks(candidate).into_iter().find(|hook| !self.has_run(&candidate.revision, &hook.name)) else {
            return;
        };
        candidate.step = Stage::Preparing;
        candidate.summary = Candidate::summarise(&candidate.version, Stage::Preparing);
        candidate.prepared_at = None;
        self.intend(&candidate.revision.clone(), &first.name);
    }

    /// A person says so: what failed runs once more.
    pub(super) fn retry_hooks(&mut self, revision: &str) {
        for record in self.next.hooks.iter_mut().filter(|it| it.revision == revision && it.state == HookState::Failed) {
            record.state = HookState::Running;
            record.run = record.run.saturating_add(1);
            record.message = String::new();
            record.job = None;
            record.at = self.now;
        }
    }

    fn has_run(&self, revision: &str, hook: &str) -> bool {
        self.next.hooks.iter().any(|record| record.is(revision, hook) && record.state == HookState::Done)
    }

    /// Written before its Job is created.
    fn intend(&mut self, revision: &str, hook: &str) {
        let now = self.now;
        // One that is there keeps its time: a Job of it may have been created, and be gone by now.
        if self.next.hooks.iter().all(|record| !record.is(revision, hook)) {
            self.forget_hooks();
            self.shorten_words();
            self.next.hooks.push(HookRecord {
                revision: revision.to_owned(),
                name: hook.to_owned(),
                state: HookState::Running,
                message: String::new(),
                at: now,
                run: 1,
                job: None,
            });
        }
        self.must_record = true;
    }

    /// Those of revisions that nobody knows any more, the oldest first.
    fn forget_hooks(&mut self) {
        let status = &self.next;
        let known = |revision: &str| {
            status.active.iter().chain(&status.previous).any(|version| version.revision == revision)
                || status.candidate.as_ref().is_some_and(|candidate| candidate.revision == revision)
                || status.rejection(revision).is_some()
                || status.history.iter().any(|released| released.revision == revision)
        };
        let strange: Vec<_> = status.hooks.iter().map(|record| !known(&record.revision)).collect();
        let mut surplus = strange.iter().filter(|strange| **strange).count().saturating_sub(KEPT);
        let mut strange = strange.into_iter();
        self.next.hooks.retain(|_| {
            let goes = strange.next().unwrap_or(false) && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Of the newest hooks their words are kept as a whole; of the others their beginning. Of fifty versions with eight hooks each the words alone
    /// would else be longer than an object may be, and then no status could be written any more.
    fn shorten_words(&mut self) {
        let older = self.next.hooks.len().saturating_sub(KEPT);
        for record in &mut self.next.hooks[..older] {
            if let Some((end, _)) = record.message.char_indices().nth(BEGINNING) {
                record.message.truncate(end);
                record.message.push('…');
            }
        }
    }

    /// All hooks are through: pods may start. Brings the one whose turn it is forward.
    pub(super) fn prepared(&mut self, candidate: &Candidate) -> bool {
        if candidate.step != Stage::Preparing {
            return true;
        }
        for hook in self.hooks(candidate) {
            let Some(record) = self.next.hooks.iter().find(|record| record.is(&candidate.revision, &hook.name)).cloned() else {
                if self.rests(|version| format!("hook {} of {version} does not begin", hook.name), candidate) {
                    return false;
                }
                self.intend(&candidate.revision, &hook.name);
                return false;
            };
            match record.state {
                HookState::Done => {}
                HookState::Failed => {
                    self.fail(candidate, &hook, &record.message);
                    return false;
                }
                HookState::Running => {
                    if !self.run_hook(candidate, &hook, &record) {
                        return false;
                    }
                }
            }
        }
        if self.waits_for_left(candidate) {
            return false;
        }
        if self.rests(|version| format!("the hooks of {version} are done, and its pods do not start"), candidate) {
            return false;
        }
        if let Some(next) = &mut self.next.candidate {
            next.step = Stage::Starting;
            next.summary = Candidate::summarise(&next.version, Stage::Starting);
            next.message = String::new();
            next.prepared_at = Some(self.now);
        }
        self.must_record = true;
        false
    }

    /// A person holds it: what runs goes on, and nothing more begins.
    fn rests(&mut self, what: impl FnOnce(&str) -> String, candidate: &Candidate) -> bool {
        let Some((reason, why)) = self.paused().filter(|_| !mutant::is(Mutant::IgnoreHold)) else { return false };
        self.preparing(String::new());
        self.wait(reason, format!("{why}: {}", what(&candidate.version)));
        true
    }

    /// True when it is done.
    fn run_hook(&mut self, candidate: &Candidate, hook: &Hook, record: &HookRecord) -> bool {
        let wanted = Wanted {
            kind: "hook",
            field: field(&hook.name),
            attempt: record.run.to_string(),
            name: &hook.name,
            template: &hook.job,
            timeout: hook.timeout.get(),
            since: record.at,
            record: record.job.as_ref(),
        };
        if record.job.is_none() && self.hook_is_wrong(hook) {
            return false;
        }
        if record.job.is_none() && (self.waits(candidate, &wanted) || self.another_runs(candidate, &wanted)) {
            return false;
        }
        match self.run(candidate, &wanted) {
            Outcome::Pending => {}
            Outcome::Running => self.preparing(format!("hook {} runs", hook.name)),
            Outcome::Created(job) => {
                self.remember(&candidate.revision, &hook.name, HookState::Running, Some(job), String::new());
                self.preparing(format!("hook {} runs", hook.name));
            }
            Outcome::Succeeded(job, words) => {
                self.remember(&candidate.revision, &hook.name, HookState::Done, Some(job), words);
                let message = format!("hook {} of {} ({}) is done", hook.name, candidate.version, candidate.revision);
                self.record_notes.push(note(NoteKind::HookDone, message));
                return true;
            }
            Outcome::Failed(job, why) => {
                self.remember(&candidate.revision, &hook.name, HookState::Failed, Some(job), why.clone());
                self.fail(candidate, hook, &why);
            }
            Outcome::Lost(why) => {
                self.remember(&candidate.revision, &hook.name, HookState::Failed, record.job.clone(), why.clone());
                self.fail(candidate, hook, &why);
            }
        }
        false
    }

    /// What has become of those whose turn it is no more: their version made way, or the spec does not name them now. A revision that comes
    /// back finds it.
    pub(super) fn follow_hooks(&mut self) {
        let Sight::Known(jobs) = &self.observed.jobs else { return };
        let uid = self.observed.release.uid.as_str();
        let left = self.stored.hooks.iter().filter(|record| record.state == HookState::Running && !self.has_its_turn(record));
        for record in left.cloned().collect::<Vec<_>>() {
            let Some(job) = jobs.get(&self.job_of(&record)).filter(|job| job.owner.as_deref() == Some(uid)) else { continue };
            if record.job.as_ref().is_some_and(|known| known.uid != job.uid) {
                continue;
            }
            let (state, words) = match self.end_of(job) {
                End::Running if record.job.is_none() => (HookState::Running, String::new()),
                End::Running | End::Unheard => continue,
                End::Succeeded(words) => (HookState::Done, words),
                End::Failed(words) => (HookState::Failed, words),
            };
            let known = Some(JobRecord { name: job.name.clone(), uid: job.uid.clone() });
            self.remember(&record.revision, &record.name, state, known, words);
        }
    }

    /// The candidate waits for it, and brings it forward.
    fn has_its_turn(&self, record: &HookRecord) -> bool {
        let candidate = self.stored.candidate.as_ref().filter(|candidate| candidate.step == Stage::Preparing);
        candidate.is_some_and(|candidate| self.hooks(candidate).iter().any(|hook| record.is(&candidate.revision, &hook.name)))
    }

    /// One that this version has begun still runs, and the spec has forgotten it.
    fn waits_for_left(&mut self, candidate: &Candidate) -> bool {
        let spec = self.hooks(candidate);
        let is_left = |record: &&HookRecord| {
            record.revision == candidate.revision
                && record.state == HookState::Running
                && spec.iter().all(|hook| hook.name != record.name)
        };
        let left: Vec<_> = self.next.hooks.iter().filter(is_left).cloned().collect();
        let mut waits = false;
        for record in left {
            let name = self.job_of(&record);
            let Sight::Known(jobs) = &self.observed.jobs else {
                self.quiet = true;
                return true;
            };
            if jobs.contains_key(&name) {
                self.preparing(format!("hook {} is not in the spec any more, and its Job {name} still runs", record.name));
                waits = true;
            } else if !self.observed.absent.contains(&name) {
                self.read_first(Read::Job { job: name });
                waits = true;
            } else if record.job.is_some() {
                self.remember(&record.revision, &record.name, HookState::Failed, record.job, gone(&name));
            } else {
                // It was meant, and never ran.
                self.next.hooks.retain(|it| !it.is(&record.revision, &record.name));
                self.must_record = true;
            }
        }
        waits
    }

    fn job_of(&self, record: &HookRecord) -> String {
        self.name_of_job(&record.revision, &field(&record.name), &record.run.to_string(), &record.name)
    }

    /// It was to begin, has not been seen to, and is not to begin any more.
    fn waits(&mut self, candidate: &Candidate, wanted: &Wanted<'_>) -> bool {
        let own = self.job_name(candidate, wanted);
        let begun = self.observed.jobs.known().is_none_or(|jobs| jobs.contains_key(&own));
        !begun && self.rests(|version| format!("hook {} of {version} does not begin", wanted.name), candidate)
    }

    /// A hook of a version that has made way still runs, or may do so: two migrations at once are what hooks are there to prevent.
    fn another_runs(&mut self, candidate: &Candidate, wanted: &Wanted<'_>) -> bool {
        if mutant::is(Mutant::HooksSideBySide) {
            return false;
        }
        let Sight::Known(jobs) = &self.observed.jobs else { return false };
        let own = self.job_name(candidate, wanted);
        let running = jobs.values().find(|job| job.is_hook && job.state == JobState::Running && job.name != own);
        if let Some(other) = running {
            let message = format!("hook {} of {} waits for Job {}, which still runs", wanted.name, candidate.version, other.name);
            self.preparing(message);
            return true;
        }
        // What another process has begun may not be shown here yet.
        let begun = self.stored.hooks.iter().filter(|record| record.state == HookState::Running);
        let begun = begun.map(|record| self.job_of(record));
        let unseen = |job: &String| *job != own && !jobs.contains_key(job) && !self.observed.absent.contains(job);
        let unseen: Vec<_> = begun.filter(unseen).map(|job| Read::Job { job }).collect();
        let waits = !unseen.is_empty();
        for read in unseen {
            self.read_first(read);
        }
        waits
    }

    fn remember(&mut self, revision: &str, hook: &str, state: HookState, job: Option<JobRecord>, message: String) {
        let now = self.now;
        if let Some(record) = self.next.hooks.iter_mut().find(|record| record.is(revision, hook)) {
            record.state = state;
            record.message = message;
            record.job = job;
            if state != HookState::Running {
                record.at = now;
            }
        }
        self.must_record = true;
    }

    fn preparing(&mut self, message: String) {
        self.progress(Stage::Preparing, message);
    }

    fn fail(&mut self, candidate: &Candidate, hook: &Hook, why: &str) {
        self.reject(candidate, RejectReason::HookFailed, &format!("hook {} failed: {why}", hook.name));
    }
}

/// As it stands in the Release.
pub(super) fn field(hook: &str) -> String {
    format!("spec.hooks.beforeStart[{hook}]")
}
