//! What a tenant and a pipeline may point to: the parameters, images and buckets that the Environment lists, however they spell them. What is
//! not allowed is not even asked for.

use std::collections::BTreeSet;

use bascule_crds::{ConditionType, Environment};
use bascule_tests::{Behaviour, Stage, aws::Emulator, stage};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    around, bed,
    ear::{Ear, answer},
};

/// An Environment of the stage's own, that asks AWS at `url`.
pub(crate) async fn environment(stage: &Stage, url: &str, merge: &Value) {
    let mut spec = json!({"aws": {"region": "us-east-1", "endpoint": url, "pollInterval": "500ms"}});
    for (key, value) in merge.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let name = &stage.namespace;
    let body = json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": spec});
    let parameters = PatchParams::apply("platform").force();
    let environments = Api::<Environment>::all(stage.client.0.clone());
    environments.patch(name, &parameters, &Patch::Apply(&body)).await.unwrap();
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": name}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces.patch(name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
}

/// A Release of a workload of the same name, whose image this is.
async fn release(stage: &Stage, name: &str, image: &Value) {
    let mut spec = stage.spec("", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["workloads"][0]["name"] = json!(name);
    spec["artifacts"][0]["image"] = image.clone();
    stage.release(name, &spec).await;
}

/// The parameters that AWS was asked for.
fn asked_for(aws: &Ear) -> BTreeSet<String> {
    let names = |request: String| {
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n")?.1).ok()?;
        let names = body["Names"].as_array().cloned().unwrap_or_else(|| vec![body["Name"].clone()]);
        Some(names.into_iter().filter_map(|name| name.as_str().map(str::to_owned)).collect::<Vec<_>>())
    };
    aws.heard().into_iter().filter_map(names).flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_leads_to_a_parameter_of_others() {
    let stage = Stage::new(&bed(), "spelling").await;
    let ns = stage.namespace.clone();
    let emulator = Emulator::of_bed();
    let aws = Ear::before(&std::env::var("AWS_ENDPOINT_URL_SSM").unwrap()).await;
    let (own, other) = (format!("/shop/{ns}/image"), format!("/other/{ns}/image"));
    let vars = json!({"other": other, "deep": format!("$(vars.other) {ns}")});
    let merge = json!({"allow": {"parameters": [format!("/shop/{ns}/**")]}, "registry": "example.com", "variables": vars});
    environment(&stage, &format!("http://{}", aws.place()), &merge).await;
    emulator.put(&own, "shop/web:ours").await;
    emulator.put(&other, "shop/web:theirs").await;

    let arn = |name: &str| format!("arn:aws:ssm:us-east-1:000000000000:parameter{name}");
    let pointers = [
        (other.clone(), "NotAllowed"),
        (format!("{other}:1"), "NotAllowed"),
        (format!("{other}:live"), "NotAllowed"),
        (arn(&other), "NotAllowed"),
        (format!("{}:1", arn(&other)), "NotAllowed"),
        // An ARN may be of another account: it is allowed as a whole or not at all.
        (arn(&own), "NotAllowed"),
        (own.to_ascii_uppercase(), "NotAllowed"),
        ("$(vars.other)".to_owned(), "NotAllowed"),
        // What a variable stands for is no text with variables.
        ("$(vars.deep)".to_owned(), "SpecInvalid"),
        (format!("/{own}"), "SpecInvalid"),
        (format!("/shop/{ns}//image"), "SpecInvalid"),
        (format!("shop/{ns}/image"), "SpecInvalid"),
        (format!(" {other}"), "SpecInvalid"),
        (format!("{own}\n{other}"), "SpecInvalid"),
        (format!("{own},{other}"), "SpecInvalid"),
        (format!("{own}:1:2"), "SpecInvalid"),
        (format!("/shop/{ns}%2f..%2f..{other}"), "SpecInvalid"),
        (format!("/shop/{ns}/*"), "SpecInvalid"),
        // Parameter Store has no way up: to it this is a name like any other, below what is allowed.
        (format!("/shop/{ns}/../..{other}"), "ParameterMissing"),
    ];
    for (number, (pointer, _)) in pointers.iter().enumerate() {
        release(&stage, &format!("p{number}"), &json!({"parameter": pointer, "resolve": "Never"})).await;
    }
    release(&stage, "good", &json!({"parameter": format!("{own}:1"), "resolve": "Never"})).await;
    let runs = || async { stage::is_active(&stage.status("good").await, "ours").then_some(()) };
    stage.eventually("what is allowed is released", runs).await;
    for (number, (pointer, reason)) in pointers.iter().enumerate() {
        let name = format!("p{number}");
        let told = || async {
            let status = stage.status(&name).await;
            let ready = status.condition(ConditionType::Ready)?.clone();
            (!ready.reason.is_empty() && !["Progressing", "Resolving"].contains(&ready.reason.as_str()))
                .then_some((ready, status))
        };
        let (ready, status) = stage.eventually(&format!("something is said of {pointer:?}"), told).await;
        assert_eq!(ready.reason, *reason, "{pointer:?}: {}", ready.message);
        assert!(ready.message.starts_with("spec.artifacts[0].image.parameter: "), "{}", ready.message);
        assert!(!serde_json::to_string(&status).unwrap().contains("theirs"), "{pointer:?}: {status:?}");
        assert!(status.candidate.is_none() && status.active.is_none());
    }
    let strange: Vec<_> = asked_for(&aws).into_iter().filter(|name| !name.starts_with(&format!("/shop/{ns}/"))).collect();
    assert_eq!(strange, Vec::<String>::new(), "what is not allowed is not even asked for");
    assert!(asked_for(&aws).contains(&format!("{own}:1")));
    stage.end().await;
}

/// A registry that has every tag.
async fn registry() -> Ear {
    let digest = format!("Docker-Content-Digest: sha256:{}\r\n", "a".repeat(64));
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    Ear::that(move |_| answer(200, &format!("{digest}{kind}"), "")).await
}

/// A pipeline writes what it likes; it is followed where the Environment allows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_names_only_images_that_are_allowed() {
    let stage = Stage::new(&bed(), "values").await;
    let emulator = Emulator::of_bed();
    let own = format!("/shop/{}/image", stage.namespace);
    let (ours, theirs) = (Ear::before(stage.bed.variable("BASCULE_REGISTRY")).await, registry().await);
    let merge = json!({"allow": {"images": [format!("{}/example/*", ours.place())]}});
    environment(&stage, &std::env::var("AWS_ENDPOINT_URL_SSM").unwrap(), &merge).await;
    let good = format!("{}/example/app:v1", ours.place());
    emulator.put(&own, &good).await;
    release(&stage, "web", &json!({"parameter": own})).await;
    let status = stage.is_settled_on("v1").await;
    for (bad, reason) in [
        (format!("{}/example/app:v2", theirs.place()), "NotAllowed"),
        (format!("{}/examples/app:v2", ours.place()), "NotAllowed"),
        (format!("{}/other/example/app:v2", ours.place()), "NotAllowed"),
        (format!("{}/example/deeper/app:v2", ours.place()), "NotAllowed"),
        // As in a URL: here it is the name of nothing.
        (format!("{}@{}/example/app:v2", ours.place(), theirs.place()), "ValueInvalid"),
        (format!("{}/example/app:v2\n{}/example/app:v3", ours.place(), theirs.place()), "ValueInvalid"),
        (format!("{}/example/../other/app:v2", ours.place()), "ValueInvalid"),
        (format!("https://{}/example/app:v2", theirs.place()), "ValueInvalid"),
    ] {
        emulator.put(&own, &bad).await;
        let told = |it: &bascule_crds::ReleaseStatus| stage::reason(it, ConditionType::Ready) == reason;
        let now = stage.until(&format!("{bad:?} is refused"), told).await;
        assert_eq!((&now.active, &now.candidate), (&status.active, &None), "{bad:?}");
    }
    assert_eq!(theirs.heard(), Vec::<String>::new());
    assert!(ours.heard().iter().all(|request| request.contains(" /v2/example/app/")), "nothing else is asked for");
    assert_eq!(stage.image("web-blue").await, status.active.unwrap().artifacts[0].image.clone().unwrap());
    stage.end().await;
}

/// What an earlier version was made from is looked at before it is needed, by the list of today.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_allowed_any_more_is_not_asked_again() {
    let stage = Stage::new(&bed(), "withdrawn").await;
    let url = std::env::var("AWS_ENDPOINT_URL_SSM").unwrap();
    let (ours, theirs) = (registry().await, registry().await);
    environment(&stage, &url, &json!({})).await;
    release(&stage, "web", &json!({"ref": format!("{}/shop/web:v1", theirs.place())})).await;
    stage.is_settled_on("v1").await;
    environment(&stage, &url, &json!({"allow": {"images": [format!("{}/**", ours.place())]}})).await;
    stage.until("the list is known", |it| stage::reason(it, ConditionType::Ready) == "NotAllowed").await;
    let before = theirs.heard().len();
    release(&stage, "web", &json!({"ref": format!("{}/shop/web:v2", ours.place())})).await;
    stage.is_settled_on("v2").await;
    let looked = |it: &bascule_crds::ReleaseStatus| stage::message(it, ConditionType::RollbackReady).contains("v1");
    let status = stage.until("it was looked whether there is a way back", looked).await;
    assert_eq!(theirs.heard().len(), before, "asked: {:?}", theirs.heard().last());
    assert_eq!(stage::reason(&status, ConditionType::RollbackReady), "NotAllSeen");
    stage.end().await;
}

/// docs/images.md: not even whether an earlier version is still there.
#[tokio::test(flavor = "multi_thread")]
async fn with_resolve_never_no_registry_is_asked() {
    let stage = Stage::new(&bed(), "never").await;
    let registry = registry().await;
    for (version, digit) in [("v1", "a"), ("v2", "b")] {
        let image = format!("{}/shop/web:{version}@sha256:{}", registry.place(), digit.repeat(64));
        release(&stage, "web", &json!({"ref": image, "resolve": "Never"})).await;
        stage.is_settled_on(version).await;
    }
    let looked = |it: &bascule_crds::ReleaseStatus| stage::message(it, ConditionType::RollbackReady).contains("resolve: Never");
    let status = stage.until("it was looked whether there is a way back", looked).await;
    assert_eq!(stage::reason(&status, ConditionType::RollbackReady), "NotAllSeen");
    assert_eq!(registry.heard(), Vec::<String>::new());
    stage.end().await;
}

/// Said plainly in docs/security.md: without an Environment there is no list, and the controller's own rights are the limit.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_environment_the_rights_in_aws_are_the_only_limit() {
    let stage = Stage::new(&bed(), "unclaimed").await;
    around::claims_nothing(&stage).await;
    let other = format!("/other/{}/note", stage.namespace);
    Emulator::of_bed().put(&other, "plain text of another team").await;
    release(&stage, "web", &json!({"parameter": other, "resolve": "Never"})).await;
    let status = stage.until("it is read", |it| stage::reason(it, ConditionType::Ready) == "ValueInvalid").await;
    let message = stage::message(&status, ConditionType::Ready);
    assert!(message.contains("plain text of another team"), "{message}");
    stage.end().await;
}
