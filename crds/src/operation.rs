//! `Operation`: what a person asks of a Release. Small and immutable, so that operating needs no right to edit the Release and
//! who, when, which revision and why stay on record.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One request of one person, acted on at most once.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bascule.dev",
    version = "v1alpha1",
    kind = "Operation",
    plural = "operations",
    namespaced,
    status = "OperationStatus",
    derive = "PartialEq",
    doc = "What a person asks of a Release: acted on once, answered in status.",
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self == oldSelf", "an Operation cannot be changed: create another one"),
    validation = ("!has(self.force) || !self.force || self.type == 'Rollback'", "force is for Rollback"),
    validation = ("!has(self.force) || !self.force || (has(self.note) && self.note.size() > 0)", "force takes a note: say why")
)]
pub struct OperationSpec {
    /// The Release, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub release: String,
    #[serde(rename = "type")]
    pub kind: OperationType,
    /// The revision that is meant. Without it: the candidate for Abort, the wanted revision for Retry, the one before for Rollback,
    /// which also takes a number or a version of the history. For Accept: the tag, digest, commit or order that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// Who asks; filled in and checked by the admission policies of the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub by: Option<String>,
    /// Rollback although `rollback.floor` says no. It takes a note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub note: Option<String>,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationType {
    /// Give up the candidate: before the switch it never gets traffic, during the bake traffic goes back.
    Abort,
    /// Try a rejected revision again.
    Retry,
    /// Follow a pointer to something older, once: what was passed over as `OutOfOrder`.
    Accept,
    /// Return to the version before, or to any revision of the history; automation stays off until something newer is wanted.
    Rollback,
    /// Start and switch to nothing new until Resume.
    Hold,
    /// Lift the hold.
    Resume,
}

#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    pub outcome: OperationOutcome,
    pub message: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationOutcome {
    Done,
    Refused,
}
