//! What people ask: acted on once, answered, pruned; and who may ask.

use bascule_crds::{Operation, OperationOutcome, Step};
use bascule_tests::{Behaviour, Stage, stage};
use kube::api::ListParams;
use serde_json::json;

use super::bed;

#[tokio::test(flavor = "multi_thread")]
async fn abort_before_the_switch_and_during_the_bake() {
    for (behaviour, step) in [(Behaviour::Never, Step::Starting), (Behaviour::Ready, Step::Baking)] {
        let stage = Stage::settled(&bed(), "abort").await;
        let mut spec = stage.spec("v2", behaviour, 2);
        spec["strategy"]["bake"] = json!("60s");
        spec["strategy"]["progressDeadline"] = json!("60s");
        stage.release("web", &spec).await;
        stage.until("on its way", |status| status.candidate.as_ref().is_some_and(|candidate| candidate.step == step)).await;
        let name = stage.operate("Abort", "checkout errors").await;
        let status = stage.is_rejected_in_favour_of("v1").await;
        assert!(status.rejected[0].message.contains("checkout errors"), "{:?}", status.rejected);
        assert_eq!(stage.track("web").await.as_deref(), Some("blue"));
        let answer =
            stage.eventually("it is answered", || async { stage.api::<Operation>().get(&name).await.ok()?.status }).await;
        assert_eq!(answer.outcome, OperationOutcome::Done);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_on_nothing_is_refused_with_a_reason() {
    let stage = Stage::settled(&bed(), "refused").await;
    let name = stage.operate("Abort", "").await;
    let answer = stage.eventually("it is answered", || async { stage.api::<Operation>().get(&name).await.ok()?.status }).await;
    assert_eq!((answer.outcome, answer.message.as_str()), (OperationOutcome::Refused, "there is no candidate to abort"));

    let (created, text) = stage.bed.kubectl(
        &["create", "-o", "name", "-f", "-"],
        Some(&json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "lost", "namespace": stage.namespace},
            "spec": {"release": "none-such", "type": "Abort"}}).to_string()),
    );
    assert!(created, "{text}");
    let lost = stage.eventually("it is answered", || async { stage.api::<Operation>().get("lost").await.ok()?.status }).await;
    assert!(lost.message.contains("there is no Release none-such"), "{}", lost.message);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_operations_are_pruned() {
    let stage = Stage::settled(&bed(), "pruned").await;
    for _ in 0..24 {
        stage.operate("Abort", "").await;
    }
    stage
        .eventually("twenty are kept", || async {
            let operations = stage.api::<Operation>().list(&ListParams::default()).await.unwrap().items;
            (operations.len() == 20 && operations.iter().all(|operation| operation.status.is_some())).then_some(())
        })
        .await;
    stage.end().await;
}

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
