//! Bodies of server-side applies: only fields that we own, nothing that a type would add by itself.

use std::collections::BTreeMap;

use bascule_crds::{Track, names};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::{
    observed::{ReleaseView, Service},
    revision::RenderedWorkload,
};

/// The whole Deployment of a workload on a track. `known` (uid and resourceVersion) makes the apply
/// fail when that Deployment is gone or was changed meanwhile: a late one must not land on what is active by then.
pub(crate) fn deployment(
    release: &ReleaseView,
    workload: &RenderedWorkload,
    track: Track,
    revision: &str,
    replicas: i32,
    known: Option<(&str, &str)>,
) -> Value {
    let identity = identity(release, &workload.name, track);
    let mut body = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": track.deployment(&workload.name),
            "namespace": release.namespace,
            "labels": with_revision(&identity, revision),
            "ownerReferences": [owner(release)],
        },
        "spec": {
            "replicas": replicas,
            // Old ReplicaSets are never returned to; the last one shows what ran before.
            "revisionHistoryLimit": 1,
            "selector": { "matchLabels": identity },
            "strategy": strategy(release, &workload.name),
            "template": pod_template(workload, track, revision, &identity),
        },
    });
    if let Some((uid, resource_version)) = known {
        body["metadata"]["uid"] = json!(uid);
        body["metadata"]["resourceVersion"] = json!(resource_version);
    }
    body
}

/// For a change of the template on its track. All new pods at once, and no pod of a serving ReplicaSet goes before its successor is there: what
/// matters when a hand edit on the active track is put right. What cannot run twice cannot do so here either.
fn strategy(release: &ReleaseView, workload: &str) -> Value {
    if release.recreates(workload) {
        return json!({ "type": "Recreate" });
    }
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } })
}

fn pod_template(workload: &RenderedWorkload, track: Track, revision: &str, identity: &BTreeMap<&str, String>) -> Value {
    let mut template = workload.on(track, revision);
    if let Some(fields) = template.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.extend(with_revision(identity, revision).into_iter().map(|(key, value)| (key.to_owned(), json!(value))));
            }
        }
    }
    template
}

/// A Job that runs a pod template once, and never again by itself: its exit code decides.
pub(crate) fn job(release: &ReleaseView, job: &JobBody<'_>) -> Value {
    let labels = json!({ names::RELEASE: release.name, names::REVISION: job.revision, names::JOB: job.kind });
    let mut template = job.template.clone();
    if let Some(fields) = template.as_object_mut() {
        merge(fields, "metadata", json!({ "labels": labels }));
        merge(fields, "spec", json!({ "restartPolicy": "Never" }));
        for list in ["initContainers", "containers"] {
            let containers = fields.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                add_environment(container, &job.environment);
            }
        }
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "namespace": release.namespace,
            "labels": labels,
            "annotations": { names::FIELD: job.field },
            "ownerReferences": [owner(release)],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            // Another pod only after the first is surely over: the two must not run at once. With no retries there is none at all.
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": job.deadline.as_secs().max(1),
            // What came of it is in the status long before.
            "ttlSecondsAfterFinished": 86400,
            "template": template,
        },
    })
}

/// What a Job is made of.
pub(crate) struct JobBody<'a> {
    pub(crate) name: &'a str,
    /// `hook` or `gate`.
    pub(crate) kind: &'static str,
    pub(crate) revision: &'a str,
    /// The field of the Release, for messages.
    pub(crate) field: String,
    pub(crate) template: Value,
    pub(crate) deadline: SignedDuration,
    pub(crate) environment: BTreeMap<String, String>,
}

fn merge(fields: &mut Map<String, Value>, key: &str, with: Value) {
    let into = fields.entry(key).or_insert_with(|| json!({}));
    let (Some(into), Value::Object(with)) = (into.as_object_mut(), with) else { return };
    for (key, value) in with {
        match (into.get_mut(&key).and_then(Value::as_object_mut), value) {
            (Some(there), Value::Object(new)) => there.extend(new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Before the user's own, so that those can refer to them; what the user has set himself stays.
fn add_environment(container: &mut Value, environment: &BTreeMap<String, String>) {
    let Some(fields) = container.as_object_mut() else { return };
    let Some(list) = fields.entry("env").or_insert_with(|| json!([])).as_array_mut() else { return };
    let own: Vec<_> = list.iter().filter_map(|it| it.get("name").and_then(Value::as_str)).map(str::to_owned).collect();
    let told = environment.iter().filter(|(name, _)| !own.contains(name));
    let told: Vec<_> = told.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    list.splice(0..0, told);
}

/// `<service>-preview`: the team's Service as it is, on the given track. `known` is the uid of the one that exists.
pub(crate) fn preview(release: &ReleaseView, service: &Service, track: &str, known: Option<&str>) -> Value {
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names::preview(&service.name),
            "namespace": release.namespace,
            "labels": { names::RELEASE: release.name, names::PREVIEW_OF: service.name },
            "ownerReferences": [owner(release)],
        },
        "spec": { "selector": preview_selector(service, track), "ports": service.ports },
    });
    if let Some(uid) = known {
        body["metadata"]["uid"] = json!(uid);
    }
    body
}

pub(crate) fn preview_selector(service: &Service, track: &str) -> BTreeMap<String, String> {
    let mut selector = service.base_selector();
    selector.insert(names::TRACK.to_owned(), track.to_owned());
    selector
}

fn identity<'a>(release: &ReleaseView, workload: &str, track: Track) -> BTreeMap<&'a str, String> {
    [(names::RELEASE, release.name.clone()), (names::WORKLOAD, workload.to_owned()), (names::TRACK, track.to_string())].into()
}

fn with_revision<'a>(identity: &BTreeMap<&'a str, String>, revision: &str) -> BTreeMap<&'a str, String> {
    let mut labels = identity.clone();
    labels.insert(names::REVISION, revision.to_owned());
    labels
}

pub(crate) fn owner(release: &ReleaseView) -> Map<String, Value> {
    [
        ("apiVersion", json!("bascule.dev/v1alpha1")),
        ("kind", json!("Release")),
        ("name", json!(release.name)),
        ("uid", json!(release.uid)),
        ("controller", json!(true)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
