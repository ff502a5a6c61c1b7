//! ConfigMaps and Secrets that count, and volumes that cannot be shared: with the rights of the chart, on the real API server.

use bascule_crds::{ConditionStatus, ConditionType};
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::bed;

fn watching(stage: &Stage, version: &str) -> Value {
    let mut spec = stage.spec(version, Behaviour::Ready, 1);
    spec["restartOn"] = json!(["ConfigMaps", "Secrets"]);
    spec["workloads"][0]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "flags"}}, {"secretRef": {"name": "token"}}]);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_is_another_revision_and_nothing_of_it_is_shown() {
    let stage = Stage::new(&bed(), "configs").await;
    stage.service("web").await;
    stage.release("web", &watching(&stage, "v1")).await;
    let waits = |it: &bascule_crds::ReleaseStatus| stage::reason(it, ConditionType::Ready) == "ConfigMissing";
    stage.until("it waits for what is not there", waits).await;

    let (maps, secrets) = (stage.api::<ConfigMap>(), stage.api::<Secret>());
    let map = |value: &str| json!({"metadata": {"name": "flags"}, "data": {"flag": value}});
    let secret = |value: &str| json!({"metadata": {"name": "token"}, "stringData": {"token": value}});
    maps.create(&PostParams::default(), &serde_json::from_value(map("one")).unwrap()).await.unwrap();
    secrets.create(&PostParams::default(), &serde_json::from_value(secret("canary-1")).unwrap()).await.unwrap();
    let first = stage.is_settled_on("v1").await.active.unwrap().revision;

    // What is not content is no change.
    let labelled = json!({"metadata": {"labels": {"touched": "yes"}}});
    maps.patch("flags", &PatchParams::default(), &Patch::Merge(&labelled)).await.unwrap();
    maps.patch("flags", &PatchParams::default(), &Patch::Merge(&map("two"))).await.unwrap();
    let is_next = |before: String| {
        move |it: &bascule_crds::ReleaseStatus| {
            let other = it.active.as_ref().is_some_and(|active| active.revision != before);
            other && it.candidate.is_none() && stage::is_ready(it)
        }
    };
    let second = stage.until("another flag is another revision", is_next(first)).await.active.unwrap().revision;
    secrets.patch("token", &PatchParams::default(), &Patch::Merge(&secret("canary-2"))).await.unwrap();
    let status = stage.until("another token too", is_next(second)).await;

    let everything = format!("{}{}", stage.picture().await, stage.controller.log_text());
    assert!(!everything.contains("canary"), "a Secret is shown nowhere");
    assert!(!serde_json::to_string(&status).unwrap().contains("canary"));

    // Gone is not changed.
    maps.delete("flags", &DeleteParams::default()).await.unwrap();
    let said = |it: &bascule_crds::ReleaseStatus| stage::reason(it, ConditionType::SourcesFresh) == "ConfigMissing";
    let status = stage.until("it is said", said).await;
    assert_eq!(status.condition(ConditionType::Ready).unwrap().status, ConditionStatus::True);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_only_one_node_can_write_is_refused_by_name() {
    let stage = Stage::settled(&bed(), "volumes").await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let claims = stage.api::<PersistentVolumeClaim>();
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let mut v2 = stage.spec("v2", Behaviour::Ready, 1);
    v2["workloads"][0]["template"]["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    stage.release("web", &v2).await;
    let refused = |it: &bascule_crds::ReleaseStatus| stage::reason(it, ConditionType::Ready) == "VolumeNotShared";
    let status = stage.until("it is refused", refused).await;
    let message = &status.condition(ConditionType::Ready).unwrap().message;
    assert!(message.starts_with("spec.workloads[web].template: PersistentVolumeClaim data is ReadWriteOnce"), "{message}");
    assert!(stage::is_active(&status, "v1") && status.candidate.is_none());
    assert!(
        claims
            .get("data")
            .await
            .unwrap()
            .metadata
            .managed_fields
            .unwrap_or_default()
            .iter()
            .all(|it| it.manager.as_deref() != Some("bascule"))
    );
    stage.end().await;
}
