//! Everything the controller knows: objects as the watches and our own writes showed them, and what reads answered.
//!
//! In: watch events, replies, answers to reads. Out: a [`snapshot`](Cache::snapshot) of one Release. Synchronous, no I/O, no decision.
//! Only what a restart can find out again: what must survive is in the status of the Release.

mod doubt;
mod snapshot;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{Check, Deployment, Ended, Job, OperationView, PodReport, ReplicaSet, Service, Sight, WayBack, input::Input};
use jiff::Timestamp;

use doubt::{Failing, Sure};
pub(crate) use doubt::{Object, Patience};
pub(crate) use table::{Change, Seen, Table};
use tokio::time::Instant;

use crate::{
    queue::{Key, Lane, backoff::Random},
    watch::{
        kept::{KeptEnvironment, KeptRelease, SlimOperation, SlimRelease},
        kinds::{Slice, SlimDeployment, SlimJob, SlimReplicaSet, SlimService, SlimSlice, release_of},
    },
};

#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) releases: Table<KeptRelease>,
    pub(crate) operations: Table<OperationView>,
    pub(crate) deployments: Table<Deployment>,
    pub(crate) replica_sets: Table<ReplicaSet>,
    pub(crate) jobs: Table<Job>,
    pub(crate) services: Table<SlimService>,
    pub(crate) slices: Table<Slice>,
    /// Their labels.
    pub(crate) namespaces: Table<BTreeMap<String, String>>,
    /// Their architectures, as in `amd64`. Not everybody may see nodes: nothing waits for these.
    pub(crate) nodes: Table<String>,
    /// What the nodes were when somebody was told last.
    pub(crate) told_architectures: BTreeSet<String>,
    pub(crate) environments: Table<KeptEnvironment>,
    /// uid of a Deployment to the generation that our last write left.
    confirmed: BTreeMap<String, i64>,
    /// By Release: what only this process knows.
    memory: BTreeMap<Key, Memory>,
    /// Kinds whose watch has failed and has shown nothing since, and until when the next attempt would have failed as well.
    blind: BTreeMap<&'static str, Instant>,
    /// When all of this began, or began anew.
    pub(crate) since: Timestamp,
    random: Random,
}

/// What is known about one Release beyond objects.
#[derive(Debug, Default)]
struct Memory {
    sightings: BTreeMap<String, Sighting<Option<Service>>>,
    strangers: BTreeMap<String, Sighting<u32>>,
    check: Option<Check>,
    pods: Option<PodReport>,
    way_back: Option<WayBack>,
    /// The revision of the version to return to that is being looked at.
    looks_back: Option<String>,
    volumes: BTreeMap<String, (Timestamp, Option<Vec<String>>)>,
    ended: BTreeMap<String, Ended>,
    absent_jobs: BTreeSet<String>,
    words: BTreeMap<String, String>,
    inputs: BTreeMap<String, Option<Input>>,
    stored: Option<String>,
    discarded: BTreeSet<String>,
    troubles: BTreeMap<String, Failing>,
    uncertain: BTreeSet<Object>,
    /// Everything was read anew since the last list.
    sure: Option<Sure>,
}

/// The answer to a read.
#[derive(Clone, Debug)]
struct Sighting<T> {
    at: Timestamp,
    what: Sight<T>,
}

impl Cache {
    pub(crate) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            releases: Table::default(),
            operations: Table::default(),
            deployments: Table::default(),
            replica_sets: Table::default(),
            jobs: Table::default(),
            services: Table::default(),
            slices: Table::default(),
            namespaces: Table::default(),
            nodes: Table::default(),
            told_architectures: BTreeSet::new(),
            environments: Table::default(),
            confirmed: BTreeMap::new(),
            memory: BTreeMap::new(),
            blind: BTreeMap::new(),
            since: now,
            random: Random::new(seed),
        }
    }

    /// All watches have been read once.
    pub(crate) fn synced(&self) -> bool {
        self.releases.synced()
            && self.operations.synced()
            && self.deployments.synced()
            && self.replica_sets.synced()
            && self.jobs.synced()
            && self.services.synced()
            && self.slices.synced()
            && self.namespaces.synced()
            && self.environments.synced()
    }

    /// Nothing outside of this namespace may be read: there are no Environments, and the namespace says nothing of itself.
    pub(crate) fn knows_no_cluster(&mut self, namespace: &str) {
        self.environments.begin();
        self.environments.end();
        self.namespaces.begin();
        let seen = Seen { name: (String::new(), namespace.to_owned()), uid: String::new(), version: 0 };
        self.namespaces.listed(seen, String::new(), BTreeMap::new());
        self.namespaces.end();
    }

    /// Of all nodes that say it.
    pub(crate) fn architectures(&self) -> BTreeSet<String> {
        self.nodes.iter().map(|(_, architecture)| architecture.clone()).filter(|it| !it.is_empty()).collect()
    }

    fn memory(&mut self, key: &Key) -> &mut Memory {
        self.memory.entry(key.clone()).or_default()
    }

    // Replies to our own writes.

    pub(crate) fn show_release(&mut self, release: &SlimRelease) {
        let kept = release.kept().unwrap_or_else(|_| release.unreadable());
        self.releases.show(Seen::of(&release.metadata), release.metadata.name.clone().unwrap_or_default(), kept);
    }

    /// A Deployment as our write left it.
    pub(crate) fn show_deployment(&mut self, deployment: &SlimDeployment, written: bool) {
        let view = deployment.view();
        if written {
            self.confirmed.insert(view.uid.clone(), view.generation);
        }
        self.deployments.show(Seen::of(&deployment.metadata), release_of(&deployment.metadata), view);
    }

    pub(crate) fn show_service(&mut self, key: &Key, service: SlimService) {
        let name = service.metadata.name.clone().unwrap_or_default();
        let memory = self.memory(key);
        memory.sightings.remove(&name);
        memory.strangers.remove(&name);
        self.services.show(Seen::of(&service.metadata), service.release(), service);
    }

    pub(crate) fn show_operation(&mut self, operation: &SlimOperation) {
        if let Ok(view) = operation.view() {
            self.operations.show(Seen::of(&operation.metadata), view.spec.release.clone(), view);
        }
    }

    /// A Deployment of ours is gone, and what we stood for with it.
    pub(crate) fn unconfirm(&mut self, uid: &str) {
        self.confirmed.remove(uid);
    }

    pub(crate) fn drop_deployment(&mut self, namespace: &str, name: &str) {
        if let Some(uid) = self.deployments.uid(namespace, name) {
            self.confirmed.remove(uid);
        }
        self.deployments.drop(&(namespace.to_owned(), name.to_owned()));
    }

    pub(crate) fn drop_service(&mut self, key: &Key, name: &str) {
        self.services.drop(&(key.namespace.clone(), name.to_owned()));
        self.forget_service(key, name);
    }

    // Answers to reads.

    /// A Service that the watch does not show.
    pub(crate) fn saw_service(&mut self, key: &Key, name: &str, what: Option<&SlimService>, now: Timestamp) {
        let view = what.map(|service| service.view(&key.name));
        if let Some(service) = what.filter(|service| service.release() == key.name) {
            self.services.show(Seen::of(&service.metadata), service.release(), service.clone());
            // From now on the watch tells, also when it goes.
            if self.services.get(&key.namespace, name).is_some() {
                self.forget_service(key, name);
                return;
            }
        }
        self.memory(key).sightings.insert(name.to_owned(), Sighting { at: now, what: Sight::Known(view) });
    }

    pub(crate) fn saw_strangers(&mut self, key: &Key, service: &str, count: u32, now: Timestamp) {
        self.memory(key).strangers.insert(service.to_owned(), Sighting { at: now, what: Sight::Known(count) });
    }

    pub(crate) fn saw_pods(&mut self, key: &Key, report: PodReport) {
        self.memory(key).pods = Some(report);
    }

    /// A Job that the watch does not show, or the reply to its creation.
    pub(crate) fn saw_job(&mut self, key: &Key, name: &str, job: Option<&SlimJob>) {
        if let Some(job) = job {
            self.jobs.show(Seen::of(&job.metadata), release_of(&job.metadata), job.view());
            self.memory(key).absent_jobs.remove(name);
        } else {
            self.jobs.drop(&(key.namespace.clone(), name.to_owned()));
            self.memory(key).absent_jobs.insert(name.to_owned());
        }
    }

    pub(crate) fn heard(&mut self, key: &Key, job: &str, words: String) {
        self.memory(key).words.insert(job.to_owned(), words);
    }

    pub(crate) fn saw_input(&mut self, key: &Key, revision: &str, input: Option<Input>) {
        self.memory(key).inputs.insert(revision.to_owned(), input);
    }

    pub(crate) fn saw_volume(&mut self, key: &Key, claim: &str, modes: Option<Vec<String>>, now: Timestamp) {
        self.memory(key).volumes.insert(claim.to_owned(), (now, modes));
    }

    pub(crate) fn saw_end(&mut self, key: &Key, workload: &str, ended: Ended) {
        self.memory(key).ended.insert(workload.to_owned(), ended);
    }

    /// False: somebody looks already.
    pub(crate) fn looks_back(&mut self, key: &Key, revision: &str) -> bool {
        let memory = self.memory(key);
        let begins = memory.looks_back.as_deref() != Some(revision);
        memory.looks_back = Some(revision.to_owned());
        begins
    }

    pub(crate) fn looked_back(&mut self, key: &Key, seen: WayBack) {
        let memory = self.memory(key);
        memory.looks_back = None;
        memory.way_back = Some(seen);
    }

    pub(crate) fn stored(&mut self, key: &Key, revision: &str) {
        let memory = self.memory(key);
        memory.stored = Some(revision.to_owned());
        memory.inputs.remove(revision);
        memory.discarded.remove(revision);
    }

    pub(crate) fn discarded(&mut self, key: &Key, revision: &str) {
        let memory = self.memory(key);
        memory.discarded.insert(revision.to_owned());
        memory.inputs.remove(revision);
        memory.stored.take_if(|stored| stored == revision);
    }

    pub(crate) fn checked(&mut self, key: &Key, check: Check) {
        self.memory(key).check = Some(check);
    }

    /// When the Service, and the strangers behind it, were looked at last.
    pub(crate) fn looked_at(&self, key: &Key, service: &str) -> (Option<Timestamp>, Option<Timestamp>) {
        let memory = self.memory.get(key);
        let service_at = memory.and_then(|memory| memory.sightings.get(service)).map(|sighting| sighting.at);
        let strangers_at = memory.and_then(|memory| memory.strangers.get(service)).map(|sighting| sighting.at);
        (service_at, strangers_at)
    }

    /// What was read of this Service is no longer true.
    pub(crate) fn forget_service(&mut self, key: &Key, name: &str) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.sightings.remove(name);
            memory.strangers.remove(name);
        }
    }

    /// The same for everyone who names it; they are told by the caller.
    pub(crate) fn forget_service_of_all(&mut self, namespace: &str, service: &str) -> Vec<Key> {
        let names = |release: &KeptRelease| release.services.iter().any(|name| name == service);
        let keys: Vec<Key> = self
            .releases
            .in_namespace(namespace)
            .filter(|(_, release)| names(release))
            .map(|(name, _)| Key { namespace: namespace.to_owned(), name: name.to_owned() })
            .collect();
        for key in &keys {
            self.forget_service(key, service);
        }
        keys
    }

    /// All Deployments of a Release, as a list of this version has just shown them.
    pub(crate) fn show_deployments(&mut self, key: &Key, listed: &[SlimDeployment], version: u64) {
        let known: Vec<String> =
            self.deployments.of_release(&key.namespace, &key.name).map(|(name, _)| name.to_owned()).collect();
        for name in known.into_iter().filter(|name| listed.iter().all(|it| it.metadata.name.as_ref() != Some(name))) {
            if !self.deployments.is_newer_than(&(key.namespace.clone(), name.clone()), version) {
                self.drop_deployment(&key.namespace, &name);
            }
        }
        for deployment in listed {
            self.show_deployment(deployment, false);
        }
    }

    /// The same for its ReplicaSets.
    pub(crate) fn show_replica_sets(&mut self, key: &Key, listed: &[SlimReplicaSet], version: u64) {
        let name_of = |set: &SlimReplicaSet| kube::Resource::meta(set).name.clone().unwrap_or_default();
        let known: Vec<String> =
            self.replica_sets.of_release(&key.namespace, &key.name).map(|(name, _)| name.to_owned()).collect();
        for name in known.into_iter().filter(|name| listed.iter().all(|it| name_of(it) != *name)) {
            let name = (key.namespace.clone(), name);
            if !self.replica_sets.is_newer_than(&name, version) {
                self.replica_sets.drop(&name);
            }
        }
        for set in listed {
            let (release, view) = replica_set(set);
            self.replica_sets.show(Seen::of(kube::Resource::meta(set)), release, view);
        }
    }

    /// Leadership begins, and another may have written since we last did: what only our own writes and reads have told us is worth no
    /// more than after a restart. Doubts remain: what nobody knew then is not known now.
    pub(crate) fn distrust(&mut self) {
        self.confirmed.clear();
        self.memory.retain(|_, memory| {
            *memory = Memory { uncertain: std::mem::take(&mut memory.uncertain), ..Memory::default() };
            !memory.uncertain.is_empty()
        });
    }

    /// Everything that may have work due: first what is on its way or was asked by a person.
    pub(crate) fn work(&self) -> BTreeMap<Key, Lane> {
        let of = |namespace: &str, name: &str| Key { namespace: namespace.to_owned(), name: name.to_owned() };
        let releases = self.releases.iter().map(|((namespace, name), release)| {
            (of(namespace, name), if release.standing.has_candidate { Lane::Switch } else { Lane::Resync })
        });
        let mut work: BTreeMap<Key, Lane> = releases.collect();
        // Also those of a Release that does not exist: they are answered, and deleted in the end.
        for ((namespace, _), operation) in self.operations.iter() {
            let due = if operation.answered { Lane::Resync } else { Lane::Spec };
            let lane = work.entry(of(namespace, &operation.spec.release)).or_insert(due);
            *lane = (*lane).min(due);
        }
        work
    }

    /// The Release is gone.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.memory.remove(key);
    }

    /// It exists, and cannot be read: nothing may be decided about it, nor said of it.
    pub(crate) fn is_unreadable(&self, key: &Key) -> bool {
        self.releases.get(&key.namespace, &key.name).is_some_and(|release| release.unreadable)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.releases.names().map(|(namespace, name)| Key { namespace: namespace.clone(), name: name.clone() }).collect()
    }
}

/// What each kind becomes in the cache: the Release it belongs to, and what is kept.
pub(crate) fn deployment(object: &SlimDeployment) -> (String, Deployment) {
    (release_of(&object.metadata), object.view())
}

pub(crate) fn replica_set(object: &SlimReplicaSet) -> (String, ReplicaSet) {
    (release_of(kube::Resource::meta(object)), object.view())
}

pub(crate) fn job(object: &SlimJob) -> (String, Job) {
    (release_of(&object.metadata), object.view())
}

pub(crate) fn slice(object: &SlimSlice) -> (String, Slice) {
    (release_of(kube::Resource::meta(object)), object.view())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), name: name.into() }
    }

    fn see_release(cache: &mut Cache, name: &str, status: &serde_json::Value) {
        let meta = json!({"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"});
        let release: SlimRelease =
            serde_json::from_value(json!({"metadata": meta, "spec": {"workloads": []}, "status": status})).unwrap();
        cache.show_release(&release);
    }

    fn see_operation(cache: &mut Cache, name: &str, release: &str, status: &serde_json::Value) {
        let operation: SlimOperation = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"},
            "spec": {"release": release, "type": "Abort"}, "status": status,
        }))
        .unwrap();
        cache.show_operation(&operation);
    }

    #[test]
    fn a_new_leader_begins_with_what_is_on_its_way_and_forgets_nobody() {
        let mut cache = Cache::new(1, at(0));
        see_release(&mut cache, "settled", &json!({}));
        see_release(&mut cache, "asked", &json!({}));
        see_operation(&mut cache, "o1", "asked", &json!(null));
        see_operation(&mut cache, "o2", "settled", &json!({"outcome": "Done", "message": "m", "at": "2026-01-01T00:00:00Z"}));
        see_operation(&mut cache, "o3", "nobody", &json!(null));
        see_operation(&mut cache, "o4", "gone", &json!({"outcome": "Done", "message": "m", "at": "2026-01-01T00:00:00Z"}));
        let work = cache.work();
        assert_eq!(
            [work[&key("settled")], work[&key("asked")], work[&key("nobody")], work[&key("gone")]],
            [Lane::Resync, Lane::Spec, Lane::Spec, Lane::Resync],
            "also those who ask something of a Release that does not exist get their answer"
        );
    }

    #[test]
    fn leadership_forgets_what_a_restart_would_forget_and_keeps_its_doubts() {
        let mut cache = Cache::new(1, at(0));
        let now = Timestamp::UNIX_EPOCH;
        cache.saw_strangers(&key("web"), "web", 3, now);
        cache.failed(&key("web"), "deployment/web-blue", "no".into(), Patience::Once, now);
        cache.doubt(&key("web"), Object::Service("web".into()));
        cache.failed(&key("other"), "deployment/web-blue", "no".into(), Patience::Once, now);
        cache.confirmed.insert("u".into(), 3);
        cache.distrust();
        assert!(cache.confirmed.is_empty());
        assert_eq!(cache.memory.len(), 1);
        assert_eq!(cache.looked_at(&key("web"), "web").1, None);
        assert_eq!(cache.doubts(&key("web")), [Object::Service("web".into())]);
    }
}
