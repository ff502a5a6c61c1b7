//! The team's Services: claimed, moved, re-applied by other hands, and put right.

use bascule_crds::ConditionType;
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::bed;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_claimed_before_the_first_pod_exists() {
    let stage = Stage::new(&bed(), "claim").await;
    stage.service("web").await;
    stage.version("v1", Behaviour::Never).await;
    stage.eventually("it points nowhere", || async { (stage.track("web").await.as_deref() == Some("none")).then_some(()) }).await;
    stage.version("v2", Behaviour::Ready).await;
    stage.is_settled_on("v2").await;
    assert_eq!(stage.track("web").await.as_deref(), Some("blue"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_has_other_endpoints_is_not_claimed() {
    let stage = Stage::new(&bed(), "in-use").await;
    stage.service("web").await;
    let pods = |labels: serde_json::Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "old", "namespace": stage.namespace},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "old"}]}}}})
    };
    assert!(stage.bed.kubectl(&["apply", "-f", "-"], Some(&pods(json!({"app": "web"})).to_string())).0);
    stage
        .eventually("the old app serves", || async {
            let (_, text) = stage.bed.kubectl(
                &["get", "endpointslices", "-n", &stage.namespace, "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}"],
                None,
            );
            (text.split_whitespace().filter(|ready| *ready == "true").count() == 2).then_some(())
        })
        .await;
    stage.version("v1", Behaviour::Ready).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Stalled) == "ServiceInUse").await;
    assert!(
        stage::message(&status, ConditionType::Ready).contains("2 ready pods that are not part of this Release"),
        "{status:?}"
    );
    assert_eq!(stage.track("web").await, None, "their traffic is not cut");

    // The way over that the docs name: the old pods say that they wait for the first switch.
    assert!(
        stage.bed.kubectl(&["apply", "-f", "-"], Some(&pods(json!({"app": "web", "bascule.dev/track": "none"})).to_string())).0
    );
    stage.is_settled_on("v1").await;
    assert_eq!(stage.track("web").await.as_deref(), Some("blue"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_later_is_waited_for() {
    let stage = Stage::new(&bed(), "later").await;
    stage.version("v1", Behaviour::Ready).await;
    stage.until("it says so", |status| stage::reason(status, ConditionType::Ready) == "ServiceMissing").await;
    stage.service("web").await;
    stage.is_settled_on("v1").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_are_moved_together() {
    let stage = Stage::new(&bed(), "two").await;
    stage.service("web").await;
    stage.service("api").await;
    let spec = |version| {
        let mut spec = stage.spec(version, Behaviour::Ready, 2);
        spec["services"] = json!([{"name": "web"}, {"name": "api"}]);
        spec
    };
    stage.release("web", &spec("v1")).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &spec("v2")).await;
    stage.is_settled_on("v2").await;
    assert_eq!((stage.track("web").await.as_deref(), stage.track("api").await.as_deref()), (Some("green"), Some("green")));
    stage.end().await;
}

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
async fn a_service_replaced_by_hand_in_the_middle_is_moved_back() {
    let stage = Stage::settled(&bed(), "replaced").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["strategy"]["bake"] = json!("60s");
    for (replaced, expected) in [("before", "blue"), ("during", "green")] {
        if replaced == "during" {
            stage.release("web", &spec).await;
            stage.until("v2 has the traffic", |status| stage::is_active(status, "v2")).await;
        }
        let (done, text) = stage.bed.kubectl(&["replace", "-f", "-"], Some(&stage.service_text("web")));
        assert!(done, "{text}");
        stage
            .eventually(&format!("{replaced} the bake it is moved back"), || async {
                (stage.track("web").await.as_deref() == Some(expected)).then_some(())
            })
            .await;
    }
    let status = stage.status("web").await;
    assert!(status.rejected.is_empty() && stage::is_active(&status, "v2"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_moved_by_hand_is_moved_back() {
    let stage = Stage::settled(&bed(), "moved").await;
    let body = json!({"metadata": {"annotations": {"bascule.dev/track": "green"}}});
    let moved: Service = stage.api::<Service>().patch("web", &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
    assert_eq!(moved.spec.unwrap().selector.unwrap()["bascule.dev/track"], "green");
    stage.eventually("it is moved back", || async { (stage.track("web").await.as_deref() == Some("blue")).then_some(()) }).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_selects_none_of_the_pods_is_refused() {
    let stage = Stage::new(&bed(), "selector").await;
    let mut service = stage::service_manifest("web", &stage.namespace);
    service["spec"]["selector"] = json!({"app": "other"});
    stage.apply_as("team", &service).await;
    stage.version("v1", Behaviour::Ready).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Stalled) == "SelectorMismatch").await;
    assert!(stage::message(&status, ConditionType::Ready).contains("Service web selects app=other"));
    stage.service("web").await;
    stage.is_settled_on("v1").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preview_is_on_the_candidate() {
    let stage = Stage::new(&bed(), "preview").await;
    stage.service("web").await;
    let spec = |version, behaviour, bake: &str| {
        let mut spec = stage.spec(version, behaviour, 2);
        spec["preview"] = json!(true);
        spec["strategy"]["bake"] = json!(bake);
        spec
    };
    stage.release("web", &spec("v1", Behaviour::Ready, "1s")).await;
    stage.is_settled_on("v1").await;
    stage.eventually("the preview shows v1", || async { (preview(&stage).await.as_deref() == Some("blue")).then_some(()) }).await;
    stage.release("web", &spec("v2", Behaviour::Ready, "1s")).await;
    stage.is_settled_on("v2").await;
    stage
        .eventually("the preview shows v2", || async { (preview(&stage).await.as_deref() == Some("green")).then_some(()) })
        .await;
    stage.version("v2", Behaviour::Ready).await;
    stage.eventually("it goes when it is not wanted", || async { preview(&stage).await.is_none().then_some(()) }).await;
    stage.end().await;
}

async fn preview(stage: &Stage) -> Option<String> {
    stage.api::<Service>().get_opt("web-preview").await.unwrap()?.spec?.selector?.get("bascule.dev/track").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_is_somebody_elses_is_left_alone() {
    let stage = Stage::new(&bed(), "preview-taken").await;
    stage.service("web").await;
    let theirs: Service = stage::from(stage::service_manifest("web-preview", &stage.namespace));
    let api: Api<Service> = stage.api();
    api.create(&PostParams::default(), &theirs).await.unwrap();
    let mut spec = stage.spec("v1", Behaviour::Ready, 2);
    spec["preview"] = json!(true);
    stage.release("web", &spec).await;
    stage.until("it says so", |status| stage::reason(status, ConditionType::Stalled) == "NameTaken").await;
    assert_eq!(preview(&stage).await, None);
    stage.end().await;
}
