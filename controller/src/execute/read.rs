//! Reads that no watch answers: a Service that is not ours yet, who is behind it, why pods are not ready, and what became of a write
//! that had no answer.

use std::{collections::BTreeMap, sync::Arc};

use bascule_core::{Ended, Observed, PodReport, Read, ReplicaSet};
use bascule_crds::{Track, names};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Resource,
    api::{ListParams, LogParams, ObjectList},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::fault::{Fault, one_line};
use crate::{
    cache::Object,
    client::is_name,
    queue::Key,
    shell::Shell,
    watch::{
        kept::SlimRelease,
        kinds::{SlimDeployment, SlimJob, SlimReplicaSet, SlimRevision, SlimService, SlimSlice},
    },
};

/// Different sentences in one report.
const SENTENCES: usize = 3;
/// Of what a Job has printed so much is shown.
const LAST_LINES: i64 = 5;
const LAST_BYTES: i64 = 2_048;
/// Events of one pod and one reason: the kubelet counts up the same ones, so there are few.
const EVENTS: u32 = 50;

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
        Read::Job { job } => {
            let found = reader.get::<SlimJob>(job).await?;
            shell.cache().saw_job(key, job, found.as_ref());
        }
        Read::Words { job } => {
            let words = reader.last_words(job).await?;
            shell.cache().heard(key, job, words);
        }
        Read::Ends { workload } => {
            let ended = reader.ended(&observed.release.uid, workload).await?;
            shell.cache().saw_end(key, workload, ended);
        }
        Read::Volume { claim } => {
            // What is no name is the name of none.
            let found = if is_name(claim) { reader.get::<PersistentVolumeClaim>(claim).await? } else { None };
            let modes = found.map(|found| found.spec.and_then(|spec| spec.access_modes).unwrap_or_default());
            shell.cache().saw_volume(key, claim, modes, shell.clock.now());
        }
        Read::WayBack { revision, name } => {
            // A registry may take its time, and what happens to the Release meanwhile must not wait for it.
            super::way_back::begin(shell, key, observed, revision, name);
            return Ok(false);
        }
        Read::Input { revision, name } => {
            let found = reader.get::<SlimRevision>(name).await?;
            shell.cache().saw_input(key, revision, found.and_then(|found| found.input(&observed.release.uid)));
        }
        Read::Pods { revision, track } => {
            let reasons = reader.reasons(revision, *track).await?;
            shell.cache().saw_pods(key, PodReport { revision: revision.clone(), at: shell.clock.now(), reasons });
        }
    }
    Ok(true)
}

/// Everything about a Release, from the API server itself: what the lists of a new process, a new leader or a broken watch have shown may be
/// older than what another process has done since, and the versions of single objects do not tell.
pub(super) async fn anew(shell: &Arc<Shell>, key: &Key, observed: &Observed) -> Result<(), Fault> {
    let reader = Reader { shell, key };
    object(shell, key, &Object::Release(key.name.clone())).await?;
    for name in observed.services.keys() {
        object(shell, key, &Object::Service(name.clone())).await?;
    }
    let ours = ListParams::default().labels(&format!("{}={}", names::RELEASE, key.name));
    let deployments = reader.list::<SlimDeployment>(&ours).await?;
    let sets = reader.list::<SlimReplicaSet>(&ours).await?;
    let mut cache = shell.cache();
    cache.show_deployments(key, &deployments.items, version(deployments.metadata.resource_version.as_deref()));
    cache.show_replica_sets(key, &sets.items, version(sets.metadata.resource_version.as_deref()));
    cache.now_sure(key, Instant::now());
    Ok(())
}

/// Of a list. One that does not say its version says nothing about what it does not show.
fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
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
        Object::Job(job) => {
            let found = reader.get::<SlimJob>(job).await?;
            shell.cache().saw_job(key, job, found.as_ref());
        }
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
        self.api::<K>().get_opt(name).await.map_err(Fault::of)
    }

    async fn list<K>(&self, parameters: &ListParams) -> Result<ObjectList<K>, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        self.api::<K>().list(parameters).await.map_err(Fault::of)
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

    /// Each list is about what the one before it can still do: controllers go by Deployments, then by ReplicaSets, then there are pods.
    async fn ended(&self, owner: &str, workload: &str) -> Result<Ended, Fault> {
        let of = format!("{}={},{}={workload}", names::RELEASE, self.key.name, names::WORKLOAD);
        let of = ListParams::default().labels(&of);
        let mut generations = BTreeMap::new();
        let mut left = None;
        for deployment in self.list::<SlimDeployment>(&of).await?.items {
            self.shell.cache().show_deployment(&deployment, false);
            let view = deployment.view();
            if view.owner.as_deref() == Some(owner) {
                if view.replicas > 0 || !deployment.is_observed() {
                    left.get_or_insert(format!("Deployment {} has not been seen to have no pods", view.name));
                }
                generations.insert(view.name, view.generation);
            }
        }
        for set in self.list::<SlimReplicaSet>(&of).await?.items {
            let view = set.view();
            if view.wanted > 0 || view.replicas > 0 || !view.observed {
                left.get_or_insert(format!("ReplicaSet {} still has pods", view.name));
            }
        }
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        // One that was told to end is gone only when its volumes are free again; one that ended by itself stays for people to look at.
        let is_over =
            |pod: &Pod| ["Succeeded", "Failed"].contains(&phase(pod).as_str()) && pod.metadata.deletion_timestamp.is_none();
        let pods = self.list::<Pod>(&of).await?.items;
        if let Some(pod) = pods.iter().find(|pod| !is_over(pod)) {
            let state = if pod.metadata.deletion_timestamp.is_some() { "is ending" } else { "is still there" };
            left = Some(format!("pod {} {state}", pod.metadata.name.as_deref().unwrap_or_default()));
        }
        Ok(Ended { at: self.shell.clock.now(), generations, left })
    }

    async fn reasons(&self, revision: &str, track: Track) -> Result<Vec<String>, Fault> {
        let labels = format!("{}={},{}={track},{}={revision}", names::RELEASE, self.key.name, names::TRACK, names::REVISION);
        let pods = self.list::<Pod>(&ListParams::default().labels(&labels)).await?;
        let unready = pods.items.iter().filter(|pod| !is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
        let mut said: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut silent: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in unready {
            match pod_says(pod) {
                Some(sentence) => *said.entry((workload(pod), one_line(&sentence))).or_default() += 1,
                None => silent.entry(workload(pod)).or_default().push(pod),
            }
        }
        // They run and are not ready: only Events know what the probe got. One of a workload is asked; the others usually say the same.
        for (workload, mut silent) in silent.into_iter().take(SENTENCES) {
            silent.sort_by_key(|pod| &pod.metadata.name);
            let Some(pod) = silent.first() else { continue };
            let sentence = self.probe(pod).await?.unwrap_or_else(|| "running, not ready".to_owned());
            *said.entry((workload, one_line(&sentence))).or_default() += silent.len();
        }
        // Without names, and in the order of their text: what has not changed reads the same at the next look.
        let counted = said.into_iter().take(SENTENCES).map(|((workload, sentence), count)| match count {
            1 => format!("{workload}: {sentence}"),
            more => format!("{workload}, {more} pods: {sentence}"),
        });
        Ok(counted.collect())
    }

    /// How the pod of a Job ended, in its own words: exit code, termination message, and the end of what it has printed.
    async fn last_words(&self, job: &str) -> Result<String, Fault> {
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}")).limit(EVENTS);
        let mut pods = self.list::<Pod>(&of_job).await?.items;
        pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let Some(pod) = pods.last() else { return Ok(String::new()) };
        let ends = ends(pod);
        let failed = ends.iter().find(|(_, ended)| ended.exit_code != 0);
        // What a Job that succeeded has to say is a reference, not how it ended.
        let says = if failed.is_some() { pod_says(pod) } else { ends.iter().find_map(|(_, ended)| ended.message.clone()) };
        let mut said: Vec<String> = says.into_iter().filter(|text| !text.is_empty()).collect();
        if let Some((container, _)) = failed.or(ends.last()) {
            said.extend(self.last_lines(pod, container).await);
        }
        Ok(one_line(&said.join("; ")))
    }

    /// None: it has printed nothing, or its log may not be read.
    async fn last_lines(&self, pod: &Pod, container: &str) -> Option<String> {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(LAST_LINES),
            limit_bytes: Some(LAST_BYTES),
            ..LogParams::default()
        };
        let name = pod.metadata.name.as_deref()?;
        let text = self.api::<Pod>().logs(name, &parameters).await.map_err(Fault::of);
        let lines: Vec<_> = text.ok()?.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (!lines.is_empty()).then(|| format!("last lines: {}", lines.join(" | ")))
    }

    async fn probe(&self, pod: &Pod) -> Result<Option<String>, Fault> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={name},reason=Unhealthy");
        let events = self.list::<Event>(&ListParams::default().fields(&fields).limit(EVENTS)).await?;
        let newest = events.items.into_iter().max_by_key(happened);
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).filter(|ip| !ip.is_empty());
        Ok(newest.and_then(|event| event.message).map(|message| match address {
            Some(address) => message.replace(address, "its address"),
            None => message,
        }))
    }
}

/// The containers that have ended, and how; those of the beginning first.
fn ends(pod: &Pod) -> Vec<(&str, &ContainerStateTerminated)> {
    let status = pod.status.iter();
    let all = status.flat_map(|it| it.init_container_statuses.iter().flatten().chain(it.container_statuses.iter().flatten()));
    all.filter_map(|it| Some((it.name.as_str(), it.state.as_ref()?.terminated.as_ref()?))).collect()
}

fn workload(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::WORKLOAD)).map_or("", String::as_str)
}

/// When an Event was seen last: one that repeats is one object, and lists come in the order of names.
fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.max(last).or(event.event_time.as_ref().map(|time| time.0)).or(created)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What the pod's status says: not scheduled, image, crash. A container that crashes in a loop runs, ends and waits in turn, and an image
/// that cannot be pulled is tried and waited for in turn: the sentence is the same all the time.
fn pod_says(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        return Some(format!("not scheduled: {}", condition.message.clone().unwrap_or_default()));
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    containers.filter(|container| !container.ready).find_map(container_says)
}

fn container_says(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let (state, last) = (container.state.as_ref(), container.last_state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.map(|waiting| waiting.reason.as_deref().unwrap_or("waiting"));
    let message = waiting.and_then(|waiting| waiting.message.as_deref());
    match reason {
        // Its message counts the seconds and names the pod; how the container ended says more.
        None | Some("CrashLoopBackOff") => {}
        Some("ErrImagePull" | "ImagePullBackOff") => {
            let cause = message.map(|text| text.split_once(": ErrImagePull: ").map_or(text, |(_, cause)| cause));
            return Some(with(format!("container {name}: ErrImagePull"), cause));
        }
        Some(other) => return Some(with(format!("container {name}: {other}"), message)),
    }
    let ended = state.and_then(|state| state.terminated.as_ref()).or_else(|| last.and_then(|last| last.terminated.as_ref()));
    if let Some(ended) = ended {
        let why = ended.reason.as_deref().unwrap_or("no reason");
        return Some(with(
            format!("container {name} ended with exit code {} ({why})", ended.exit_code),
            ended.message.as_deref(),
        ));
    }
    reason.map(|reason| format!("container {name}: {reason}"))
}

fn with(sentence: String, more: Option<&str>) -> String {
    match more.filter(|more| !more.is_empty()) {
        Some(more) => format!("{sentence}: {more}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(status: &serde_json::Value) -> Option<String> {
        pod_says(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    #[test]
    fn a_crash_loop_says_the_same_all_the_time() {
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no database"}});
        let container = |state: &serde_json::Value, last: &serde_json::Value| {
            let status = json!({"name": "web", "ready": false, "restartCount": 3, "image": "i", "imageID": "", "state": state, "lastState": last});
            says(&json!({"containerStatuses": [status]}))
        };
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=web pod=web-x7k2p"}});
        let phases = [container(&ended, &json!({})), container(&waits, &ended), container(&json!({"running": {}}), &ended)];
        for phase in phases {
            assert_eq!(phase.as_deref(), Some("container web ended with exit code 1 (Error): no database"));
        }
        assert_eq!(container(&waits, &json!({})).as_deref(), Some("container web: CrashLoopBackOff"));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_says_the_same_all_the_time() {
        let waiting = |reason: &str, message: &str| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            let status = json!({"name": "web", "ready": false, "restartCount": 0, "image": "i", "imageID": "", "state": state});
            says(&json!({"containerStatuses": [status]}))
        };
        let tried = waiting("ErrImagePull", "r/web:v9: not found");
        assert_eq!(tried.as_deref(), Some("container web: ErrImagePull: r/web:v9: not found"));
        assert_eq!(waiting("ImagePullBackOff", "Back-off pulling image \"r/web:v9\": ErrImagePull: r/web:v9: not found"), tried);
    }

    #[test]
    fn the_newest_event_is_not_the_last_in_the_list() {
        let event = |name: &str, last: &str| -> Event {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "involvedObject": {}, "lastTimestamp": last, "message": name}),
            )
            .unwrap()
        };
        let events = [event("a", "2026-01-05T10:00:09Z"), event("b", "2026-01-05T10:00:01Z")];
        assert_eq!(events.into_iter().max_by_key(happened).unwrap().message.as_deref(), Some("a"));
    }
}
