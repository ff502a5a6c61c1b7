//! Status: what a person asks first, and what the controller must remember over a restart.
//!
//! Only the controller writes it. Lists are sets by name, revision or uid, so that server-side apply can own each entry.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// One of the two places in which a version of the app runs.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    Blue,
    Green,
}

impl Track {
    pub const BOTH: [Self; 2] = [Self::Blue, Self::Green];

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|track| track.as_str() == text)
    }

    /// Name of the Deployment of `workload` on this track.
    pub fn deployment(self, workload: &str) -> String {
        format!("{workload}-{}", self.as_str())
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// Shown until the controller has written: kstatus takes an object without any status for one that is done.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct ReleaseStatus {
    /// The generation of the spec that all of this is about.
    pub observed_generation: i64,
    /// Replicas of the active version, for an autoscaler.
    pub replicas: i32,
    /// Pods of the active version, for an autoscaler.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// What the artifacts of the spec were resolved to. Kept as long as the reference stays the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<ResolvedArtifact>,
    /// Of `restartOn`: what the ConfigMaps and Secrets are that the templates name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub configs: Vec<ConfigRecord>,
    /// The version that users get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// The version that is being proved; during the bake it is active too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// The version that was active before; where a bake that goes bad returns to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
    /// Revisions that are not tried again by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["revision"]))]
    pub rejected: Vec<Rejection>,
    /// What was released and has settled, oldest first: where a rollback may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub history: Vec<Released>,
    /// Revisions that came to nothing: what was stored of them is deleted when the next one settles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub discarded: Vec<String>,
    /// A person has taken the Release into their hands: automation is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Hooks that have run or are running: the record that none runs twice for a revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["revision", "name"]))]
    pub hooks: Vec<HookRecord>,
    /// Operations acted on: the record that none is acted on twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub operations: Vec<OperationRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A revision on a track.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Hash of the templates after substitution.
    pub revision: String,
    /// What people call it: the tags, else the digests, else the revision.
    pub version: String,
    pub track: Track,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<ResolvedArtifact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub workloads: Vec<WorkloadRecord>,
    /// When it was given the traffic.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// A revision on its way.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub revision: String,
    /// What people call it: the tags, else the digests, else the revision.
    pub version: String,
    pub track: Track,
    pub step: Step,
    /// Version and step in a few words.
    pub summary: String,
    /// Why it is not further, in the words of its pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<ResolvedArtifact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub workloads: Vec<WorkloadRecord>,
    /// What it must pass, and what came of it so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage", "name"]))]
    pub gates: Vec<GateRecord>,
    /// A person asked for it: it has been released before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Return>,
    /// The progress deadline counts from here, or from the end of the hooks.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// When the hooks were through and its pods could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub prepared_at: Option<Timestamp>,
    /// When all its pods were ready for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ready_at: Option<Timestamp>,
    /// The bake counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub switched_at: Option<Timestamp>,
}

/// Where a candidate is on its way to traffic.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    /// Its hooks run; nothing of it has started.
    Preparing,
    /// Its pods are started.
    Starting,
    /// Its pods are ready; its gates, or something else, are waited for.
    Verifying,
    /// Some of the Services are on it, and the others cannot be moved at the moment.
    Switching,
    /// All traffic is on it, and it is watched.
    Baking,
}

impl Step {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Starting => "Starting",
            Self::Verifying => "Verifying",
            Self::Switching => "Switching",
            Self::Baking => "Baking",
        }
    }
}

/// A gate of a candidate.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateRecord {
    pub stage: GateStage,
    pub name: String,
    pub state: GateState,
    /// What it said last, when that was no yes; of a Job its last words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub at: Option<Timestamp>,
    /// Its time-out counts from here.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Hash of the gate as it was asked: an answer counts for no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The Job that runs, or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRecord>,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GateStage {
    BeforeSwitch,
    AfterSwitch,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateState {
    Running,
    Passed,
    Failed,
}

/// A Job that was created: it is never created again.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    pub name: String,
    pub uid: String,
}

/// A hook of a revision.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRecord {
    pub revision: String,
    pub name: String,
    pub state: HookState,
    /// Its last words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was to begin; then when it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// More than one when a person has retried it.
    pub run: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRecord>,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookState {
    Running,
    Done,
    Failed,
}

/// A revision that was released and has settled. What it was made from is in the ControllerRevision `<release>-<revision>`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    pub number: i64,
    /// Number under which this revision was released first, when that was not now: so old is its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
    pub revision: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When it was given the traffic.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Who moved the pointer, or asked for the rollback, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub outcome: ReleasedOutcome,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleasedOutcome {
    /// It was watched to the end of its bake.
    Settled,
    /// A person returned from it to another one.
    RolledBack,
}

/// Automation is off, because a person said so.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The revision that is wanted instead of what the spec says; none: whatever is active stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// After a rollback: the revision that was left. The hold ends when another version is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// A hash of the artifacts that were asked for then: what else makes another revision (a template, a ConfigMap, a variable) is no other version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why an earlier revision is the candidate again.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    /// Its pods had not ended: it goes without gates, as it was.
    pub warm: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What the controller stands for on one Deployment.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRecord {
    pub name: String,
    /// Replicas that were ready when traffic came; fewer during the bake is a failure.
    #[serde(default)]
    pub replicas: i32,
    /// Generation of the Deployment after our last write; another one means another hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// An artifact with everything that was found out about it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedArtifact {
    pub name: String,
    /// The reference as the spec or the parameter had it, with its registry.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterRecord>,
    /// Of an image: what the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Of an archive: exactly what is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveRecord>,
    /// What it was built from, as its name or its labels say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The trace of its build, as in W3C's `traceparent`: its deploy is a part of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What `order` found: builds that have less are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<BuildOrder>,
}

/// A ConfigMap or Secret, by a hash of its content.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRecord {
    pub kind: crate::ConfigKind,
    pub name: String,
    pub hash: String,
}

/// An object in S3, as it was when it was looked up.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveRecord {
    pub bucket: String,
    pub key: String,
    /// None: the bucket keeps no versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Of the whole object, as hexadecimal digits. None: it was stored without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    pub size: i64,
}

/// The place of a build among the others.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOrder {
    /// The label or metadata that says it.
    pub by: String,
    pub value: String,
}

/// A value of a parameter, as it was read.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParameterRecord {
    /// As asked for, variables replaced.
    pub name: String,
    pub version: i64,
    /// When this version was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub modified_at: Option<Timestamp>,
    /// Who wrote it, where the controller may read the history of parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_by: Option<String>,
}

/// A revision that is not tried again by itself.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    pub revision: String,
    pub version: String,
    pub reason: RejectReason,
    pub message: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Users have met it: all or some of the traffic was on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_traffic: bool,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// Not ready within the progress deadline.
    DeadlineExceeded,
    /// Went bad while it had the traffic.
    BakeFailed,
    /// A person said so.
    Aborted,
    /// The API server did not take it, although it had said that it would.
    Refused,
    /// A gate said no, or nothing in time.
    GateFailed,
    /// Something that must run before it did not succeed.
    HookFailed,
    /// A person returned to an earlier version.
    RolledBack,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What was done about an Operation.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRecord {
    pub uid: String,
    pub name: String,
    pub outcome: crate::OperationOutcome,
    pub message: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// As in `metav1.Condition`, so that Flux, Argo CD and `kubectl wait` understand it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionType,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
    #[serde(default)]
    pub observed_generation: i64,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The wanted revision is settled.
    Ready,
    /// A change is on its way.
    Reconciling,
    /// No further without a person or another input.
    Stalled,
    /// The active pods meet the replicas.
    Available,
    /// The pointers of the artifacts are known as they are now. Absent where no artifact comes from a parameter.
    SourcesFresh,
    /// There is a version to return to, with everything that it needs.
    RollbackReady,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl ReleaseStatus {
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub fn rejection(&self, revision: &str) -> Option<&Rejection> {
        self.rejected.iter().find(|rejection| rejection.revision == revision)
    }
}

impl Candidate {
    /// At the beginning of an attempt.
    pub fn new(revision: &str, version: &str, track: Track, artifacts: Vec<ResolvedArtifact>, now: Timestamp) -> Self {
        Self {
            revision: revision.to_owned(),
            version: version.to_owned(),
            track,
            step: Step::Starting,
            summary: Self::summarise(version, Step::Starting),
            message: String::new(),
            artifacts,
            workloads: Vec::new(),
            gates: Vec::new(),
            rollback: None,
            started_at: now,
            prepared_at: Some(now),
            ready_at: None,
            switched_at: None,
        }
    }

    /// The same as a version that has had the traffic since `since`.
    pub fn as_version(&self, since: Timestamp) -> Version {
        Version {
            revision: self.revision.clone(),
            version: self.version.clone(),
            track: self.track,
            artifacts: self.artifacts.clone(),
            workloads: self.workloads.clone(),
            since,
        }
    }

    /// As `kubectl get release` shows it.
    pub fn summarise(version: &str, step: Step) -> String {
        format!("{version} {step:?}")
    }
}

/// Labels of the pods of one release, as a selector string.
pub fn scale_selector(release: &str, track: Track, workloads: &[&str]) -> String {
    format!("{}={release},{}={track},{} in ({})", names::RELEASE, names::TRACK, names::WORKLOAD, workloads.join(","))
}

impl HookRecord {
    pub fn is(&self, revision: &str, name: &str) -> bool {
        self.revision == revision && self.name == name
    }
}
