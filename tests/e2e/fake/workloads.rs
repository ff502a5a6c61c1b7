//! Deployments: several in lockstep, without a Service, edited by hand, and names that are taken.

use bascule_crds::ConditionType;
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::bed;

fn workload(name: &str, behaviour: Behaviour, stage: &Stage) -> Value {
    let mut workload = stage.spec("x", behaviour, 1)["workloads"][0].clone();
    workload["name"] = json!(name);
    workload
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_wait_for_each_other() {
    let stage = Stage::new(&bed(), "lockstep").await;
    stage.service("web").await;
    let both = |version: &str, worker: Behaviour| {
        let mut spec = stage.spec(version, Behaviour::Ready, 2);
        let web = spec["workloads"][0].clone();
        spec["workloads"] = json!([web, workload("worker", worker, &stage)]);
        spec
    };
    stage.release("web", &both("v1", Behaviour::Ready)).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &both("v2", Behaviour::Never)).await;
    let status = stage.is_rejected_in_favour_of("v1").await;
    assert!(status.rejected[0].message.contains("worker"), "{}", status.rejected[0].message);
    stage.release("web", &both("v3", Behaviour::ReadyAfter(1))).await;
    stage.is_settled_on("v3").await;
    assert_eq!((stage.replicas("web-green").await, stage.replicas("worker-green").await), (2, 1));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_without_a_service_switch_by_scaling() {
    let stage = Stage::new(&bed(), "worker").await;
    let spec = |version: &str, behaviour| {
        let mut spec = stage.spec(version, behaviour, 2);
        spec["services"] = json!([]);
        spec
    };
    stage.release("web", &spec("v1", Behaviour::Ready)).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &spec("v2", Behaviour::Ready)).await;
    stage.is_settled_on("v2").await;
    assert_eq!((stage.replicas("web-green").await, stage.replicas("web-blue").await), (2, 0));
    let mut bad = spec("v3", Behaviour::Dies(2));
    bad["strategy"]["bake"] = json!("60s");
    stage.release("web", &bad).await;
    stage.is_rejected_in_favour_of("v2").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_edited_by_hand_is_put_right() {
    let stage = Stage::settled(&bed(), "edited").await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "hacked"}]}}}});
    stage.api::<Deployment>().patch("web-blue", &PatchParams::default(), &Patch::Strategic(&image)).await.unwrap();
    stage.eventually("the image is back", || async { (stage.image("web-blue").await == "example/web:v1").then_some(()) }).await;
    let replicas = json!({"spec": {"replicas": 7}});
    stage.api::<Deployment>().patch("web-blue", &PatchParams::default(), &Patch::Merge(&replicas)).await.unwrap();
    stage.eventually("the replicas are back", || async { (stage.replicas("web-blue").await == 2).then_some(()) }).await;
    stage.api::<Deployment>().delete("web-blue", &DeleteParams::default()).await.unwrap();
    stage.eventually("it is there again", || async { (stage.replicas("web-blue").await == 2).then_some(()) }).await;
    stage.until("and ready", stage::is_ready).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_while_the_controller_was_away_is_put_right() {
    let mut stage = Stage::settled(&bed(), "away").await;
    stage.controller.kill();
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "hacked"}]}}}});
    stage.api::<Deployment>().patch("web-blue", &PatchParams::default(), &Patch::Strategic(&image)).await.unwrap();
    stage.controller.run().await;
    stage.eventually("the image is back", || async { (stage.image("web-blue").await == "example/web:v1").then_some(()) }).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_somebody_else_is_not_taken_over() {
    let stage = Stage::new(&bed(), "taken").await;
    stage.service("web").await;
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-blue", "namespace": stage.namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "theirs"}}, "template": {"metadata": {"labels": {"app": "theirs"}},
            "spec": {"containers": [{"name": "it", "image": "theirs"}]}}}});
    assert!(stage.bed.kubectl(&["apply", "-f", "-"], Some(&theirs.to_string())).0);
    stage.version("v1", Behaviour::Ready).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Stalled) == "NameTaken").await;
    let message = stage::message(&status, ConditionType::Ready);
    assert!(message.contains("web-blue"), "{message}");
    assert_eq!(stage.image("web-blue").await, "theirs");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_pods_that_are_not_ready_is_said() {
    let stage = Stage::settled(&bed(), "why").await;
    let mut spec = stage.spec("v2", Behaviour::Never, 2);
    spec["strategy"]["progressDeadline"] = json!("60s");
    // No node has this label: the scheduler says why.
    spec["workloads"][0]["template"]["spec"]["nodeSelector"] = json!({"disk": "none-such"});
    stage.release("web", &spec).await;
    let status = stage
        .until("it is said", |status| status.candidate.as_ref().is_some_and(|candidate| !candidate.message.is_empty()))
        .await;
    let message = status.candidate.unwrap().message;
    assert!(message.contains("not scheduled") && message.contains("nodes are available"), "{message}");
    stage.end().await;
}
