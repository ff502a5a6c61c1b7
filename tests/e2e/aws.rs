//! AWS, with the real SDK against real emulators: `hack/testbed up --name e2e-fake --aws`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_crds::{ConditionStatus, ConditionType, Environment, ReleaseStatus};
use bascule_tests::{
    Bed, Behaviour, Stage,
    aws::{Emulator, Line},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

mod aws {
    mod archives;
    mod ecr;
    mod events;
    mod parameters;
    mod rights;
}

/// A namespace with an Environment of its own, that asks AWS over a line of its own.
struct Place {
    stage: Stage,
    emulator: Emulator,
    line: Line,
    bed: Bed,
}

impl Place {
    async fn new(name: &str, merge: Value) -> Self {
        Self::with_arguments(name, merge, &[]).await
    }

    /// The controller gets these on its command line.
    async fn with_arguments(name: &str, merge: Value, arguments: &[&str]) -> Self {
        let bed = Bed::named("e2e-fake");
        let emulator = Emulator::of_bed();
        let line = Line::to(&emulator).await;
        let stage = Stage::with_arguments(&bed, name, arguments).await;
        let place = Self { stage, emulator, line, bed };
        place.environment(merge).await;
        let label = json!({"metadata": {"labels": {"bascule.dev/environment": place.name()}}});
        let namespaces = Api::<Namespace>::all(place.bed.admin().await);
        namespaces.patch(place.name(), &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
        place.stage.service("web").await;
        place
    }

    fn name(&self) -> &str {
        &self.stage.namespace
    }

    async fn environments(&self) -> Api<Environment> {
        Api::all(self.bed.admin().await)
    }

    async fn environment(&self, merge: Value) {
        let mut spec = json!({
            "namespaces": {"matchLabels": {"bascule.dev/e2e": "true"}},
            "aws": {"region": "us-east-1", "endpoint": self.line.url(), "pollInterval": "500ms"},
            "registry": "example.com", "variables": {"team": "shop"},
        });
        for (key, value) in merge.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let body =
            json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": self.name()}, "spec": spec});
        let parameters = PatchParams::apply("platform").force();
        self.environments().await.patch(self.name(), &parameters, &Patch::Apply(&body)).await.unwrap();
    }

    fn parameter(&self) -> String {
        format!("/shop/{}/web/image", self.name())
    }

    async fn put(&self, value: &str) -> i64 {
        self.emulator.put(&self.parameter(), value).await
    }

    /// The same text for every environment.
    async fn release(&self) {
        let mut spec = self.stage.spec("", Behaviour::Ready, 2);
        spec["artifacts"][0]["image"] = json!({"parameter": "/$(vars.team)/$(env.name)/web/image", "resolve": "Never"});
        self.stage.release("web", &spec).await;
    }

    async fn settled(name: &str) -> Self {
        let place = Self::new(name, json!({})).await;
        place.put("shop/web:v1").await;
        place.release().await;
        place.stage.is_settled_on("v1").await;
        place
    }

    /// The parameters have been read after this, and what came of it was decided.
    async fn read_again(&self) {
        let before = self.line.count("GetParameters");
        self.stage
            .eventually("parameters are read again", || async { (self.line.count("GetParameters") >= before + 3).then_some(()) })
            .await;
    }

    async fn fresh(&self, status: ConditionStatus, reason: &str) -> ReleaseStatus {
        let is = |it: &ReleaseStatus| {
            it.condition(ConditionType::SourcesFresh)
                .is_some_and(|condition| condition.status == status && condition.reason == reason)
        };
        self.stage.until(&format!("SourcesFresh is {status:?}, {reason}"), is).await
    }

    async fn end(self) {
        let _ = self.environments().await.delete(self.name(), &DeleteParams::default()).await;
        self.stage.end().await;
    }
}
