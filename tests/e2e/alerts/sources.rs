//! AWS in trouble: what a Release should run cannot be read, or not often enough, or is older than what runs.

use bascule_crds::Environment;
use bascule_tests::{
    Behaviour, Stage,
    aws::{Emulator, Line, Trouble},
    registry,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{Scene, scraped};

pub(crate) const PROVOKES: &[&str] = &["BasculeAwsThrottled", "BasculeReleaseOutOfOrder", "BasculeSourcesStale"];

/// The namespace has an Environment of its own that asks AWS over this line; its name is the namespace's.
async fn environment(stage: &Stage, line: &Line, registry: &str) {
    let name = stage.namespace.as_str();
    let body = json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": {
        "namespaces": {"matchLabels": {"bascule.dev/e2e": "true"}},
        "aws": {"region": "us-east-1", "endpoint": line.url(), "pollInterval": "500ms"},
        "registry": registry, "allow": {"images": [format!("{registry}/alerts/**")]}}});
    let environments = Api::<Environment>::all(stage.client.0.clone());
    environments.patch(name, &PatchParams::apply("platform"), &Patch::Apply(&body)).await.unwrap();
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": name}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces.patch(name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_sources_is_told_until_it_is_mended() {
    let scene = Scene::begin(PROVOKES).await;
    let emulator = Emulator::of_bed();
    let line = Line::to(&emulator).await;
    let stage = Stage::new(&scene.bed, "alerts-aws").await;
    scene.watch.look_at(&[stage.controller.address()]);
    let registry = stage.bed.variable("BASCULE_REGISTRY").to_owned();
    environment(&stage, &line, &registry).await;
    let parameter = format!("/{}/web/image", stage.namespace);
    let deploy = async |build: u32| {
        registry::push(&registry, "alerts/web", &format!("b{build}"), &json!({"org.example.build": build.to_string()})).await;
        emulator.put(&parameter, &format!("alerts/web:b{build}")).await;
    };

    deploy(1).await;
    stage.service("web").await;
    let mut spec = stage.spec("", Behaviour::Ready, 2);
    spec["artifacts"][0]["image"] = json!({"parameter": parameter, "order": {"label": "org.example.build"}});
    stage.release("web", &spec).await;
    stage.is_settled_on("b1").await;
    deploy(3).await;
    stage.is_settled_on("b3").await;
    scene.quiet().await;

    let of = [("namespace", stage.namespace.as_str()), ("environment", stage.namespace.as_str()), ("release", "web")];
    line.is(Trouble::Denied);
    let alert = scene.fires("BasculeSourcesStale", &of).await;
    assert_eq!(alert["labels"]["severity"], "warning");
    line.is(Trouble::None);
    scene.ends("BasculeSourcesStale", &of).await;

    line.is(Trouble::Throttled);
    scene.fires("BasculeAwsThrottled", &[("service", "ssm")]).await;
    line.is(Trouble::None);
    scene.ends("BasculeAwsThrottled", &[("service", "ssm")]).await;

    // A build that comes late, and the one that ends it.
    deploy(2).await;
    scene.fires("BasculeReleaseOutOfOrder", &of).await;
    deploy(4).await;
    stage.is_settled_on("b4").await;
    scene.ends("BasculeReleaseOutOfOrder", &of).await;

    scene.quiet().await;
    scraped(&stage.controller);
    emulator.delete(&parameter).await;
    stage.end().await;
    scene.end();
}
