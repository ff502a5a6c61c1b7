//! What goes wrong with Releases, each with one of its own, side by side under one controller.

use bascule_crds::{ConditionType, ReleaseStatus, Step};
use bascule_tests::{
    Behaviour, Stage,
    stage::{self, service_manifest},
};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::{Scene, scraped};

pub(crate) const PROVOKES: &[&str] = &[
    "BasculeReconcileFailing",
    "BasculeReleasePodsMissing",
    "BasculeReleaseRejected",
    "BasculeReleaseRolledBack",
    "BasculeReleaseStalled",
    "BasculeReleaseStuck",
    "BasculeReleaseStuckWithTraffic",
    "BasculeReleaseUsersAffected",
    "BasculeReleaseWaiting",
    "BasculeRollbackNotReady",
];

/// What `Stage` says of `web`, of a Release of this name.
fn spec(stage: &Stage, name: &str, version: &str, behaviour: Behaviour) -> Value {
    serde_json::from_str(&stage.spec(version, behaviour, 2).to_string().replace("web", name)).unwrap()
}

async fn service(stage: &Stage, name: &str) {
    let text = service_manifest(name, &stage.namespace).to_string().replace("\"web\"", &format!("\"{name}\""));
    stage.apply_as("team", &serde_json::from_str(&text).unwrap()).await;
}

async fn until(stage: &Stage, name: &str, what: &str, holds: impl Fn(&ReleaseStatus) -> bool) {
    let look = || async { holds(&stage.status(name).await).then_some(()) };
    stage.eventually(&format!("{name}: {what}"), look).await;
}

async fn settles(stage: &Stage, name: &str, version: &str) {
    let is = |it: &ReleaseStatus| stage::is_active(it, version) && it.candidate.is_none() && stage::is_ready(it);
    until(stage, name, &format!("settled on {version}"), is).await;
}

fn is(status: &ReleaseStatus, kind: ConditionType, reason: &str) -> bool {
    stage::reason(status, kind) == reason
}

/// A rule of the cluster that refuses every write of this Release's status: what a CRD that is too old does.
async fn refuse(stage: &Stage, release: &str) -> String {
    let name = format!("{}-{release}", stage.namespace);
    let policies = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
                "resourceRules": [{"apiGroups": ["bascule.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                    "resources": ["releases/status"], "resourceNames": [release]}]},
            "validations": [{"expression": "false", "message": "a rule of the test", "reason": "Forbidden"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]}}]});
    let (applied, said) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&policies.to_string()));
    assert!(applied, "{said}");
    let words =
        ["-n", &stage.namespace, "patch", "release", release, "--subresource=status", "--type=merge", "--dry-run=server", "-p"];
    let refused = || async {
        let (_, said) = stage.bed.kubectl(&[&words[..], &[r#"{"status":{}}"#]].concat(), None);
        said.contains("a rule of the test").then_some(())
    };
    stage.eventually("the rule holds", refused).await;
    name
}

fn allow(stage: &Stage, policy: &str) {
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let (gone, said) = stage.bed.kubectl(&["delete", kinds, policy, "--wait=false"], None);
    assert!(gone, "{said}");
}

async fn config(stage: &Stage) {
    let map = serde_json::from_value(json!({"metadata": {"name": "flags"}, "data": {"flag": "one"}})).unwrap();
    stage.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
}

/// Dies in its bake, and may or may not go back by itself.
fn affected(stage: &Stage, automatic: bool) -> Value {
    let mut affected = spec(stage, "affected", "v2", Behaviour::Dies(2));
    (affected["strategy"]["bake"], affected["rollback"]) = (json!("3m"), json!({"automatic": automatic}));
    affected
}

/// Each its own; the name of the rule that jams one of them comes back.
async fn get_into_trouble(stage: &Stage) -> String {
    let mut rejected = spec(stage, "rejected", "v2", Behaviour::Never);
    rejected["strategy"]["progressDeadline"] = json!("2s");
    stage.release("rejected", &rejected).await;
    let mut gone_back = spec(stage, "goneback", "v2", Behaviour::Dies(2));
    gone_back["strategy"]["bake"] = json!("10s");
    stage.release("goneback", &gone_back).await;
    stage.release("affected", &affected(stage, false)).await;
    // The very first version: there is nothing to return to.
    service(stage, "first").await;
    let mut first = spec(stage, "first", "v1", Behaviour::Dies(2));
    first["strategy"]["bake"] = json!("10s");
    stage.release("first", &first).await;
    for name in ["missing", "trapped"] {
        stage.release(name, &spec(stage, name, "v2", Behaviour::Dies(10))).await;
    }
    let mut stalled = spec(stage, "stalled", "v2", Behaviour::Ready);
    stalled["artifacts"][0]["image"]["ref"] = json!("Example/Stalled:1");
    stage.release("stalled", &stalled).await;
    let mut stuck = spec(stage, "stuck", "v2", Behaviour::ReadyAfter(4));
    stuck["strategy"]["progressDeadline"] = json!("6s");
    stage.release("stuck", &stuck).await;
    let starts = |it: &ReleaseStatus| it.candidate.as_ref().is_some_and(|candidate| candidate.step == Step::Starting);
    until(stage, "stuck", "starts", starts).await;
    stage.api::<Service>().delete("stuck", &DeleteParams::default()).await.unwrap();
    let mut jammed = spec(stage, "jammed", "v2", Behaviour::Ready);
    jammed["strategy"]["bake"] = json!("12s");
    stage.release("jammed", &jammed).await;
    let bakes = |it: &ReleaseStatus| it.candidate.as_ref().is_some_and(|candidate| candidate.step == Step::Baking);
    until(stage, "jammed", "bakes", bakes).await;
    let policy = refuse(stage, "jammed").await;
    until(stage, "jammed", "still bakes", bakes).await;
    stage.api::<ConfigMap>().delete("flags", &DeleteParams::default()).await.unwrap();
    stage.release("noway", &spec(stage, "noway", "v2", Behaviour::Ready)).await;
    // Nobody has made its Service: it does not begin, so there is no deadline that could be missed.
    stage.release("waits", &spec(stage, "waits", "v1", Behaviour::Ready)).await;
    policy
}

/// A version goes bad when the one before it has no pods either: it keeps the traffic.
async fn keep_the_traffic(stage: &Stage) {
    let mut trapped = spec(stage, "trapped", "v3", Behaviour::Dies(2));
    trapped["strategy"]["bake"] = json!("6s");
    stage.release("trapped", &trapped).await;
    let kept = |it: &ReleaseStatus| is(it, ConditionType::Ready, "Rejected") && stage::is_active(it, "v3");
    until(stage, "trapped", "v3 is rejected and stays", kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_releases_is_told_until_it_is_mended() {
    let scene = Scene::begin(PROVOKES).await;
    let stage = Stage::new(&scene.bed, "alerts").await;
    scene.watch.look_at(&[stage.controller.address()]);

    // All is well: nobody is told anything.
    let well = ["rejected", "goneback", "affected", "missing", "trapped", "stalled", "stuck", "jammed", "noway"];
    config(&stage).await;
    for name in well {
        service(&stage, name).await;
        let mut first = spec(&stage, name, "v1", Behaviour::Ready);
        if name == "noway" {
            first["workloads"][0]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "flags"}}]);
        }
        stage.release(name, &first).await;
    }
    for name in well {
        settles(&stage, name, "v1").await;
    }
    scene.quiet().await;

    // Each has its own trouble.
    let policy = get_into_trouble(&stage).await;
    let of = |release| [("namespace", stage.namespace.as_str()), ("environment", "staging"), ("release", release)];
    let alert = scene.fires("BasculeReleaseRejected", &of("rejected")).await;
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["reason"]), (&json!("info"), &json!("DeadlineExceeded")));
    scene.fires("BasculeReleaseRolledBack", &of("goneback")).await;
    let alert = scene.fires("BasculeReleaseUsersAffected", &of("affected")).await;
    assert_eq!(alert["labels"]["severity"], "critical");
    scene.fires("BasculeReleaseUsersAffected", &of("first")).await;
    scene.fires("BasculeReleaseStalled", &of("stalled")).await;
    scene.fires("BasculeReleaseStuck", &of("stuck")).await;
    scene.fires("BasculeReconcileFailing", &of("jammed")).await;
    scene.fires("BasculeReleaseStuckWithTraffic", &of("jammed")).await;
    scene.fires("BasculeRollbackNotReady", &of("noway")).await;
    scene.fires("BasculeReleaseWaiting", &of("waits")).await;
    scene.fires("BasculeReleasePodsMissing", &of("missing")).await;
    scene.fires("BasculeReleasePodsMissing", &of("trapped")).await;
    keep_the_traffic(&stage).await;
    scene.fires("BasculeReleaseUsersAffected", &of("trapped")).await;
    // Whoever is told the one is not told the other.
    for (name, release) in [
        ("BasculeReleaseRejected", "goneback"),
        ("BasculeReleaseRolledBack", "rejected"),
        ("BasculeReleaseRolledBack", "trapped"),
        ("BasculeReleaseStuck", "jammed"),
        ("BasculeReleaseStuck", "waits"),
        ("BasculeReleaseWaiting", "stuck"),
    ] {
        assert_eq!(scene.watch.fires(name, &of(release)), None);
    }

    scraped(&stage.controller);

    // And each is mended.
    for name in ["rejected", "goneback", "missing", "first", "trapped"] {
        stage.release(name, &spec(&stage, name, "v4", Behaviour::Ready)).await;
    }
    stage.release("affected", &affected(&stage, true)).await;
    stage.release("stalled", &spec(&stage, "stalled", "v2", Behaviour::Ready)).await;
    service(&stage, "stuck").await;
    service(&stage, "waits").await;
    allow(&stage, &policy);
    stage.release("noway", &spec(&stage, "noway", "v3", Behaviour::Ready)).await;
    until(&stage, "affected", "users are back", |it| is(it, ConditionType::Ready, "Rejected") && stage::is_active(it, "v1"))
        .await;
    scene.ends("BasculeReleaseUsersAffected", &of("affected")).await;
    scene.fires("BasculeReleaseRolledBack", &of("affected")).await;
    stage.release("affected", &spec(&stage, "affected", "v3", Behaviour::Ready)).await;

    let over = [
        ("BasculeReleaseRejected", "rejected"),
        ("BasculeReleaseRolledBack", "goneback"),
        ("BasculeReleaseRolledBack", "affected"),
        ("BasculeReleaseUsersAffected", "first"),
        ("BasculeReleaseUsersAffected", "trapped"),
        ("BasculeReleaseStalled", "stalled"),
        ("BasculeReleaseStuck", "stuck"),
        ("BasculeReleaseStuckWithTraffic", "jammed"),
        ("BasculeReleaseWaiting", "waits"),
        ("BasculeReconcileFailing", "jammed"),
        ("BasculeRollbackNotReady", "noway"),
        ("BasculeReleasePodsMissing", "missing"),
    ];
    for (name, release) in over {
        scene.ends(name, &of(release)).await;
    }
    scene.quiet().await;
    stage.end().await;
    scene.end();
}
