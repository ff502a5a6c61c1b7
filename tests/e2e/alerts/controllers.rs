//! The controller itself: gone, without a Lease, blind, turned away, overloaded.

use bascule_tests::{
    Behaviour, Controller, Stage,
    controller::Process,
    proxy::{Class, Fault, Proxy, What},
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{Scene, scraped};

pub(crate) const PROVOKES: &[&str] =
    &["BasculeApiThrottled", "BasculeControllerDown", "BasculeNoLeader", "BasculeQueueAgeing", "BasculeWatchDead"];

/// More requests than any of these stories has.
const MANY: u64 = 4_000;

/// With the controller's rights; what fails is for the controller to see.
async fn upstream(scene: &Scene) -> Client {
    let kubeconfig = Kubeconfig::read_from(scene.bed.controller_kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn all(of: Class, what: What) -> impl Iterator<Item = Fault> {
    (1..=MANY).map(move |at| Fault { of, at, what })
}

/// What the chart gives in the controller's own namespace.
fn may_lead(stage: &Stage) {
    let here = stage.namespace.as_str();
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "lease", "namespace": here},
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "lease", "namespace": here},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"},
            "subjects": [{"kind": "ServiceAccount", "name": "bascule-controller", "namespace": "bascule-system"}]}]});
    let (applied, said) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&rights.to_string()));
    assert!(applied, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_the_controller_is_told_until_it_is_mended() {
    let scene = Scene::begin(PROVOKES).await;
    let mut stage = Stage::settled(&scene.bed, "alerts-ctl").await;
    scene.watch.look_at(&[stage.controller.address()]);
    scene.quiet().await;

    stage.controller.kill();
    let alert = scene.fires("BasculeControllerDown", &[]).await;
    assert_eq!(alert["labels"]["severity"], "critical");
    stage.controller.run().await;
    scene.ends("BasculeControllerDown", &[]).await;

    // The Lease is where it has no rights, and gets them later.
    stage.controller.kill();
    let namespace = stage.namespace.clone();
    stage.controller = Controller::start(&scene.bed, &namespace, &["--leader-elect=true", "--lease-namespace", &namespace]).await;
    scene.watch.look_at(&[stage.controller.address()]);
    scene.fires("BasculeNoLeader", &[("severity", "critical")]).await;
    may_lead(&stage);
    scene.ends("BasculeNoLeader", &[]).await;
    stage.version("v2", Behaviour::Ready).await;
    stage.is_settled_on("v2").await;
    stage.controller.stop();

    // An API server in trouble is between them from here on.
    let process = Process::default();
    let victim = process.clone();
    let proxy = Proxy::start(upstream(&scene).await, Box::new(move || victim.kill())).await;
    stage.controller = Controller::through(&scene.bed, &namespace, &proxy.url(), process);
    stage.controller.run().await;
    scene.watch.look_at(&[stage.controller.address()]);
    scene.quiet().await;

    // Its watches are cut at the next request, and no other begins.
    let cut = Fault { of: Class::Request, at: 1, what: What::CutWatches };
    let refused = [Class::List, Class::Watch].into_iter().flat_map(|of| all(of, What::Answer(503)));
    proxy.arm([cut].into_iter().chain(refused).collect());
    stage.version("v3", Behaviour::Ready).await;
    scene.fires("BasculeWatchDead", &[("kind", "Service"), ("severity", "critical")]).await;
    proxy.arm(Vec::new());
    scene.ends("BasculeWatchDead", &[("kind", "Service")]).await;
    stage.is_settled_on("v3").await;

    proxy.arm(all(Class::Request, What::Answer(429)).collect());
    stage.version("v4", Behaviour::Ready).await;
    scene.fires("BasculeApiThrottled", &[("severity", "warning")]).await;
    proxy.arm(Vec::new());
    stage.is_settled_on("v4").await;
    scene.ends("BasculeApiThrottled", &[]).await;

    // More Releases than it has workers, and each request takes seconds.
    proxy.arm(all(Class::Request, What::Delay(3_000)).collect());
    for number in 0..60 {
        let name = format!("many{number}");
        let text = stage.spec("v1", Behaviour::Ready, 1).to_string().replace("web", &name);
        let mut spec: Value = serde_json::from_str(&text).unwrap();
        spec["services"] = json!([]);
        stage.release(&name, &spec).await;
    }
    scene.fires("BasculeQueueAgeing", &[("severity", "warning")]).await;
    proxy.arm(Vec::new());
    scene.ends("BasculeQueueAgeing", &[]).await;

    scene.quiet().await;
    scraped(&stage.controller);
    stage.end().await;
    scene.end();
}
