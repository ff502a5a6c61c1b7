//! From the cache to what the core may know. Whatever has not been read yet is `Unknown`, never empty.

use std::collections::BTreeMap;

use bascule_core::{Endpoints, Observed, ReleaseView, Service, Sight};
use bascule_crds::names;
use jiff::{SignedDuration, Timestamp};

use super::{Cache, Memory, OBSOLETE};
use crate::queue::Key;

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
            // A Release may be seen before its new namespace.
            environment: self
                .namespaces
                .get("", &key.namespace)
                .cloned()
                .map_or_else(|| Sight::Unknown(NOT_YET.to_owned()), Sight::Known),
            // The registries are asked by the worker: their answers are not objects.
            artifacts: BTreeMap::new(),
            deployments: known(self.deployments.synced(), || self.deployments_of(key)),
            replica_sets: known(self.replica_sets.synced(), || {
                self.replica_sets.of_release(&key.namespace, &key.name).map(|(_, set)| set.clone()).collect()
            }),
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
            // One that is long due and was not tried again is about something that nobody wants any more.
            troubles: memory.troubles.values().map(|it| &it.trouble).filter(|it| it.retry_at + OBSOLETE > now).cloned().collect(),
        })
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

fn known<T>(synced: bool, value: impl FnOnce() -> T) -> Sight<T> {
    if synced { Sight::Known(value()) } else { Sight::Unknown(NOT_YET.to_owned()) }
}
