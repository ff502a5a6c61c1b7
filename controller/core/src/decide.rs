//! The one function that everything is about: what is observed goes in, a plan comes out.
//!
//! In: a snapshot, the time, the policy. Out: at most one dependent action, and when to look again.
//! Traffic comes first, then what must be remembered, then pods that start, then pods that end. A room for each concern:
//! `traffic` (where the Services point), `candidate` (from wanted to switched), `bake` (watching it, and the way back),
//! `hooks` (what must run before), `gates` (what must be measured), `jobs` (what both may run), `workloads` (Deployments and their pods),
//! `recreate` (what cannot run twice), `history` and `way_back` (what was released, and whether it can be returned to),
//! `checks` (what is wrong with hooks and gates as they are written), `previews`, `operations` (what people ask) and `conditions` (what is said).

mod bake;
mod candidate;
mod checks;
mod conditions;
mod gates;
mod history;
mod hooks;
mod jobs;
mod operations;
mod previews;
mod recreate;
mod traffic;
mod way_back;
mod workloads;

use bascule_crds::{Candidate, RejectReason, Rejection, ReleaseStatus, Step as Stage};
use jiff::{SignedDuration, Timestamp};

use crate::{
    gate::Probe,
    mutant::{self, Mutant},
    observed::{Observed, Trouble},
    plan::{Next, Note, NoteKind, Plan, Policy, Read, Step},
    revision::{Blocked, Rendered, render},
    sources::Report,
};
pub use conditions::was_rejected;
use operations::Abort;

/// The target of a trouble with the status itself.
pub const STATUS: &str = "status";

/// Decides what to do next about one Release. Total: every snapshot has a plan.
pub fn decide(observed: &Observed, now: Timestamp, policy: &Policy) -> Plan {
    if observed.release.deleting {
        // Everything that is ours goes with the Release, by its owner references.
        return Plan { next: Next::Rest, reads: Vec::new(), probes: Vec::new(), wake: None, notes: Vec::new() };
    }
    let mut decision = Decision::new(observed, now, policy);
    decision.consider();
    decision.into_plan()
}

/// A decision while it is made.
struct Decision<'a> {
    observed: &'a Observed,
    now: Timestamp,
    policy: &'a Policy,
    /// Status as it is stored: what has happened.
    stored: &'a ReleaseStatus,
    /// Status as it should be.
    next: ReleaseStatus,
    wanted: Result<Rendered, Blocked>,
    /// What spec and pointers ask for, whatever a person holds it at.
    asked: Option<Rendered>,
    /// What is to be said of where it comes from.
    sources: Report,
    /// Moves of Services: before everything else.
    traffic: Vec<Step>,
    /// Pods that start.
    work: Vec<Step>,
    /// Pods that end, and things that nobody needs any more.
    tidy: Vec<Step>,
    /// `next` must be written before `work`: it is what a restart continues from.
    must_record: bool,
    /// Something is not known that the status would have to claim.
    quiet: bool,
    /// A person's Abort that is to be carried out.
    abort: Option<Abort>,
    /// Not without a person or another input: reason and message.
    stalled: Option<(&'static str, String)>,
    /// Not yet: reason and message.
    waiting: Option<(&'static str, String)>,
    reads: Vec<Read>,
    probes: Vec<Probe>,
    wake: Option<Timestamp>,
    traffic_notes: Vec<Note>,
    record_notes: Vec<Note>,
    work_notes: Vec<Note>,
}

impl<'a> Decision<'a> {
    fn new(observed: &'a Observed, now: Timestamp, policy: &'a Policy) -> Self {
        let stored = &observed.release.status;
        let mut sources = Report::default();
        let wanted = render(observed, &mut sources);
        Self {
            observed,
            now,
            policy,
            stored,
            next: stored.clone(),
            asked: wanted.as_ref().ok().cloned(),
            wanted,
            sources,
            traffic: Vec::new(),
            work: Vec::new(),
            tidy: Vec::new(),
            must_record: false,
            quiet: false,
            abort: None,
            stalled: None,
            waiting: None,
            reads: Vec::new(),
            probes: Vec::new(),
            wake: None,
            traffic_notes: Vec::new(),
            record_notes: Vec::new(),
            work_notes: Vec::new(),
        }
    }

    fn consider(&mut self) {
        if let Ok(wanted) = &self.wanted {
            self.next.artifacts.clone_from(&wanted.artifacts);
            self.next.configs.clone_from(&wanted.configs);
        }
        self.hear_operations();
        self.hold_on();
        self.follow_hooks();
        match &self.stored.candidate {
            None => self.resting(),
            Some(candidate) if candidate.step == bascule_crds::Step::Baking => self.baking(candidate),
            Some(candidate) => self.advancing(candidate),
        }
        self.keep_active();
        self.keep_idle();
        self.keep_previews();
        self.answer_operations();
        self.say();
    }

    /// First what is urgent, and never two things of which one needs the other's reply.
    fn into_plan(mut self) -> Plan {
        for trouble in &self.observed.troubles {
            if trouble.retry_at > self.now {
                let free = |step: &Step| step.target() != trouble.target;
                let planned = self.planned();
                self.traffic.retain(free);
                self.work.retain(free);
                self.tidy.retain(free);
                self.reads.retain(|read| read.target() != trouble.target);
                // What nobody wants any more need not be looked at again.
                if self.planned() < planned || (trouble.target == STATUS && self.next != *self.stored) {
                    self.look_at(trouble.retry_at);
                }
            }
        }
        // What must be remembered first cannot be passed over: then nothing but traffic is moved until it is written.
        let unwritable = self.observed.troubles.iter().any(|trouble| trouble.target == STATUS && trouble.retry_at > self.now);
        let (next, notes) = if !self.traffic.is_empty() {
            (Next::Act(self.traffic), self.traffic_notes)
        } else if self.must_record && unwritable {
            (Next::Rest, Vec::new())
        } else if self.must_record {
            (Next::Record(Box::new(self.next)), self.record_notes)
        } else if !self.work.is_empty() {
            (Next::Act(self.work), self.work_notes)
        } else if !self.tidy.is_empty() {
            (Next::Act(self.tidy), Vec::new())
        } else if !self.quiet && !unwritable && self.next != *self.stored {
            (Next::Record(Box::new(self.next)), self.record_notes)
        } else {
            (Next::Rest, Vec::new())
        };
        self.reads.sort();
        self.reads.dedup();
        Plan { next, reads: self.reads, probes: self.probes, wake: self.wake, notes }
    }

    fn planned(&self) -> usize {
        self.traffic.len() + self.work.len() + self.tidy.len() + self.reads.len()
    }

    /// More can be said when this has been read, in a moment. That it cannot be read is said, once that lasts.
    fn read_first(&mut self, read: Read) {
        self.quiet |= self.lasting_trouble(&read.target()).is_none();
        self.reads.push(read);
    }

    /// What has failed more than once, in words.
    fn lasting_trouble(&self, target: &str) -> Option<&str> {
        let of = |trouble: &&Trouble| trouble.lasting && trouble.target == target;
        self.observed.troubles.iter().find(of).map(|trouble| trouble.message.as_str())
    }

    /// Look again at `at`, if that is still to come.
    fn look_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn stall(&mut self, reason: &'static str, message: impl Into<String>) {
        self.stalled.get_or_insert((reason, message.into()));
    }

    fn wait(&mut self, reason: &'static str, message: impl Into<String>) {
        self.waiting.get_or_insert((reason, message.into()));
    }

    /// What keeps it from going on, in words.
    fn hindrance(&self) -> Option<String> {
        self.stalled.as_ref().or(self.waiting.as_ref()).map(|(_, message)| message.clone())
    }

    /// It makes way. That is nobody's fault, unless somebody says so.
    fn dismiss(&mut self, candidate: &Candidate) {
        self.forsake(candidate);
        self.next.candidate = None;
        self.must_record = true;
    }

    /// Remembers that a revision is not to be tried again by itself.
    fn reject(&mut self, candidate: &Candidate, reason: RejectReason, message: &str) {
        self.reject_met(candidate, reason, message, candidate.step >= Stage::Switching);
    }

    /// The same; whether users have met it is not in its step where the switch came and went between two writes.
    fn reject_met(&mut self, candidate: &Candidate, reason: RejectReason, message: &str, had_traffic: bool) {
        self.dismiss(candidate);
        self.next.rejected.retain(|rejection| rejection.revision != candidate.revision);
        if mutant::is(Mutant::ForgetRejection) {
            return;
        }
        self.next.rejected.push(Rejection {
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            reason,
            message: message.to_owned(),
            at: self.now,
            had_traffic,
        });
        self.forget_rejections();
        self.record_notes.push(note(NoteKind::Rejected, format!("{} ({}): {message}", candidate.version, candidate.revision)));
    }
}

impl Decision<'_> {
    /// The oldest that nobody asks for by now: what the spec asks for, what was left, and what has traffic or is kept to return to must not
    /// come back.
    fn forget_rejections(&mut self) {
        let asked = self.wanted.as_ref().ok().map(|wanted| wanted.revision.to_string());
        let left = self.next.hold.as_ref().and_then(|hold| hold.left.clone());
        let versions = self.next.active.iter().chain(&self.next.previous).map(|version| version.revision.clone());
        let matters: Vec<_> = versions.chain(asked).chain(left).collect();
        while self.next.rejected.len() > self.policy.keep_rejections {
            let last = self.next.rejected.len() - 1;
            let Some(oldest) = self.next.rejected[..last].iter().position(|it| !matters.contains(&it.revision)) else { return };
            self.next.rejected.remove(oldest);
        }
    }
}

fn note(kind: NoteKind, message: String) -> Note {
    Note { kind, message }
}

/// A time in a status may be any that the schema lets in: one past the end of time is the end of time.
pub fn later(at: Timestamp, delay: SignedDuration) -> Timestamp {
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}
