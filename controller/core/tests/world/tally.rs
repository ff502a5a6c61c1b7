//! How often each thing was reached: what proves that a generator comes everywhere.

use std::collections::BTreeMap;

use bascule_core::{Next, Note, Observed, Plan, Read, Step};
use bascule_crds::{ConditionType, ReleaseStatus};

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub on: bool,
    pub counts: BTreeMap<String, u64>,
}

impl Tally {
    pub fn count(&mut self, what: &str, which: impl std::fmt::Debug) {
        if self.on {
            *self.counts.entry(format!("{what} {}", format!("{which:?}").trim_matches('"'))).or_default() += 1;
        }
    }

    pub(super) fn decision(&mut self, observed: &Observed, plan: &Plan) {
        if !self.on {
            return;
        }
        let phase = observed.release.status.candidate.as_ref().map_or("None".into(), |it| format!("{:?}", it.step));
        self.count("phase", phase);
        match &plan.next {
            Next::Rest => self.count("next", "Rest"),
            Next::Act(_) => self.count("next", "Act"),
            Next::Record(next) => {
                self.count("next", "Record");
                self.status(&observed.release.status, next);
            }
        }
        for read in &plan.reads {
            match read {
                Read::Service(_) => self.count("read", "Service"),
                Read::Strangers { .. } => self.count("read", "Strangers"),
                Read::Pods { .. } => self.count("read", "Pods"),
                Read::Job { .. } => self.count("read", "Job"),
                Read::WayBack { .. } => self.count("read", "WayBack"),
                Read::Volume { .. } => self.count("read", "Volume"),
                Read::Ends { .. } => self.count("read", "Ends"),
                Read::Words { .. } => self.count("read", "Words"),
                Read::Input { .. } => self.count("read", "Input"),
            }
        }
    }

    fn status(&mut self, stored: &ReleaseStatus, next: &ReleaseStatus) {
        for (kind, name) in [
            (ConditionType::Ready, "ready"),
            (ConditionType::Reconciling, "reconciling"),
            (ConditionType::Stalled, "stalled"),
            (ConditionType::Available, "available"),
            (ConditionType::SourcesFresh, "sources"),
            (ConditionType::RollbackReady, "rollback"),
        ] {
            if let Some(condition) =
                next.condition(kind).filter(|it| stored.condition(kind).is_none_or(|old| old.reason != it.reason))
            {
                self.count(name, &condition.reason);
            }
        }
        for rejection in next.rejected.iter().filter(|it| stored.rejection(&it.revision) != Some(it)) {
            self.count("rejected", rejection.reason);
        }
        for record in next.operations.iter().filter(|it| stored.operations.iter().all(|old| old.uid != it.uid)) {
            self.count("operation", record.outcome);
        }
        let begun = |status: &ReleaseStatus| status.candidate.as_ref().map(|it| (it.revision.clone(), it.started_at, it.step));
        if let Some((_, _, step)) = begun(next).filter(|_| begun(next) != begun(stored)) {
            self.count("enters", step);
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        if self.on {
            let text = format!("{step:?}");
            self.count("step", text.split([' ', '(']).next().unwrap_or_default());
        }
    }

    pub(super) fn notes(&mut self, notes: &[Note]) {
        for note in notes {
            self.count("note", note.kind);
        }
    }
}
