//! Reads that no watch answers: a Service that is not ours yet, who is behind it, why pods are not ready, and what became of a write
//! that had no answer.

use std::{collections::BTreeMap, sync::Arc};

use bascule_core::{Observed, PodReport, Read, ReplicaSet};
use bascule_crds::{Track, names};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Event, Pod},
};
use kube::{
    Api, Resource,
    api::{ListParams, ObjectList},
};
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::{
    cache::Object,
    queue::Key,
    shell::Shell,
    watch::{
        kept::SlimRelease,
        kinds::{SlimDeployment, SlimService, SlimSlice},
    },
};

/// A report names this many pods; the others usually say the same.
const PODS_NAMED: usize = 3;

/// True when something was read; a read that was made a moment ago is not made again.
pub(super) async fn read(shell: &Arc<Shell>, key: &Key, observed: &Observed, read: &Read) -> Result<bool, Fault> {
    let reader = Reader { shell, key };
    match read {
        Read::Service(name) => {
            if reader.is_fresh(shell.cache().looked_at(key, name).0) {
                return Ok(false);
            }
            let service = reader.get::<SlimService>(name).await?;
            shell.cache().saw_service(key, name, service.as_ref(), shell.clock.now());
        }
        Read::Strangers { service, selector } => {
            if reader.is_fresh(shell.cache().looked_at(key, service).1) {
                return Ok(false);
            }
            let count = reader.strangers(observed, service, selector).await?;
            shell.cache().saw_strangers(key, service, count, shell.clock.now());
        }
        Read::Pods { revision, track } => {
            let reasons = reader.reasons(revision, *track).await?;
            shell.cache().saw_pods(key, PodReport { revision: revision.clone(), at: shell.clock.now(), reasons });
        }
    }
    Ok(true)
}

/// What became of an object after a write without an answer.
pub(super) async fn object(shell: &Arc<Shell>, key: &Key, object: &Object) -> Result<(), Fault> {
    let reader = Reader { shell, key };
    let name = |name: &String| (key.namespace.clone(), name.clone());
    match object {
        Object::Release(release) => match reader.get::<SlimRelease>(release).await? {
            Some(found) => shell.cache().show_release(&found),
            None => {
                shell.cache().releases.drop(&name(release));
            }
        },
        Object::Deployment(deployment) => match reader.get::<SlimDeployment>(deployment).await? {
            Some(found) => shell.cache().show_deployment(&found, false),
            None => shell.cache().drop_deployment(&key.namespace, deployment),
        },
        Object::Service(service) => {
            let found = reader.get::<SlimService>(service).await?;
            let mut cache = shell.cache();
            cache.forget_service(key, service);
            if found.as_ref().is_none_or(|found| found.release() != key.name) {
                cache.drop_service(key, service);
            }
            cache.saw_service(key, service, found.as_ref(), shell.clock.now());
        }
    }
    Ok(())
}

struct Reader<'a> {
    shell: &'a Arc<Shell>,
    key: &'a Key,
}

impl Reader<'_> {
    fn is_fresh(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| self.shell.clock.now() < at + self.shell.policy.look_for_service)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.shell.client.clone(), &self.key.namespace)
    }

    async fn get<K>(&self, name: &str) -> Result<Option<K>, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let found = self.api::<K>().get_opt(name).await.map_err(Fault::of);
        self.count("get", found.as_ref().err());
        found
    }

    async fn list<K>(&self, parameters: &ListParams) -> Result<ObjectList<K>, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let found = self.api::<K>().list(parameters).await.map_err(Fault::of);
        self.count("list", found.as_ref().err());
        found
    }

    fn count(&self, verb: &str, fault: Option<&Fault>) {
        self.shell.metrics.requested(verb, &fault.map_or_else(|| "ok".to_owned(), Fault::code));
    }

    /// Ready endpoints that are neither pods of ours nor labelled as waiting for the first switch.
    async fn strangers(&self, observed: &Observed, service: &str, selector: &BTreeMap<String, String>) -> Result<u32, Fault> {
        let slices =
            self.list::<SlimSlice>(&ListParams::default().labels(&format!("kubernetes.io/service-name={service}"))).await?;
        // Ours are those of Deployments that this very Release owns: one of the same name may have left others behind.
        let owned = observed.deployments.known().into_iter().flat_map(BTreeMap::values);
        let owned: Vec<_> = owned.filter(|deployment| deployment.owner.as_deref() == Some(&observed.release.uid)).collect();
        let is_owned = |set: &&ReplicaSet| owned.iter().any(|it| it.workload == set.workload && it.track == set.track);
        let sets = observed.replica_sets.known().into_iter().flatten().filter(is_owned);
        let sets: Vec<_> = sets.map(|set| format!("{}-", set.name)).collect();
        let ours = |pod: &String| sets.iter().any(|set| pod.starts_with(set.as_str()));
        let mut others: Vec<String> = slices.items.iter().flat_map(|slice| slice.view().ready).filter(|pod| !ours(pod)).collect();
        if !others.is_empty() {
            let mut labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            labels.push(format!("{}={}", names::TRACK, names::NO_TRACK));
            let waiting = self.list::<Pod>(&ListParams::default().labels(&labels.join(","))).await?;
            let waiting: Vec<_> = waiting.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
            others.retain(|pod| !waiting.contains(pod));
        }
        Ok(u32::try_from(others.len()).unwrap_or(u32::MAX))
    }

    async fn reasons(&self, revision: &str, track: Track) -> Result<Vec<String>, Fault> {
        let labels = format!("{}={},{}={track},{}={revision}", names::RELEASE, self.key.name, names::TRACK, names::REVISION);
        let pods = self.list::<Pod>(&ListParams::default().labels(&labels)).await?;
        let unready: Vec<_> = pods.items.iter().filter(|pod| !is_ready(pod)).collect();
        let mut reasons = Vec::new();
        for pod in unready.iter().take(PODS_NAMED) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let reason = match said(pod) {
                Some(reason) => Some(reason),
                // It runs and is not ready: only its Events know what the probe got.
                None if reasons.is_empty() => self.probe(&name).await?,
                None => None,
            };
            reasons.push(format!("pod {name}: {}", reason.unwrap_or_else(|| "running, not ready".to_owned())));
        }
        Ok(reasons)
    }

    async fn probe(&self, pod: &str) -> Result<Option<String>, Fault> {
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={pod},reason=Unhealthy");
        let events = self.list::<Event>(&ListParams::default().fields(&fields).limit(20)).await?;
        Ok(events.items.into_iter().next_back().and_then(|event| event.message))
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What the pod's status says: not scheduled, image, crash.
fn said(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        return Some(format!("not scheduled: {}", condition.message.clone().unwrap_or_default()));
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    containers.filter(|container| !container.ready).find_map(|container| {
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let ended = |ended: &k8s_openapi::api::core::v1::ContainerStateTerminated| {
            let message = ended.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            format!(
                "container {} ended with exit code {} ({}){message}",
                container.name,
                ended.exit_code,
                ended.reason.as_deref().unwrap_or("no reason")
            )
        };
        let state = container.state.as_ref()?;
        if let Some(terminated) = &state.terminated {
            return Some(ended(terminated));
        }
        let waiting = state.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        match last {
            Some(last) => Some(format!("{reason}: {}", ended(last))),
            None => Some(format!(
                "container {}: {reason}{}",
                container.name,
                waiting.message.as_deref().map(|it| format!(": {it}")).unwrap_or_default()
            )),
        }
    })
}
