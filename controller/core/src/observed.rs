//! Everything that [`crate::decide`] may know about one Release, at one moment.
//!
//! In: what the cache projected from watches, and the answers to reads that an earlier plan asked for.
//! Out: values that `decide` reads. Never here: a decision.

use std::collections::{BTreeMap, BTreeSet};

use bascule_crds::{
    ArchiveRecord, EnvironmentSpec, OperationSpec, ReleaseSpec, ReleaseStatus, Track, WorkloadStrategyType, names,
};
use jiff::Timestamp;

use crate::{config::ConfigName, gate::Samples, image::Reference, input::Input};

/// Something that was seen, or the reason why it was not. Absence is a value (`Known(None)`); ignorance is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight<T> {
    Known(T),
    Unknown(String),
}

impl<T> Sight<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// The snapshot.
#[derive(Clone, Debug)]
pub struct Observed {
    pub release: ReleaseView,
    /// The Environment that the namespace claims.
    pub environment: Sight<Claim>,
    /// Answers of Parameter Store, by artifact name.
    pub parameters: BTreeMap<String, Answer<Option<Parameter>>>,
    /// Answers of the registries about the images whose tag must be pinned, by artifact name.
    pub images: BTreeMap<String, Answer<Image>>,
    /// Answers of S3, by artifact name.
    pub archives: BTreeMap<String, Answer<Archive>>,
    /// Hashes of the ConfigMaps and Secrets that [`crate::config::names`] asks for; None: there is no such object.
    pub configs: BTreeMap<ConfigName, Answer<Option<String>>>,
    /// The architectures of the nodes, as in `amd64`.
    pub architectures: Sight<BTreeSet<String>>,
    /// The Deployments that carry this Release's label, by name.
    pub deployments: Sight<BTreeMap<String, Deployment>>,
    /// The ReplicaSets that carry this Release's label.
    pub replica_sets: Sight<Vec<ReplicaSet>>,
    /// Every Service that the spec names or that carries this Release's label, previews included, by name.
    pub services: BTreeMap<String, Sight<Option<Service>>>,
    /// Who answers behind each claimed Service, by Service name.
    pub endpoints: BTreeMap<String, Sight<Endpoints>>,
    /// Ready endpoints behind an unclaimed Service that are not ours, by Service name; asked for with [`crate::Read::Strangers`].
    pub strangers: BTreeMap<String, Sight<u32>>,
    /// The Jobs that carry this Release's label, by name.
    pub jobs: Sight<BTreeMap<String, Job>>,
    /// Jobs that were looked for and are not there; asked for with [`crate::Read::Job`].
    pub absent: BTreeSet<String>,
    /// What the pods of Jobs that failed said last, by Job; asked for with [`crate::Read::Words`].
    pub words: BTreeMap<String, String>,
    /// What gates have measured so far.
    pub samples: Vec<Samples>,
    /// What revisions of the history were made from, by revision; asked for with [`crate::Read::Input`]. None: it is not there.
    pub inputs: BTreeMap<String, Option<Input>>,
    /// The revision whose input was stored last by this process.
    pub stored: Option<String>,
    /// Revisions whose input was deleted by this process.
    pub discarded: BTreeSet<String>,
    /// What was seen of the version to return to; asked for with [`crate::Read::WayBack`].
    pub way_back: Option<WayBack>,
    /// When this process began to look at Releases.
    pub since: Timestamp,
    /// Access modes of PersistentVolumeClaims, by name; asked for with [`crate::Read::Volume`]. None: there is no such claim.
    pub volumes: BTreeMap<String, Option<Vec<String>>>,
    /// What the API server said of the pods of a workload that is to have none, by workload; asked for with [`crate::Read::Ends`].
    pub ended: BTreeMap<String, Ended>,
    /// Operations on this Release, oldest first.
    pub operations: Vec<OperationView>,
    /// What the API server said to the last dry run.
    pub check: Option<Check>,
    /// What the pods of a candidate that is not ready say.
    pub pods: Option<PodReport>,
    /// Steps that failed lately, and when they may be tried again.
    pub troubles: Vec<Trouble>,
}

/// What somebody outside the cluster says. It is asked again by itself until it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// Not answered yet.
    Pending,
    Known(T),
    /// A reason for a condition, and a sentence that stays the same while the reason does.
    Failed {
        reason: &'static str,
        message: String,
    },
}

/// What the namespace of a Release says of its environment.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It has no label: the controller's defaults hold.
    Nothing,
    /// The Environment of its label, which accepts it.
    Of { name: String, spec: Box<EnvironmentSpec> },
    /// There is none of that name, or it does not accept the namespace.
    Refused { reason: &'static str, message: String },
}

/// A parameter as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub value: String,
    pub version: i64,
    /// A `SecureString`: its value is repeated nowhere.
    pub secure: bool,
    pub modified_at: Option<Timestamp>,
    /// Only of one that is news, and where that may be read.
    pub modified_by: Option<String>,
}

/// What a registry says about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What was asked.
    pub reference: Reference,
    pub tag: Option<String>,
    pub digest: String,
    /// Of its configuration; empty unless they were asked for.
    pub labels: BTreeMap<String, String>,
    /// What it is built for, as in `linux/arm64`; empty when that is not known.
    pub platforms: BTreeSet<String>,
}

/// What S3 says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub record: ArchiveRecord,
    /// What whoever stored it has written to it.
    pub metadata: BTreeMap<String, String>,
}

/// The Release itself.
#[derive(Clone, Debug)]
pub struct ReleaseView {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub deleting: bool,
    pub spec: ReleaseSpec,
    pub status: ReleaseStatus,
}

impl ReleaseView {
    /// The pods of this workload cannot run beside those of another version.
    pub fn recreates(&self, workload: &str) -> bool {
        let own = self.spec.workloads.iter().find(|it| it.name == workload);
        own.is_some_and(|it| it.strategy.kind == WorkloadStrategyType::Recreate)
    }
}

/// What is read of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    /// The controller in its owner references.
    pub owner: Option<String>,
    /// Labels of ours on it.
    pub workload: String,
    pub track: Option<Track>,
    pub revision: String,
    pub replicas: i32,
    pub deleting: bool,
    /// The generation that our last write in this process left, when there was one.
    pub confirmed: Option<i64>,
}

/// What is read of a ReplicaSet. Its status is one hop nearer to the pods than that of its Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSet {
    pub name: String,
    pub workload: String,
    pub track: Option<Track>,
    pub revision: String,
    /// Replicas in its spec.
    pub wanted: i32,
    /// Replicas that exist.
    pub replicas: i32,
    pub available: i32,
    /// Its status is about its present spec.
    pub observed: bool,
    /// Why it cannot make pods (quota, admission), in the words of the API server.
    pub failure: Option<String>,
}

/// What is read of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub name: String,
    pub uid: String,
    /// The controller in its owner references.
    pub owner: Option<String>,
    /// It must have run before a version starts.
    pub is_hook: bool,
    pub created: Timestamp,
    pub state: JobState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    Succeeded,
    /// Why, in the words of the Job controller.
    Failed(String),
}

/// Whether everything is there that a version needs to run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayBack {
    pub revision: String,
    pub at: Timestamp,
    /// What is not: one sentence each.
    pub missing: Vec<String>,
    /// What could not be looked at: one sentence each.
    pub unseen: Vec<String>,
}

/// What is read of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// Carries the label of this Release.
    pub labelled: bool,
    /// The Release that its label names, when it is another one.
    pub claimed_by: Option<String>,
    /// Set on our own preview Services.
    pub preview_of: Option<String>,
    /// The controller in its owner references.
    pub owner: Option<String>,
    /// Our annotations.
    pub record: Option<Record>,
    /// The whole selector.
    pub selector: BTreeMap<String, String>,
    pub ports: Vec<ServicePort>,
    pub form: ServiceForm,
    pub deleting: bool,
}

impl Service {
    /// The track in its selector, whatever its annotations say.
    pub fn selected(&self) -> Option<&str> {
        self.selector.get(names::TRACK).map(String::as_str)
    }

    /// Its selector as the team wrote it.
    pub fn base_selector(&self) -> BTreeMap<String, String> {
        let mut selector = self.selector.clone();
        selector.remove(names::TRACK);
        selector
    }
}

/// What its name stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceForm {
    #[default]
    Address,
    /// The addresses of its pods; it has none of its own.
    Headless,
    /// Another DNS name; it selects no pods.
    External,
}

/// The commit record of a switch: two annotations, written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `blue`, `green` or `none`; as found, so it may be anything.
    pub track: String,
    pub revision: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub port: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// Names of the pods that a Service sends to now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub ready: BTreeSet<String>,
}

impl Endpoints {
    /// Is a pod of one of these ReplicaSets among them? Pods are called after their ReplicaSet.
    pub fn any_of<'a>(&self, mut replica_sets: impl Iterator<Item = &'a str>) -> bool {
        replica_sets.any(|name| {
            self.ready
                .iter()
                .any(|pod| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-') && !rest[1..].contains('-')))
        })
    }
}

/// An Operation on this Release.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationView {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub created: Timestamp,
    pub spec: OperationSpec,
    /// Its status already has an outcome.
    pub answered: bool,
}

/// The server's answer to a dry run of every Deployment of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub revision: String,
    pub at: Timestamp,
    /// What is wrong, with the field's path; the reason is `TemplateInvalid` or `NameTaken`.
    pub refusal: Option<Refusal>,
}

/// Why the API server or we refuse a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400, 403 or 422 of the server, or of an admission policy.
    Invalid(String),
    /// A Deployment of that name exists and is not ours.
    Taken(String),
}

/// Why the candidate's pods are not ready, in one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    pub revision: String,
    pub at: Timestamp,
    pub reasons: Vec<String>,
}

/// Whether all pods of a workload have ended, on both tracks: as the API server itself says it, not as watches show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    /// The generations of its Deployments, as they were read.
    pub generations: BTreeMap<String, i64>,
    /// What is still there.
    pub left: Option<String>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// [`crate::Step::target`] of the step.
    pub target: String,
    pub message: String,
    /// Since when it has failed, again and again.
    pub since: Timestamp,
    pub retry_at: Timestamp,
    /// It did not heal at the next attempt: worth a word in the status. Before that the word and its end would be two writes for nothing.
    pub lasting: bool,
}
