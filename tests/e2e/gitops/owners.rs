//! Who owns which field, as `managedFields` says it: the table in `docs/gitops/index.md`.

use std::collections::BTreeSet;

use bascule_crds::Release;
use bascule_tests::{Behaviour, Stage};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    batch::v1::Job,
    core::v1::{Pod, Service},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{RELEASE, bed, live, release, tools::Tool};

/// Paths that a manager owns, two steps deep, and whether it owns them of a subresource.
fn owned(object: &Value, manager: &str) -> BTreeSet<String> {
    let entries = object["metadata"]["managedFields"].as_array().expect("managedFields");
    let ours = entries.iter().filter(|entry| entry["manager"] == manager);
    ours.flat_map(|entry| {
        let of = entry["subresource"].as_str().map(|name| format!("{name}: ")).unwrap_or_default();
        let fields = entry["fieldsV1"].as_object().cloned().unwrap_or_default();
        fields.into_iter().flat_map(move |(first, below)| {
            let of = of.clone();
            let below = below.as_object().cloned().unwrap_or_default();
            let names: Vec<_> =
                below.into_iter().flat_map(|(second, deeper)| leaves(&format!("{first}.{second}"), &deeper)).collect();
            names.into_iter().map(move |name| format!("{of}{}", name.replace("f:", "")))
        })
    })
    .collect()
}

/// Of labels and annotations each, of everything else the whole.
fn leaves(path: &str, below: &Value) -> Vec<String> {
    let names = below.as_object().filter(|_| path.ends_with("f:labels") || path.ends_with("f:annotations"));
    match names {
        Some(names) => names.keys().filter(|name| *name != ".").map(|name| format!("{path}[{name}]")).collect(),
        None => vec![path.to_owned()],
    }
}

fn these(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bascule_owns_the_status_three_annotations_a_label_and_what_it_made() {
    let stage = Stage::new(&bed(), "owners").await;
    stage.service("web").await;
    let mut manifest = release(&stage, "v1", "1s");
    manifest["spec"]["preview"] = json!(true);
    manifest["spec"]["hooks"] = json!({"beforeStart": [{"name": "migrate", "job": {"template": {"spec": {
        "containers": [{"name": "main", "image": "example/migrate:v1"}]}}}}]});
    Tool::Flux.apply(&stage, &[manifest]);
    stage.is_settled_on("v1").await;
    let first = PatchParams { field_manager: Some("first-replicas".into()), ..PatchParams::default() };
    stage.api::<Release>().patch("web", &first, &Patch::Merge(&json!({"spec": {"replicas": 1}}))).await.unwrap();
    let scaler = PatchParams { field_manager: Some("kube-controller-manager".into()), ..PatchParams::default() };
    stage.api::<Release>().patch_scale("web", &scaler, &Patch::Merge(&json!({"spec": {"replicas": 2}}))).await.unwrap();
    stage.eventually("two pods", || async { (stage.replicas("web-blue").await == 2).then_some(()) }).await;

    let release = live(&stage, RELEASE.0, RELEASE.1, "web").await;
    let ours = owned(&release, "bascule");
    assert!(!ours.is_empty() && ours.iter().all(|path| path.starts_with("status: status.")), "{ours:?}");
    assert_eq!(owned(&release, "kube-controller-manager"), these(&["scale: spec.replicas"]));
    let service = live(&stage, "v1", "Service", "web").await;
    assert_eq!(
        owned(&service, "bascule"),
        these(&[
            "metadata.annotations[bascule.dev/reason]",
            "metadata.annotations[bascule.dev/revision]",
            "metadata.annotations[bascule.dev/track]",
            "metadata.labels[bascule.dev/release]",
        ])
    );
    assert_eq!(owned(&service, "team"), these(&["spec.ports", "spec.selector"]), "the selector stays the team's");
    let deployment = live(&stage, "apps/v1", "Deployment", "web-blue").await;
    let ours = owned(&deployment, "bascule");
    for path in ["spec.replicas", "spec.template", "metadata.ownerReferences", "metadata.labels[bascule.dev/release]"] {
        assert!(ours.contains(path), "{path} in {ours:?}");
    }
    assert!(!ours.iter().any(|path| path.contains("status")), "{ours:?}");

    // What it made goes with the Release, and no tool can take it for its own: it has an owner, and none of the tool's marks.
    let all = ListParams::default();
    let made = [
        stage.api::<Deployment>().list(&all).await.unwrap().items.into_iter().map(|it| it.metadata).collect::<Vec<_>>(),
        stage.api::<ControllerRevision>().list(&all).await.unwrap().items.into_iter().map(|it| it.metadata).collect(),
        stage.api::<Job>().list(&all).await.unwrap().items.into_iter().map(|it| it.metadata).collect(),
        stage
            .api::<Service>()
            .list(&all)
            .await
            .unwrap()
            .items
            .into_iter()
            .filter(|it| it.name_any() != "web")
            .map(|it| it.metadata)
            .collect(),
    ];
    for kind in &made {
        assert!(!kind.is_empty(), "there is one of each: {made:?}");
        for object in kind {
            let owner = &object.owner_references.as_ref().expect("an owner")[0];
            assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("Release", "web", Some(true)));
            let marks = object.labels.iter().flatten().chain(object.annotations.iter().flatten());
            assert!(marks.clone().all(|(name, _)| !name.contains("fluxcd.io") && !name.contains("argocd")), "{object:?}");
        }
    }
    stage.end().await;
}

/// As Argo CD deletes what it prunes: in the foreground.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_in_the_foreground_everything_goes_and_nothing_comes_back() {
    let stage = Stage::settled(&bed(), "foreground").await;
    stage.version("v2", Behaviour::Ready).await;
    stage.until("v2 is a candidate", |it| it.candidate.is_some()).await;
    stage.api::<Release>().delete("web", &DeleteParams::foreground()).await.unwrap();
    let gone = || async { stage.api::<Release>().get_opt("web").await.unwrap().is_none().then_some(()) };
    stage.eventually("the Release is gone", gone).await;
    // The Release does not wait for what belongs to it: that follows.
    let all = ListParams::default();
    let followed = || async {
        let deployments = stage.api::<Deployment>().list(&all).await.unwrap().items;
        let inputs = stage.api::<ControllerRevision>().list(&all).await.unwrap().items;
        let pods = stage.api::<Pod>().list(&all).await.unwrap().items;
        (deployments.is_empty() && inputs.is_empty() && pods.is_empty()).then_some(())
    };
    stage.eventually("all of it is gone", followed).await;
    let service = live(&stage, "v1", "Service", "web").await;
    assert!(service["metadata"]["deletionTimestamp"].is_null(), "the team's Service stays");
    stage.end().await;
}
