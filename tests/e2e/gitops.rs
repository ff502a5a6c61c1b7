//! What GitOps tools do to a Release and its Services, and what they read from it: with the tools' own libraries and programs, on a real API
//! server with fake pods.
//!
//! Needs Go, which builds them into `target/gitops`. What is claimed about them stands in `docs/gitops/`; the YAML of those pages is tried here too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stdout, reason = "the tables of docs/gitops are read off here")]

mod gitops {
    mod again;
    mod health;
    mod owners;
    mod pages;
    mod tools;

    use bascule_tests::{Bed, Stage};
    use kube::{
        Api,
        api::{ApiResource, DynamicObject, GroupVersionKind},
    };
    use serde_json::{Value, json};

    pub(crate) const RELEASE: (&str, &str) = ("bascule.dev/v1alpha1", "Release");

    /// The bed that `hack/test` brings up for these.
    pub(crate) fn bed() -> Bed {
        Bed::named("e2e-fake")
    }

    /// What a repository says: nothing about replicas, so that an autoscaler can.
    pub(crate) fn in_git(stage: &Stage, version: &str, bake: &str) -> Vec<Value> {
        vec![bascule_tests::stage::service_manifest("web", &stage.namespace), release(stage, version, bake)]
    }

    pub(crate) fn release(stage: &Stage, version: &str, bake: &str) -> Value {
        let mut spec = stage.spec(version, bascule_tests::Behaviour::Ready, 1);
        spec["workloads"][0].as_object_mut().unwrap().remove("replicas");
        spec["strategy"]["bake"] = json!(bake);
        json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Release",
            "metadata": {"name": "web", "namespace": stage.namespace}, "spec": spec,
        })
    }

    /// An object as the API server shows it, with every field.
    pub(crate) async fn live(stage: &Stage, api_version: &str, kind: &str, name: &str) -> Value {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = Api::<DynamicObject>::namespaced_with(stage.client.0.clone(), &stage.namespace, &resource);
        serde_json::to_value(api.get(name).await.unwrap()).unwrap()
    }
}
