//! From the API server's watches into the cache and the queue: one task for each kind, each with a back-off of its own.
//!
//! In: events. Out: a cache that is as new as the events, and keys of the releases that they are about. An event that changes nothing
//! that is kept wakes nobody. An error of a watch never reaches the queue.

#[cfg(test)]
mod bad_input;
pub(crate) mod kept;
pub(crate) mod kinds;
mod lenient;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use bascule_crds::names;
use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Node},
};
use kube::{
    Api, Resource,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{self, Cache, Change, Seen, Table},
    client,
    queue::{
        Key, Lane,
        backoff::{Random, watch_pause},
    },
    shell::Shell,
    tasks::Tasks,
};
use kept::{KeptEnvironment, KeptRelease, SlimEnvironment, SlimOperation, SlimRelease};
use kinds::{SlimDeployment, SlimJob, SlimReplicaSet, SlimService, SlimSlice};

/// Objects in one page of a list: some MB at most, also for Releases with long templates.
const PAGE: u32 = 500;

/// How objects of one kind go into the cache.
struct Kept<K, T> {
    kind: &'static str,
    table: fn(&mut Cache) -> &mut Table<T>,
    /// The Release that it belongs to, and what is kept. None: not readable.
    project: fn(&K) -> Option<(String, T)>,
    /// Who must know of a change.
    tell: fn(&Shell, &Change<T>),
}

pub(crate) fn start(shell: &Arc<Shell>, tasks: &Tasks, stop: &CancellationToken) {
    let labelled = || watcher::Config::default().labels(names::RELEASE).page_size(PAGE);
    let all = || watcher::Config::default().page_size(PAGE);
    let spawn = Spawn { shell, tasks, stop };
    spawn.watch(all(), RELEASES);
    spawn.watch(all(), OPERATIONS);
    spawn.watch(labelled(), DEPLOYMENTS);
    spawn.watch(labelled(), REPLICA_SETS);
    spawn.watch(labelled(), JOBS);
    spawn.watch(labelled(), SERVICES);
    spawn.watch(labelled(), SLICES);
    if let (ClusterReads::None, Some(namespace)) = (shell.cluster_reads, &shell.namespace) {
        shell.cache().knows_no_cluster(namespace);
        return;
    }
    let own = shell.namespace.as_deref().map_or_else(all, |name| all().fields(&format!("metadata.name={name}")));
    spawn.run(Api::<SlimEnvironment>::all(shell.client.clone()), all(), ENVIRONMENTS);
    spawn.run(Api::<PartialObjectMeta<Namespace>>::all(shell.client.clone()), own, NAMESPACES);
    if shell.cluster_reads == ClusterReads::All {
        spawn.run(Api::<PartialObjectMeta<Node>>::all(shell.client.clone()), all(), NODES);
    }
}

/// What is read of objects that are in no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ClusterReads {
    /// Environments, namespaces and nodes.
    All,
    /// No nodes: an image for other machines is not found out beforehand.
    NoNodes,
    /// Nothing: no Environment holds either, neither its limits nor its roles. Only for one namespace.
    None,
}

struct Spawn<'a> {
    shell: &'a Arc<Shell>,
    tasks: &'a Tasks,
    stop: &'a CancellationToken,
}

impl Spawn<'_> {
    /// A namespaced kind, in all namespaces or in the one that this process is for.
    fn watch<K, T>(&self, config: watcher::Config, kept: Kept<K, T>)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default + Clone,
        T: Clone + Send + 'static,
    {
        let client = self.shell.client.clone();
        let api = match &self.shell.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        self.run(api, config, kept);
    }

    fn run<K, T>(&self, api: Api<K>, config: watcher::Config, kept: Kept<K, T>)
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        T: Clone + Send + 'static,
    {
        let (shell, stop) = (self.shell.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = follow(&shell, api, config, &kept) => {}
            }
        });
    }
}

/// A busy machine may be so late with a failure.
const SLOW: Duration = Duration::from_secs(5);

/// What says where traffic is and whether pods answer: nothing is moved by news of these that a broken watch may hold back.
const MOVED_BY: [&str; 4] = [RELEASES.kind, SERVICES.kind, DEPLOYMENTS.kind, REPLICA_SETS.kind];

async fn follow<K, T>(shell: &Arc<Shell>, api: Api<K>, config: watcher::Config, kept: &Kept<K, T>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Clone,
{
    let mut events = watcher(api, config).boxed();
    let mut random = Random::new(shell.seed);
    let mut failures = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if works(&event) {
                    failures = 0;
                }
                take(shell, kept, event);
            }
            Err(error) => {
                failures += 1;
                if failures == 1 || failures % 20 == 0 {
                    tracing::warn!(kind = kept.kind, failures, error = %error, "the watch failed; it is tried again");
                }
                let pause = watch_pause(failures, &mut random);
                let blind_until = Instant::now() + pause + client::ANSWER_WITHIN + SLOW;
                shell.metrics.watch_failed(kept.kind, blind_until);
                if MOVED_BY.contains(&kept.kind) {
                    shell.cache().blind_for(kept.kind, blind_until);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Whether this shows that a watch works: each attempt at a list begins with `Init`, also the one that fails.
pub(crate) fn works<K>(event: &Event<K>) -> bool {
    !matches!(event, Event::Init)
}

fn take<K: Resource, T: Clone>(shell: &Shell, kept: &Kept<K, T>, event: Event<K>) {
    let (begins, listed) = (matches!(event, Event::Init), matches!(event, Event::InitDone));
    let changes = {
        let mut cache = shell.cache();
        // The beginning of a list shows nothing yet.
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            cache.sees(kept.kind);
        }
        let table = (kept.table)(&mut cache);
        let changes = match event {
            Event::Init => {
                table.begin();
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some((release, value)) = (kept.project)(&object) {
                    table.listed(Seen::of(object.meta()), release, value);
                }
                Vec::new()
            }
            Event::InitDone => table.end(),
            Event::Apply(object) => (kept.project)(&object)
                .and_then(|(release, value)| table.event(Seen::of(object.meta()), release, value))
                .into_iter()
                .collect(),
            Event::Delete(object) => table.gone(&Seen::of(object.meta())).into_iter().collect(),
        };
        let lags = table.take_lags(Instant::now());
        shell.metrics.watched(kept.kind, table.len(), begins, &lags);
        changes
    };
    for change in &changes {
        (kept.tell)(shell, change);
        if let Some(left) = &change.left {
            shell.queue.push(Key { namespace: change.name.0.clone(), name: left.clone() }, Lane::Switch);
        }
    }
    if listed {
        shell.cache().listed_again();
    }
    if shell.cache().synced() {
        shell.now_synced();
    }
}

fn key<T>(change: &Change<T>) -> Key {
    Key { namespace: change.name.0.clone(), name: change.release.clone() }
}

const RELEASES: Kept<SlimRelease, KeptRelease> = Kept {
    kind: "Release",
    table: |cache| &mut cache.releases,
    project: |release| {
        let name = release.metadata.name.clone().unwrap_or_default();
        match release.kept() {
            Ok(kept) => Some((name, kept)),
            Err(error) => {
                let namespace = release.metadata.namespace.as_deref().unwrap_or_default();
                tracing::error!(release = format!("{namespace}/{name}"), error = %error, "this Release cannot be read and is left alone");
                Some((name, release.unreadable()))
            }
        }
    },
    tell: |shell, change| shell.queue.push(key(change), Lane::Spec),
};

const OPERATIONS: Kept<SlimOperation, bascule_core::OperationView> = Kept {
    kind: "Operation",
    table: |cache| &mut cache.operations,
    project: |operation| match operation.view() {
        Ok(view) => Some((view.spec.release.clone(), view)),
        Err(error) => {
            tracing::error!(operation = ?operation.metadata.name, error = %error, "this Operation cannot be read and is left alone");
            None
        }
    },
    tell: |shell, change| shell.queue.push(key(change), Lane::Spec),
};

const DEPLOYMENTS: Kept<SlimDeployment, bascule_core::Deployment> = Kept {
    kind: "Deployment",
    table: |cache| &mut cache.deployments,
    project: |deployment| Some(cache::deployment(deployment)),
    tell: |shell, change| {
        // Its status moves the resourceVersion all the time, and nothing of it is read.
        let same = |a: &bascule_core::Deployment, b: &bascule_core::Deployment| {
            let mut a = a.clone();
            a.resource_version.clone_from(&b.resource_version);
            a == *b
        };
        if let (Some(before), None) = (&change.before, &change.after) {
            shell.cache().unconfirm(&before.uid);
        }
        if !matches!((&change.before, &change.after), (Some(before), Some(after)) if same(before, after)) {
            shell.queue.push(key(change), Lane::Switch);
        }
    },
};

const REPLICA_SETS: Kept<SlimReplicaSet, bascule_core::ReplicaSet> = Kept {
    kind: "ReplicaSet",
    table: |cache| &mut cache.replica_sets,
    project: |set| Some(cache::replica_set(set)),
    tell: |shell, change| match (&change.before, &change.after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(before), after) if after.as_ref().is_none_or(|after| after.available < before.available) => {
            shell.queue.push(key(change), Lane::Rollback);
        }
        _ => shell.queue.push(key(change), Lane::Switch),
    },
};

const JOBS: Kept<SlimJob, bascule_core::Job> = Kept {
    kind: "Job",
    table: |cache| &mut cache.jobs,
    project: |job| Some(cache::job(job)),
    tell: |shell, change| {
        // A pod of it more or less is nobody's business.
        if change.before != change.after {
            shell.queue.push(key(change), Lane::Switch);
        }
    },
};

const SERVICES: Kept<SlimService, SlimService> = Kept {
    kind: "Service",
    table: |cache| &mut cache.services,
    project: |service| Some((service.release(), service.clone())),
    tell: |shell, change| {
        shell.queue.push(key(change), Lane::Switch);
        if change.after.is_none() || change.left.is_some() {
            // Gone from the watch may mean that only its label is gone: whoever names it must look.
            let (namespace, service) = &change.name;
            let waiting = shell.cache().forget_service_of_all(namespace, service);
            for key in waiting {
                shell.queue.push(key, Lane::Switch);
            }
        }
    },
};

const SLICES: Kept<SlimSlice, kinds::Slice> = Kept {
    kind: "EndpointSlice",
    table: |cache| &mut cache.slices,
    project: |slice| Some(cache::slice(slice)),
    tell: |shell, change| {
        if change.before != change.after {
            shell.queue.push(key(change), Lane::Switch);
        }
    },
};

const ENVIRONMENTS: Kept<SlimEnvironment, KeptEnvironment> = Kept {
    kind: "Environment",
    table: |cache| &mut cache.environments,
    project: |environment| Some((String::new(), environment.kept())),
    tell: |shell, change| {
        if change.before != change.after {
            let claims: Vec<_> = {
                let cache = shell.cache();
                cache.keys().into_iter().filter(|key| cache.environment_of(&key.namespace) == change.name.1).collect()
            };
            for key in claims {
                shell.queue.push(key, Lane::Spec);
            }
        }
    },
};

const NAMESPACES: Kept<PartialObjectMeta<Namespace>, BTreeMap<String, String>> = Kept {
    kind: "Namespace",
    table: |cache| &mut cache.namespaces,
    project: |namespace| Some((String::new(), namespace.metadata.labels.clone().unwrap_or_default())),
    tell: |shell, change| {
        if change.before != change.after {
            let keys = shell.cache().keys();
            for key in keys.into_iter().filter(|key| key.namespace == change.name.1) {
                shell.queue.push(key, Lane::Spec);
            }
        }
    },
};

const NODES: Kept<PartialObjectMeta<Node>, String> = Kept {
    kind: "Node",
    table: |cache| &mut cache.nodes,
    project: |node| {
        let architecture = node.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/arch"));
        Some((String::new(), architecture.cloned().unwrap_or_default()))
    },
    // Nodes come and go all day; what matters is whether there are others than before.
    tell: |shell, _| {
        let keys = {
            let mut cache = shell.cache();
            let now = cache.architectures();
            if cache.told_architectures == now {
                return;
            }
            cache.told_architectures = now;
            cache.keys()
        };
        for key in keys {
            shell.queue.push(key, Lane::Resync);
        }
    },
};
