//! Opens the readiness gate of each pod that has one, and closes one of them for good when a story says so.
//!
//! In: a namespace. Out: a condition on its pods. The kubelet does the rest: that pod is unready, and goes on answering.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::{task::JoinHandle, time::Duration};

use crate::crash::story::GATE;

#[derive(Debug)]
pub(crate) struct Gate {
    api: Pods,
    bad: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

/// `kube::Api` shows its whole client.
#[derive(Clone)]
struct Pods(Api<Pod>);

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pods")
    }
}

impl Gate {
    pub(crate) fn open(client: Client, namespace: &str) -> Self {
        let api = Pods(Api::namespaced(client, namespace));
        let bad = Arc::new(Mutex::new(None));
        let (pods, closed) = (api.clone(), bad.clone());
        let task = tokio::spawn(async move {
            loop {
                let found = pods.0.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
                for pod in found.iter().filter(|pod| is_gated(pod) && !is_open(pod)) {
                    if closed.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&pod.name_any()) {
                        let _ = pods.say(&pod.name_any(), "True").await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { api, bad, task }
    }

    pub(crate) async fn one_goes_bad(&self, version: &str) -> Result<(), String> {
        let pods = self.api.0.list(&ListParams::default().labels(&format!("version={version}"))).await;
        let pods = pods.map_err(|error| error.to_string())?.items;
        let pod = pods.iter().find(|pod| is_gated(pod)).ok_or("no pod has the gate")?.name_any();
        *self.bad.lock().unwrap_or_else(PoisonError::into_inner) = Some(pod.clone());
        self.api.say(&pod, "False").await.map_err(|error| error.to_string())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pods {
    async fn say(&self, pod: &str, status: &str) -> Result<(), kube::Error> {
        let body = json!({"status": {"conditions": [{"type": GATE, "status": status}]}});
        self.0.patch_status(pod, &PatchParams::default(), &Patch::Strategic(&body)).await.map(|_| ())
    }
}

fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref());
    gates.into_iter().flatten().any(|gate| gate.condition_type == GATE)
}

fn is_open(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == GATE && condition.status == "True")
}
