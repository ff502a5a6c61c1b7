//! Gates, hooks and rollbacks on real pods, with a real Prometheus: what proves a version, what it must have done before it starts, and
//! how a person gets back from it. Runs inside the bed's network, on a bed that is up with --prometheus:
//! `hack/testbed exec --name e2e-real -- cargo test -p bascule-tests --test gates`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[path = "gates/hooks.rs"]
mod hooks;
#[path = "gates/proof.rs"]
mod proof;
#[path = "gates/rollback.rs"]
mod rollback;
#[path = "gates/volume.rs"]
mod volume;
#[path = "gates/webhook.rs"]
mod webhook;

use std::net::SocketAddr;

use bascule_tests::{Bed, Stage};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

fn bed() -> Bed {
    Bed::named("e2e-real")
}

fn app(stage: &Stage) -> String {
    format!("{}/example/app", stage.bed.variable("BASCULE_REGISTRY"))
}

/// The app at a tag, which Prometheus looks at, with these variables.
fn spec(stage: &Stage, tag: &str, environment: &[(&str, &str)]) -> Value {
    let environment: Vec<_> = environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "artifacts": [{"name": "web", "image": {"ref": format!("{}:{tag}", app(stage))}}],
        "workloads": [{"name": "web", "replicas": 2, "template": {
            "metadata": {
                "labels": {"app": "web"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
            "spec": {"terminationGracePeriodSeconds": 15, "containers": [{
                "name": "web", "image": "$(artifacts.web.image)", "env": environment,
                "ports": [{"containerPort": 8080, "name": "http"}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}]}}}],
        "services": [{"name": "web"}],
        "strategy": {"progressDeadline": "60s", "bake": "3s", "scaleDownDelay": "3s"},
    })
}

/// A Job of the app's own image, that does what the variables say.
fn task(environment: &[(&str, &str)]) -> Value {
    let environment: Vec<_> = environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": "$(artifacts.web.image)", "args": ["task"], "env": environment}]}}})
}

async fn address(stage: &Stage) -> SocketAddr {
    let ip = stage.api::<Service>().get("web").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    format!("{ip}:80").parse().unwrap()
}

async fn settled(name: &str, spec_of: impl Fn(&Stage) -> Value) -> Stage {
    let stage = Stage::new(&bed(), name).await;
    stage.service("web").await;
    stage.release("web", &spec_of(&stage)).await;
    stage.is_settled_on("v1").await;
    stage
}

/// Has there been a Deployment on this track?
async fn exists(stage: &Stage, deployment: &str) -> bool {
    use k8s_openapi::api::apps::v1::Deployment;
    stage.api::<Deployment>().get_opt(deployment).await.unwrap().is_some()
}
