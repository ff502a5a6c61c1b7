//! What other tools see of the team's Services, and what the admission policy does in the same write.

use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::Service;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::bed;

async fn version_of(stage: &Stage) -> Option<String> {
    stage.api::<Service>().get("web").await.unwrap().metadata.resource_version
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitops_tool_that_applies_the_service_again_changes_nothing() {
    let stage = Stage::settled(&bed(), "gitops").await;
    applied_again(&stage, "blue").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["strategy"]["bake"] = json!("60s");
    stage.release("web", &spec).await;
    stage.until("v2 has the traffic", |status| stage::is_active(status, "v2")).await;
    applied_again(&stage, "green").await;
    let status = stage.status("web").await;
    assert!(status.rejected.is_empty() && stage::is_active(&status, "v2"));
    stage.end().await;
}

async fn applied_again(stage: &Stage, track: &str) {
    let before = stage.api::<Service>().get("web").await.unwrap();
    let mut dry = PatchParams::apply("team").force();
    dry.dry_run = true;
    let manifest = stage::service_manifest("web", &stage.namespace);
    let would: Service = stage.api::<Service>().patch("web", &dry, &Patch::Apply(&manifest)).await.unwrap();
    assert_eq!(
        (&would.spec, would.annotations()),
        (&before.spec, before.annotations()),
        "a dry run shows no difference, so Flux writes nothing"
    );
    // A tool that writes all the same takes over the ownership of the selector once, and then never writes again.
    stage.service("web").await;
    let after = stage.api::<Service>().get("web").await.unwrap();
    assert_eq!((&after.spec, after.annotations()), (&before.spec, before.annotations()));
    let version = version_of(stage).await;
    stage.service("web").await;
    assert_eq!(version_of(stage).await, version, "no difference, no write");
    assert_eq!(stage.track("web").await.as_deref(), Some(track));

    let (applied, text) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&stage.service_text("web")));
    assert!(applied, "{text}");
    assert_eq!(stage.track("web").await.as_deref(), Some(track), "client-side apply keeps the track");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_moved_by_hand_takes_the_selector_along_and_is_moved_back() {
    let stage = Stage::settled(&bed(), "moved").await;
    let body = json!({"metadata": {"annotations": {"bascule.dev/track": "green"}}});
    let moved: Service = stage.api::<Service>().patch("web", &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
    assert_eq!(moved.spec.unwrap().selector.unwrap()["bascule.dev/track"], "green");
    stage.eventually("it is moved back", || async { (stage.track("web").await.as_deref() == Some("blue")).then_some(()) }).await;
    stage.end().await;
}
