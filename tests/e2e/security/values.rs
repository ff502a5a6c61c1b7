//! What a name stands for is text: it becomes no field, no other name, no variable of a container and no part of a query's grammar, whoever has
//! written it.

use bascule_crds::{ConditionType, ReleaseStatus};
use bascule_tests::{Behaviour, Stage, aws::Emulator, registry, stage};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::{
    bed,
    ear::{Ear, answer},
    parameters::environment,
};

fn ssm() -> String {
    std::env::var("AWS_ENDPOINT_URL_SSM").unwrap()
}

/// It would be more, if it were read as anything but text.
const EVIL: &str = "a\", \"hostNetwork\": true, \"x\": \"\n- name: evil\n  image: evil:1\n$(release.track) $(artifacts.web.image) $(vars.other) {{ .Values.x }} ${HOME} `id`";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_variable_stands_for_is_text_and_nothing_else() {
    let stage = Stage::new(&bed(), "text").await;
    let variables = json!({"evil": EVIL, "other": "must not be seen"});
    environment(&stage, &ssm(), &json!({"variables": variables})).await;
    stage.service("web").await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    let template = &mut spec["workloads"][0]["template"];
    template["metadata"]["annotations"]["note"] = json!("<$(vars.evil)>");
    template["spec"]["containers"][0]["args"] = json!(["--note", "$(vars.evil)"]);
    template["spec"]["containers"][0]["env"] = json!([{"name": "NOTE", "value": "$(vars.evil)"}]);
    stage.release("web", &spec).await;
    stage.is_settled_on("v1").await;
    let deployment = stage.api::<Deployment>().get("web-blue").await.unwrap();
    let template = deployment.spec.unwrap().template;
    let pod = template.spec.unwrap();
    assert_eq!(template.metadata.unwrap().annotations.unwrap()["note"], format!("<{EVIL}>"));
    assert_eq!((pod.containers.len(), pod.host_network, pod.containers[0].image.as_deref()), (1, None, Some("example/web:v1")));
    assert_eq!(pod.containers[0].args.as_ref().unwrap()[1], EVIL);
    assert_eq!(pod.containers[0].env.as_ref().unwrap()[0].value.as_deref(), Some(EVIL));
    stage.end().await;
}

/// A pipeline stores a file under a key.
async fn store(emulator: &Emulator, bucket: &str, key: &str) {
    emulator.cli(&["s3api", "put-object", "--bucket", bucket, "--key", key, "--checksum-algorithm", "SHA256"]).await;
}

/// A Release of an archive whose key is what the parameter says.
fn of_archive(stage: &Stage, pointer: &str) -> Value {
    let mut spec = stage.spec("", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["artifacts"] = json!([{"name": "site", "archive": {"parameter": pointer, "bucket": stage.namespace}}]);
    spec["workloads"][0]["template"]["spec"]["containers"] = json!([{
        "name": "web", "image": "example/server:1", "args": ["--site=$(artifacts.site.key)"],
        "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "password", "key": "p", "optional": true}}}],
    }]);
    spec
}

/// Kubernetes has names of its own, `$(PASSWORD)`, which the node fills in when the container starts. Whoever may write a parameter does not get
/// at them.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_no_variable_of_the_container_either() {
    let stage = Stage::new(&bed(), "kubelet").await;
    let (emulator, bucket) = (Emulator::of_bed(), stage.namespace.clone());
    emulator.cli(&["s3api", "create-bucket", "--bucket", &bucket]).await;
    environment(&stage, &ssm(), &json!({})).await;
    let pointer = format!("/shop/{bucket}/key");
    store(&emulator, &bucket, "site/v1.zip").await;
    emulator.put(&pointer, "site/v1.zip").await;
    stage.release("web", &of_archive(&stage, &pointer)).await;
    stage.is_settled_on("v1").await;
    let evil = "site/$(PASSWORD).zip";
    store(&emulator, &bucket, evil).await;
    emulator.put(&pointer, evil).await;
    let decided = |it: &ReleaseStatus| stage::reason(it, ConditionType::Ready) == "ValueInvalid" || it.candidate.is_some();
    let status = stage.until("it is refused, or starts", decided).await;
    assert!(status.candidate.is_none(), "{:?}", status.candidate);

    // What an image says of itself is written by whoever builds it.
    let place = stage.bed.variable("BASCULE_REGISTRY").to_owned();
    registry::push(&place, &bucket, "v2", &json!({"org.opencontainers.image.revision": "$(PASSWORD)"})).await;
    let mut spec = of_archive(&stage, &pointer);
    let image = format!("/shop/{bucket}/image");
    emulator.put(&image, &format!("{place}/{bucket}:v2")).await;
    spec["artifacts"] = json!([{"name": "site", "image": {"parameter": image}}]);
    spec["workloads"][0]["template"]["spec"]["containers"][0]["args"] = json!(["--commit=$(artifacts.site.commit)"]);
    stage
        .release("labelled", &{
            spec["workloads"][0]["name"] = json!("labelled");
            spec
        })
        .await;
    let decided = || async {
        let status = stage.status("labelled").await;
        (stage::reason(&status, ConditionType::Ready) == "SpecInvalid" || status.candidate.is_some()).then_some(status)
    };
    let status = stage.eventually("it is refused, or starts", decided).await;
    assert!(status.candidate.is_none(), "{:?}", status.candidate);
    stage.end().await;
}

/// A query's author puts a name between quotes; who decides what the name stands for must not get out of them: `"}) or vector(1)` would be a yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_does_not_leave_the_quotes_of_a_query() {
    let stage = Stage::new(&bed(), "query").await;
    let (emulator, bucket) = (Emulator::of_bed(), stage.namespace.clone());
    let none = r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#;
    let prometheus = Ear::that(move |_| answer(200, "", none)).await;
    emulator.cli(&["s3api", "create-bucket", "--bucket", &bucket]).await;
    environment(&stage, &ssm(), &json!({"allow": {"endpoints": [prometheus.place()]}})).await;
    let pointer = format!("/shop/{bucket}/key");
    let evil = r#"a"}) or vector(1) #.zip"#;
    store(&emulator, &bucket, evil).await;
    emulator.put(&pointer, evil).await;
    let mut spec = of_archive(&stage, &pointer);
    let query = r#"count(up{site="$(artifacts.site.key)"})"#;
    let gate = json!({"query": query, "expect": "value > 0.0", "address": format!("http://{}", prometheus.place())});
    spec["gates"] = json!({"beforeSwitch": [{"name": "judge", "prometheus": gate, "interval": "1s"}]});
    stage.release("web", &spec).await;
    let decided = || async {
        let refused =
            ["ValueInvalid", "GateInvalid"].contains(&&*stage::reason(&stage.status("web").await, ConditionType::Ready));
        (refused || !prometheus.heard().is_empty()).then_some(())
    };
    stage.eventually("it is refused, or asked", decided).await;
    for request in prometheus.heard() {
        // `a"}` as a form has it, with `\x22` in place of the quote.
        assert!(request.contains("a%5Cx22%7D") && !request.contains("a%22%7D"), "{request}");
    }
    stage.end().await;
}
