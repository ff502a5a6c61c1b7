//! Things that come in between: a newer version, an autoscaler, a restart, a deletion – in each phase.

use bascule_crds::{Release, Step};
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::bed;

/// The phases of a release, as a test can bring them about.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Settled,
    Starting,
    Baking,
}

/// Settled on v1, and v2 brought to the phase and held there.
async fn in_phase(name: &str, phase: Phase) -> Stage {
    let stage = Stage::settled(&bed(), name).await;
    match phase {
        Phase::Settled => {}
        Phase::Starting => {
            let mut spec = stage.spec("v2", Behaviour::Never, 2);
            spec["strategy"]["progressDeadline"] = json!("60s");
            stage.release("web", &spec).await;
            at(&stage, Step::Starting).await;
            stage
                .eventually("the pods of v2 are asked for", || async { (stage.replicas("web-green").await == 2).then_some(()) })
                .await;
        }
        Phase::Baking => {
            let mut spec = stage.spec("v2", Behaviour::Ready, 2);
            spec["strategy"]["bake"] = json!("60s");
            stage.release("web", &spec).await;
            at(&stage, Step::Baking).await;
        }
    }
    stage
}

async fn at(stage: &Stage, step: Step) {
    stage
        .until(&format!("v2 is {step:?}"), |status| status.candidate.as_ref().is_some_and(|candidate| candidate.step == step))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_and_replicas_change_together() {
    let stage = Stage::settled(&bed(), "together").await;
    stage.release("web", &stage.spec("v2", Behaviour::Ready, 5)).await;
    stage.is_settled_on("v2").await;
    assert_eq!(stage.replicas("web-green").await, 5);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_replaces_one_that_starts() {
    let stage = in_phase("newer-starting", Phase::Starting).await;
    stage.version("v3", Behaviour::Ready).await;
    let status = stage.is_settled_on("v3").await;
    assert!(status.rejected.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_waits_for_the_end_of_a_bake() {
    let stage = Stage::settled(&bed(), "newer-baking").await;
    stage.version("v2", Behaviour::Ready).await;
    at(&stage, Step::Baking).await;
    stage.version("v3", Behaviour::Ready).await;
    let status = stage.status("web").await;
    assert!(stage::is_active(&status, "v2"));
    let status = stage.is_settled_on("v3").await;
    assert_eq!(status.previous.map(|previous| previous.version).as_deref(), Some("v2"), "v2 was settled first");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_to_the_old_version_in_each_phase() {
    for phase in [Phase::Starting, Phase::Baking] {
        let stage = in_phase("back", phase).await;
        stage.version("v1", Behaviour::Ready).await;
        let status = stage.is_settled_on("v1").await;
        assert!(status.rejected.is_empty(), "{phase:?}: to go back is no fault of v2");
        assert_eq!(stage.track("web").await.as_deref(), Some("blue"), "{phase:?}");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_is_killed_in_each_phase() {
    for phase in [Phase::Settled, Phase::Starting, Phase::Baking] {
        let mut stage = in_phase("killed", phase).await;
        stage.controller.restart().await;
        match phase {
            Phase::Settled => {}
            Phase::Starting => stage.version("v3", Behaviour::Ready).await,
            Phase::Baking => {
                let mut spec = stage.spec("v2", Behaviour::Ready, 2);
                spec["strategy"]["bake"] = json!("1s");
                stage.release("web", &spec).await;
            }
        }
        let expected = match phase {
            Phase::Settled => "v1",
            Phase::Starting => "v3",
            Phase::Baking => "v2",
        };
        stage.is_settled_on(expected).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_cleanly() {
    let mut stage = Stage::settled(&bed(), "sigterm").await;
    assert_eq!(stage.controller.stop(), Some(0), "{}", stage.controller.log_text());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_release_is_not_written_after_a_restart() {
    let mut stage = Stage::settled(&bed(), "unwritten").await;
    let before = versions_of(&stage).await;
    stage.controller.restart().await;
    stage
        .eventually("it has decided after the restart", || async {
            let metrics = stage.controller.get("/metrics")?;
            metrics.lines().any(|line| line.starts_with("bascule_decisions_total") && !line.ends_with(" 0")).then_some(())
        })
        .await;
    assert_eq!(versions_of(&stage).await, before);
    stage.end().await;
}

async fn versions_of(stage: &Stage) -> (Option<String>, Option<String>, Vec<Option<i64>>) {
    let release = stage.api::<Release>().get("web").await.unwrap().metadata.resource_version;
    let service = stage.api::<k8s_openapi::api::core::v1::Service>().get("web").await.unwrap().metadata.resource_version;
    let deployments = stage.api::<Deployment>().list(&ListParams::default()).await.unwrap().items;
    (release, service, deployments.into_iter().map(|deployment| deployment.metadata.generation).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_deleted_in_each_phase_takes_its_pods_along() {
    for phase in [Phase::Settled, Phase::Starting, Phase::Baking] {
        let stage = in_phase("deleted", phase).await;
        stage.api::<Release>().delete("web", &DeleteParams::default()).await.unwrap();
        stage
            .eventually(&format!("{phase:?}: its Deployments are gone"), || async {
                stage.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())
            })
            .await;
        // And a new one of that name can begin.
        stage.version("v9", Behaviour::Ready).await;
        stage.is_settled_on("v9").await;
        stage.end().await;
    }
}

/// A spec whose workload has no replicas of its own.
fn scaled(stage: &Stage, version: &str, behaviour: Behaviour) -> Value {
    let mut spec = stage.spec(version, behaviour, 2);
    spec["workloads"][0].as_object_mut().unwrap().remove("replicas");
    spec["strategy"]["progressDeadline"] = json!("60s");
    spec
}

async fn scale(stage: &Stage, replicas: i32) {
    let body = json!({"spec": {"replicas": replicas}});
    stage.api::<Release>().patch_scale("web", &PatchParams::default(), &Patch::Merge(&body)).await.expect("scale the Release");
}

async fn has_replicas(stage: &Stage, deployment: &str, replicas: i32) {
    stage
        .eventually(&format!("{deployment} has {replicas}"), || async {
            (stage.replicas(deployment).await == replicas).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_followed_in_each_phase() {
    let stage = Stage::new(&bed(), "scaled").await;
    stage.service("web").await;
    stage.release("web", &scaled(&stage, "v1", Behaviour::Ready)).await;
    stage.is_settled_on("v1").await;
    scale(&stage, 3).await;
    has_replicas(&stage, "web-blue", 3).await;
    stage.until("status says so", |status| status.replicas == 3 && status.selector.contains("bascule.dev/track=blue")).await;

    stage.release("web", &scaled(&stage, "v2", Behaviour::Never)).await;
    has_replicas(&stage, "web-green", 3).await;
    scale(&stage, 4).await;
    has_replicas(&stage, "web-blue", 4).await;
    has_replicas(&stage, "web-green", 4).await;

    let mut spec = scaled(&stage, "v3", Behaviour::Ready);
    spec["strategy"]["bake"] = json!("60s");
    stage.release("web", &spec).await;
    stage.until("v3 has the traffic", |status| stage::is_active(status, "v3")).await;
    assert_eq!(stage.replicas("web-green").await, 4);
    scale(&stage, 6).await;
    has_replicas(&stage, "web-green", 6).await;
    has_replicas(&stage, "web-blue", 6).await;
    let status = stage.until("it is followed", |status| status.replicas == 6).await;
    assert!(stage::is_active(&status, "v3") && status.rejected.is_empty(), "pods still to come are no failure");
    stage.end().await;
}

/// The real controller of Kubernetes: below its minimum it scales without metrics.
#[tokio::test(flavor = "multi_thread")]
async fn a_horizontal_pod_autoscaler_drives_the_release() {
    let stage = Stage::new(&bed(), "hpa").await;
    stage.service("web").await;
    let mut spec = scaled(&stage, "v1", Behaviour::Ready);
    spec["replicas"] = json!(1);
    stage.release("web", &spec).await;
    stage.is_settled_on("v1").await;
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": stage.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "name": "web"}, "minReplicas": 3, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    let (applied, text) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&hpa.to_string()));
    assert!(applied, "{text}");
    has_replicas(&stage, "web-blue", 3).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_starts_nothing() {
    let stage = Stage::settled(&bed(), "suspend").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["suspend"] = json!(true);
    stage.release("web", &spec).await;
    stage.until("it says so", |status| stage::reason(status, bascule_crds::ConditionType::Ready) == "Suspended").await;
    assert_eq!(stage.replicas("web-green").await, 0);
    stage.version("v2", Behaviour::Ready).await;
    stage.is_settled_on("v2").await;
    stage.end().await;
}

/// What a crash leaves behind: the first Service is moved, the second is not, and the status knows nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_controller_is_killed_in_the_middle_of_the_switch() {
    let mut stage = Stage::new(&bed(), "mid-switch").await;
    stage.service("api").await;
    stage.service("web").await;
    let both = |version: &str, behaviour| {
        let mut spec = stage.spec(version, behaviour, 2);
        spec["services"] = json!([{"name": "api"}, {"name": "web"}]);
        spec
    };
    let (first, second) = (both("v1", Behaviour::Ready), both("v2", Behaviour::ReadyAfter(3)));
    stage.release("web", &first).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &second).await;
    at(&stage, Step::Starting).await;
    stage.eventually("the pods of v2 are asked for", || async { (stage.replicas("web-green").await == 2).then_some(()) }).await;
    stage.controller.kill();
    let revision = stage.status("web").await.candidate.unwrap().revision;
    stage
        .eventually("they get ready while nobody looks", || async {
            let deployment = stage.api::<Deployment>().get("web-green").await.unwrap();
            (deployment.status.and_then(|status| status.available_replicas) == Some(2)).then_some(())
        })
        .await;
    let moved = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "api", "namespace": stage.namespace, "labels": {"bascule.dev/release": "web"},
            "annotations": {"bascule.dev/track": "green", "bascule.dev/revision": revision, "bascule.dev/reason": "released"}},
    });
    stage.apply_as("bascule", &moved).await;
    let before = stage.api::<k8s_openapi::api::core::v1::Service>().get("api").await.unwrap().metadata.generation;
    stage.controller.run().await;
    let status = stage.is_settled_on("v2").await;
    assert!(status.rejected.is_empty(), "{:?}", status.rejected);
    let after = stage.api::<k8s_openapi::api::core::v1::Service>().get("api").await.unwrap();
    assert_eq!((stage.track("api").await.as_deref(), stage.track("web").await.as_deref()), (Some("green"), Some("green")));
    assert_eq!(after.metadata.generation, before, "it never went back in between");
    stage.end().await;
}
