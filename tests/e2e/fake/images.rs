//! Tags resolved to digests by real registries.

use bascule_crds::ConditionType;
use bascule_tests::{Behaviour, Stage, stage};
use serde_json::{Value, json};

use super::bed;

fn spec(stage: &Stage, reference: &str) -> Value {
    let mut spec = stage.spec("x", Behaviour::Ready, 1);
    spec["artifacts"] = json!([{"name": "web", "image": {"ref": reference}}]);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_pinned_to_its_digest() {
    let stage = Stage::new(&bed(), "tag").await;
    stage.service("web").await;
    let registry = stage.bed.variable("BASCULE_REGISTRY").to_owned();
    stage.release("web", &spec(&stage, &format!("{registry}/example/app:v1"))).await;
    let status = stage.is_settled_on("v1").await;
    let artifact = &status.active.unwrap().artifacts[0];
    let digest = artifact.digest.clone().unwrap();
    assert!(digest.starts_with("sha256:"));
    assert_eq!(stage.image("web-blue").await, format!("{registry}/example/app@{digest}"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_does_not_exist_holds_the_release() {
    let stage = Stage::new(&bed(), "no-tag").await;
    stage.service("web").await;
    let registry = stage.bed.variable("BASCULE_REGISTRY").to_owned();
    stage.release("web", &spec(&stage, &format!("{registry}/example/app:v1"))).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &spec(&stage, &format!("{registry}/example/app:v999"))).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Ready) == "ArtifactMissing").await;
    let message = stage::message(&status, ConditionType::Ready);
    assert!(message.starts_with("spec.artifacts[0].image.ref: ") && message.contains("v999"), "{message}");
    assert!(stage::is_active(&status, "v1") && status.candidate.is_none());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_holds_the_release() {
    let stage = Stage::new(&bed(), "no-registry").await;
    stage.service("web").await;
    // Port 9 of loopback: nobody listens there.
    stage.release("web", &spec(&stage, "127.0.0.1:9/example/app:v1")).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Ready) == "ArtifactUnresolved").await;
    assert!(status.candidate.is_none() && status.active.is_none());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_controller_open_a_registry() {
    let registry = bed().variable("BASCULE_REGISTRY_AUTH").to_owned();
    let file = std::env::temp_dir().join(format!("bascule-e2e-{}.json", std::process::id()));
    // bed:bed
    std::fs::write(&file, json!({"auths": {registry.clone(): {"auth": "YmVkOmJlZA=="}}}).to_string()).unwrap();
    let stage = Stage::with_arguments(&bed(), "credentials", &["--registry-credentials", file.to_str().unwrap()]).await;
    stage.service("web").await;
    stage.release("web", &spec(&stage, &format!("{registry}/example/app:v2"))).await;
    stage.is_settled_on("v2").await;
    stage.end().await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_it_is_denied_and_said() {
    let stage = Stage::new(&bed(), "denied").await;
    stage.service("web").await;
    let registry = stage.bed.variable("BASCULE_REGISTRY_AUTH").to_owned();
    stage.release("web", &spec(&stage, &format!("{registry}/example/app:v2"))).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Ready) == "ArtifactUnresolved").await;
    let message = stage::message(&status, ConditionType::Ready);
    assert!(message.contains("without credentials"), "{message}");
    assert!(status.candidate.is_none());
    stage.end().await;
}

/// The installation of the bed does not grant Secrets: asked to read them, the controller says so and holds.
#[tokio::test(flavor = "multi_thread")]
async fn pull_secrets_that_may_not_be_read_hold_the_release() {
    let stage = Stage::with_arguments(&bed(), "no-secrets", &["--read-pull-secrets"]).await;
    stage.service("web").await;
    let registry = stage.bed.variable("BASCULE_REGISTRY_AUTH").to_owned();
    let mut spec = spec(&stage, &format!("{registry}/example/app:v2"));
    spec["workloads"][0]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    stage.release("web", &spec).await;
    let status = stage.until("it says so", |status| stage::reason(status, ConditionType::Ready) == "ArtifactUnresolved").await;
    assert!(status.candidate.is_none(), "{status:?}");

    // Granted in this namespace only, it goes on by itself.
    let role = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": stage.namespace}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json!({"auths": {registry: {"username": "bed", "password": "bed"}}}).to_string()}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "pull", "namespace": stage.namespace},
            "rules": [{"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": ["get"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "pull", "namespace": stage.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pull"},
            "subjects": [{"kind": "ServiceAccount", "name": "bascule-controller", "namespace": "bascule-system"}]},
    ]});
    let (applied, text) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&role.to_string()));
    assert!(applied, "{text}");
    stage.is_settled_on("v2").await;
    stage.end().await;
}
