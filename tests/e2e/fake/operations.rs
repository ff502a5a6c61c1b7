//! Who may ask something of a Release.

use bascule_crds::{Operation, OperationOutcome};
use bascule_tests::{Behaviour, Stage, stage};
use serde_json::json;

use super::bed;

/// The policies of the chart, on the real API server: the verb is needed, the requester is who asks, and nothing is changed later.
#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_can_operate() {
    let stage = Stage::settled(&bed(), "may").await;
    let namespace = stage.namespace.clone();
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "creates", "namespace": namespace},
            "rules": [{"apiGroups": ["bascule.dev"], "resources": ["operations"], "verbs": ["create", "get", "patch", "update"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "aborts", "namespace": namespace},
            "rules": [{"apiGroups": ["bascule.dev"], "resources": ["releases"], "verbs": ["abort"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "creates", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "creates"},
            "subjects": [{"kind": "User", "name": "ada"}, {"kind": "User", "name": "bob"}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "aborts", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "aborts"}, "subjects": [{"kind": "User", "name": "ada"}]},
    ]});
    assert!(stage.bed.kubectl(&["apply", "-f", "-"], Some(&rights.to_string())).0);
    let operation = |name: &str, spec: serde_json::Value| {
        json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name, "namespace": namespace}, "spec": spec}).to_string()
    };
    let create = |user: &str, text: &str| stage.bed.kubectl(&["create", "--as", user, "-f", "-"], Some(text));

    stage
        .eventually("ada may abort", || async {
            create("ada", &operation("by-ada", json!({"release": "web", "type": "Abort"}))).0.then_some(())
        })
        .await;
    let by = stage.api::<Operation>().get("by-ada").await.unwrap().spec.by;
    assert_eq!(by.as_deref(), Some("ada"), "filled in by the policy");

    let (created, text) = create("bob", &operation("by-bob", json!({"release": "web", "type": "Abort"})));
    assert!(!created && text.contains("abort") && text.contains("bob"), "{text}");
    let (created, text) = create("ada", &operation("retry", json!({"release": "web", "type": "Retry"})));
    assert!(!created && text.contains("retry"), "{text}");
    let (created, text) = create("ada", &operation("as-bob", json!({"release": "web", "type": "Abort", "by": "bob"})));
    assert!(!created, "a foreign name is refused: {text}");
    let (changed, text) = stage.bed.kubectl(
        &[
            "patch",
            "operation",
            "by-ada",
            "-n",
            &namespace,
            "--as",
            "ada",
            "--type=merge",
            "-p",
            r#"{"spec":{"note":"changed"}}"#,
        ],
        None,
    );
    assert!(!changed, "an Operation cannot be changed: {text}");
    let answer = stage.eventually("it is answered", || async { stage.api::<Operation>().get("by-ada").await.ok()?.status }).await;
    assert_eq!(answer.outcome, OperationOutcome::Refused);
    assert!(stage::is_ready(&stage.status("web").await));
    stage.end().await;
}

/// Somebody who may not touch the Release itself brings it back; twice at once is once, and what is gone is said to be gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_on_call_rolls_back_without_the_right_to_edit() {
    let stage = Stage::settled(&bed(), "oncall").await;
    let namespace = stage.namespace.clone();
    let mut v2 = stage.spec("v2", Behaviour::Ready, 2);
    v2["strategy"]["scaleDownDelay"] = json!("10m");
    stage.release("web", &v2).await;
    stage.until("v2 is settled", |it| stage::is_active(it, "v2") && it.candidate.is_none()).await;
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operates", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bascule-operator"}, "subjects": [{"kind": "User", "name": "ada"}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "edits", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bascule-editor"}, "subjects": [{"kind": "User", "name": "bob"}]},
    ]});
    assert!(stage.bed.kubectl(&["apply", "-f", "-"], Some(&rights.to_string())).0);
    let operation = |name: &str, spec: &serde_json::Value| {
        json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name, "namespace": namespace}, "spec": spec}).to_string()
    };
    let create = |user: &str, text: &str| stage.bed.kubectl(&["create", "--as", user, "-f", "-"], Some(text));
    let back = json!({"release": "web", "type": "Rollback", "note": "checkout errors"});
    let edit = ["patch", "release", "web", "-n", &namespace, "--as", "ada", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#];
    let (edited, text) = stage.bed.kubectl(&edit, None);
    assert!(!edited && text.contains("forbidden"), "{text}");
    let (created, text) = create("bob", &operation("by-bob", &back));
    assert!(!created, "to edit is not to operate: {text}");
    // Without a right to create Operations the policy is not even asked.
    assert!(text.contains("forbidden"), "{text}");
    let forced = json!({"release": "web", "type": "Rollback", "force": true});
    let (created, text) = create("ada", &operation("forced", &forced));
    assert!(!created && text.contains("force takes a note"), "{text}");

    // Two at once, and the same name again.
    stage.eventually("ada may roll back", || async { create("ada", &operation("one", &back)).0.then_some(()) }).await;
    assert!(create("ada", &operation("two", &back)).0);
    let (created, text) = create("ada", &operation("one", &back));
    assert!(!created && text.contains("already exists"), "{text}");
    let answered = |name: &'static str| {
        let operations = stage.api::<Operation>();
        move || {
            let operations = operations.clone();
            async move { operations.get(name).await.ok()?.status }
        }
    };
    let one = stage.eventually("the first is answered", answered("one")).await;
    let two = stage.eventually("the second is answered", answered("two")).await;
    assert_eq!(one.outcome, OperationOutcome::Done, "{}", one.message);
    assert_eq!(two.outcome, OperationOutcome::Refused, "{}", two.message);
    let is_back = |it: &bascule_crds::ReleaseStatus| stage::is_active(it, "v1") && it.candidate.is_none() && it.hold.is_some();
    let status = stage.until("v1 has the traffic", is_back).await;
    assert_eq!(status.hold.unwrap().by.as_deref(), Some("ada"));

    // Of a revision that nobody knows any more.
    let gone = json!({"release": "web", "type": "Rollback", "revision": "bcdfghjklm"});
    assert!(create("ada", &operation("gone", &gone)).0);
    let answer = stage.eventually("it is answered", answered("gone")).await;
    assert!(answer.outcome == OperationOutcome::Refused && answer.message.contains("is no revision"), "{}", answer.message);
    assert!(stage::is_active(&stage.status("web").await, "v1"));

    // Automation is on again when she says so.
    assert!(create("ada", &operation("resume", &json!({"release": "web", "type": "Resume"}))).0);
    stage.until("v2 has the traffic", |it| stage::is_active(it, "v2") && it.hold.is_none()).await;
    stage.end().await;
}
