//! What can be done in a scenario: by the team, by a person who operates, by a foreign hand, by fate.
//!
//! In: a story. Out: the same as data; [`crate::Author`] turns it into API calls. Never here: what comes of it.

use std::collections::BTreeMap;

use bascule_crds::{Duration, OperationType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scenario::is_default;

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The team applies its Release with another version.
    Want(Want),
    /// The team changes something else in its Release, and applies it; later versions keep the change.
    Edit(Edit),
    /// An autoscaler sets the replicas through the scale subresource.
    Scale(i32),
    /// The team's hand on a Service of its own.
    Service(TeamService),
    /// A person asks something of the Release.
    Operate(Operate),
    /// A foreign hand on any object.
    Write(Write),
    /// Somebody makes an object.
    Create(Value),
    Delete(Delete),
    /// Fate has it in for the pods of a version.
    KillPods(KillPods),
    /// What a gate is told from now on; in the simulation only.
    Measure(Measure),
    Controller(Controller),
}

impl Action {
    /// Whether [`crate::Author::calls`] knows it; the rest is the stage's.
    pub fn is_a_call(&self) -> bool {
        !matches!(self, Self::KillPods(_) | Self::Measure(_) | Self::Controller(_))
    }
}

/// A version, and how its pods behave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Want {
    pub version: String,
    /// Replicas of each workload that has its own, from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// How the pods of all workloads behave.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pods: Pods,
    /// How the pods of one workload behave, where it differs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pods_of: BTreeMap<String, Pods>,
    /// A merge patch on the Release, for this version only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub merge: Value,
    /// A JSON patch (add, replace, remove) on the Release, for this version only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub json: Value,
}

impl Want {
    pub fn version(version: &str) -> Self {
        Self { version: version.to_owned(), ..Self::default() }
    }
}

/// How the pods of a version behave. Fake pods read it from their annotations, the example app from its environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pods {
    #[default]
    Ready,
    /// Running, and never ready.
    Never,
    /// A crash loop: ready, dead, ready, dead.
    Flapping,
    /// The image is not there.
    CannotPull,
    ReadyAfter(Duration),
    /// Ready, and unready for good this long after.
    Dies(Duration),
    /// Ready at once, and slow to end.
    TerminatesAfter(Duration),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edit {
    /// A merge patch on the Release as the team keeps it.
    pub merge: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TeamService {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub hand: Hand,
    /// Instead of the one that fits the workload of that name, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<BTreeMap<String, String>>,
}

/// The ways in which teams bring their manifests to the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hand {
    /// Server-side apply with force, as GitOps tools do it.
    #[default]
    Apply,
    /// `kubectl replace`: what the manifest does not have is gone.
    Replace,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operate {
    #[serde(rename = "type")]
    pub kind: OperationType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Of another Release than the scenario's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// So many of the same, one after the other.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
}

impl Operate {
    pub fn new(kind: OperationType) -> Self {
        Self { kind, note: None, revision: None, release: None, times: 1 }
    }
}

fn once() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

/// In its texts `$(candidate.revision)` and `$(active.revision)` stand for what status says at that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// For an apply: whether it takes over what others own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
    #[serde(flatten)]
    pub how: How,
}

/// The verb and the body of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum How {
    Merge(Value),
    Strategic(Value),
    Json(Value),
    /// Server-side apply; kind and name are filled in.
    Apply(Value),
    /// PUT; kind and name are filled in.
    Replace(Value),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delete {
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub propagation: Propagation,
}

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KillPods {
    pub version: String,
    /// So many of them are spared.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep: usize,
    /// They are deleted, and others come in their place; else they are unready for good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measure {
    /// Its name.
    pub gate: String,
    pub says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Says {
    Good,
    Bad,
    /// No data, no answer.
    Nothing,
}

/// What happens to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Controller {
    /// SIGTERM: it must end by itself, with exit code 0.
    Stop,
    /// SIGKILL.
    Kill,
    Start,
    /// Kill, and start.
    Restart,
}
