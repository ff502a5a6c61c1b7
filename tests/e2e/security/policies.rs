//! The policies of docs/security.md, as they stand there: whom they keep out, whom they let on, and that nothing hangs because of them.

use bascule_crds::{ConditionType, Release};
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    around, bed,
    page::{policy, without},
    rights::{create, grant, release, releases},
};

/// What every namespace of the bed sees as the chart's controller.
const CONTROLLER: &str = "system:serviceaccount:bascule-system:bascule-controller";

/// The namespace has its Environment again.
async fn claims_again(stage: &Stage) {
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": "staging"}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces.patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
}

fn without_services(stage: &Stage, name: &str, version: &str, replicas: i32) -> Value {
    let mut spec = stage.spec(version, Behaviour::Ready, replicas);
    spec["workloads"][0]["name"] = json!(name);
    spec["services"] = json!([]);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_lets_only_those_write_releases_who_could_make_the_same_themselves() {
    let stage = Stage::new(&bed(), "guarded").await;
    let policy = policy(&stage, "releases-by-those-who-deploy");
    grant(&stage, "ada", &json!([releases()]));
    let workloads = json!({"apiGroups": ["apps", "batch"], "resources": ["deployments", "jobs"], "verbs": ["create", "patch"]});
    let services = json!({"apiGroups": [""], "resources": ["services"], "verbs": ["create", "patch"]});
    grant(&stage, "bob", &json!([releases(), workloads, services]));
    grant(&stage, "cyd", &json!([releases(), workloads]));
    let spec = stage.spec("v1", Behaviour::Ready, 0);
    let refused = || async {
        let (created, text) = create(&stage, "ada", &release("ada", &spec));
        if created {
            // The policy is not known everywhere yet.
            let _ = stage.bed.kubectl(&["delete", "release", "ada", "-n", &stage.namespace], None);
        }
        (!created && text.contains("may not create Deployments in namespace")).then_some(text)
    };
    println!("{}", stage.eventually("ada is refused", refused).await);
    let created = || async { create(&stage, "bob", &release("bob", &spec)).0.then_some(()) };
    stage.eventually("bob is not", created).await;
    let refused = || async {
        let (created, text) = create(&stage, "cyd", &release("cyd", &spec));
        assert!(!created, "nearly is not enough");
        text.contains("may not change Services in namespace").then_some(())
    };
    stage.eventually("cyd is refused as well", refused).await;
    // Nor does she change what he has made. To say that it is being deleted does not make it so.
    let going = "2026-01-05T10:00:00Z";
    let wishes = [json!({"spec": {"history": 3}}), json!({"metadata": {"deletionTimestamp": going}, "spec": {"history": 3}})];
    for patch in wishes.map(|it| it.to_string()) {
        let (patched, text) = by(&stage, "ada", &["patch", "release", "bob", "--type=merge", "-p", &patch], None);
        assert!(
            !patched && (text.contains("may not create Deployments in namespace") || text.contains("field is immutable")),
            "{text}"
        );
    }
    let mut forged = release("forged", &spec);
    forged["metadata"]["deletionTimestamp"] = json!(going);
    forged["metadata"]["finalizers"] = json!(["example.com/kept"]);
    let (created, text) = by(&stage, "ada", &["create", "-f", "-"], Some(&forged));
    assert!(!created && text.contains("may not create Deployments in namespace"), "{text}");
    // The controller writes the status all the same.
    let seen = || async { stage.status("bob").await.condition(ConditionType::Ready).map(drop) };
    stage.eventually("the controller says something of it", seen).await;
    without(&stage, &policy);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_wants_an_environment_for_every_release() {
    let stage = Stage::new(&bed(), "claimed").await;
    let policy = policy(&stage, "releases-with-an-environment");
    let spec = stage.spec("v1", Behaviour::Ready, 0);
    stage.release("before", &spec).await;
    around::claims_nothing(&stage).await;
    let refused = || async {
        let why = stage.try_release("after", &spec).await.err()?.to_string();
        why.contains("claims no Environment").then_some(why)
    };
    println!("{}", stage.eventually("it is refused", refused).await);
    without(&stage, &policy);
    stage.end().await;
}

/// As this user, in the namespace of the test: whether it went well, and what was said.
fn by(stage: &Stage, user: &str, words: &[&str], input: Option<&Value>) -> (bool, String) {
    let whose = ["--as", user, "-n", &stage.namespace];
    stage.bed.kubectl(&[words, whose.as_slice()].concat(), input.map(Value::to_string).as_deref())
}

/// Deletion has two ends that are written: the garbage collector lets go of what was deleted in the foreground or without its dependents, and
/// whoever has put a finalizer of his own there lets go of that. `refuses`: whether the policy is known and asked.
async fn everything_ends(stage: &Stage, name: &str, before: impl AsyncFn(), refuses: impl Fn() -> bool) {
    let (deployments, all) = (stage.api::<Deployment>(), ["foreground", "orphan", "kept"]);
    for name in all {
        stage.release(name, &without_services(stage, name, "v1", 0)).await;
    }
    for name in all {
        let deployment = format!("{name}-blue");
        let there = || async { deployments.get_opt(&deployment).await.unwrap() };
        stage.eventually(&format!("{name} has a Deployment"), there).await;
    }
    let keep = json!({"metadata": {"finalizers": ["example.com/kept"]}});
    stage.api::<Release>().patch("kept", &PatchParams::default(), &Patch::Merge(&keep)).await.unwrap();
    grant(stage, "keeper", &json!([releases()]));
    let policy = policy(stage, name);
    before().await;
    stage.eventually("the policy is asked", || async { refuses().then_some(()) }).await;

    let delete = |name: &str, how: &str| {
        let how = format!("--cascade={how}");
        let (deleted, text) = stage.bed.kubectl(&["delete", "release", name, "-n", &stage.namespace, &how, "--wait=false"], None);
        assert!(deleted, "{text}");
    };
    delete("foreground", "foreground");
    delete("orphan", "orphan");
    delete("kept", "background");
    let release_of = |name: &'static str| async move { stage.api::<Release>().get_opt(name).await.unwrap() };
    for name in ["foreground", "orphan"] {
        let gone = || async { release_of(name).await.is_none().then_some(()) };
        stage.eventually(&format!("{name} is gone"), gone).await;
    }
    let with_it = || async { deployments.get_opt("foreground-blue").await.unwrap().is_none().then_some(()) };
    stage.eventually("what belonged to foreground is gone as well", with_it).await;
    let left = deployments.get("orphan-blue").await.unwrap().metadata;
    assert_eq!(left.owner_references.unwrap_or_default(), [], "it belongs to nobody now");
    assert!(release_of("kept").await.is_some_and(|it| it.metadata.deletion_timestamp.is_some()), "somebody keeps it");
    let let_go = ["patch", "release", "kept", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    let (patched, text) = by(stage, "keeper", &let_go, None);
    assert!(patched, "{text}");
    stage.eventually("kept is gone", || async { release_of("kept").await.is_none().then_some(()) }).await;
    without(stage, &policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_those_who_deploy_may_write_a_release_it_is_deleted_all_the_same() {
    let stage = Stage::new(&bed(), "ends-guarded").await;
    grant(&stage, "ada", &json!([releases()]));
    let wished = release("ada", &stage.spec("v1", Behaviour::Ready, 0));
    let refuses = || by(&stage, "ada", &["create", "--dry-run=server", "-f", "-"], Some(&wished)).1.contains("may not create");
    everything_ends(&stage, "releases-by-those-who-deploy", async || (), refuses).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_environment_is_gone_a_release_is_deleted_all_the_same() {
    let stage = Stage::new(&bed(), "ends-claimed").await;
    let history = ["patch", "release", "kept", "--dry-run=server", "--type=merge", "-p", r#"{"spec":{"history":3}}"#];
    let refuses = || by(&stage, "keeper", &history, None).1.contains("claims no Environment");
    everything_ends(&stage, "releases-with-an-environment", async || around::claims_nothing(&stage).await, refuses).await;
    stage.end().await;
}

/// All that the chart lets the controller do to Deployments, Jobs and Services.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_the_controller_out_of_namespaces_that_nobody_claimed() {
    let stage = Stage::new(&bed(), "kept-out").await;
    let policy = policy(&stage, "controller-where-claimed");
    around::claims_nothing(&stage).await;
    let pod = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let mut lasting = pod.clone();
    lasting["spec"]["restartPolicy"] = json!("Always");
    let deployment = |name: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
               "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": lasting}})
    };
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"suspend": true, "template": pod}});
    let service = |name: &str| stage::service_manifest(name, &stage.namespace);
    // Others are not asked.
    for object in [deployment("theirs"), service("theirs")] {
        let (made, text) = stage.bed.kubectl(&["create", "-n", &stage.namespace, "-f", "-"], Some(&object.to_string()));
        assert!(made, "{text}");
    }
    let label = r#"{"metadata":{"labels":{"touched":"yes"}}}"#;
    let (new_deployment, new_service) = (deployment("x"), service("x"));
    let attempts: [(&[&str], Option<&Value>); 7] = [
        (&["create", "-f", "-"], Some(&new_deployment)),
        (&["patch", "deployment", "theirs", "--type=merge", "-p", label], None),
        (&["delete", "deployment", "theirs"], None),
        (&["create", "-f", "-"], Some(&job)),
        (&["create", "-f", "-"], Some(&new_service)),
        (&["patch", "service", "theirs", "--type=merge", "-p", label], None),
        (&["delete", "service", "theirs"], None),
    ];
    // On trial, so that an answer that comes too early changes nothing.
    let tried = |(words, input): &(&[&str], Option<&Value>)| {
        let trial = [words, ["--dry-run=server"].as_slice()].concat();
        by(&stage, CONTROLLER, &trial, *input)
    };
    for attempt in &attempts {
        let refused = || async {
            let (done, text) = tried(attempt);
            (!done && text.contains("makes nothing there")).then_some(())
        };
        stage.eventually(&format!("whoever has its token may not {:?} here", attempt.0), refused).await;
    }

    // A Release says it in the policy's words, and goes on when the namespace is claimed.
    stage.release("web", &without_services(&stage, "web", "v1", 1)).await;
    let said = |it: &bascule_crds::ReleaseStatus| stage::message(it, ConditionType::Ready).contains("makes nothing there");
    stage.until("it is said", said).await;
    claims_again(&stage).await;
    // Asked again by another version at once, and by itself within a minute.
    stage.release("web", &without_services(&stage, "web", "v2", 1)).await;
    stage.is_settled_on("v2").await;
    for attempt in &attempts {
        let (done, text) = tried(attempt);
        assert!(done, "where the namespace is claimed, {:?} is as ever: {text}", attempt.0);
    }
    without(&stage, &policy);
    stage.end().await;
}

/// What docs/security.md warns of: the way back is a write as well.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_controller_is_kept_out_nothing_goes_back_before_the_namespace_is_claimed_again() {
    let stage = Stage::settled(&bed(), "no-way-back").await;
    let policy = policy(&stage, "controller-where-claimed");
    let mut spec = stage.spec("v2", Behaviour::Ready, 1);
    spec["strategy"]["bake"] = json!("10m");
    stage.release("web", &spec).await;
    let switched = || async { (stage.track("web").await.as_deref() == Some("green")).then_some(()) };
    stage.eventually("v2 has the traffic", switched).await;
    around::claims_nothing(&stage).await;
    let touch =
        ["patch", "service", "web", "--dry-run=server", "--type=merge", "-p", r#"{"metadata":{"labels":{"touched":"yes"}}}"#];
    let refused = || async { by(&stage, CONTROLLER, &touch, None).1.contains("makes nothing there").then_some(()) };
    stage.eventually("the controller is kept out", refused).await;
    stage.operate("Abort", "it is bad").await;
    let said = |it: &bascule_crds::ReleaseStatus| {
        it.conditions.iter().find(|condition| condition.message.contains("makes nothing there")).map(|it| it.message.clone())
    };
    let status = stage.until("it is said why it stays", |it| said(it).is_some()).await;
    println!("{}", said(&status).unwrap());
    assert_eq!(stage.track("web").await.as_deref(), Some("green"), "the bad version keeps the traffic");
    claims_again(&stage).await;
    let back = || async { (stage.track("web").await.as_deref() == Some("blue")).then_some(()) };
    stage.eventually("v1 has it again", back).await;
    without(&stage, &policy);
    stage.end().await;
}
