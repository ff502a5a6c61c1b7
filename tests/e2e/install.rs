//! What a platform team does: installs the chart with an image of ours, kills a leader, upgrades under load, removes it.
//!
//! One story, since each part goes on from the one before. It follows docs/install.md to the letter; what is proved is between its steps. The controller
//! runs as two pods, with exactly the rights that the chart gives. Runs inside the bed's network, as the last test on that bed: it takes
//! the bed's own installation away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stderr, reason = "figures are for whoever runs it")]

#[path = "install/page.rs"]
mod page;
#[path = "install/process.rs"]
mod process;
mod watch;

use std::{net::SocketAddr, path::Path, time::Duration};

use bascule_tests::{Bed, bed, controller, load::Load};
use page::Page;
use tokio::time::Instant;
use watch::Watch;

const NAMESPACE: &str = "shop-staging";
/// Requests per second: enough that a gap of some milliseconds is hit.
const RATE: u32 = 200;
/// For pods on a real node of a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The crash of a leader is over by then.
const TAKEN_OVER: Duration = Duration::from_secs(5);
/// A machine that does other things as well may be late once. Every figure is printed.
const KILLS: usize = 3;

fn kubectl(bed: &Bed, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    let (well, text) = bed.kubectl(&words, None);
    assert!(well, "kubectl {}: {text}", words.join(" "));
    text.trim().to_owned()
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As if nobody had ever installed anything here.
fn empty(bed: &Bed) {
    let _ = bed.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"], None);
    let helm = std::process::Command::new("helm")
        .args(["uninstall", "bascule", "--namespace", "bascule-system", "--ignore-not-found", "--wait"])
        .output()
        .unwrap();
    assert!(helm.status.success(), "{}", String::from_utf8_lossy(&helm.stderr));
    // Of a run before this one; where there is none it says so, and that is well.
    let _ = std::process::Command::new("aws").args(["ssm", "delete-parameter", "--name", "/shop/staging/web/image"]).output();
    let crds = ["releases", "operations", "environments"].map(|kind| format!("{kind}.bascule.dev"));
    let (well, text) = bed.kubectl(&["delete", "crd", "--ignore-not-found", &crds[0], &crds[1], &crds[2]], None);
    assert!(well, "{text}");
}

/// What is special about this cluster: its registry and its AWS are on the node's address, seen from a pod.
fn values(bed: &Bed) -> String {
    let (registry, in_pods) = (bed.variable("BASCULE_REGISTRY"), bed.variable("BASCULE_REGISTRY_IN_PODS"));
    format!(
        "registry:\n  reachedAt: [\"{registry}={in_pods}\"]\n  plainHttp: [\"{in_pods}\"]\naws: {{region: us-east-1}}\ncontroller:\n  extraEnv:\n  \
         - {{name: AWS_ENDPOINT_URL, value: \"{}\"}}\n  - {{name: AWS_ACCESS_KEY_ID, value: test}}\n  \
         - {{name: AWS_SECRET_ACCESS_KEY, value: test}}\n",
        bed.variable("BASCULE_AWS_IN_PODS")
    )
}

/// Where the controller's pods are scraped.
fn addresses(bed: &Bed) -> Vec<String> {
    let text = kubectl(bed, "-n bascule-system get pods -o jsonpath={.items[*].status.podIP}");
    text.split(' ').map(|address| format!("{address}:8080")).collect()
}

fn leader(bed: &Bed) -> String {
    kubectl(bed, "-n bascule-system get lease bascule-controller -o jsonpath={.spec.holderIdentity}")
}

/// What must not change when nothing is asked for: everything of the app that somebody could have written.
fn versions(bed: &Bed) -> String {
    let kinds = "releases,services,deployments,replicasets,controllerrevisions,jobs,operations";
    let shown = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    kubectl(bed, &format!("-n {NAMESPACE} get {kinds} -o {shown} --no-headers"))
}

fn app(bed: &Bed) -> SocketAddr {
    format!("{}:80", kubectl(bed, &format!("-n {NAMESPACE} get service web -o jsonpath={{.spec.clusterIP}}"))).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_followed_to_the_letter() {
    let bed = Bed::named("e2e-real");
    let page = Page::open(&bed);
    empty(&bed);

    // The version before this one, by its own chart: what an upgrade begins with.
    page.chart(&bed::root().join("target/previous/source/charts"));
    page.write("values.yaml", &values(&bed));
    page.follow("1. The image", Some(&controller::previous()));
    let printed = page.follow("3. The chart", None);
    assert!(printed.contains("bascule-controller"), "{printed}");
    two_of_which_one_leads(&bed).await;

    page.follow("4. An Environment", None);
    let printed = page.follow("5. An app", None);
    assert!(printed.lines().any(|line| line.starts_with("web") && line.contains("True") && line.contains("v1")), "{printed}");

    let load = Load::start(app(&bed), "/", 8, RATE);
    let watch = Watch::begin(&bed, &[]);
    watch.look_at(&addresses(&bed));
    let mut blocks = page.blocks("6. A version that is bad").into_iter();
    let printed = page.run(&blocks.next().unwrap(), None);
    assert!(printed.lines().any(|line| line.contains("v1") && line.contains("was rejected")), "{printed}");
    let began = Instant::now();
    let labels = [("namespace", NAMESPACE), ("release", "web")];
    let alert = until("somebody is told of the bad version", || watch.fires("BasculeReleaseRejected", &labels)).await;
    eprintln!("an alert: {} after {} s in Alertmanager", alert["labels"]["alertname"], began.elapsed().as_secs());
    watch::has_a_runbook(&alert);
    blocks.for_each(|block| drop(page.run(&block, None)));
    until("and that it is over", || watch.fires("BasculeReleaseRejected", &labels).is_none().then_some(())).await;
    let tally = load.take();
    eprintln!("a bad version: {} requests, {} lost, {:?}", tally.sent, tally.failed, tally.by_version);
    assert!(tally.failed == 0 && !tally.by_version.contains_key("broken"), "{:?} {:?}", tally.failures, tally.by_version);

    upgrade(&bed, &page, &load).await;
    kill_leaders(&bed).await;
    watch.look_at(&addresses(&bed));

    page.follow("9. Remove", None);
    until("its pods are gone", || kubectl(&bed, "-n bascule-system get pods -o name").is_empty().then_some(())).await;
    let alert = until("somebody is told that nobody controls", || watch.fires("BasculeControllerDown", &[])).await;
    watch::has_a_runbook(&alert);
    watch.end(&bed);
    let _ = load.take();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tally = load.stop().await;
    eprintln!("without a controller: {} requests, {} lost, {:?}", tally.sent, tally.failed, tally.by_version);
    assert!(tally.failed == 0 && tally.sent > 300, "{} {:?}", tally.sent, tally.failures);
    kubectl(&bed, &format!("-n {NAMESPACE} get release web"));
}

/// Under load, from the version before this one: nothing is written about what is settled, and nobody notices.
async fn upgrade(bed: &Bed, page: &Page, load: &Load) {
    // Kubernetes itself writes as long as a pod of the old version ends.
    let mut seen = (versions(bed), Instant::now());
    until("the old version has ended, and nobody writes", || {
        let pods = kubectl(bed, &format!("-n {NAMESPACE} get pods -o name"));
        let now = versions(bed);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        (pods.lines().count() == 2 && seen.1.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
    let (before, _) = (versions(bed), load.take());
    page.chart(&bed::root().join("charts"));
    image(&controller::binary());
    page.follow("8. Upgrade", None);
    until("the new version leads, and no pod of the old one is left", || {
        let running = kubectl(bed, "-n bascule-system get pods -o jsonpath={.items[*].spec.containers[0].image}");
        let is_new = running.split(' ').all(|image| image.ends_with(":0.2.0"));
        (is_new && !leader(bed).is_empty()).then_some(())
    })
    .await;
    // Whatever it would have written at its start.
    until("it has decided about the Release", || {
        let log = kubectl(bed, "-n bascule-system logs --tail=-1 -l app.kubernetes.io/name=bascule --prefix");
        log.contains("\"leads\"").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(versions(bed), before, "an upgrade writes nothing about what is settled");
    let tally = load.take();
    eprintln!("an upgrade: {} requests, {} lost", tally.sent, tally.failed);
    assert_eq!(tally.failed, 0, "{:?}", tally.failures);
}

/// Packs this tree's program; what section 8 pushes.
fn image(program: &Path) {
    let output = std::process::Command::new(bed::root().join("hack/image")).args(page::of(program)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn two_of_which_one_leads(bed: &Bed) {
    until("two replicas, one of them leads", || {
        let ready = kubectl(bed, "-n bascule-system get deployment bascule-controller -o jsonpath={.status.readyReplicas}");
        (ready == "2" && !leader(bed).is_empty()).then_some(())
    })
    .await;
}

/// A second one and a third only if the one before was followed too late.
async fn kill_leaders(bed: &Bed) {
    let mut took = Vec::new();
    while took.len() < KILLS && took.iter().all(|it| *it >= TAKEN_OVER) {
        two_of_which_one_leads(bed).await;
        took.push(kill_the_leader(bed).await);
    }
    assert!(took.iter().any(|it| *it < TAKEN_OVER), "{took:?}");
}

/// By its pid on the node, as the kernel does it. The other one acts on what is asked for right then. Gives how long that took.
async fn kill_the_leader(bed: &Bed) -> Duration {
    let killed = pod_of(&leader(bed));
    let before = generation(bed);
    let began = Instant::now();
    process::kill(&killed);
    let answered = suspended(bed, true, before).await;
    let took = began.elapsed();
    // Its own container is started again in the same pod, under another name: that is not the other one.
    let follower = pod_of(&leader(bed));
    eprintln!("a killed leader: another one acted after {} ms ({killed}, then {follower})", took.as_millis());
    assert_ne!(follower, killed);
    suspended(bed, false, answered).await;
    took
}

/// Who holds the Lease is called after its pod, and after that one start of it.
fn pod_of(holder: &str) -> String {
    holder.split('_').next().unwrap().to_owned()
}

/// What of the Release a controller has acted on.
fn generation(bed: &Bed) -> String {
    kubectl(bed, &format!("-n {NAMESPACE} get release web -o jsonpath={{.status.observedGeneration}}"))
}

/// Asks for this, and waits until a controller has acted on it. Gives what it has acted on.
async fn suspended(bed: &Bed, suspend: bool, before: String) -> String {
    kubectl(bed, &format!("-n {NAMESPACE} patch release web --type=merge -p {{\"spec\":{{\"suspend\":{suspend}}}}}"));
    until("a controller has acted", || Some(generation(bed)).filter(|now| *now != before)).await
}
