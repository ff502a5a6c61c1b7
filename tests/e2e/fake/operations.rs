//! Who may ask something of a Release.

use bascule_crds::{Operation, OperationOutcome};
use bascule_tests::{Stage, stage};
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
