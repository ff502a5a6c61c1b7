//! Bodies of server-side applies: only fields that we own, nothing that a type would add by itself.

use std::collections::BTreeMap;

use bascule_crds::{Track, names};
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
            // All new pods at once, and no pod of a serving ReplicaSet goes before its successor is there: what matters
            // when a hand edit on the active track is put right.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } },
            "template": pod_template(workload, track, revision, &identity),
        },
    });
    if let Some((uid, resource_version)) = known {
        body["metadata"]["uid"] = json!(uid);
        body["metadata"]["resourceVersion"] = json!(resource_version);
    }
    body
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

fn owner(release: &ReleaseView) -> Map<String, Value> {
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
