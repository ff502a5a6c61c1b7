//! Each tool writes the same once more, at the moments that matter: nothing moves, nothing of ours is lost, and nobody writes what is the same.

use bascule_crds::{Release, ReleaseStatus, Step};
use bascule_tests::{Stage, stage};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    RELEASE, bed, in_git, live,
    tools::{Tool, documents},
};

/// What the story allows a tool, as `docs/gitops/` says it.
struct Allowed {
    /// Forced server-side applies that are really sent sort `managedFields` once after each switch.
    sorts_managed_fields: bool,
    /// A field that a person sets by hand and the repository does not name stays.
    leaves_what_it_does_not_name: bool,
}

const LEAVES: Allowed = Allowed { sorts_managed_fields: false, leaves_what_it_does_not_name: true };
const SENDS: Allowed = Allowed { sorts_managed_fields: true, leaves_what_it_does_not_name: true };
const UNDOES: Allowed = Allowed { sorts_managed_fields: false, leaves_what_it_does_not_name: false };

macro_rules! each {
    ($($name:ident: $tool:expr, $allowed:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            story(stringify!($name), $tool, &$allowed).await;
        }
    )*};
}

each! {
    kubectl_apply: Tool::Kubectl, LEAVES;
    kubectl_apply_server_side: Tool::KubectlServerSide, SENDS;
    kustomize: Tool::Kustomize, LEAVES;
    flux: Tool::Flux, UNDOES;
    argo_cd: Tool::Argo, LEAVES;
    argo_cd_server_side: Tool::ArgoServerSide, SENDS;
    helm_3: Tool::Helm3, LEAVES;
    helm_4: Tool::Helm4, SENDS;
}

async fn story(name: &str, tool: Tool, allowed: &Allowed) {
    let stage = Stage::new(&bed(), &name.replace('_', "-")).await;
    tool.apply(&stage, &in_git(&stage, "v1", "1s"));
    stage.is_settled_on("v1").await;
    // As an autoscaler does it; the first value by a hand, because without one there is nothing to scale.
    let first = PatchParams { field_manager: Some("first-replicas".into()), ..PatchParams::default() };
    stage.api::<Release>().patch("web", &first, &Patch::Merge(&json!({"spec": {"replicas": 2}}))).await.unwrap();
    let scaler = PatchParams { field_manager: Some("kube-controller-manager".into()), ..PatchParams::default() };
    stage.api::<Release>().patch_scale("web", &scaler, &Patch::Merge(&json!({"spec": {"replicas": 3}}))).await.unwrap();
    stage.eventually("three pods", || async { (stage.replicas("web-blue").await == 3).then_some(()) }).await;
    again(&stage, tool, allowed, &in_git(&stage, "v1", "1s"), "settled", "blue").await;

    // During a bake.
    tool.apply(&stage, &in_git(&stage, "v2", "600s"));
    stage.until("v2 has the traffic", baking).await;
    again(&stage, tool, allowed, &in_git(&stage, "v2", "600s"), "during the bake", "green").await;

    // Sent back, and the repository still asks for it.
    stage.operate("Abort", "checkout errors").await;
    stage.until("v1 has the traffic", |it| it.candidate.is_none() && stage::is_active(it, "v1")).await;
    again(&stage, tool, allowed, &in_git(&stage, "v2", "600s"), "after it was sent back", "blue").await;
    if matches!(tool, Tool::Helm3 | Tool::Helm4) {
        tool.helm_says(&stage, &["rollback", "web", "1"]);
        stage.is_settled_on("v1").await;
        assert_eq!(stage.replicas("web-blue").await, 3, "a rollback of Helm's takes no pods");
    }

    // A person returned to an earlier version.
    tool.apply(&stage, &in_git(&stage, "v3", "1s"));
    stage.is_settled_on("v3").await;
    stage.operate("Rollback", "checkout errors").await;
    stage.until("a person is back on v1", |it| it.candidate.is_none() && stage::is_active(it, "v1") && it.hold.is_some()).await;
    again(&stage, tool, allowed, &in_git(&stage, "v3", "1s"), "after a rollback", "blue").await;

    // The commit is taken back: that is what runs. Then another one, and the autoscaler's number is still there.
    tool.apply(&stage, &in_git(&stage, "v1", "1s"));
    let reverted = stage.is_settled_on("v1").await;
    assert!(reverted.hold.is_none() && reverted.rejected.iter().all(|it| it.version != "v1"), "{reverted:?}");
    tool.apply(&stage, &in_git(&stage, "v4", "1s"));
    stage.is_settled_on("v4").await;
    assert_eq!(stage.replicas("web-green").await, 3, "the autoscaler's");

    by_hand(&stage, tool, allowed).await;
    stage.end().await;
}

/// The whole object, without what others have put there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_replace_takes_away_is_put_back() {
    let stage = Stage::settled(&bed(), "replace").await;
    let before = stage.status("web").await;
    let mut manifests = in_git(&stage, "v1", "1s");
    manifests[1]["spec"]["workloads"][0]["replicas"] = json!(2);
    let (replaced, text) = stage.bed.kubectl(&["replace", "-f", "-"], Some(&documents(&manifests)));
    assert!(replaced, "{text}");
    stage.eventually("the track is back", || async { (stage.track("web").await.as_deref() == Some("blue")).then_some(()) }).await;
    let status = stage.is_settled_on("v1").await;
    assert_eq!((status.active, status.history), (before.active, before.history), "the status is not the spec's");
    stage.end().await;
}

fn baking(status: &ReleaseStatus) -> bool {
    status.candidate.as_ref().is_some_and(|candidate| candidate.step == Step::Baking) && stage::is_active(status, "v2")
}

/// Twice: the first may have something to put in order.
async fn again(stage: &Stage, tool: Tool, allowed: &Allowed, manifests: &[Value], when: &str, track: &str) {
    let before = quiet(stage).await;
    let differences = tool.differences(stage, manifests);
    assert_eq!(differences, "", "{tool:?} sees a difference {when}");
    let said = tool.apply(stage, manifests);
    assert!(tool != Tool::Flux || said.lines().all(|line| line.ends_with(" unchanged")), "Flux {when}: {said}");
    let mut first = quiet(stage).await;
    tool.apply(stage, manifests);
    let mut second = quiet(stage).await;
    // Entries of managedFields are sorted by their second: one that is as old as another is put behind it one time later.
    if allowed.sorts_managed_fields && version(&first[0]) == version(&before[0]) && version(&second[0]) != version(&first[0]) {
        tool.apply(stage, manifests);
        first = std::mem::replace(&mut second, quiet(stage).await);
    }
    for (at, what) in ["Service", "Release"].into_iter().enumerate() {
        assert_eq!(content(&first[at]), content(&before[at]), "{tool:?} changed the {what} {when}");
        assert_eq!(version(&second[at]), version(&first[at]), "{tool:?} wrote the same {what} again {when}");
        let wrote = version(&first[at]) != version(&before[at]);
        if wrote {
            println!("{tool:?} {when}: one write of managedFields alone, {what}");
        }
        assert!(!wrote || (allowed.sorts_managed_fields && what == "Service"), "{tool:?} wrote the {what} {when}");
    }
    assert_eq!(first[0]["spec"]["selector"]["bascule.dev/track"], track, "{when}");
    assert_eq!(first[1]["spec"]["replicas"], 3, "{tool:?} takes the autoscaler's number {when}");
}

/// What a person sets by hand in an incident, and forgets to tell the repository.
async fn by_hand(stage: &Stage, tool: Tool, allowed: &Allowed) {
    let arguments = ["-n", &stage.namespace, "patch", "release", "web", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#];
    let (patched, text) = stage.bed.kubectl(&arguments, None);
    assert!(patched, "{text}");
    tool.apply(stage, &in_git(stage, "v4", "1s"));
    let after = quiet(stage).await;
    let stays = after[1]["spec"]["suspend"] == true;
    assert_eq!(stays, allowed.leaves_what_it_does_not_name, "{tool:?}: a suspend by hand");
}

/// Service and Release, when nobody writes them any more: two looks half a second apart show the same.
async fn quiet(stage: &Stage) -> [Value; 2] {
    let look = || async { [live(stage, "v1", "Service", "web").await, live(stage, RELEASE.0, RELEASE.1, "web").await] };
    stage
        .eventually("nobody writes", || async {
            let first = look().await;
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let second = look().await;
            (first == second).then_some(second)
        })
        .await
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a resourceVersion")
}

fn content(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["managedFields", "resourceVersion"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object
}
