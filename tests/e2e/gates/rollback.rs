//! Back to what ran before: at once while it is warm, as a release when it is not, and then it stays.

use bascule_crds::{Operation, RejectReason, Release, ReleaseStatus, ReleasedOutcome};
use bascule_tests::{Stage, controller, load::Load, stage};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::Service,
};
use kube::{
    ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{address, settled, spec};

async fn rollback(stage: &Stage, to: Option<&str>) {
    let mut spec = json!({"release": "web", "type": "Rollback", "note": "checkout errors"});
    if let Some(to) = to {
        spec["revision"] = json!(to);
    }
    let operation: Operation = serde_json::from_value(json!({
        "apiVersion": "bascule.dev/v1alpha1", "kind": "Operation",
        "metadata": {"generateName": "web-", "namespace": stage.namespace}, "spec": spec,
    }))
    .unwrap();
    stage.api::<Operation>().create(&PostParams::default(), &operation).await.unwrap();
}

/// It has returned from v2 to v1, and that has settled.
fn is_back(it: &ReleaseStatus) -> bool {
    stage::is_active(it, "v1") && it.candidate.is_none() && it.history.len() == 3
}

/// A change that is none of the revision that was left.
async fn a_touch_changes_nothing(stage: &Stage) {
    let mut touched = warm(stage, "v2");
    touched["strategy"]["bake"] = json!("4s");
    stage.release("web", &touched).await;
    let generation = stage.api::<Release>().get("web").await.unwrap().metadata.generation;
    let status = stage.until("it was seen", |it| Some(it.observed_generation) == generation).await;
    assert!(stage::is_active(&status, "v1") && status.candidate.is_none());
    assert_eq!(stage::reason(&status, bascule_crds::ConditionType::Ready), "RolledBack");
}

fn warm(stage: &Stage, tag: &str) -> serde_json::Value {
    let mut spec = spec(stage, tag, &[]);
    spec["strategy"]["scaleDownDelay"] = json!("10m");
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_one_switch_while_it_is_warm_and_stays_whatever_automation_does() {
    let mut stage = settled("rollback", |stage| warm(stage, "v1")).await;
    let load = Load::start(address(&stage).await, "/", 4, 100);
    stage.release("web", &warm(&stage, "v2")).await;
    stage.until("v2 is settled", |it| stage::is_active(it, "v2") && it.candidate.is_none()).await;
    let start = Instant::now();
    rollback(&stage, None).await;
    stage
        .eventually("v1 has the traffic", || async { (stage.track("web").await.as_deref() == Some("blue")).then_some(()) })
        .await;
    println!("rollback asked to traffic back (warm): {} ms", start.elapsed().as_millis());
    let status = stage.until("v1 is settled again", is_back).await;
    assert_eq!(status.rejected[0].reason, RejectReason::RolledBack);
    let outcome = |version: &str| status.history.iter().find(|it| it.version == version).unwrap().outcome;
    assert_eq!((outcome("v2"), outcome("v1")), (ReleasedOutcome::RolledBack, ReleasedOutcome::Settled));

    // The same text again, a restart, and a change that is none of the revision.
    stage.release("web", &warm(&stage, "v2")).await;
    stage.controller.restart().await;
    a_touch_changes_nothing(&stage).await;

    // Something newer ends it.
    stage.release("web", &warm(&stage, "v3")).await;
    stage.until("v3 is settled", |it| stage::is_active(it, "v3") && it.candidate.is_none() && it.hold.is_none()).await;
    let total = load.stop().await;
    assert_eq!(total.failed, 0, "{:?}", total.failures);
    println!("total: {} requests, 0 lost", total.sent);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_the_controller_brings_nothing_back_and_moves_nothing() {
    let mut stage = Stage::new(&super::bed(), "upgrade").await;
    stage.controller.replace(controller::previous()).await;
    stage.service("web").await;
    for tag in ["v1", "v2"] {
        stage.release("web", &warm(&stage, tag)).await;
        stage.until("it is settled", |it| stage::is_active(it, tag) && it.candidate.is_none()).await;
    }
    rollback(&stage, None).await;
    stage.until("v1 is settled again", is_back).await;
    let before = versions(&stage).await;

    stage.controller.replace(controller::binary()).await;
    a_touch_changes_nothing(&stage).await;
    assert_eq!(versions(&stage).await, before, "nothing was written to what runs");
    stage.end().await;
}

/// Of everything that a release moves.
async fn versions(stage: &Stage) -> Vec<Option<i64>> {
    let mut all = Vec::new();
    for name in ["web-blue", "web-green"] {
        all.push(stage.api::<Deployment>().get(name).await.unwrap().metadata.generation);
    }
    let service = stage.api::<Service>().get("web").await.unwrap();
    all.push(service.resource_version().and_then(|version| version.parse().ok()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_one_is_released_again_from_what_was_stored() {
    let stage = settled("cold", |stage| spec(stage, "v1", &[])).await;
    for tag in ["v2", "v3"] {
        stage.release("web", &spec(&stage, tag, &[])).await;
        stage.is_settled_on(tag).await;
    }
    let stored = stage.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(stored.len(), 3, "{:?}", stored.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>());
    let ready = |it: &bascule_crds::ReleaseStatus| {
        it.condition(bascule_crds::ConditionType::RollbackReady)
            .is_some_and(|it| it.reason == "Complete" && it.message.starts_with("v2 "))
    };
    stage.until("v2 can be returned to", ready).await;
    rollback(&stage, Some("1")).await;
    let back = |it: &bascule_crds::ReleaseStatus| stage::is_active(it, "v1") && it.candidate.is_none() && it.history.len() == 4;
    let status = stage.until("v1 is settled again", back).await;
    assert!(status.history[3].by.is_some());
    stage.end().await;
}
