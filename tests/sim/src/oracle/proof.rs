//! What was once fully ready, and when last: on which track, of which revision, with which pod template.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{label, text};
use crate::api::{Api, Change};

/// Namespace, Release and track.
pub(super) type Place = (String, String, String);

#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// The last time at which it was; it still is when `open`.
    until: SignedDuration,
    open: bool,
    /// Its Release was deleted: it counts for decisions of that moment, and for nothing that is made anew under the same name.
    gone: bool,
    /// By workload.
    templates: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// By place and revision.
    ready: BTreeMap<(Place, String), Proof>,
    /// When a track had a ready pod last; None: it has one now.
    alive: BTreeMap<Place, Option<SignedDuration>>,
}

impl Proofs {
    /// The Release is deleted, and its pods go with it: one that is made anew under its name has proved nothing yet.
    pub(super) fn forget(&mut self, namespace: &str, release: &str, at: SignedDuration) {
        let of = |place: &Place| place.0 == namespace && place.1 == release;
        for ((place, _), proof) in &mut self.ready {
            if of(place) && !proof.gone {
                proof.until = if proof.open { at } else { proof.until };
                (proof.open, proof.gone) = (false, true);
            }
        }
        self.alive.retain(|place, _| !of(place));
    }

    /// Looks at the places that this commit may have changed.
    pub(super) fn look(&mut self, change: &Change, api: &Api, at: SignedDuration) {
        if !["apps/deployments", "apps/replicasets", "pods", "bascule.dev/releases"].contains(&change.kind.full) {
            return;
        }
        let release =
            if change.kind.plural == "releases" { change.name.as_str() } else { label(&change.object, "bascule.dev/release") };
        if release.is_empty() {
            return;
        }
        for track in ["blue", "green"] {
            let place = (change.namespace.clone(), release.to_owned(), track.to_owned());
            let now = fully_ready(api, &place);
            for ((of, revision), proof) in &mut self.ready {
                let still = now.as_ref().is_some_and(|(ready, _)| ready == revision);
                if *of == place && proof.open && !still {
                    proof.open = false;
                    proof.until = at;
                }
            }
            if let Some((revision, templates)) = now {
                let new = Proof { until: at, open: true, gone: false, templates };
                let proof = self.ready.entry((place.clone(), revision)).or_insert_with(|| new.clone());
                if proof.gone {
                    *proof = new;
                }
                (proof.until, proof.open) = (at, true);
            }
            let has_pods = ready_pods(api, &place) > 0;
            let alive = self.alive.entry(place).or_insert(Some(SignedDuration::ZERO));
            match (&alive, has_pods) {
                (_, true) => *alive = None,
                (None, false) => *alive = Some(at),
                (Some(_), false) => {}
            }
        }
    }

    /// It was fully ready at some time after `since`.
    pub(super) fn proved(&self, place: &Place, revision: &str, since: SignedDuration) -> bool {
        self.ready.get(&(place.clone(), revision.to_owned())).is_some_and(|proof| proof.open || proof.until >= since)
    }

    /// It was fully ready at some time, and its Release is still there.
    pub(super) fn once_proved(&self, place: &Place, revision: &str) -> bool {
        self.ready.get(&(place.clone(), revision.to_owned())).is_some_and(|proof| !proof.gone)
    }

    /// It had a ready pod at some time after `since`.
    pub(super) fn alive(&self, place: &Place, since: SignedDuration) -> bool {
        self.alive.get(place).is_some_and(|last| last.is_none_or(|last| last >= since))
    }

    /// The pod template with which it was ready.
    pub(super) fn template(&self, place: &Place, revision: &str, workload: &str) -> Option<&Value> {
        let proof = self.ready.get(&(place.clone(), revision.to_owned()))?;
        proof.templates.get(workload).filter(|_| !proof.gone)
    }
}

/// The revision of which all Deployments of the track have all their pods, and the templates.
fn fully_ready(api: &Api, (namespace, release, track): &Place) -> Option<(String, BTreeMap<String, Value>)> {
    let here = |object: &&Value| {
        text(object, "/metadata/namespace") == namespace
            && label(object, "bascule.dev/release") == release
            && label(object, "bascule.dev/track") == track
    };
    let all = |full| api.store.all(full).map(|object| &**object).filter(here).collect::<Vec<_>>();
    let (deployments, sets) = (all("apps/deployments"), all("apps/replicasets"));
    let stored = api.store.find("bascule.dev/releases", namespace, release)?;
    // Those of an earlier Release of that name are on their way out.
    let owned = |it: &Value| it["metadata"]["ownerReferences"][0]["uid"] == stored["metadata"]["uid"];
    if !deployments.iter().all(|it| owned(it)) {
        return None;
    }
    let candidate = &stored["status"]["candidate"];
    let revision = [text(candidate, "/revision"), label(deployments.first()?, "bascule.dev/revision")]
        .into_iter()
        .find(|revision| !revision.is_empty() && deployments.iter().any(|it| label(it, "bascule.dev/revision") == *revision))?;
    // While it starts, all workloads of the candidate are meant.
    let named = |name: &str| {
        deployments.iter().any(|it| label(it, "bascule.dev/workload") == name && label(it, "bascule.dev/revision") == revision)
    };
    let meant = candidate["workloads"].as_array().into_iter().flatten().filter_map(|workload| workload["name"].as_str());
    if text(candidate, "/revision") == revision && !meant.into_iter().all(named) {
        return None;
    }
    let mut templates = BTreeMap::new();
    for deployment in deployments.iter().filter(|it| label(it, "bascule.dev/revision") == revision) {
        let workload = label(deployment, "bascule.dev/workload");
        let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
        let of = |set: &&&Value| label(set, "bascule.dev/workload") == workload;
        let available = |set: &&&Value| set["status"]["availableReplicas"].as_i64().unwrap_or(0);
        let current: i64 =
            sets.iter().filter(of).filter(|set| label(set, "bascule.dev/revision") == revision).map(|set| available(&set)).sum();
        if current < wanted {
            return None;
        }
        templates.insert(workload.to_owned(), deployment["spec"]["template"].clone());
    }
    Some((revision.to_owned(), templates))
}

fn ready_pods(api: &Api, (namespace, release, track): &Place) -> usize {
    api.store
        .all("pods")
        .filter(|pod| {
            text(pod, "/metadata/namespace") == namespace
                && label(pod, "bascule.dev/release") == release
                && label(pod, "bascule.dev/track") == track
                && is_ready(pod)
        })
        .count()
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"].get("deletionTimestamp").is_none()
        && conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}
