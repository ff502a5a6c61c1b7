//! Who may do what: what a Release gives to a person who may write nothing else, what pods may never be, and what the controller itself may not do.
//! How it is taken away again: policies.rs.

use bascule_crds::Release;
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Secret, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::bed;

/// Lets `user` do this in the namespace, and nothing else.
pub(crate) fn grant(stage: &Stage, user: &str, rules: &Value) {
    let namespace = &stage.namespace;
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": user, "namespace": namespace}, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": user, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}, "subjects": [{"kind": "User", "name": user}]},
    ]});
    let (granted, text) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&rights.to_string()));
    assert!(granted, "{text}");
}

pub(crate) fn releases() -> Value {
    json!({"apiGroups": ["bascule.dev"], "resources": ["releases"], "verbs": ["get", "create", "patch"]})
}

pub(crate) fn create(stage: &Stage, user: &str, object: &Value) -> (bool, String) {
    stage.bed.kubectl(&["create", "--as", user, "-n", &stage.namespace, "-f", "-"], Some(&object.to_string()))
}

pub(crate) fn release(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "metadata": {"name": name}, "spec": spec})
}

/// The chart's controller makes what its own rights let it make: who may write a Release and nothing else runs pods, as any service account, with
/// any Secret. docs/security.md says so; if this ever fails, it must be said otherwise there.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_write_a_release_runs_pods() {
    let stage = Stage::new(&bed(), "writes").await;
    stage.service("web").await;
    stage
        .api::<ServiceAccount>()
        .create(&PostParams::default(), &stage::from(json!({"metadata": {"name": "deployer"}})))
        .await
        .unwrap();
    let secret: Secret = stage::from(json!({"metadata": {"name": "theirs"}, "stringData": {"token": "x"}}));
    stage.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    grant(&stage, "ada", &json!([releases()]));
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    let pod = &mut spec["workloads"][0]["template"]["spec"];
    pod["serviceAccountName"] = json!("deployer");
    pod["volumes"] = json!([{"name": "theirs", "secret": {"secretName": "theirs"}}, {"name": "node", "hostPath": {"path": "/"}}]);
    let created = || async { create(&stage, "ada", &release("web", &spec)).0.then_some(()) };
    stage.eventually("ada may write a Release", created).await;
    stage.is_settled_on("v1").await;
    let pods = stage.api::<Pod>().list(&ListParams::default().labels("bascule.dev/release=web")).await.unwrap().items;
    let runs = pods[0].spec.as_ref().unwrap();
    let volumes = runs.volumes.as_ref().unwrap();
    assert_eq!(runs.service_account_name.as_deref(), Some("deployer"));
    assert!(volumes.iter().any(|it| it.secret.is_some()) && volumes.iter().any(|it| it.host_path.is_some()));
    // Her own hands can do none of it.
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
                            "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}});
    let service = stage::service_manifest("other", &stage.namespace);
    for object in [deployment, service] {
        let (created, text) = create(&stage, "ada", &object);
        assert!(!created && text.contains("forbidden"), "{text}");
    }
    // The Service of the team follows her Release.
    assert_eq!(stage.track("web").await.as_deref(), Some("blue"));
    stage.end().await;
}

/// What pods may be is decided where pods are made, and not by whoever asks for them.
#[tokio::test(flavor = "multi_thread")]
async fn pod_security_holds_for_the_pods_of_a_release() {
    let stage = Stage::new(&bed(), "restricted").await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces.patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    let pod = &mut spec["workloads"][0]["template"]["spec"];
    pod["hostNetwork"] = json!(true);
    pod["volumes"] = json!([{"name": "node", "hostPath": {"path": "/"}}]);
    pod["containers"][0]["securityContext"] = json!({"privileged": true});
    stage.release("web", &spec).await;
    let says = |it: &bascule_crds::ReleaseStatus| it.rejected.iter().any(|it| it.message.contains("violates PodSecurity"));
    let status = stage.until("it is rejected, in the words of Pod Security", says).await;
    println!("{}", status.rejected[0].message);
    assert!(stage.api::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(stage.api::<Deployment>().get_opt("web-blue").await.unwrap().is_some());
    stage.end().await;
}

/// May somebody do this in `namespace`? The API server says.
pub(crate) fn may(stage: &Stage, who: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, part) = (resource.to_owned(), format!("--subresource={part}"));
    let asked = ["auth", "can-i", verb, &resource, &part, "--as", who, "-n", namespace];
    // Beside the answer there may be a warning: what is in no namespace is asked about all the same.
    stage.bed.kubectl(&asked, None).1.lines().any(|line| line == "yes")
}

/// What the controller goes by is written by the controller alone: neither `edit` nor `admin` of a namespace can.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_by_nobody_else() {
    let stage = Stage::new(&bed(), "records").await;
    for role in ["edit", "admin"] {
        let user = format!("has-{role}");
        let binding = ["create", "rolebinding", role, "--clusterrole", role, "--user", &user, "-n", &stage.namespace];
        assert!(stage.bed.kubectl(&binding, None).0);
        let can = |verb: &str, resource: &str| may(&stage, &user, verb, resource, &stage.namespace);
        let granted = || async { can("create", "releases.bascule.dev").then_some(()) };
        stage.eventually("the binding is known", granted).await;
        for (verb, resource) in [
            ("patch", "releases.bascule.dev/status"),
            ("update", "releases.bascule.dev/status"),
            ("update", "operations.bascule.dev"),
            ("patch", "operations.bascule.dev/status"),
            ("delete", "operations.bascule.dev"),
            ("create", "controllerrevisions.apps"),
            ("patch", "controllerrevisions.apps"),
            ("create", "environments.bascule.dev"),
            ("patch", "environments.bascule.dev"),
            ("patch", "namespaces"),
            ("create", "endpointslices.discovery.k8s.io"),
            ("patch", "pods/status"),
        ] {
            assert!(!can(verb, resource), "{role} may {verb} {resource}");
        }
        assert_eq!(can("create", "operations.bascule.dev"), role == "admin", "{role}");
    }
    stage.end().await;
}

/// Whoever has its token makes Deployments and Jobs anywhere, which is nearly everything. These doors are closed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_controller_may_do_this_and_no_more() {
    let stage = Stage::new(&bed(), "token").await;
    let who = "system:serviceaccount:bascule-system:bascule-controller";
    for namespace in [stage.namespace.as_str(), "kube-system"] {
        for (verb, resource) in
            [("create", "deployments.apps"), ("create", "jobs.batch"), ("patch", "services"), ("get", "pods/log")]
        {
            assert!(may(&stage, who, verb, resource, namespace), "{verb} {resource} in {namespace}");
        }
        for (verb, resource) in [
            ("create", "pods"),
            ("patch", "pods"),
            ("delete", "pods"),
            ("create", "pods/exec"),
            ("create", "pods/portforward"),
            ("create", "serviceaccounts/token"),
            ("create", "secrets"),
            ("patch", "secrets"),
            ("patch", "configmaps"),
            ("patch", "persistentvolumeclaims"),
            ("create", "rolebindings.rbac.authorization.k8s.io"),
            ("patch", "roles.rbac.authorization.k8s.io"),
            ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
            ("impersonate", "users"),
            ("get", "nodes/proxy"),
            ("patch", "nodes"),
            ("patch", "namespaces"),
            ("create", "releases.bascule.dev"),
            ("patch", "releases.bascule.dev"),
            ("create", "operations.bascule.dev"),
            ("patch", "environments.bascule.dev"),
            ("create", "daemonsets.apps"),
            ("patch", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ] {
            assert!(!may(&stage, who, verb, resource, namespace), "{verb} {resource} in {namespace}");
        }
    }
    let release: Release = stage::from(release("web", &stage.spec("v1", Behaviour::Ready, 1)));
    let own = Api::<Release>::namespaced(super::around::as_controller(&stage.bed).await, &stage.namespace);
    assert!(own.create(&PostParams::default(), &release).await.is_err(), "it makes no Releases");
    stage.end().await;
}
