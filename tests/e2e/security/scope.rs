//! The narrower rights of the chart, `scope.namespace` and `scope.clusterReads`: a controller with no more than these does its whole work, and nothing
//! that it asks for is refused.
//!
//! In: a file of tests/chart/values. Its chart is rendered for two namespaces of the test, and of that its account, its rights and its Lease are made;
//! the controller is started with the account's token, and with the arguments and variables of the chart's own pod.

use std::{fs, process::Command};

use bascule_crds::{ConditionType, RejectReason, ReleaseStatus};
use bascule_tests::{Behaviour, Stage, bed::root, controller, stage};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{around, bed, parameters::environment, rights::may};

/// What the chart is rendered into. The chart's namespace is not that of the apps, as in a cluster.
struct Chart {
    namespace: String,
    account: String,
    objects: Vec<Value>,
}

impl Chart {
    /// Of these values, with the namespace of `stage` as the one that they name.
    fn of(stage: &Stage, values: &str) -> Self {
        let namespace = format!("{}-chart", stage.namespace);
        let (chart, file) = (root().join("charts/bascule"), root().join(format!("tests/chart/values/{values}.yaml")));
        let path = stage.bed.variable("PATH").replace("$PATH", &std::env::var("PATH").unwrap_or_default());
        let version = kubectl(stage, &["get", "--raw", "/version"], None);
        let version: Value = serde_json::from_str(&version).expect("the version of the cluster");
        let output = Command::new("helm")
            .env("PATH", path)
            .args(["template", "bascule"])
            .arg(chart)
            .args(["--kube-version", version["gitVersion"].as_str().expect("a version")])
            .args(["--namespace", &namespace, "--set", &format!("scope.namespace={}", stage.namespace), "--values"])
            .arg(file)
            .output()
            .expect("run helm");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let objects = serde_yaml_ng::Deserializer::from_str(&text).map(|it| Value::deserialize(it).expect("an object"));
        let objects = objects.filter(Value::is_object).collect();
        Self { account: format!("system:serviceaccount:{namespace}:bascule-controller"), namespace, objects }
    }

    /// Its account, and all that gives rights to it. What is in no namespace has a name of its own, since the bed has a chart installed.
    fn rights(&self) -> Value {
        let kinds = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Lease"];
        let ours = |it: &&Value| {
            let name = it["metadata"]["name"].as_str().unwrap_or_default();
            kinds.iter().any(|kind| it["kind"] == *kind) && name.starts_with("bascule-controller")
        };
        let mut items: Vec<_> = self.objects.iter().filter(ours).cloned().collect();
        for item in items.iter_mut().filter(|it| it["kind"].as_str().is_some_and(|kind| kind.starts_with("Cluster"))) {
            item["metadata"]["name"] = json!(self.namespace);
            if item["kind"] == "ClusterRoleBinding" {
                item["roleRef"]["name"] = json!(self.namespace);
            }
        }
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// What its pod runs, as a shell runs it here: everything as the chart says, but for the address and the file of the token.
    fn command(&self, stage: &Stage, kubeconfig: &str) -> String {
        let of_pod = |it: &&Value| it["kind"] == "Deployment";
        let pod = self.objects.iter().find(of_pod).expect("a Deployment")["spec"]["template"]["spec"].clone();
        let list = |field: &str| pod["containers"][0][field].as_array().cloned().unwrap_or_default();
        let text = |it: &Value| it.as_str().expect("a text").to_owned();
        // A test's controller is told to be the only one; this one elects itself.
        let mut words: Vec<_> = ["env", "-u", "BASCULE_LEADER_ELECT"].map(ToOwned::to_owned).into();
        words.push(format!("KUBECONFIG={kubeconfig}"));
        words.extend(list("env").iter().map(|it| format!("{}={}", text(&it["name"]), text(&it["value"]))));
        words.push(controller::binary().display().to_string());
        let listen = format!("--listen={}", stage.controller.address());
        words.extend(list("args").iter().map(text).map(|it| if it.starts_with("--listen=") { listen.clone() } else { it }));
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        format!("exec {}", quoted.join(" "))
    }
}

fn kubectl(stage: &Stage, words: &[&str], input: Option<&Value>) -> String {
    let (well, text) = stage.bed.kubectl(words, input.map(Value::to_string).as_deref());
    assert!(well, "kubectl {words:?}: {text}");
    text.trim().to_owned()
}

/// The administrator's kubeconfig, with the token of this account in the place of the user.
fn kubeconfig(stage: &Stage, namespace: &str) -> String {
    let view = kubectl(stage, &["config", "view", "--raw", "--minify", "--flatten", "-o", "json"], None);
    let mut config: Value = serde_json::from_str(&view).expect("a kubeconfig");
    let token = kubectl(stage, &["create", "token", "bascule-controller", "-n", namespace, "--duration=1h"], None);
    config["users"] = json!([{"name": "controller", "user": {"token": token}}]);
    config["contexts"][0]["context"]["user"] = json!("controller");
    let path = around::file(stage, "kubeconfig");
    fs::write(&path, config.to_string()).expect("write a kubeconfig");
    path.display().to_string()
}

/// A stage whose controller is the one of these values, and its chart.
async fn begin(values: &str) -> (Stage, Chart) {
    let mut stage = Stage::new(&bed(), values).await;
    let chart = Chart::of(&stage, values);
    kubectl(&stage, &["create", "namespace", &chart.namespace], None);
    kubectl(&stage, &["apply", "-f", "-"], Some(&chart.rights()));
    let has_cluster_role =
        chart.objects.iter().any(|it| it["kind"] == "ClusterRole" && it["metadata"]["name"] == "bascule-controller");
    let can = |verb: &str, resource: &str, namespace: &str| may(&stage, &chart.account, verb, resource, namespace);
    let known = || async {
        (can("watch", "releases.bascule.dev", &stage.namespace)
            && can("create", "leases.coordination.k8s.io", &chart.namespace)
            && (!has_cluster_role || can("watch", "environments.bascule.dev", "")))
        .then_some(())
    };
    stage.eventually("the API server knows the rights", known).await;
    assert!(!can("create", "deployments.apps", &chart.namespace), "it has rights in one namespace only");
    assert!(!can("list", "namespaces", ""), "and no list of what is in none");
    let file = kubeconfig(&stage, &chart.namespace);
    let command = chart.command(&stage, &file);
    around::replace(&mut stage, &command).await;
    (stage, chart)
}

/// What a controller is for: a first version, one with a hook and a preview, three that fail in different ways, and a way back.
async fn releases_rejects_and_goes_back(stage: &Stage) {
    stage.service("web").await;
    stage.version("v1", Behaviour::Ready).await;
    stage.is_settled_on("v1").await;
    let hook = |behaviour: &Value| {
        let template = json!({"metadata": {"annotations": behaviour}, "spec": {"containers": [{"name": "main", "image": "example/migrate:1"}]}});
        json!({"beforeStart": [{"name": "migrate", "job": {"template": template}}]})
    };
    let mut second = stage.spec("v2", Behaviour::Ready, 2);
    second["preview"] = json!(true);
    second["hooks"] = hook(&json!({}));
    stage.release("web", &second).await;
    stage.is_settled_on("v2").await;

    let mut fails = stage.spec("v5", Behaviour::Ready, 2);
    fails["hooks"] = hook(&json!({"bed.bascule.dev/behaviour": "fails"}));
    for (version, spec, why, had_traffic) in [
        ("v3", stage.spec("v3", Behaviour::Never, 2), RejectReason::DeadlineExceeded, false),
        ("v4", stage.spec("v4", Behaviour::Dies(1), 2), RejectReason::BakeFailed, true),
        ("v5", fails, RejectReason::HookFailed, false),
    ] {
        stage.release("web", &spec).await;
        let rejected = |it: &ReleaseStatus| it.candidate.is_none() && it.rejected.iter().any(|it| it.version == version);
        let status = stage.until(&format!("{version} is rejected"), rejected).await;
        let rejection = status.rejected.iter().find(|it| it.version == version).unwrap();
        assert_eq!((rejection.reason, rejection.had_traffic), (why, had_traffic), "{version}: {}", rejection.message);
        assert!(stage::is_active(&status, "v2"), "{version}: {status:?}");
        assert_eq!(stage.track("web").await.as_deref(), Some("green"), "{version}");
    }
    stage.version("v6", Behaviour::Ready).await;
    stage.is_settled_on("v6").await;
    stage.operate("Rollback", "the one before was better").await;
    let back = |it: &ReleaseStatus| stage::is_active(it, "v2") && it.candidate.is_none() && it.hold.is_some();
    stage.until("v2 runs again", back).await;
}

/// Whether an Environment that allows no image of a Release keeps that Release out.
async fn the_environment_holds(stage: &Stage) -> bool {
    environment(stage, "http://127.0.0.1:9", &json!({"allow": {"images": ["registry.example.com/**"]}})).await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["workloads"][0]["name"] = json!("other");
    spec["services"] = json!([]);
    stage.release("other", &spec).await;
    let decided = || async {
        let status = stage.status("other").await;
        let refused = stage::reason(&status, ConditionType::Ready) == "NotAllowed";
        (refused || stage::is_active(&status, "v1")).then_some(refused)
    };
    stage.eventually("it is refused or released", decided).await
}

/// Nothing that it has asked for was refused, and it says of nothing that it was.
async fn end(stage: Stage, chart: Chart) {
    let metrics = stage.controller.get("/metrics").expect("its metrics");
    let asked: Vec<_> = metrics.lines().filter(|line| line.starts_with("bascule_api_requests_total{")).collect();
    assert!(asked.iter().any(|line| line.contains(r#"code="200""#)), "its requests are counted: {asked:?}");
    let log = around::log(&stage);
    let told = log.lines().filter(|line| line.to_lowercase().contains("forbidden"));
    let refused: Vec<_> = asked.iter().copied().filter(|line| line.contains(r#"code="403""#)).chain(told).collect();
    assert_eq!(refused, Vec::<&str>::new());
    let _ = fs::remove_file(around::file(&stage, "kubeconfig"));
    kubectl(&stage, &["delete", "clusterrole,clusterrolebinding", &chart.namespace, "--ignore-not-found"], None);
    kubectl(&stage, &["delete", "namespace", &chart.namespace, "--wait=false"], None);
    stage.end().await;
}

/// With the rights of these values; whether it knows what the Environment says is told by them.
async fn does_its_whole_work(values: &str, knows_the_environment: bool) {
    let (stage, chart) = begin(values).await;
    releases_rejects_and_goes_back(&stage).await;
    assert_eq!(the_environment_holds(&stage).await, knows_the_environment);
    end(stage, chart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_namespace_it_does_its_whole_work() {
    does_its_whole_work("scoped", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nodes_it_does_its_whole_work() {
    does_its_whole_work("no-nodes", true).await;
}

/// Roles alone: everything but what Environments say.
#[tokio::test(flavor = "multi_thread")]
async fn with_roles_alone_it_does_its_whole_work_and_knows_no_environment() {
    does_its_whole_work("least", false).await;
}
