//! What a version must show before users see it, and while they do.

use std::time::Duration;

use bascule_crds::{GateState, RejectReason};
use bascule_tests::{load::Load, stage};
use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use tokio::time::Instant;

use super::{address, settled, spec, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_passes_requests_prometheus_and_a_job() {
    let stage = settled("proof", |stage| {
        let mut spec = spec(stage, "v1", &[]);
        spec["preview"] = json!(true);
        spec
    })
    .await;
    let preview = || async { stage.api::<Service>().get_opt("web-preview").await.ok()??.spec?.cluster_ip };
    let ip = stage.eventually("there is a preview", preview).await;
    let mut v2 = spec(&stage, "v2", &[]);
    v2["preview"] = json!(true);
    let mut job = task(&[("TASK_CALL", "$(BASCULE_URL_WEB)/")]);
    // A bed has no DNS.
    job["template"]["spec"]["hostAliases"] = json!([{"ip": ip, "hostnames": [format!("web-preview.{}.svc", stage.namespace)]}]);
    let up = "count(app_info{namespace=\"$(release.namespace)\",release=\"web\",track=\"$(release.track)\",revision=\"$(release.revision)\"})";
    let by_pod = "count(app_info{namespace=\"$(release.namespace)\",pod=~\"web-.*-($(release.podHash))-.*\"})";
    let prometheus = stage.bed.variable("BASCULE_PROMETHEUS").to_owned();
    v2["gates"] = json!({"beforeSwitch": [
        {"name": "every-pod", "http": {"service": "web", "path": "/", "each": "Pod", "expect": "status == 200 && body.startsWith('v2')"},
            "interval": "1s", "successes": 2},
        {"name": "preview", "http": {"service": "web", "path": "/healthz", "expect": "body.contains('ok') && latency < duration('2s')"},
            "interval": "1s", "failures": 5},
        {"name": "seen", "prometheus": {"query": up, "expect": "value == 2.0", "address": prometheus}, "interval": "1s", "failures": 30},
        {"name": "by-pod", "prometheus": {"query": by_pod, "expect": "value >= 2.0", "address": prometheus}, "interval": "1s", "failures": 30},
        {"name": "accept", "job": job, "timeout": "1m"},
    ]});
    stage.environment_allows(&[&prometheus.replace("http://", "")]).await;
    stage.release("web", &v2).await;
    let candidate = stage
        .until("every gate has passed", |it| {
            it.candidate
                .as_ref()
                .is_some_and(|it| it.gates.len() == 5 && it.gates.iter().all(|gate| gate.state == GateState::Passed))
        })
        .await;
    for gate in candidate.candidate.unwrap().gates {
        println!(
            "gate {}: {:?}, {}",
            gate.name,
            gate.state,
            gate.at.map_or(String::new(), |at| format!("{:.1} s", at.duration_since(gate.since).as_secs_f64()))
        );
    }
    stage.is_settled_on("v2").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_after_the_switch_bring_traffic_back_within_an_interval() {
    let stage = settled("errors", |stage| spec(stage, "v1", &[])).await;
    let load = Load::start(address(&stage).await, "/", 4, 100);
    let prometheus = stage.bed.variable("BASCULE_PROMETHEUS").to_owned();
    stage.environment_allows(&[&prometheus.replace("http://", "")]).await;
    // Each pod answers well some hundred times, and then never again.
    let mut v2 = spec(&stage, "v2", &[("FAIL_FROM", "300")]);
    let errors = "sum(increase(http_requests_total{namespace=\"$(release.namespace)\",revision=\"$(release.revision)\",code=\"500\"}[5s]))";
    v2["strategy"]["bake"] = json!("60s");
    v2["gates"] = json!({"afterSwitch": [
        {"name": "errors", "prometheus": {"query": errors, "expect": "value < 1.0", "address": prometheus}, "interval": "1s"}]});
    stage.release("web", &v2).await;
    stage.until("v2 has the traffic", |it| stage::is_active(it, "v2")).await;
    let first = {
        let failing = || async { (load.take().failed > 0).then(Instant::now) };
        stage.eventually("v2 answers badly", failing).await
    };
    let status = stage.until("v1 has the traffic again", |it| stage::is_active(it, "v1") && it.candidate.is_none()).await;
    let back = first.elapsed();
    println!("first error to traffic back: {:.1} s (scraped each second, asked each second)", back.as_secs_f64());
    let rejection = &status.rejected[0];
    assert_eq!(rejection.reason, RejectReason::GateFailed);
    assert!(rejection.message.starts_with("gate errors: "), "{}", rejection.message);
    println!("rejected: {}", rejection.message);
    let is_well = || async {
        let _ = load.take();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let tally = load.take();
        (tally.failed == 0 && tally.sent > 10 && tally.by_version.contains_key("v1") && tally.by_version.len() == 1).then_some(())
    };
    stage.eventually("v1 answers alone", is_well).await;
    let total = load.stop().await;
    let lost: Vec<_> = total.failures.iter().filter(|why| !why.starts_with("answered HTTP/1.1 500")).collect();
    assert!(lost.is_empty(), "only what the bad version answered itself may fail: {lost:?}");
    println!("total: {} requests, {} answered with 500 by v2, 0 lost", total.sent, total.failed);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_does_not_know_is_no_yes() {
    let stage = settled("no-data", |stage| spec(stage, "v1", &[])).await;
    let prometheus = stage.bed.variable("BASCULE_PROMETHEUS").to_owned();
    stage.environment_allows(&[&prometheus.replace("http://", "")]).await;
    let mut v2 = spec(&stage, "v2", &[]);
    v2["gates"] = json!({"beforeSwitch": [
        {"name": "nothing", "prometheus": {"query": "no_such_metric", "expect": "value < 1.0", "address": prometheus}, "interval": "1s", "timeout": "5s"}]});
    stage.release("web", &v2).await;
    let status = stage.is_rejected_in_favour_of("v1").await;
    assert_eq!(status.rejected[0].reason, RejectReason::GateFailed);
    assert!(status.rejected[0].message.contains("no data"), "{}", status.rejected[0].message);
    stage.end().await;
}
