//! What the cluster shows, without what differs between two runs that came to the same: times, generations, names of pods.
//!
//! In: the namespace of a run. Out: lines that can be compared, and each way that traffic went. Never here: a change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bascule_crds::{ConditionType, Operation, Release};
use futures::StreamExt as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    runtime::watcher::{self, Event, watcher},
};
use tokio::task::JoinHandle;

use crate::crash::story::{End, Story};

/// One line for each thing.
pub(crate) type Sight = BTreeMap<String, String>;

pub(crate) async fn look(client: &Client, namespace: &str) -> Result<Sight, kube::Error> {
    let mut sight = Sight::new();
    let release: Release = Api::namespaced(client.clone(), namespace).get("web").await?;
    let status = release.status.unwrap_or_default();
    let version = |version: &bascule_crds::Version| format!("{} on {}", version.version, version.track);
    let none = || "none".to_owned();
    sight.insert("active".into(), status.active.as_ref().map_or_else(none, version));
    sight.insert("previous".into(), status.previous.as_ref().map_or_else(none, version));
    sight.insert("candidate".into(), status.candidate.as_ref().map_or_else(none, |candidate| candidate.summary.clone()));
    sight.insert("observed".into(), (release.metadata.generation == Some(status.observed_generation)).to_string());
    for rejection in &status.rejected {
        sight.insert(format!("rejected {}", rejection.version), format!("{} {}", rejection.revision, rejection.reason));
    }
    for condition in &status.conditions {
        let kind = format!("condition {:?}", condition.kind);
        let mut text = format!("{:?} {}", condition.status, condition.reason);
        if condition.kind == ConditionType::Ready {
            // What follows are words of pods.
            text = format!("{text}: {}", condition.message.split(": ").next().unwrap_or_default());
        }
        sight.insert(kind, text);
    }
    for service in Api::<Service>::namespaced(client.clone(), namespace).list(&ListParams::default()).await? {
        sight.insert(format!("Service {}", service.name_any()), route(&service));
    }
    for deployment in Api::<Deployment>::namespaced(client.clone(), namespace).list(&ListParams::default()).await? {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let revision = deployment.labels().get("bascule.dev/revision").cloned().unwrap_or_default();
        sight.insert(format!("Deployment {}", deployment.name_any()), format!("{revision} replicas {replicas}"));
    }
    for operation in Api::<Operation>::namespaced(client.clone(), namespace).list(&ListParams::default()).await? {
        let outcome = operation.status.map_or_else(|| "open".to_owned(), |status| format!("{:?}", status.outcome));
        sight.insert(format!("Operation {:?}", operation.spec.kind), outcome);
    }
    Ok(sight)
}

/// It has come to what the story says; this is for the run without faults, the others are compared with that one.
pub(crate) fn is_over(sight: &Sight, end: &End) -> bool {
    let starts = |key: &str, start: &str| sight.get(key).is_some_and(|text| text.starts_with(start));
    let Some(active) = sight.get("active").filter(|active| active.starts_with(&format!("{} on ", end.active))) else {
        return false;
    };
    let track = if active.ends_with("blue") { "blue" } else { "green" };
    let is_alone = sight.iter().filter(|(key, _)| key.starts_with("Deployment ")).all(|(key, text)| {
        let wanted = if key.ends_with(track) { end.replicas } else { 0 };
        text.ends_with(&format!(" replicas {wanted}"))
    });
    let is_rejected = match end.rejected {
        Some(version) => sight.contains_key(&format!("rejected {version}")) && starts("condition Ready", "False Rejected"),
        None => starts("condition Ready", "True"),
    };
    let answered = sight.iter().filter(|(key, _)| key.starts_with("Operation ")).all(|(_, outcome)| outcome == "Done");
    let named = starts("candidate", "none") && starts("observed", "true") && starts("condition Available", "True");
    is_alone && is_rejected && answered && named
}

pub(crate) fn differences(expected: &Sight, found: &Sight) -> String {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
    let lines = keys.filter(|key| expected.get(*key) != found.get(*key)).map(|key| {
        let show = |sight: &Sight| sight.get(key).cloned().unwrap_or_else(|| "nothing".into());
        format!("      {key}: {} instead of {}", show(found), show(expected))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Selector, track and revision.
fn route(service: &Service) -> String {
    let selected = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()?.get("bascule.dev/track").cloned());
    let annotation = |name: &str| service.annotations().get(name).cloned().unwrap_or_default();
    format!("{} ({} {})", selected.unwrap_or_default(), annotation("bascule.dev/track"), annotation("bascule.dev/revision"))
}

/// Each way that each Service went, in order; seen by a watch of its own, so that nothing depends on what the controller says.
#[derive(Debug)]
pub(crate) struct Moves {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    moves: BTreeMap<String, Vec<String>>,
    versions: BTreeMap<String, String>,
}

impl Moves {
    pub(crate) fn watch(client: Client, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let api = Api::<Service>::namespaced(client, namespace);
        let into = seen.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(service) | Event::InitApply(service)) = event {
                    let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                    let ways = seen.moves.entry(service.name_any()).or_default();
                    let way = route(&service);
                    if ways.last() != Some(&way) {
                        ways.push(way);
                    }
                    seen.versions.insert(service.name_any(), service.resource_version().unwrap_or_default());
                }
            }
        });
        Self { seen, task }
    }

    /// None: it has not seen everything yet.
    pub(crate) async fn complete(
        &self,
        client: &Client,
        namespace: &str,
        story: &Story,
    ) -> Option<BTreeMap<String, Vec<String>>> {
        for service in story.services {
            let now = Api::<Service>::namespaced(client.clone(), namespace).get(service).await.ok()?.resource_version();
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.versions.get(*service) != now.as_ref() {
                return None;
            }
        }
        Some(self.seen.lock().unwrap_or_else(PoisonError::into_inner).moves.clone())
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.task.abort();
    }
}
