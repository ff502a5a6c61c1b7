//! The YAML of `docs/gitops/` can be pasted: it is taken from the pages, and sent to the API server as a dry run.

use std::{collections::BTreeMap, fs, path::Path};

use bascule_tests::{Stage, bed::root};
use serde_json::{Value, json};

use super::{
    bed,
    tools::{Tool, documents, folder, run, words},
};

/// The blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/gitops").join(page)).unwrap();
    text.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").expect("an end").0.to_owned()).collect()
}

/// Those whose first line names a file.
fn files(page: &str) -> BTreeMap<String, String> {
    let named = |block: String| Some((block.lines().next()?.strip_prefix("# ")?.to_owned(), block));
    blocks(page).into_iter().filter_map(named).collect()
}

fn parsed(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("valid YAML")).collect()
}

/// Sends objects as a dry run, whatever namespace they name.
fn accepted(stage: &Stage, from: &str, objects: Vec<Value>) {
    let mut objects = objects;
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(stage.namespace);
    }
    let arguments = words(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"]);
    let (accepted, text) = run(&stage.bed, Path::new("kubectl"), &arguments, &documents(&objects));
    assert!(accepted, "{from}: {text}");
    println!("{from}: {}", text.trim().replace('\n', ", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pages_say_is_accepted() {
    let stage = Stage::new(&bed(), "pages").await;
    for page in ["index.md", "argo-cd.md", "flux.md", "kubectl.md"] {
        for block in blocks(page) {
            let (others, ours): (Vec<_>, Vec<_>) = parsed(&block).into_iter().partition(|object| {
                ["kustomize.toolkit.fluxcd.io/v1", "argoproj.io/v1alpha1"].iter().any(|it| object["apiVersion"] == *it)
            });
            for object in others {
                assert!(
                    object["kind"].is_string() && object["metadata"]["name"].is_string() && object["spec"].is_object(),
                    "{object}"
                );
            }
            if !ours.is_empty() {
                accepted(&stage, page, ours);
            }
        }
    }
    stage.end().await;
}

#[test]
fn the_script_on_the_page_is_the_script() {
    let script = fs::read_to_string(root().join("docs/gitops/argo-cd-health.lua")).unwrap();
    let objects: Vec<_> = blocks("argo-cd.md").iter().flat_map(|block| parsed(block)).collect();
    let shown = objects.iter().find_map(|it| it["data"]["resource.customizations.health.bascule.dev_Release"].as_str());
    assert_eq!(shown, Some(script.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn kustomize_knows_where_a_release_names_things() {
    let stage = Stage::new(&bed(), "pages-kustomize").await;
    let files = files("kustomize.md");
    assert!(files.len() >= 5, "{:?}", files.keys());
    let named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let build = |extra: &str| {
        let staging = format!("{}{extra}", files["staging/kustomization.yaml"]);
        let mut named = named.clone();
        named.push(("staging/kustomization.yaml", &staging));
        let at = format!("{}/staging", folder(&stage, &named));
        let (built, text) = run(&stage.bed, Path::new("kubectl"), &words(&["kustomize", &at]), "");
        assert!(built, "{text}");
        parsed(&text)
    };
    let of = |objects: &[Value], kind: &str| objects.iter().find(|it| it["kind"] == kind).expect("one of that kind").clone();

    let objects = build("");
    let release = of(&objects, "Release");
    let container = &release["spec"]["workloads"][0]["template"]["spec"]["containers"][0];
    assert_eq!(release["spec"]["artifacts"][0]["image"]["ref"], "registry.example.com/shop/web:1.5.0");
    assert_eq!(release["spec"]["workloads"][0]["replicas"], 1);
    let map = of(&objects, "ConfigMap")["metadata"]["name"].clone();
    assert!(map.as_str().unwrap().starts_with("web-"), "{map}");
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], map, "the hashed name");
    accepted(&stage, "kustomize.md", objects);

    let objects = build("namePrefix: a-\n");
    let release = of(&objects, "Release");
    assert_eq!((&release["metadata"]["name"], &release["spec"]["services"][0]["name"]), (&json!("a-web"), &json!("a-web")));
    assert_eq!(release["spec"]["workloads"][0]["name"], "web");
    accepted(&stage, "kustomize.md with a prefix", objects);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_on_the_page_renders_and_installs() {
    let stage = Stage::new(&bed(), "pages-helm").await;
    let files = files("helm.md");
    let mut named: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    named.push(("Chart.yaml", "{apiVersion: v2, name: web, version: 0.1.0}\n"));
    let chart = folder(&stage, &named);
    for tool in [Tool::Helm3, Tool::Helm4] {
        for (arguments, replicas) in [(&[][..], json!(3)), (&["--set", "replicas=null"], Value::Null)] {
            let mut arguments = arguments.to_vec();
            arguments.splice(0..0, ["template", "web", chart.as_str()]);
            let objects = parsed(&tool.helm_says(&stage, &arguments));
            let release = objects.iter().find(|it| it["kind"] == "Release").expect("a Release");
            assert_eq!(release["spec"]["replicas"], replicas);
            accepted(&stage, "helm.md", objects);
        }
    }
    stage.end().await;
}
