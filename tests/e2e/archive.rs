//! The recipe for archives on real pods: an init container fetches exactly the version that was released, checks it, unpacks it, and the
//! app serves it. Runs inside the bed's network: `hack/testbed exec --name e2e-real -- …`, on a bed that is up with --aws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_crds::Environment;
use bascule_tests::{Bed, Stage, aws::Emulator, stage};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A pipeline: it packs a site of one file, and stores it.
async fn store(emulator: &Emulator, bucket: &str, key: &str, version: &str) {
    let folder = std::env::temp_dir().join(format!("{bucket}-{version}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("version"), version).unwrap();
    let packed = tokio::process::Command::new("python3")
        .args(["-m", "zipfile", "-c", "site.zip", "version"])
        .current_dir(&folder)
        .status()
        .await
        .unwrap();
    assert!(packed.success());
    let zip = folder.join("site.zip").to_string_lossy().into_owned();
    let put = ["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", &zip, "--checksum-algorithm", "SHA256"];
    emulator.cli(&put).await;
    std::fs::remove_dir_all(folder).unwrap();
}

fn spec(stage: &Stage, pointer: &str) -> Value {
    let app = format!("{}/example/app:v1", stage.bed.variable("BASCULE_REGISTRY"));
    let of = |name: &str| json!({"name": name.to_uppercase(), "value": format!("$(artifacts.site.{name})")});
    let content = json!([{"name": "content", "mountPath": "/content"}]);
    json!({
        "artifacts": [{"name": "site", "archive": {"parameter": pointer, "bucket": "$(vars.bucket)"}}],
        "workloads": [{"name": "web", "replicas": 2, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 15,
                "volumes": [{"name": "content", "emptyDir": {}}],
                "initContainers": [{
                    "name": "fetch", "image": app, "args": ["fetch"], "volumeMounts": content,
                    "env": [of("bucket"), of("key"), of("sha256"), {"name": "VERSION", "value": "$(artifacts.site.versionId)"},
                            {"name": "INTO", "value": "/content"},
                            {"name": "ENDPOINT", "value": stage.bed.variable("BASCULE_AWS_IN_PODS")}]}],
                "containers": [{
                    "name": "web", "image": app, "volumeMounts": content, "ports": [{"containerPort": 8080}],
                    "env": [{"name": "VERSION_FILE", "value": "/content/version"}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}]}}}],
        "services": [{"name": "web"}],
        "strategy": {"progressDeadline": "60s", "bake": "2s", "scaleDownDelay": "2s"},
    })
}

/// What users get.
async fn served(stage: &Stage) -> Option<String> {
    let ip = stage.api::<Service>().get("web").await.ok()?.spec?.cluster_ip?;
    let mut stream = TcpStream::connect((ip, 80)).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.lines().last()?.trim().to_owned())
}

async fn serves(stage: &Stage, version: &str) {
    let is_it = || async { served(stage).await.filter(|found| found == version).map(drop) };
    stage.eventually(&format!("{version} is served"), is_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_fetched_by_its_version_checked_and_served() {
    let bed = Bed::named("e2e-real");
    let emulator = Emulator::of_bed();
    let stage = Stage::new(&bed, "archive").await;
    let name = stage.namespace.clone();
    let environments = Api::<Environment>::all(bed.admin().await);
    let environment = json!({
        "apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name},
        "spec": {"variables": {"bucket": name}, "aws": {"endpoint": std::env::var("AWS_ENDPOINT_URL_S3").unwrap(), "pollInterval": "500ms"}},
    });
    environments.patch(&name, &PatchParams::apply("platform"), &Patch::Apply(&environment)).await.unwrap();
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": name}}});
    let namespaces = Api::<Namespace>::all(bed.admin().await);
    namespaces.patch(&name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    emulator.cli(&["s3api", "create-bucket", "--bucket", &name]).await;
    let versioning = ["s3api", "put-bucket-versioning", "--bucket", &name, "--versioning-configuration", "Status=Enabled"];
    emulator.cli(&versioning).await;
    let pointer = format!("/shop/{name}/site/key");

    stage.service("web").await;
    store(&emulator, &name, "shop/site/one.zip", "one").await;
    emulator.put(&pointer, "shop/site/one.zip").await;
    stage.release("web", &spec(&stage, &pointer)).await;
    stage.until("one is settled", |it| stage::is_active(it, "one") && stage::is_ready(it)).await;
    serves(&stage, "one").await;

    // Somebody overwrites the key, and a pod is lost: the next one fetches what was released, not what lies there now.
    store(&emulator, &name, "shop/site/one.zip", "evil").await;
    let pods = stage.api::<Pod>();
    let before: Vec<_> = pods.list(&ListParams::default()).await.unwrap().items;
    for pod in &before {
        pods.delete(pod.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
    }
    let names: Vec<_> = before.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    let renewed = || async {
        let now = pods.list(&ListParams::default()).await.ok()?.items;
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let new = now.iter().filter(is_ready).filter(|pod| !names.contains(pod.metadata.name.as_ref().unwrap()));
        (new.count() == 2).then_some(())
    };
    stage.eventually("two other pods are ready", renewed).await;
    for _ in 0..20 {
        assert_ne!(served(&stage).await.as_deref(), Some("evil"));
    }
    serves(&stage, "one").await;

    store(&emulator, &name, "shop/site/two.zip", "two").await;
    emulator.put(&pointer, "shop/site/two.zip").await;
    stage.until("two is settled", |it| stage::is_active(it, "two") && it.candidate.is_none() && stage::is_ready(it)).await;
    serves(&stage, "two").await;
    let _ = environments.delete(&name, &DeleteParams::default()).await;
    stage.end().await;
}
