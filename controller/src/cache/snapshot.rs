//! From the cache to what the core may know. Whatever has not been read yet is `Unknown`, never empty.

use std::collections::BTreeMap;

use bascule_core::{Claim, Endpoints, Observed, ReleaseView, Service, Sight};
use bascule_crds::{EnvironmentSpec, names};
use jiff::{SignedDuration, Timestamp};

use super::{Cache, Memory};
use crate::queue::Key;

/// Nothing tells when a PersistentVolumeClaim changes.
const VOLUME_GOOD_FOR: SignedDuration = SignedDuration::from_secs(30);

/// Why something is unknown right after the start.
const NOT_YET: &str = "not read yet";

impl Cache {
    /// Everything about one Release. None: there is no such Release, or nobody knows yet.
    /// Answers to reads are good for `fresh`: nothing tells when they change.
    pub(crate) fn snapshot(&self, key: &Key, now: Timestamp, fresh: SignedDuration) -> Option<Observed> {
        let release = self.releases.get(&key.namespace, &key.name)?.view(&key.namespace, &key.name)?;
        let empty = Memory::default();
        let memory = self.memory.get(key).unwrap_or(&empty);
        let services = self.services_of(key, &release, memory, now - fresh);
        let endpoints = services.keys().map(|name| (name.clone(), self.endpoints(&key.namespace, &key.name, name))).collect();
        let mut operations: Vec<_> =
            self.operations.of_release(&key.namespace, &key.name).map(|(_, operation)| operation.clone()).collect();
        operations.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Some(Observed {
            release,
            environment: self.claim(&key.namespace),
            // The sources are asked by the worker: their answers are not objects.
            parameters: BTreeMap::new(),
            images: BTreeMap::new(),
            archives: BTreeMap::new(),
            configs: BTreeMap::new(),
            architectures: known(self.nodes.synced(), || self.architectures()),
            deployments: known(self.deployments.synced(), || self.deployments_of(key)),
            replica_sets: known(self.replica_sets.synced(), || {
                self.replica_sets.of_release(&key.namespace, &key.name).map(|(_, set)| set.clone()).collect()
            }),
            jobs: known(self.jobs.synced(), || {
                self.jobs.of_release(&key.namespace, &key.name).map(|(name, job)| (name.to_owned(), job.clone())).collect()
            }),
            way_back: memory.way_back.clone(),
            since: self.since,
            // One that is made a moment later, or anew, counts as it is then.
            volumes: memory
                .volumes
                .iter()
                .filter(|(_, (at, _))| *at > now - VOLUME_GOOD_FOR)
                .map(|(name, (_, modes))| (name.clone(), modes.clone()))
                .collect(),
            ended: memory.ended.clone(),
            absent: memory.absent_jobs.clone(),
            words: memory.words.clone(),
            inputs: memory.inputs.clone(),
            stored: memory.stored.clone(),
            discarded: memory.discarded.clone(),
            // The gates are asked by the worker, like the sources.
            samples: Vec::new(),
            services,
            endpoints,
            strangers: memory
                .strangers
                .iter()
                .filter(|(_, sighting)| sighting.at > now - fresh)
                .map(|(name, sighting)| (name.clone(), sighting.what.clone()))
                .collect(),
            operations,
            check: memory.check.clone(),
            pods: memory.pods.clone(),
            troubles: memory.troubles.values().filter(|it| it.is_tried(now)).map(|it| it.trouble.clone()).collect(),
        })
    }

    /// The environment that a namespace says to be; empty when it says nothing, or is not seen yet.
    pub(crate) fn environment_of(&self, namespace: &str) -> &str {
        // Cluster-scoped objects have no namespace of their own.
        let labels = self.namespaces.get("", namespace);
        labels.and_then(|labels| labels.get(names::ENVIRONMENT)).map_or("", String::as_str)
    }

    /// The Environment that a namespace claims by its label, if it accepts the namespace.
    fn claim(&self, namespace: &str) -> Sight<Claim> {
        // A Release may be seen before its new namespace.
        let (Some(labels), true) = (self.namespaces.get("", namespace), self.environments.synced()) else {
            return Sight::Unknown(NOT_YET.to_owned());
        };
        let Some(name) = labels.get(names::ENVIRONMENT) else { return Sight::Known(Claim::Nothing) };
        let refused = |reason, message| Sight::Known(Claim::Refused { reason, message });
        match self.environments.get("", name).map(|it| &it.0) {
            None => {
                let message = format!(
                    "namespace {namespace} claims Environment {name}, and there is none: create it, or change the label {}",
                    names::ENVIRONMENT
                );
                refused("EnvironmentMissing", message)
            }
            Some(Err(why)) => refused("EnvironmentUnreadable", format!("Environment {name} cannot be read: {why}")),
            Some(Ok(spec)) if !accepts(spec, labels) => {
                let message =
                    format!("namespace {namespace} claims Environment {name}, whose spec.namespaces does not select it");
                refused("EnvironmentNotAccepted", message)
            }
            Some(Ok(spec)) => Sight::Known(Claim::Of { name: name.clone(), spec: spec.clone() }),
        }
    }

    fn deployments_of(&self, key: &Key) -> BTreeMap<String, bascule_core::Deployment> {
        let of = self.deployments.of_release(&key.namespace, &key.name);
        of.map(|(name, deployment)| {
            let mut deployment = deployment.clone();
            deployment.confirmed = self.confirmed.get(&deployment.uid).copied();
            (name.to_owned(), deployment)
        })
        .collect()
    }

    /// Those that the spec names, their previews, and those that carry the label.
    fn services_of(
        &self,
        key: &Key,
        release: &ReleaseView,
        memory: &Memory,
        since: Timestamp,
    ) -> BTreeMap<String, Sight<Option<Service>>> {
        let mut services = BTreeMap::new();
        for reference in &release.spec.services {
            services.insert(reference.name.clone(), self.service(key, &reference.name, memory, since));
            if release.spec.preview {
                let preview = names::preview(&reference.name);
                let sight = self.service(key, &preview, memory, since);
                services.insert(preview, sight);
            }
        }
        for (name, service) in self.services.of_release(&key.namespace, &key.name) {
            services.insert(name.to_owned(), Sight::Known(Some(service.view(&key.name))));
        }
        services
    }

    fn service(&self, key: &Key, name: &str, memory: &Memory, since: Timestamp) -> Sight<Option<Service>> {
        if !self.services.synced() {
            return Sight::Unknown(NOT_YET.to_owned());
        }
        match self.services.get(&key.namespace, name) {
            Some(service) => Sight::Known(Some(service.view(&key.name))),
            None => memory
                .sightings
                .get(name)
                .filter(|sighting| sighting.at > since)
                .map_or_else(|| Sight::Unknown("not looked for yet".to_owned()), |sighting| sighting.what.clone()),
        }
    }

    /// The slices carry the label of their Service, so those of an unclaimed one are not known.
    fn endpoints(&self, namespace: &str, release: &str, service: &str) -> Sight<Endpoints> {
        if !self.slices.synced() || self.services.get(namespace, service).is_none() {
            return Sight::Unknown(NOT_YET.to_owned());
        }
        let slices = self.slices.of_release(namespace, release).filter(|(_, slice)| slice.service == service);
        Sight::Known(Endpoints { ready: slices.flat_map(|(_, slice)| slice.ready.iter().cloned()).collect() })
    }
}

fn accepts(environment: &EnvironmentSpec, labels: &BTreeMap<String, String>) -> bool {
    let wanted = environment.namespaces.iter().flat_map(|selector| &selector.match_labels);
    wanted.into_iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn known<T>(synced: bool, value: impl FnOnce() -> T) -> Sight<T> {
    if synced { Sight::Known(value()) } else { Sight::Unknown(NOT_YET.to_owned()) }
}
