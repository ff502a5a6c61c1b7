//! The same on an API server without the mutating policy: the controller puts the track into the selector itself.
//!
//! The policy is taken off the whole bed, so this runs alone, after the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_tests::{Bed, Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const BINDING: [&str; 2] = ["mutatingadmissionpolicybinding", "bascule-service-track"];

/// Takes the policy's binding away, and puts it back also when the test fails.
struct WithoutPolicy {
    bed: Bed,
    binding: String,
}

impl WithoutPolicy {
    fn on(bed: &Bed) -> Self {
        let (found, binding) = bed.kubectl(&["get", BINDING[0], BINDING[1], "-o", "json"], None);
        assert!(found, "{binding}");
        let mut value: serde_json::Value = serde_json::from_str(&binding).unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            value["metadata"].as_object_mut().unwrap().remove(field);
        }
        assert!(bed.kubectl(&["delete", BINDING[0], BINDING[1]], None).0);
        Self { bed: bed.clone(), binding: value.to_string() }
    }
}

impl Drop for WithoutPolicy {
    fn drop(&mut self) {
        let (created, text) = self.bed.kubectl(&["create", "-f", "-"], Some(&self.binding));
        assert!(created || std::thread::panicking(), "the policy could not be put back: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_selects_and_heals_by_itself() {
    let bed = Bed::named("e2e-fake");
    let without = WithoutPolicy::on(&bed);
    let stage = Stage::new(&bed, "no-policy").await;
    stage.service("probe").await;
    // The API server forgets a policy a moment after it is gone.
    stage
        .eventually("the policy is off", || async {
            let dry = PatchParams { dry_run: true, ..PatchParams::default() };
            let body = json!({"metadata": {"annotations": {"bascule.dev/track": "green"}}});
            let would: Service = stage.api::<Service>().patch("probe", &dry, &Patch::Merge(&body)).await.unwrap();
            (!would.spec.unwrap().selector.unwrap().contains_key("bascule.dev/track")).then_some(())
        })
        .await;

    stage.service("web").await;
    stage.version("v1", Behaviour::Ready).await;
    stage.is_settled_on("v1").await;
    assert_eq!(stage.track("web").await.as_deref(), Some("blue"));

    // Every hand that drops the track: forced server-side apply, and replace; before and in the middle of a release.
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["strategy"]["bake"] = json!("60s");
    for expected in ["blue", "green"] {
        if expected == "green" {
            stage.release("web", &spec).await;
            stage.until("v2 has the traffic", |status| stage::is_active(status, "v2")).await;
        }
        stage.service("web").await;
        stage
            .eventually("healed after an apply", || async {
                (stage.track("web").await.as_deref() == Some(expected)).then_some(())
            })
            .await;
        let (replaced, text) = bed.kubectl(&["replace", "-f", "-"], Some(&stage.service_text("web")));
        assert!(replaced, "{text}");
        stage
            .eventually("healed after a replace", || async {
                (stage.track("web").await.as_deref() == Some(expected)).then_some(())
            })
            .await;
    }
    let (applied, text) = bed.kubectl(&["apply", "-f", "-"], Some(&stage.service_text("web")));
    assert!(applied, "{text}");
    stage
        .eventually("healed after a client-side apply", || async {
            (stage.track("web").await.as_deref() == Some("green")).then_some(())
        })
        .await;
    let status = stage.status("web").await;
    assert!(status.rejected.is_empty() && stage::is_active(&status, "v2"), "{status:?}");
    stage.end().await;
    drop(without);
}
