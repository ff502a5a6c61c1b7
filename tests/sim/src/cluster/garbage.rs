//! The garbage collector: what belonged only to objects that are gone is deleted.

use super::{View, Wishes, delete, deleting};
use crate::api::Kind;

const USER: &str = "garbage-collector";
const COLLECTED: [&str; 9] = [
    "apps/deployments",
    "apps/replicasets",
    "pods",
    "services",
    "batch/jobs",
    "apps/controllerrevisions",
    "discovery.k8s.io/endpointslices",
    "bascule.dev/operations",
    "configmaps",
];

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    let uids = view.store.uids();
    for full in COLLECTED {
        debug_assert!(Kind::named(full).is_some());
        for object in view.store.all(full).filter(|object| !deleting(object)) {
            let Some(owners) = object["metadata"]["ownerReferences"].as_array().filter(|owners| !owners.is_empty()) else {
                continue;
            };
            if owners.iter().all(|owner| owner["uid"].as_str().is_none_or(|uid| !uids.contains(uid))) {
                wishes.requests.push(delete(USER, full, object));
            }
        }
    }
}
