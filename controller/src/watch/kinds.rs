//! Slim types: only the fields that the core reads. A Deployment is 1 KiB of memory instead of 64, and a field that changes its
//! shape in another Kubernetes does not stop the watch.

use std::collections::BTreeMap;

use bascule_core::{Deployment, Job, JobState, Record, ReplicaSet, Service, ServiceForm, ServicePort, input::Input};
use bascule_crds::{Track, names};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision as FullRevision, Deployment as FullDeployment, ReplicaSet as FullReplicaSet},
        batch::v1::Job as FullJob,
        core::v1::Service as FullService,
        discovery::v1::EndpointSlice as FullSlice,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Deserializer};

use super::lenient::{lenient, lenient_fields, lenient_list};

/// Metadata without managed fields: most of an object's bytes, and nothing that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct SlimMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

pub(super) fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta = SlimMeta::deserialize(deserializer)?;
    let ours = |(key, _): &(String, String)| key.starts_with(names::GROUP);
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        labels: meta.labels,
        annotations: meta.annotations.map(|annotations| annotations.into_iter().filter(ours).collect()),
        owner_references: meta.owner_references,
        ..ObjectMeta::default()
    })
}

#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullDeployment")]
pub(crate) struct SlimDeployment {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "lenient_fields")]
    spec: DeploymentSpec,
    #[serde(default, deserialize_with = "lenient_fields")]
    status: DeploymentStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentStatus {
    #[serde(deserialize_with = "lenient")]
    observed_generation: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DeploymentSpec {
    #[serde(deserialize_with = "lenient")]
    replicas: Option<i32>,
}

#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullReplicaSet")]
pub(crate) struct SlimReplicaSet {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "lenient_fields")]
    spec: DeploymentSpec,
    #[serde(default, deserialize_with = "lenient_fields")]
    status: ReplicaSetStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReplicaSetStatus {
    #[serde(deserialize_with = "lenient")]
    replicas: i32,
    #[serde(deserialize_with = "lenient")]
    available_replicas: i32,
    #[serde(deserialize_with = "lenient")]
    observed_generation: i64,
    #[serde(deserialize_with = "lenient_list")]
    conditions: Vec<ReplicaSetCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ReplicaSetCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: String,
}

#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullJob")]
pub(crate) struct SlimJob {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "lenient_fields")]
    status: JobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    #[serde(deserialize_with = "lenient_list")]
    conditions: Vec<JobCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

/// What a revision was made from; never watched.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullRevision")]
pub(crate) struct SlimRevision {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    data: serde_json::Value,
}

impl SlimRevision {
    pub(crate) fn is_of(&self, release: &str) -> bool {
        owner(&self.metadata).as_deref() == Some(release)
    }

    /// None: it is none of ours, or cannot be read.
    pub(crate) fn input(&self, release: &str) -> Option<Input> {
        self.is_of(release).then(|| Input::deserialize(&self.data).ok()).flatten()
    }
}

#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullService")]
pub(crate) struct SlimService {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "lenient_fields")]
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    selector: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    ports: Vec<ServicePort>,
    #[serde(rename = "clusterIP", deserialize_with = "lenient")]
    cluster_ip: String,
}

#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "FullSlice")]
pub(crate) struct SlimSlice {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    // The endpoints of a Service without any are `null`.
    #[serde(default, deserialize_with = "lenient_list")]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    conditions: EndpointConditions,
    target_ref: Option<TargetReference>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TargetReference {
    name: String,
}

fn label(meta: &ObjectMeta, key: &str) -> String {
    meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default()
}

fn owner(meta: &ObjectMeta) -> Option<String> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

impl SlimDeployment {
    /// Its controller has acted on its present spec.
    pub(crate) fn is_observed(&self) -> bool {
        self.status.observed_generation >= self.metadata.generation.unwrap_or_default()
    }

    pub(crate) fn view(&self) -> Deployment {
        let meta = &self.metadata;
        Deployment {
            name: self.name_any(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            owner: owner(meta),
            workload: label(meta, names::WORKLOAD),
            track: Track::parse(&label(meta, names::TRACK)),
            revision: label(meta, names::REVISION),
            replicas: self.spec.replicas.unwrap_or(1),
            deleting: meta.deletion_timestamp.is_some(),
            confirmed: None,
        }
    }
}

impl SlimJob {
    pub(crate) fn view(&self) -> Job {
        let meta = &self.metadata;
        let is = |kind: &str| self.status.conditions.iter().find(|it| it.kind == kind && it.status == "True");
        // A Job that is to fail is over for us only when its pods are: both conditions come, one after the other.
        let state = match (is("Complete"), is("Failed")) {
            (Some(_), _) => JobState::Succeeded,
            (None, Some(failed)) => JobState::Failed(format!("{}: {}", failed.reason, failed.message)),
            (None, None) => JobState::Running,
        };
        Job {
            name: self.name_any(),
            uid: meta.uid.clone().unwrap_or_default(),
            owner: owner(meta),
            is_hook: label(meta, names::JOB) == "hook",
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            state,
        }
    }
}

impl SlimReplicaSet {
    pub(crate) fn view(&self) -> ReplicaSet {
        let meta = &self.metadata;
        let failed = |condition: &&ReplicaSetCondition| condition.kind == "ReplicaFailure" && condition.status == "True";
        ReplicaSet {
            name: self.name_any(),
            workload: label(meta, names::WORKLOAD),
            track: Track::parse(&label(meta, names::TRACK)),
            revision: label(meta, names::REVISION),
            wanted: self.spec.replicas.unwrap_or(1),
            replicas: self.status.replicas,
            available: self.status.available_replicas,
            observed: self.status.observed_generation >= meta.generation.unwrap_or_default(),
            failure: self.status.conditions.iter().find(failed).map(|condition| condition.message.clone()),
        }
    }
}

impl SlimService {
    /// As the Release `release` sees it.
    pub(crate) fn view(&self, release: &str) -> Service {
        let meta = &self.metadata;
        let claimed_by = Some(label(meta, names::RELEASE)).filter(|name| !name.is_empty());
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned();
        let record = annotation(names::TRACK).map(|track| Record {
            track,
            revision: annotation(names::REVISION).unwrap_or_default(),
            reason: annotation(names::REASON).unwrap_or_default(),
        });
        Service {
            name: self.name_any(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            labelled: claimed_by.as_deref() == Some(release),
            claimed_by,
            preview_of: Some(label(meta, names::PREVIEW_OF)).filter(|name| !name.is_empty()),
            owner: owner(meta),
            record,
            selector: self.spec.selector.clone(),
            ports: self.spec.ports.clone(),
            form: match (self.spec.kind.as_str(), self.spec.cluster_ip.as_str()) {
                ("ExternalName", _) => ServiceForm::External,
                (_, "None") => ServiceForm::Headless,
                _ => ServiceForm::Address,
            },
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    /// The Release that its label names.
    pub(crate) fn release(&self) -> String {
        label(&self.metadata, names::RELEASE)
    }
}

/// Pods behind a Service, as one of its slices shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: String,
    pub(crate) ready: Vec<String>,
}

impl SlimSlice {
    pub(crate) fn view(&self) -> Slice {
        let ready = |endpoint: &&Endpoint| endpoint.conditions.ready.unwrap_or(true);
        let name = |endpoint: &Endpoint| {
            endpoint.target_ref.as_ref().map_or_else(|| "(no pod)".to_owned(), |target| target.name.clone())
        };
        Slice {
            service: label(&self.metadata, "kubernetes.io/service-name"),
            ready: self.endpoints.iter().filter(ready).map(name).collect(),
        }
    }
}

/// The label that says which Release an object belongs to.
pub(crate) fn release_of(meta: &ObjectMeta) -> String {
    label(meta, names::RELEASE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_without_endpoints_is_read() {
        let slice: SlimSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "endpoints": null,
        }))
        .unwrap();
        assert_eq!(slice.view(), Slice { service: "web".into(), ready: vec![] });
    }

    #[test]
    fn unready_endpoints_are_not_counted() {
        let slice: SlimSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1"},
            "endpoints": [
                {"conditions": {"ready": true}, "targetRef": {"name": "a"}},
                {"conditions": {"ready": false, "serving": true, "terminating": true}, "targetRef": {"name": "b"}},
            ],
        }))
        .unwrap();
        assert_eq!(slice.view().ready, ["a"]);
    }

    #[test]
    fn only_our_annotations_of_a_service_are_kept() {
        let service: SlimService = serde_json::from_value(json!({
            "metadata": {"name": "web", "labels": {"bascule.dev/release": "web"},
                "annotations": {"bascule.dev/track": "blue", "bascule.dev/revision": "r1", "huge": "x"}},
            "spec": {"selector": {"app": "web", "bascule.dev/track": "blue"}},
        }))
        .unwrap();
        assert_eq!(service.metadata.annotations.as_ref().unwrap().len(), 2);
        let view = service.view("web");
        assert!(view.labelled);
        assert_eq!(view.record.unwrap().revision, "r1");
    }
}
