//! The API server, asked at the time when it is needed; only the fields that are read are even parsed.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::{Pod as FullPod, Secret as FullSecret, Service as FullService};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectMeta},
};
use serde::Deserialize;

use super::{Content, Places, Pod, Secret, Service, Unread};
use crate::{client::is_name, gates::network::door::acceptable, sources::registry::Hidden};

pub(in crate::gates::network) struct KubePlaces {
    client: Client,
}

impl KubePlaces {
    pub(in crate::gates::network) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn list(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Result<Vec<Pod>, String> {
        if labels.is_empty() {
            return Err("the pods are not known by any label".to_owned());
        }
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // From the API server's memory: what is a moment old is good enough to be asked, and costs etcd nothing.
        let parameters = ListParams::default().labels(&labels.join(",")).match_any();
        let pods: Api<SlimPod> = Api::namespaced(self.client.clone(), namespace);
        let listed = pods.list(&parameters).await.map_err(|error| format!("the pods cannot be listed: {}", words(&error)))?;
        let mut ready: Vec<Pod> = listed.items.into_iter().filter_map(SlimPod::ready).collect();
        ready.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(ready)
    }

    async fn find(&self, namespace: &str, name: &str) -> Result<Option<Service>, String> {
        if !is_name(name) {
            return Ok(None);
        }
        let services: Api<SlimService> = Api::namespaced(self.client.clone(), namespace);
        match services.get(name).await {
            Ok(service) => Ok(Some(service.place())),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(format!("the Service {name} cannot be read: {}", words(&error))),
        }
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Secret, Unread> {
        if !is_name(name) || !is_name(namespace) {
            return Ok(Secret::Missing);
        }
        let secrets: Api<SlimSecret> = Api::namespaced(self.client.clone(), namespace);
        match secrets.get(name).await {
            Ok(secret) => Ok(Secret::Content(Arc::new(secret.content().map_err(Unread)?))),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Secret::Missing),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Secret::Forbidden),
            Err(error) => Err(Unread(words(&error))),
        }
    }
}

impl Places for KubePlaces {
    fn pods<'a>(&'a self, namespace: &'a str, labels: &'a BTreeMap<String, String>) -> BoxFuture<'a, Result<Vec<Pod>, String>> {
        self.list(namespace, labels).boxed()
    }

    fn service<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Service>, String>> {
        self.find(namespace, name).boxed()
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, Unread>> {
        self.read(namespace, name).boxed()
    }
}

/// The same each time. A parser's words could quote what it read.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => "the controller has no right to".to_owned(),
        kube::Error::Api(status) => format!("the API server answered {}", status.code),
        kube::Error::SerdeError(_) => "the API server's answer is not understood".to_owned(),
        _ => "the API server does not answer".to_owned(),
    }
}

#[derive(Clone, Debug, Resource, Deserialize)]
#[resource(inherit = FullPod)]
struct SlimPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Vec<ContainerPort>,
    /// `Always` makes a sidecar of an init container: it runs beside the others.
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: Option<String>,
    container_port: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl SlimPod {
    fn ready(self) -> Option<Pod> {
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        let asked = self.metadata.deletion_timestamp.is_none()
            && self.status.phase.as_deref() == Some("Running")
            && self.status.conditions.iter().any(ready);
        // Whoever has a node says where its pods are: not at this machine, and not where a cloud gives credentials.
        let ip = self.status.pod_ip?.parse().ok().filter(|ip| asked && acceptable(*ip))?;
        let sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
        let containers = self.spec.containers.into_iter().chain(self.spec.init_containers.into_iter().filter(sidecar));
        let mut ports = BTreeMap::new();
        for port in containers.flat_map(|container| container.ports) {
            if let (Some(name), Some(number)) = (port.name, port.container_port) {
                ports.entry(name).or_insert(number);
            }
        }
        Some(Pod { name: self.metadata.name?, ip, ports })
    }
}

#[derive(Clone, Debug, Resource, Deserialize)]
#[resource(inherit = FullService)]
struct SlimService {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ServicePort {
    port: Option<u16>,
}

impl SlimService {
    fn place(self) -> Service {
        if self.spec.kind.as_deref() == Some("ExternalName") {
            return Service::ExternalName;
        }
        let ip: Option<IpAddr> = self.spec.cluster_ip.and_then(|ip| ip.parse().ok());
        let ports = self.spec.ports.into_iter().filter_map(|port| port.port).collect();
        ip.map_or(Service::Headless, |ip| Service::At { ip, ports })
    }
}

#[derive(Clone, Debug, Resource, Deserialize)]
#[resource(inherit = FullSecret)]
struct SlimSecret {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, Hidden<String>>>,
}

impl SlimSecret {
    fn content(self) -> Result<Content, String> {
        let decoded = |(key, encoded): (String, Hidden<String>)| {
            let bytes = STANDARD.decode(encoded.reveal()).map_err(|_| "it is not valid base64".to_owned())?;
            Ok((key, Hidden::new(bytes)))
        };
        self.data.unwrap_or_default().into_iter().map(decoded).collect()
    }
}

impl fmt::Debug for KubePlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubePlaces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
