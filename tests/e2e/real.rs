//! Real pods, a real Service data path, and a load client that opens a new connection for each request: none may be lost.
//!
//! Runs inside the bed's network: `hack/testbed exec --name e2e-real -- …`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::{net::SocketAddr, time::Duration};

use bascule_crds::Step;
use bascule_tests::{
    Bed, Stage,
    load::{Load, Tally},
    stage,
};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// Requests per second: enough that a gap of some milliseconds is hit, few enough for two cores that also run a cluster.
const RATE: u32 = 300;
/// A version that does not come up on a real node in this time has a reason that a longer wait would not cure.
const VERSIONS: usize = 5;

fn spec(stage: &Stage, version: &str, environment: &[(&str, &str)]) -> Value {
    let registry = stage.bed.variable("BASCULE_REGISTRY");
    let environment: Vec<_> =
        [("VERSION", version)].iter().chain(environment).map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "artifacts": [{"name": "web", "image": {"ref": format!("{registry}/example/app:v1")}}],
        "workloads": [{"name": "web", "replicas": 2, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 15, "containers": [{
                "name": "web", "image": "$(artifacts.web.image)", "env": environment,
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}]}}}],
        "services": [{"name": "web"}],
        "strategy": {"progressDeadline": "60s", "bake": "3s", "scaleDownDelay": "3s"},
    })
}

/// The revision's `version` is the tag, which is the same for all here; what answers is told by the app itself.
async fn is_settled(stage: &Stage, track: &str) {
    stage
        .until(&format!("settled on {track}"), |status| {
            status.active.as_ref().is_some_and(|active| active.track.as_str() == track)
                && status.candidate.is_none()
                && stage::is_ready(status)
        })
        .await;
}

async fn address(stage: &Stage) -> SocketAddr {
    let ip = stage.api::<Service>().get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    format!("{ip}:80").parse().unwrap()
}

/// The node's proxy follows the endpoints a moment later; from the first moment in which only this version answers, no other one
/// answers again, and nothing is lost.
async fn only(stage: &Stage, load: &Load, version: &str) -> Tally {
    let is_alone = |tally: &Tally| tally.by_version.len() == 1 && tally.by_version.contains_key(version);
    stage.eventually(&format!("{version} answers alone"), || async { some_answers(load).await.filter(is_alone) }).await;
    let tally = stage.eventually("some more answers", || some_answers(load)).await;
    assert!(is_alone(&tally), "an answer of another version after {version} had taken over: {:?}", tally.by_version);
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
    tally
}

/// What was answered in the next half second.
async fn some_answers(load: &Load) -> Option<Tally> {
    let _ = load.take();
    tokio::time::sleep(Duration::from_millis(500)).await;
    Some(load.take()).filter(|tally| tally.sent > 50)
}

/// One story, since each part goes on from the one before: what a Release lives through, and the controller killed in the middle of
/// each of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost() {
    let bed = Bed::named("e2e-real");
    let mut stage = Stage::new(&bed, "lossless").await;
    stage.service("web").await;
    stage.release("web", &spec(&stage, "v0", &[])).await;
    is_settled(&stage, "blue").await;
    let load = Load::start(address(&stage).await, "/", 8, RATE);
    only(&stage, &load, "v0").await;

    // Five switches; each with a scale-down of the old version, and the controller killed right before or after the switch.
    let tracks = ["green", "blue"];
    for number in 1..=VERSIONS {
        let (version, track) = (format!("v{number}"), tracks[(number - 1) % 2]);
        stage.release("web", &spec(&stage, &version, &[])).await;
        let step = if number % 2 == 0 { Step::Starting } else { Step::Baking };
        stage
            .until(&format!("{version} is {step:?}"), |status| {
                status.candidate.as_ref().is_some_and(|candidate| candidate.step >= step)
            })
            .await;
        stage.controller.restart().await;
        stage
            .eventually(&format!("{version} has the traffic"), || async {
                (stage.track("web").await.as_deref() == Some(track)).then_some(())
            })
            .await;
        // A connection that was on its way when the Service was moved may still end at the old version; then no more.
        let endpoints = || async {
            let (_, text) = stage.bed.kubectl(
                &[
                    "get",
                    "endpointslices",
                    "-n",
                    &stage.namespace,
                    "-l",
                    "kubernetes.io/service-name=web",
                    "-o",
                    "jsonpath={.items[*].endpoints[*].targetRef.name}",
                ],
                None,
            );
            text.split_whitespace().all(|pod| pod.contains(track)).then_some(())
        };
        stage.eventually("the endpoints follow", endpoints).await;
        let tally = only(&stage, &load, &version).await;
        eprintln!("{version}: {} requests, p50 {:.1} ms, p99 {:.1} ms", tally.sent, tally.p50_ms, tally.p99_ms);
        is_settled(&stage, track).await;
        // Killed in the middle of the scale-down.
        stage.controller.restart().await;
        stage
            .eventually("the old version is ended", || async {
                (stage.replicas(&format!("web-{}", tracks[number % 2])).await == 0).then_some(())
            })
            .await;
    }

    // An abort: the candidate never had traffic.
    stage.release("web", &spec(&stage, "aborted", &[("READY_AFTER", "60s")])).await;
    stage.until("it starts", |status| status.candidate.is_some()).await;
    stage.operate("Abort", "a test").await;
    stage.controller.restart().await;
    stage.until("it is rejected", |status| status.candidate.is_none() && status.rejected.len() == 1).await;
    only(&stage, &load, "v5").await;

    // A bake that fails: the new version has traffic, gets unready, and the old one takes over again.
    let mut bad = spec(&stage, "bad", &[("UNREADY_AFTER", "8s")]);
    bad["strategy"]["bake"] = json!("60s");
    stage.release("web", &bad).await;
    stage
        .until("it has the traffic", |status| status.candidate.as_ref().is_some_and(|candidate| candidate.step == Step::Baking))
        .await;
    stage.controller.restart().await;
    stage.until("traffic is back", |status| status.candidate.is_none() && status.rejected.len() == 2).await;
    only(&stage, &load, "v5").await;

    let total = load.stop().await;
    eprintln!(
        "total: {} requests, {} lost, p50 {:.1} ms, p99 {:.1} ms, {:?}",
        total.sent, total.failed, total.p50_ms, total.p99_ms, total.by_version
    );
    assert_eq!(total.failed, 0, "{:?}", total.failures);
    assert!(!total.by_version.contains_key("aborted"), "{:?}", total.by_version);
    stage.end().await;
}
