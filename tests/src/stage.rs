//! A namespace with one app in it, and the words to say what happens to it.
//!
//! In: a bed. Out: things a user or a hand can do, and conditions to wait for. On failure it tells what the cluster shows.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bascule_crds::{ConditionStatus, ConditionType, Environment, Operation, Release, ReleaseStatus};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Bed, Controller};

/// How the pods of a version behave; the bed's kwok stages read it from the pod's annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Ready,
    /// Ready after this many seconds.
    ReadyAfter(u32),
    Never,
    /// A crash loop: ready, dead, ready, dead.
    Flapping,
    /// Ready, and dead this many seconds later.
    Dies(u32),
}

impl Behaviour {
    fn annotations(self) -> Value {
        match self {
            Self::Ready => json!({}),
            Self::ReadyAfter(secs) => json!({"bed.bascule.dev/ready-after": format!("{secs}s")}),
            Self::Never => json!({"bed.bascule.dev/behaviour": "never-ready"}),
            Self::Flapping => json!({"bed.bascule.dev/behaviour": "flapping"}),
            Self::Dies(secs) => json!({"bed.bascule.dev/behaviour": "dies", "bed.bascule.dev/dies-after": format!("{secs}s")}),
        }
    }
}

/// No condition of a test on fake pods takes longer than a few seconds; this is for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Stage {
    pub bed: Bed,
    pub namespace: String,
    pub controller: Controller,
    pub client: ClientHandle,
}

/// `kube::Client` has no `Debug`.
#[derive(Clone)]
pub struct ClientHandle(pub Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Stage {
    /// A fresh namespace on the bed, and a controller for it.
    pub async fn new(bed: &Bed, name: &str) -> Self {
        Self::with_arguments(bed, name, &[]).await
    }

    pub async fn with_arguments(bed: &Bed, name: &str, arguments: &[&str]) -> Self {
        let client = bed.admin().await;
        let namespace = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        make_environment(&client).await;
        let object: Namespace = from(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"bascule.dev/environment": "staging", "bascule.dev/e2e": "true"}},
        }));
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.expect("make a namespace");
        let controller = Controller::start(bed, &namespace, arguments).await;
        Self { bed: bed.clone(), namespace, controller, client: ClientHandle(client) }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.0.clone(), &self.namespace)
    }

    // What a team does.

    /// The team's own Service: it selects `app: <name>`.
    pub async fn service(&self, name: &str) {
        self.apply_as("team", &service_manifest(name, &self.namespace)).await;
    }

    /// A spec of one workload `web` on fake pods; quick times, so that a test takes seconds.
    pub fn spec(&self, version: &str, behaviour: Behaviour, replicas: i32) -> Value {
        json!({
            "artifacts": [{"name": "web", "image": {"ref": format!("example/web:{version}"), "resolve": "Never"}}],
            "workloads": [{"name": "web", "replicas": replicas, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": behaviour.annotations()},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "$(artifacts.web.image)"}]}}}],
            "services": [{"name": "web"}],
            "strategy": {"progressDeadline": "8s", "bake": "3s", "scaleDownDelay": "1s"},
        })
    }

    /// `kubectl apply --server-side` of a Release, as the team.
    pub async fn release(&self, name: &str, spec: &Value) {
        self.try_release(name, spec).await.expect("the Release is valid");
    }

    pub async fn try_release(&self, name: &str, spec: &Value) -> Result<Release, kube::Error> {
        let body = json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "metadata": {"name": name, "namespace": self.namespace}, "spec": spec});
        self.api::<Release>().patch(name, &PatchParams::apply("team").force(), &Patch::Apply(&body)).await
    }

    /// Applies version and behaviour to `web`.
    pub async fn version(&self, version: &str, behaviour: Behaviour) {
        self.release("web", &self.spec(version, behaviour, 2)).await;
    }

    /// A Release `web` with its Service, settled on v1.
    pub async fn settled(bed: &Bed, name: &str) -> Self {
        let stage = Self::new(bed, name).await;
        stage.service("web").await;
        stage.version("v1", Behaviour::Ready).await;
        stage.is_settled_on("v1").await;
        stage
    }

    /// Server-side apply with force, as a GitOps tool does it.
    pub async fn apply_as(&self, manager: &str, manifest: &Value) -> Service {
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        let parameters = PatchParams::apply(manager).force();
        self.api::<Service>().patch(name, &parameters, &Patch::Apply(manifest)).await.expect("apply the Service")
    }

    pub fn service_text(&self, name: &str) -> String {
        service_manifest(name, &self.namespace).to_string()
    }

    /// As the administrator of the bed; the policy fills in who that is.
    pub async fn operate(&self, kind: &str, note: &str) -> String {
        let operation: Operation = from(json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Operation",
            "metadata": {"generateName": "web-", "namespace": self.namespace},
            "spec": {"release": "web", "type": kind, "note": note},
        }));
        self.api::<Operation>().create(&PostParams::default(), &operation).await.expect("create the Operation").name_any()
    }

    /// An Environment of its own, whose gates may reach these.
    pub async fn environment_allows(&self, endpoints: &[&str]) {
        let environments = Api::<Environment>::all(self.client.0.clone());
        let environment = json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": self.namespace},
            "spec": {"allow": {"endpoints": endpoints}},
        });
        let applied = environments.patch(&self.namespace, &PatchParams::apply("platform"), &Patch::Apply(&environment)).await;
        applied.expect("apply the Environment");
        let label = json!({"metadata": {"labels": {"bascule.dev/environment": self.namespace}}});
        let namespaces = Api::<Namespace>::all(self.client.0.clone());
        namespaces.patch(&self.namespace, &PatchParams::default(), &Patch::Merge(&label)).await.expect("label the namespace");
    }

    // What there is.

    pub async fn status(&self, release: &str) -> ReleaseStatus {
        self.api::<Release>().get(release).await.expect("get the Release").status.unwrap_or_default()
    }

    /// The track in the Service's selector.
    pub async fn track(&self, service: &str) -> Option<String> {
        let service = self.api::<Service>().get(service).await.expect("get the Service");
        service.spec?.selector?.get("bascule.dev/track").cloned()
    }

    pub async fn replicas(&self, deployment: &str) -> i32 {
        let deployment = self.api::<Deployment>().get_opt(deployment).await.expect("get the Deployment");
        deployment.and_then(|deployment| deployment.spec?.replicas).unwrap_or(0)
    }

    pub async fn image(&self, deployment: &str) -> String {
        let deployment = self.api::<Deployment>().get(deployment).await.expect("get the Deployment");
        let containers = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod spec").containers;
        containers[0].image.clone().unwrap_or_default()
    }

    // What is waited for.

    /// Waits for a condition on the status of `web`.
    pub async fn until(&self, what: &str, holds: impl Fn(&ReleaseStatus) -> bool) -> ReleaseStatus {
        self.eventually(what, || async {
            let status = self.status("web").await;
            holds(&status).then_some(status)
        })
        .await
    }

    /// Waits for anything.
    pub async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() > end {
                panic!("{what}: not within {PATIENCE:?}\n{}", self.picture().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Active, ready, no candidate, and the idle track empty.
    pub async fn is_settled_on(&self, version: &str) -> ReleaseStatus {
        let status = self
            .until(&format!("settled on {version}"), |status| {
                is_active(status, version) && status.candidate.is_none() && is_ready(status)
            })
            .await;
        let idle = status.active.as_ref().expect("active").track.other();
        self.eventually("the old track is empty", || async { (self.replicas(&idle.deployment("web")).await == 0).then_some(()) })
            .await;
        status
    }

    /// Rejected, with traffic and pods of `good` untouched.
    pub async fn is_rejected_in_favour_of(&self, good: &str) -> ReleaseStatus {
        self.until(&format!("rejected, {good} stays"), |status| {
            status.candidate.is_none()
                && !status.rejected.is_empty()
                && is_active(status, good)
                && reason(status, ConditionType::Ready) == "Rejected"
        })
        .await
    }

    /// All there is, for a failing test.
    pub async fn picture(&self) -> String {
        let mut lines = Vec::new();
        for release in self.api::<Release>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            lines.push(format!(
                "Release {}: {}",
                release.name_any(),
                serde_json::to_string_pretty(&release.status).unwrap_or_default()
            ));
        }
        for service in self.api::<Service>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let selector = service.spec.clone().and_then(|spec| spec.selector);
            lines.push(format!("Service {}: {selector:?} {:?}", service.name_any(), service.annotations()));
        }
        for deployment in self.api::<Deployment>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            lines.push(format!(
                "Deployment {}: {:?} replicas {:?}",
                deployment.name_any(),
                deployment.labels(),
                deployment.spec.as_ref().and_then(|spec| spec.replicas)
            ));
        }
        for set in self.api::<ReplicaSet>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            lines.push(format!("ReplicaSet {}: {:?}", set.name_any(), set.status));
        }
        for pod in self.api::<Pod>().list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.clone());
            lines.push(format!("Pod {}: ready {ready:?}", pod.metadata.name.unwrap_or_default()));
        }
        lines.join("\n")
    }

    /// Ends the test: the namespace goes, and the controller with it.
    pub async fn end(mut self) {
        self.controller.kill();
        let _ = Api::<Environment>::all(self.client.0.clone()).delete(&self.namespace, &DeleteParams::default()).await;
        let _ = Api::<Namespace>::all(self.client.0.clone()).delete(&self.namespace, &DeleteParams::background()).await;
    }
}

pub fn service_manifest(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

pub fn is_active(status: &ReleaseStatus, version: &str) -> bool {
    status.active.as_ref().is_some_and(|active| active.version == version)
}

pub fn is_ready(status: &ReleaseStatus) -> bool {
    status.condition(ConditionType::Ready).is_some_and(|condition| condition.status == ConditionStatus::True)
}

pub fn reason(status: &ReleaseStatus, kind: ConditionType) -> String {
    status.condition(kind).map(|condition| condition.reason.clone()).unwrap_or_default()
}

pub fn message(status: &ReleaseStatus, kind: ConditionType) -> String {
    status.condition(kind).map(|condition| condition.message.clone()).unwrap_or_default()
}

pub fn from<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a valid object")
}

/// The Environment that the namespaces of all tests claim: the same for all, whoever comes first.
pub async fn make_environment(client: &kube::Client) {
    let environment =
        json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "staging"}, "spec": {}});
    let api = Api::<bascule_crds::Environment>::all(client.clone());
    api.patch("staging", &PatchParams::apply("platform"), &Patch::Apply(&environment)).await.expect("make the Environment");
}
