//! How much one tenant may ask for: every list has an end, one Release does not fill the controller's memory, and the largest one that there can be
//! is handled.

use bascule_crds::{ConditionType, Environment, Release};
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{
    bed,
    ear::{Ear, answer},
    page,
};

/// What etcd takes of one object, everything included.
const ETCD: usize = 1_536 * 1024;
/// The memory that the chart gives to the controller.
const MEMORY_KIB: u64 = 256 * 1024;

fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn map(count: usize) -> Value {
    (0..count).map(|number| (format!("x-{number}"), json!("1"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_of_a_release_has_an_end() {
    let stage = Stage::new(&bed(), "lists").await;
    let job = json!({"template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}});
    let image = json!({"ref": "example/web:1", "resolve": "Never"});
    let template = stage.spec("v1", Behaviour::Ready, 1)["workloads"][0]["template"].clone();
    let gate = |number: usize| json!({"name": format!("g{number}"), "http": {"service": "web"}});
    let artifact = |number: usize| json!({"name": format!("a{number}"), "image": image});
    let one_too_many = [
        ("artifacts", many(17, artifact)),
        ("workloads", many(17, |number| json!({"name": format!("w{number}"), "template": template}))),
        ("services", many(17, |number| json!({"name": format!("s{number}")}))),
        ("hooks", json!({"beforeStart": many(9, |number| json!({"name": format!("h{number}"), "job": job}))})),
        ("gates", json!({"beforeSwitch": many(9, gate)})),
        ("gates", json!({"afterSwitch": many(9, gate)})),
        ("history", json!(51)),
        ("restartOn", json!(["ConfigMaps", "Secrets", "ConfigMaps"])),
        ("gates", json!({"beforeSwitch": [{"name": "g", "http": {"service": "web", "headers": map(33)}}]})),
        ("gates", json!({"beforeSwitch": [{"name": "g", "http": {"service": "web", "headers": {"x": "x".repeat(16_385)}}}]})),
    ];
    for (field, value) in one_too_many {
        let mut spec = stage.spec("v1", Behaviour::Ready, 1);
        spec[field] = value;
        let refused = stage.try_release("bad", &spec).await.err().map(|why| why.to_string());
        let short: String = spec[field].to_string().chars().take(80).collect();
        let refused = refused.unwrap_or_else(|| panic!("{field} was let in: {short}"));
        assert!(
            ["at most", "less than or equal", "uplicate", "may not be more", "must have"].iter().any(|it| refused.contains(it)),
            "{refused}"
        );
    }
    let environments = Api::<Environment>::all(stage.client.0.clone());
    let lists = ["parameters", "images", "buckets", "endpoints"];
    let specs = lists.map(|list| json!({"allow": {list: many(65, |number| json!(format!("/{number}")))}}));
    for spec in specs.into_iter().chain([json!({"variables": map(65)})]) {
        let object: Environment = stage::from(json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": stage.namespace}, "spec": spec}));
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let refused = environments.create(&dry, &object).await;
        assert!(refused.is_err(), "let in: {}", spec.to_string().chars().take(80).collect::<String>());
    }
    stage.end().await;
}

/// How many Releases a namespace has is Kubernetes' own quota: the one of docs/security.md, in this namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_bounds_the_releases_of_a_namespace() {
    let mut stage = Stage::new(&bed(), "quota").await;
    // Nobody else is needed, and twenty apps would be work.
    stage.controller.kill();
    let mut quota: ResourceQuota = serde_yaml_ng::from_str(&page::block("kind: ResourceQuota")).expect("a quota");
    quota.metadata.namespace = Some(stage.namespace.clone());
    let hard = quota.spec.clone().and_then(|spec| spec.hard).expect("a limit");
    let most: usize = hard["count/releases.bascule.dev"].0.parse().expect("a number of Releases");
    stage.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.unwrap();
    let counted = || async { stage.api::<ResourceQuota>().get("releases").await.ok()?.status?.hard };
    stage.eventually("the quota is known", counted).await;
    let spec = stage.spec("v1", Behaviour::Ready, 0);
    for number in 0..most {
        stage.release(&format!("web-{number}"), &spec).await;
    }
    let refused = stage.try_release("one-more", &spec).await.unwrap_err().to_string();
    assert!(refused.contains("exceeded quota"), "{refused}");
    stage.end().await;
}

/// The most memory that the controller of this stage has had, in KiB.
fn peak(stage: &Stage) -> u64 {
    let ours = |process: &std::path::Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let arguments: Vec<_> = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        arguments.windows(2).any(|pair| pair[0] == "--namespace" && pair[1] == stage.namespace)
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let process = processes.into_iter().find(|process| ours(process)).expect("the controller runs");
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// As long as a reference may be.
fn longest_reference(number: usize) -> String {
    let host = ["h"; 3].map(|it| it.repeat(63)).join(".");
    let repository = ["r"; 5].map(|it| it.repeat(45)).join("/");
    format!("{host}.example.com/{repository}/{number:02}:{}@sha256:{}", "t".repeat(128), "a".repeat(64))
}

/// Twenty letters of a template can stand for seven hundred: a Release of one megabyte would become one of forty.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_does_not_fill_the_memory_of_everybody() {
    let stage = Stage::settled(&bed(), "memory").await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["artifacts"] = json!([{"name": "a", "image": {"ref": longest_reference(0), "resolve": "Never"}}]);
    spec["workloads"][0]["name"] = json!("large");
    let template = &mut spec["workloads"][0]["template"];
    template["spec"]["containers"][0]["image"] = json!("$(artifacts.a.image)");
    template["metadata"]["annotations"]["large"] = json!("$(artifacts.a.image)".repeat(60_000));
    stage.release("large", &spec).await;
    let said = || async {
        let status = stage.status("large").await;
        let reason = stage::reason(&status, ConditionType::Ready);
        // As the controller says it, or as the API server does.
        (["SpecInvalid", "TemplateInvalid", "Retrying"].contains(&reason.as_str()) || peak(&stage) > MEMORY_KIB).then_some(status)
    };
    stage.eventually("it is refused", said).await;
    println!("peak with a Release of 1.2 MB that grows: {} MiB", peak(&stage) / 1024);
    assert!(peak(&stage) < MEMORY_KIB, "{} MiB", peak(&stage) / 1024);
    // Meanwhile another one is released.
    stage.version("v2", Behaviour::Ready).await;
    stage.is_settled_on("v2").await;
    stage.end().await;
}

/// Everything that a Release may have, as often and as long as it may be.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_release_is_handled() {
    let stage = Stage::new(&bed(), "largest").await;
    let one = r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}"#;
    let prometheus = Ear::that(move |_| answer(200, "", one)).await;
    stage.environment_allows(&[&prometheus.place()]).await;
    let long = |kind: &str, number: usize, most: usize| {
        let start = format!("{kind}{number:02}-");
        format!("{start}{}", "x".repeat(most - start.len()))
    };
    for number in 0..16 {
        stage.service(&long("s", number, 55)).await;
    }
    let query = format!("vector(1) # {}", "x".repeat(4_000));
    let gate = |number: usize| {
        let ask = json!({"query": query, "expect": format!("value == 1.0 && '{}' != ''", "x".repeat(1_900)),
                         "address": format!("http://{}", prometheus.place())});
        json!({"name": long("g", number, 40), "prometheus": ask, "interval": "1s"})
    };
    let hook = |number: usize| json!({"name": long("h", number, 40), "job": {"template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}}});
    let spec = |version: &str| {
        let workload = |number: usize| {
            json!({"name": long("w", number, 40), "replicas": 1, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"version": version, "long": "x".repeat(8_000)}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "web", "image": format!("$(artifacts.{}.image)", long("a", number, 40))}]}}})
        };
        let artifact = |number: usize| json!({"name": long("a", number, 40), "image": {"ref": longest_reference(number), "resolve": "Never"}});
        json!({
            "artifacts": many(16, artifact), "workloads": many(16, workload),
            "services": many(16, |number| json!({"name": long("s", number, 55)})),
            "hooks": {"beforeStart": many(8, hook)},
            "gates": {"beforeSwitch": many(8, gate), "afterSwitch": many(8, gate)},
            "strategy": {"progressDeadline": "10m", "bake": "3s", "scaleDownDelay": "1s"},
            "history": 50, "preview": true,
        })
    };
    let name = "r".repeat(63);
    let mut largest = 0;
    for version in ["v1", "v2"] {
        stage.release(&name, &spec(version)).await;
        let revision = stage.status(&name).await.active.map(|active| active.revision);
        let runs = || async {
            let active = stage.status(&name).await.active?;
            (Some(active.revision) != revision).then_some(())
        };
        stage.eventually(&format!("{version} has the traffic"), runs).await;
        let settled = || async {
            let release = stage.api::<Release>().get(&name).await.unwrap();
            let status = release.status.clone().unwrap_or_default();
            assert!(status.rejected.is_empty(), "{:?}", status.rejected);
            let active = status.active.as_ref().map(|active| active.revision.clone());
            (stage::is_ready(&status) && active != revision && status.candidate.is_none()).then_some(release)
        };
        let release = stage.eventually(&format!("{version} is settled"), settled).await;
        let size = |it: &Value| it.to_string().len();
        let whole = serde_json::to_value(&release).unwrap();
        println!("{version}: {} bytes, of these {} status", size(&whole), size(&whole["status"]));
        largest = largest.max(size(&whole["status"]));
    }
    assert!(largest < 256 * 1024, "{largest}");
    println!("peak: {} MiB", peak(&stage) / 1024);
    stage.end().await;
}

/// What etcd takes has an end as well. A Release that leaves no room for its status runs nothing, and holds up nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_room_for_its_status_holds_up_nobody() {
    let stage = Stage::new(&bed(), "room").await;
    stage.service("web").await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["workloads"][0]["name"] = json!("full");
    spec["workloads"][0]["template"]["metadata"]["annotations"]["large"] = json!("x".repeat(ETCD - 3_000));
    stage.release("full", &spec).await;
    stage.version("v1", Behaviour::Ready).await;
    stage.is_settled_on("v1").await;
    let status = stage.status("full").await;
    println!(
        "{status:?}\n{}",
        stage.controller.log_text().lines().filter(|it| it.contains("/full")).take(5).collect::<Vec<_>>().join("\n")
    );
    assert!(status.active.is_none() && status.candidate.is_none());
    stage.end().await;
}
