//! `Release`: the one object that a team writes for each app.
//!
//! Pod templates are kept exactly as written (raw JSON): the revision is a hash of the user's text, never of this program's types.

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    duration::Duration,
    gate::{Gates, Hooks},
    status::ReleaseStatus,
};

/// From artifact to traffic: which versions run, how they are proved, and which one users get.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bascule.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    shortname = "rel",
    category = "all",
    namespaced,
    status = "ReleaseStatus",
    derive = "PartialEq",
    doc = "From artifact to traffic: what runs, how it is proved, and which version users get.",
    // It is the value of a label.
    validation = ("self.metadata.name.size() <= 63", "the name of a Release has at most 63 characters: it becomes a label"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.active.version"),
    printcolumn(name = "Candidate", type_ = "string", json_path = ".status.candidate.summary"),
    printcolumn(name = "Track", type_ = "string", json_path = ".status.active.track"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.replicas) || self.workloads.exists(w, !has(w.replicas))",
    "spec.replicas drives the workloads that have no replicas of their own: remove replicas from at least one of spec.workloads"
))]
pub struct ReleaseSpec {
    /// Start and switch to nothing new. What runs is kept healthy, and a bake that goes bad still switches back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,

    /// Replicas of every workload that has none of its own. An autoscaler drives this through the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: Option<i32>,

    /// What is released; templates name them as `$(artifacts.<name>.image)` and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub artifacts: Vec<Artifact>,

    /// What runs. All of them change, are proved and take over together.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub workloads: Vec<Workload>,

    /// The team's own Services that are moved between the tracks. None: the workloads take no traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<ServiceReference>,

    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: Hooks,

    #[serde(default, skip_serializing_if = "is_default")]
    pub gates: Gates,

    /// Another content of a ConfigMap or Secret that a template names is another revision, with everything that a revision goes through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub restart_on: Vec<ConfigKind>,

    #[serde(default)]
    pub strategy: Strategy,

    #[serde(default)]
    pub rollback: Rollback,

    /// So many released revisions are kept, to return to.
    #[serde(default = "default_history", skip_serializing_if = "is_default_history")]
    #[schemars(range(min = 1, max = 50))]
    pub history: u32,

    /// Keep `<service>-preview` on the candidate once it answers, otherwise on the active version.
    #[serde(default, skip_serializing_if = "is_false")]
    pub preview: bool,
}

/// Something that was built: a container image, or an archive in S3.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.image) != has(self.archive)", "an artifact is either an image or an archive"))]
pub struct Artifact {
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSource>,
}

impl Artifact {
    pub fn of_image(name: impl Into<String>, image: ImageSource) -> Self {
        Self { name: name.into(), image: Some(image), archive: None }
    }

    pub fn source(&self) -> Source<'_> {
        match (&self.image, &self.archive) {
            (Some(image), _) => Source::Image(image),
            (None, Some(archive)) => Source::Archive(archive),
            (None, None) => Source::Nothing,
        }
    }

    /// The parameter that says which it is, if one does.
    pub fn parameter(&self) -> Option<&str> {
        match self.source() {
            Source::Image(image) => image.parameter.as_deref(),
            Source::Archive(archive) => archive.parameter.as_deref(),
            Source::Nothing => None,
        }
    }
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    Image(&'a ImageSource),
    Archive(&'a ArchiveSource),
    /// The schema does not let this through.
    Nothing,
}

/// Where the image comes from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.ref) != has(self.parameter)", "an image has either ref or parameter"),
    validation = ("!has(self.registry) || has(self.parameter)", "registry is for the values of a parameter; a ref has its own"),
    validation = ("!has(self.order) || has(self.parameter)", "order is for the values of a parameter; whoever edits a ref decides"),
    validation = ("!has(self.order) || self.resolve == 'Always'", "order looks at the image: it needs resolve: Always")
)]
pub struct ImageSource {
    /// The image as `[registry/]repository[:tag][@digest]`. A tag is resolved to its digest once.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub reference: Option<String>,

    /// The parameter in AWS Parameter Store whose value is the image. Whoever writes it releases; variables may be used, as in
    /// `/shop/$(env.name)/web/image`. A label or a version can be named: `name:label`, `name:3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub parameter: Option<String>,

    /// Registry of a value that names none. Default: the registry of the Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub registry: Option<String>,

    /// Never go back to an older build: how builds are put in order, beside the version of the parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,

    /// `Always`: a tag is pinned to its digest before anything starts. `Never`: the reference is used as it is.
    #[serde(default)]
    pub resolve: Resolve,
}

impl ImageSource {
    pub fn of_reference(reference: impl Into<String>) -> Self {
        Self { reference: Some(reference.into()), ..Self::default() }
    }
}

/// By what builds are put in order.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// A label of the image: a number, a semantic version or an RFC 3339 time.
    #[schemars(length(min = 1, max = 253))]
    pub label: String,
}

/// Where the archive lies.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.key) != has(self.parameter)", "an archive has either key or parameter"),
    validation = ("!has(self.order) || has(self.parameter)", "order is for the values of a parameter; whoever edits a key decides")
)]
pub struct ArchiveSource {
    /// The bucket in S3; variables may be used, as in `$(vars.bucket)`.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,

    /// The key of the object. What lies there is looked up once: its version and checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub key: Option<String>,

    /// The parameter in AWS Parameter Store whose value is the key. Whoever writes it releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub parameter: Option<String>,

    /// Never go back to an older build: how builds are put in order, beside the version of the parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<MetadataOrder>,
}

/// By what builds are put in order.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOrder {
    /// User metadata of the object, without `x-amz-meta-`: a number, a semantic version or an RFC 3339 time.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9][-a-z0-9_.]*$"))]
    pub metadata: String,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolve {
    #[default]
    Always,
    Never,
}

/// One Deployment on each track.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// The Deployments are called `<name>-blue` and `<name>-green`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Default: `spec.replicas`, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: Option<i32>,

    #[serde(default, skip_serializing_if = "is_default")]
    pub strategy: WorkloadStrategy,

    /// A pod template (`metadata` with labels and annotations, and `spec`). Kept as written but for variables.
    #[schemars(schema_with = "raw_object")]
    pub template: Value,
}

/// What pods read beside their template.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigKind {
    ConfigMaps,
    Secrets,
}

/// How the pods of a workload make way for those of the next version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStrategy {
    #[serde(rename = "type", default)]
    pub kind: WorkloadStrategyType,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkloadStrategyType {
    /// The new ones start beside the old ones.
    #[default]
    BlueGreen,
    /// The old ones end first: for what cannot run twice, such as a volume that only one node can write. Nobody answers in between.
    Recreate,
}

#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// Its selector must match the pods of a workload here.
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// When to give up, how long to watch, and what to do with what comes in between.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// A candidate that is not ready this long after its start is rejected. Absolute: a flapping pod does not extend it.
    #[serde(default = "default_progress_deadline")]
    pub progress_deadline: Duration,

    /// How long the new version is watched after the switch before it is settled.
    #[serde(default = "default_bake")]
    pub bake: Duration,

    /// The old version stays warm at least this long after the switch, and at least for the bake.
    #[serde(default = "default_scale_down_delay")]
    pub scale_down_delay: Duration,

    #[serde(default)]
    pub on_supersede: OnSupersede,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            progress_deadline: default_progress_deadline(),
            bake: default_bake(),
            scale_down_delay: default_scale_down_delay(),
            on_supersede: OnSupersede::default(),
        }
    }
}

/// What a newer revision does to a candidate that has no traffic yet.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnSupersede {
    #[default]
    Replace,
    Wait,
}

#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Move traffic back when the new version goes bad during the bake.
    #[serde(default = "yes")]
    pub automatic: bool,

    /// The oldest revision that may be returned to: a revision, the number of one in the history, or a version. Older code cannot read
    /// what a migration has made since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub floor: Option<String>,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { automatic: true, floor: None }
    }
}

/// A week or two of a busy team.
fn default_history() -> u32 {
    10
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_history(history: &u32) -> bool {
    *history == default_history()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Ten minutes: an image of some GB on a fresh node, as the Deployment controller assumes too.
fn default_progress_deadline() -> Duration {
    Duration::from_secs(600)
}

/// A minute: two scrapes of most Prometheus installations.
fn default_bake() -> Duration {
    Duration::from_secs(60)
}

/// Half a minute: longer than any proxy or DNS cache needs to follow an EndpointSlice.
fn default_scale_down_delay() -> Duration {
    Duration::from_secs(30)
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Atomic: an apply stores the template exactly as it was written, also what it leaves out.
pub(crate) fn raw_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-map-type": "atomic" })
}
