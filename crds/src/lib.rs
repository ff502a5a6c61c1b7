//! The API of Bascule: what a user writes (`Release`, `Operation`, `Environment`) and what status says.
//!
//! In: JSON of the API server. Out: types that cannot hold a value the schema refuses.
//! Never here: decisions, defaults that depend on a cluster, I/O.

#![allow(clippy::duplicated_attributes, reason = "each print column has a type")]

mod duration;
mod environment;
mod gate;
pub mod names;
mod operation;
mod release;
mod status;

pub use duration::{Duration, DurationError};
pub use environment::{Allow, Aws, Environment, EnvironmentSpec, NamespaceSelector, Prometheus, SecretReference};
pub use gate::{Each, Gate, Gates, Hook, Hooks, HttpGate, JobTemplate, Method, PrometheusGate, Scheme, WebhookGate};
pub use operation::{Operation, OperationOutcome, OperationSpec, OperationStatus, OperationType};
pub use release::{
    ArchiveSource, Artifact, ConfigKind, ImageSource, MetadataOrder, OnSupersede, Order, Release, ReleaseSpec, Resolve, Rollback,
    ServiceReference, Source, Strategy, Workload, WorkloadStrategy, WorkloadStrategyType,
};
pub use status::{
    ArchiveRecord, BuildOrder, Candidate, Condition, ConditionStatus, ConditionType, ConfigRecord, GateRecord, GateStage,
    GateState, Hold, HookRecord, HookState, JobRecord, OperationRecord, ParameterRecord, RejectReason, Rejection, ReleaseStatus,
    Released, ReleasedOutcome, ResolvedArtifact, Return, Step, Track, Version, WorkloadRecord, scale_selector,
};

/// The CRDs as the API server wants them, with the file each is kept in.
pub fn definitions() -> Vec<(&'static str, serde_json::Value)> {
    use kube::CustomResourceExt;
    [("releases.yaml", Release::crd()), ("operations.yaml", Operation::crd()), ("environments.yaml", Environment::crd())]
        .into_iter()
        .map(|(file, crd)| (file, serde_json::to_value(crd).unwrap_or_default()))
        .collect()
}
