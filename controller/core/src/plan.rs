//! What [`crate::decide`] wants done: at most one *dependent* action, then look again.
//!
//! In: nothing but decisions. Out: steps that `execute` turns into one request each, with their preconditions.

use bascule_crds::{OperationOutcome, ReleaseStatus, Track, names};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    gate::Probe,
    mutant::{self, Mutant},
};

/// The plan for one Release at one moment.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Plan {
    pub next: Next,
    /// Reads that the next decision needs; they change nothing.
    pub reads: Vec<Read>,
    /// What is to be measured from now on; nothing else is.
    pub probes: Vec<Probe>,
    /// Look again at this time, even if nothing happens.
    pub wake: Option<Timestamp>,
    /// What to tell people, once the action has succeeded.
    pub notes: Vec<Note>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.next == Next::Rest && self.reads.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing to write.
    Rest,
    /// Requests that do not depend on each other's replies, in this order; the first failure ends the plan.
    Act(Vec<Step>),
    /// Write this status, on the condition that the Release has not changed since.
    Record(Box<ReleaseStatus>),
}

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask the server whether it would take these Deployments; all at once, answered with one [`crate::Check`].
    DryRun {
        revision: String,
        deployments: Vec<Value>,
        jobs: Vec<Value>,
    },
    /// Create a Job; one of that name that is there already is the very same.
    Run {
        job: String,
        body: Value,
    },
    /// Create the ControllerRevision that a revision can be made from again; one that is there already is the very same.
    Store {
        revision: String,
        body: Value,
    },
    /// Delete one that nobody can return to any more.
    Discard {
        revision: String,
        name: String,
    },
    /// Server-side apply of a whole Deployment. `body` carries the uid when the Deployment is known to exist.
    Apply {
        deployment: String,
        body: Value,
    },
    /// Change nothing but `spec.replicas`.
    Scale {
        deployment: String,
        uid: String,
        resource_version: Option<String>,
        replicas: i32,
    },
    DeleteDeployment {
        deployment: String,
        uid: String,
        resource_version: String,
    },
    /// Server-side apply of our annotations and label on a team's Service: the switch, and its commit record.
    Route(ServiceWrite),
    /// Put the annotation's track into the selector ourselves, where the admission policy is missing.
    Select {
        service: String,
        uid: String,
        resource_version: String,
        track: String,
    },
    /// Server-side apply of a preview Service.
    Preview {
        service: String,
        body: Value,
    },
    DeletePreview {
        service: String,
        uid: String,
        resource_version: String,
    },
    /// Write the outcome into an Operation's status.
    Answer {
        operation: String,
        uid: String,
        resource_version: String,
        outcome: OperationOutcome,
        message: String,
        at: Timestamp,
    },
    /// Delete an answered Operation that nobody needs any more.
    Prune {
        operation: String,
        uid: String,
        resource_version: String,
    },
}

impl Step {
    /// What the step is about: failures are remembered by it.
    pub fn target(&self) -> String {
        match self {
            Self::DryRun { .. } => "dry-run".into(),
            Self::Run { job, .. } => format!("job/{job}"),
            Self::Store { revision, .. } | Self::Discard { revision, .. } => format!("revision/{revision}"),
            Self::Apply { deployment, .. } | Self::Scale { deployment, .. } | Self::DeleteDeployment { deployment, .. } => {
                format!("deployment/{deployment}")
            }
            Self::Route(write) => format!("service/{}", write.service),
            Self::Select { service, .. } | Self::Preview { service, .. } | Self::DeletePreview { service, .. } => {
                format!("service/{service}")
            }
            Self::Answer { operation, .. } | Self::Prune { operation, .. } => format!("operation/{operation}"),
        }
    }
}

/// The write that moves traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceWrite {
    pub service: String,
    pub uid: String,
    pub resource_version: String,
    pub release: String,
    /// None: to no track, before the first switch.
    pub track: Option<Track>,
    pub revision: String,
    pub reason: String,
}

impl ServiceWrite {
    pub fn track_name(&self) -> &'static str {
        self.track.map_or(names::NO_TRACK, Track::as_str)
    }

    /// The body of the server-side apply. uid and resourceVersion are its preconditions.
    pub fn body(&self, namespace: &str) -> Value {
        let free = mutant::is(Mutant::NoServicePrecondition);
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.service,
                "namespace": namespace,
                "uid": self.uid,
                "resourceVersion": self.resource_version,
                "labels": { names::RELEASE: self.release },
                "annotations": {
                    names::TRACK: self.track_name(),
                    names::REVISION: self.revision,
                    names::REASON: self.reason,
                },
            },
        });
        if let Some(metadata) = body["metadata"].as_object_mut().filter(|_| free) {
            metadata.remove("uid");
            metadata.remove("resourceVersion");
        }
        body
    }
}

/// A question to the API server that no watch answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// A Service that the label-filtered watch does not show: it may not be claimed yet.
    Service(String),
    /// Ready endpoints behind this unclaimed Service, but for pods that are labelled with track `none`.
    Strangers { service: String, selector: std::collections::BTreeMap<String, String> },
    /// Why pods of this revision are not ready.
    Pods { revision: String, track: Track },
    /// Whether a Job that the watch does not show is really gone.
    Job { job: String },
    /// The last words of the pods of a Job that failed.
    Words { job: String },
    /// Whether everything is there that this revision needs to run again.
    WayBack { revision: String, name: String },
    /// How many may use a PersistentVolumeClaim.
    Volume { claim: String },
    /// Whether a pod of this workload is left on either track.
    Ends { workload: String },
    /// What a revision was made from.
    Input { revision: String, name: String },
}

impl Read {
    /// What is looked for: a read that failed is a trouble of this name.
    pub fn target(&self) -> String {
        match self {
            Self::Service(name) => format!("read/service/{name}"),
            Self::Strangers { service, .. } => format!("read/endpoints/{service}"),
            Self::Pods { revision, .. } => format!("read/pods/{revision}"),
            Self::Job { job } => format!("read/job/{job}"),
            Self::Words { job } => format!("read/words/{job}"),
            Self::WayBack { revision, .. } => format!("read/way-back/{revision}"),
            Self::Volume { claim } => format!("read/volume/{claim}"),
            Self::Ends { workload } => format!("read/ends/{workload}"),
            Self::Input { revision, .. } => format!("read/revision/{revision}"),
        }
    }
}

/// One Event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    Started,
    /// A hook or a gate has come to an end.
    HookDone,
    GatePassed,
    Switched,
    Settled,
    Rejected,
    SwitchedBack,
    Superseded,
    Healed,
    Stalled,
    /// A pointer that is not followed on purpose.
    PassedOver,
    /// What is pinned means something else by now, or is gone; it is not followed.
    SourceChanged,
    Operated,
}

impl NoteKind {
    /// Reason of the Event.
    pub fn reason(self) -> String {
        format!("{self:?}")
    }

    /// Whether a person should look.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Rejected | Self::SwitchedBack | Self::Healed | Self::Stalled | Self::PassedOver | Self::SourceChanged
        )
    }
}

/// What is the same for all Releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A candidate that is not ready after this time is asked why.
    pub look_after: jiff::SignedDuration,
    /// And again after this time.
    pub look_again: jiff::SignedDuration,
    /// The old version is not scaled down while a Service still sends to it, but not longer than this.
    pub drain_bound: jiff::SignedDuration,
    /// A Service that does not exist, or that serves strangers, is looked for again after this time.
    pub look_for_service: jiff::SignedDuration,
    /// How often the pods of what cannot run twice are looked for until they have ended, and how long it counts that they have.
    pub look_for_ends: jiff::SignedDuration,
    /// A refused template is tried again after this time: the reason may have been a quota or a policy.
    pub recheck: jiff::SignedDuration,
    /// The version to return to is looked at again after this time.
    pub look_back: jiff::SignedDuration,
    /// Rejections kept.
    pub keep_rejections: usize,
    /// Answered Operations kept for each Release.
    pub keep_operations: usize,
}

impl Default for Policy {
    fn default() -> Self {
        use jiff::SignedDuration;
        Self {
            look_after: SignedDuration::from_secs(5),
            look_again: SignedDuration::from_secs(15),
            drain_bound: SignedDuration::from_secs(60),
            look_for_service: SignedDuration::from_secs(5),
            look_for_ends: SignedDuration::from_secs(1),
            recheck: SignedDuration::from_secs(60),
            look_back: SignedDuration::from_hours(6),
            keep_rejections: 10,
            keep_operations: 20,
        }
    }
}
