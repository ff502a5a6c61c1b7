//! No Release reaches into another namespace: none of its fields names one, and a name that would be a path is asked for nowhere.

use bascule_crds::{ConditionType, Operation, Release};
use bascule_tests::{Behaviour, Stage, proxy::Proxy, stage};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{around, bed};

/// Every field that names an object of the namespace and is no name by the schema's own pattern.
const FIELDS: [&str; 7] = ["claim", "pull-secret", "account", "config-map", "secret", "prometheus", "webhook"];

/// What is no name, and would be another place as a part of a path.
fn bad_names(other: &str) -> [String; 5] {
    [
        format!("../../{other}/secrets/theirs"),
        "../secrets".to_owned(),
        "theirs/status".to_owned(),
        "theirs?watch=true".to_owned(),
        "%2e%2e%2fsecrets".to_owned(),
    ]
}

/// A Release of which `field` is `name`.
fn spec(stage: &Stage, workload: &str, field: &str, name: &str) -> Value {
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["workloads"][0]["name"] = json!(workload);
    let pod = &mut spec["workloads"][0]["template"]["spec"];
    match field {
        "claim" => pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}]),
        "pull-secret" => pod["imagePullSecrets"] = json!([{"name": name}]),
        "account" => pod["serviceAccountName"] = json!(name),
        "config-map" => pod["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": name}}]),
        "secret" => {
            pod["containers"][0]["env"] = json!([{"name": "T", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}]);
        }
        _ => {}
    }
    if ["config-map", "secret"].contains(&field) {
        spec["restartOn"] = json!(["ConfigMaps", "Secrets"]);
    }
    if ["pull-secret", "account"].contains(&field) {
        // It wants a login: then what pods would pull with is looked at.
        spec["artifacts"][0]["image"] = json!({"ref": format!("{}/example/app:v2", stage.bed.variable("BASCULE_REGISTRY_AUTH"))});
    }
    let gate = match field {
        "prometheus" => json!({"query": "up", "expect": "value > 0.0", "address": "http://judge", "secret": name}),
        "webhook" => json!({"url": "http://judge/", "secret": name}),
        _ => return spec,
    };
    spec["gates"] = json!({"beforeSwitch": [{"name": "judge", field: gate, "interval": "1s"}]});
    spec
}

/// Nothing but letters, digits, `-` and `.` between the slashes of a path, and no part that leads up.
fn is_plain(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    path.split('/').all(|part| !part.is_empty() && part != ".." && part != "." && part.bytes().all(fits))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_a_path_is_asked_for_nowhere() {
    let mut stage = Stage::new(&bed(), "names").await;
    let other = format!("{}-other", stage.namespace);
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    let object = json!({"metadata": {"name": other, "labels": {"bascule.dev/e2e": "true"}}});
    namespaces.create(&PostParams::default(), &stage::from(object)).await.unwrap();
    let theirs: Secret = stage::from(json!({"metadata": {"name": "theirs"}, "stringData": {"token": "canary"}}));
    Api::namespaced(stage.client.0.clone(), &other).create(&PostParams::default(), &theirs).await.unwrap();

    let proxy = Proxy::start(around::as_controller(&stage.bed).await, Box::new(|| {})).await;
    let kubeconfig = around::kubeconfig(&stage, &proxy.url());
    stage.controller.restart_with(&[("KUBECONFIG", &kubeconfig.to_string_lossy())], &["--read-pull-secrets"]).await;

    // What is a name is asked for: the journal would show the others as well.
    for field in FIELDS {
        let release = format!("{field}-good");
        stage.release(&release, &spec(&stage, &release, field, "ours")).await;
    }
    let asked_for = |path: &str| proxy.journal().iter().any(|entry| entry.path == path);
    for path in ["persistentvolumeclaims/ours", "secrets/ours", "serviceaccounts/ours"] {
        stage.eventually(&format!("{path} is asked for"), || async { asked_for(path).then_some(()) }).await;
    }

    let mut said = Vec::new();
    for field in FIELDS {
        for (number, name) in bad_names(&other).iter().enumerate() {
            let release = format!("{field}-{number}");
            match stage.try_release(&release, &spec(&stage, &release, field, name)).await {
                Ok(_) => said.push((release, name.clone())),
                // The schema may know better than the controller.
                Err(why) => assert!(why.to_string().contains("should match"), "{field}: {why}"),
            }
        }
    }
    for (release, name) in &said {
        let tells = || async {
            let status = stage.status(release).await;
            stage::message(&status, ConditionType::Ready).contains(name.as_str()).then_some(())
        };
        stage.eventually(&format!("{release} says something of {name}"), tells).await;
    }
    // A query is no part of the path: what is asked for with one shows as this name, which no field has by itself.
    let strange = |path: &&String| !is_plain(path.trim_start_matches('/')) || path.ends_with("/theirs");
    let journal: std::collections::BTreeSet<_> = proxy.journal().into_iter().map(|entry| entry.path).collect();
    let strange: Vec<_> = journal.iter().filter(strange).collect();
    assert!(strange.is_empty(), "asked for: {strange:#?}");
    let _ = namespaces.delete(&other, &DeleteParams::background()).await;
    stage.end().await;
}

/// A template may say of its metadata what it likes: its pods are where the Release is, and belong to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_cannot_leave_its_namespace() {
    let stage = Stage::new(&bed(), "leave").await;
    stage.service("web").await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    let metadata = &mut spec["workloads"][0]["template"]["metadata"];
    metadata["namespace"] = json!("kube-system");
    metadata["name"] = json!("chosen");
    metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "kube-system", "uid": "u"}]);
    // Labels of ours are not for a template to choose.
    metadata["labels"] = json!({"app": "web", "bascule.dev/release": "another", "bascule.dev/track": "green"});
    let hook = json!({"metadata": {"namespace": "kube-system", "labels": {"bascule.dev/release": "another"}},
                      "spec": {"containers": [{"name": "main", "image": "example/task:1"}]}});
    spec["hooks"] = json!({"beforeStart": [{"name": "task", "job": {"template": hook}}]});
    stage.release("web", &spec).await;
    stage.is_settled_on("v1").await;
    let everywhere = |label: String| {
        let pods = Api::<Pod>::all(stage.client.0.clone());
        async move { pods.list(&ListParams::default().labels(&label)).await.unwrap().items }
    };
    let uid = stage.api::<Release>().get("web").await.unwrap().metadata.uid.unwrap();
    let deployment = stage.api::<Deployment>().get("web-blue").await.unwrap();
    assert_eq!(deployment.metadata.owner_references.unwrap()[0].uid, uid);
    let pods = stage.api::<Pod>().list(&ListParams::default().labels("bascule.dev/release=web")).await.unwrap().items;
    assert!(pods.len() >= 2, "one of the version, one of its hook");
    for pod in &pods {
        let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
        assert!(["ReplicaSet", "Job"].contains(&owner.kind.as_str()), "{owner:?}");
    }
    let strangers = everywhere("bascule.dev/release=another".to_owned()).await;
    assert!(strangers.is_empty(), "{strangers:?}");
    stage.end().await;
}

/// An Operation is about a Release of its own namespace, whatever it calls it.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_reaches_no_other_namespace() {
    let theirs = Stage::settled(&bed(), "theirs").await;
    let stage = Stage::new(&bed(), "ours").await;
    for name in [format!("../../{}/releases/web", theirs.namespace), format!("{}/web", theirs.namespace), "web".to_owned()] {
        let operation: Operation = stage::from(json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Operation",
            "metadata": {"generateName": "web-", "namespace": stage.namespace}, "spec": {"release": name, "type": "Hold"},
        }));
        let created = stage.api::<Operation>().create(&PostParams::default(), &operation).await.unwrap();
        let answered = || async { stage.api::<Operation>().get(created.metadata.name.as_deref()?).await.ok()?.status };
        let answer = stage.eventually("it is answered", answered).await;
        assert_eq!(answer.outcome, bascule_crds::OperationOutcome::Refused, "{name}: {}", answer.message);
    }
    assert!(theirs.status("web").await.hold.is_none());
    theirs.end().await;
    stage.end().await;
}
