//! Versions that are no good, and what becomes of them.

use bascule_crds::RejectReason;
use bascule_tests::{Behaviour, Stage, stage};
use serde_json::json;

use super::bed;

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_never_get_ready_are_rejected_at_the_deadline() {
    let stage = Stage::settled(&bed(), "never").await;
    stage.version("v2", Behaviour::Never).await;
    stage.until("v2 starts", |status| status.candidate.is_some()).await;
    let status = stage.is_rejected_in_favour_of("v1").await;
    assert_eq!(status.rejected[0].reason, RejectReason::DeadlineExceeded);
    assert_eq!((stage.track("web").await.as_deref(), stage.replicas("web-blue").await), (Some("blue"), 2));
    stage.eventually("the rejected pods are ended", || async { (stage.replicas("web-green").await == 0).then_some(()) }).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_with_flapping_readiness_is_rejected_in_time() {
    let stage = Stage::settled(&bed(), "flapping").await;
    let mut spec = stage.spec("v2", Behaviour::Flapping, 2);
    // Watched for longer than it can stay up, so that it cannot settle between two crashes.
    spec["strategy"]["bake"] = json!("30s");
    stage.release("web", &spec).await;
    let started = stage.until("v2 starts", |status| status.candidate.is_some()).await.candidate.unwrap().started_at;
    let status = stage.is_rejected_in_favour_of("v1").await;
    let took = status.rejected[0].at.duration_since(started).as_secs();
    assert!(took <= 12, "rejected after {took} s: the deadline of 8 s is absolute");
    assert_eq!((stage.track("web").await.as_deref(), stage.replicas("web-blue").await), (Some("blue"), 2));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_die_after_the_switch_send_traffic_back() {
    let stage = Stage::settled(&bed(), "dies").await;
    let mut spec = stage.spec("v2", Behaviour::Dies(3), 2);
    spec["strategy"]["bake"] = json!("60s");
    stage.release("web", &spec).await;
    stage.until("v2 has the traffic", |status| stage::is_active(status, "v2")).await;
    assert_eq!(stage.track("web").await.as_deref(), Some("green"));
    let status = stage.is_rejected_in_favour_of("v1").await;
    assert_eq!(status.rejected[0].reason, RejectReason::BakeFailed);
    assert_eq!(stage.track("web").await.as_deref(), Some("blue"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_stays_rejected_until_a_person_retries() {
    let mut stage = Stage::settled(&bed(), "retry").await;
    stage.version("v2", Behaviour::Never).await;
    let rejected = stage.is_rejected_in_favour_of("v1").await;
    stage.controller.restart().await;
    // Something that makes it decide again: the answer must be the same.
    stage.version("v2", Behaviour::Never).await;
    let name = stage.operate("Abort", "is it still trying?").await;
    stage.until("the Abort is heard", |status| status.operations.iter().any(|record| record.name == name)).await;
    let status = stage.status("web").await;
    assert_eq!((&status.rejected, &status.candidate), (&rejected.rejected, &None));

    stage.operate("Retry", "the node was full").await;
    stage.until("it is tried again", |status| status.candidate.as_ref().is_some_and(|candidate| candidate.version == "v2")).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_the_server_refuses_stalls_with_the_field_and_heals() {
    let stage = Stage::settled(&bed(), "template").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["workloads"][0]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 99_999}]);
    stage.release("web", &spec).await;
    let status =
        stage.until("stalled", |status| stage::reason(status, bascule_crds::ConditionType::Stalled) == "TemplateInvalid").await;
    let message = stage::message(&status, bascule_crds::ConditionType::Stalled);
    assert!(message.contains("spec.workloads[web].template.spec.containers[0].ports[0].containerPort"), "{message}");
    assert!(status.candidate.is_none() && stage::is_active(&status, "v1"));
    stage.version("v3", Behaviour::Ready).await;
    stage.is_settled_on("v3").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_does_not_exist_names_the_field() {
    let stage = Stage::settled(&bed(), "variable").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["workloads"][0]["template"]["spec"]["containers"][0]["image"] = json!("$(artifacts.wbe.image)");
    stage.release("web", &spec).await;
    let status =
        stage.until("stalled", |status| stage::reason(status, bascule_crds::ConditionType::Stalled) == "SpecInvalid").await;
    let message = stage::message(&status, bascule_crds::ConditionType::Ready);
    assert!(
        message.starts_with("spec.workloads[0].template.spec.containers[0].image: there is no $(artifacts.wbe.image)"),
        "{message}"
    );
    stage.end().await;
}
