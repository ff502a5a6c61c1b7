//! What a stage shows: the objects of the scenario's namespace, as the API server gives them.
//!
//! In: raw lists. Out: the few things that expectations are about. Never here: a judgement.

use std::collections::BTreeMap;

use bascule_crds::names;
use serde_json::Value;

/// A kind, and where the API server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

const fn kind(name: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind { name, version, plural }
}

/// Everything that a story can name.
const KNOWN: &[Kind] = &[
    kind("Release", "bascule.dev/v1alpha1", "releases"),
    kind("Operation", "bascule.dev/v1alpha1", "operations"),
    kind("Service", "v1", "services"),
    kind("Deployment", "apps/v1", "deployments"),
    kind("Event", "events.k8s.io/v1", "events"),
    kind("Job", "batch/v1", "jobs"),
    kind("ConfigMap", "v1", "configmaps"),
    kind("ControllerRevision", "apps/v1", "controllerrevisions"),
    kind("ReplicaSet", "apps/v1", "replicasets"),
    kind("Pod", "v1", "pods"),
    kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
    kind("ResourceQuota", "v1", "resourcequotas"),
];

impl Kind {
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let known = KNOWN.iter().find(|kind| kind.name == name);
        known.copied().ok_or_else(|| anyhow::anyhow!("scenarios know no kind {name:?}"))
    }

    /// The path of all of them in a namespace.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{}/namespaces/{namespace}/{}", self.version, self.plural)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    release: String,
    /// By `Kind/name`.
    objects: BTreeMap<String, Value>,
    /// Their versions at the last mark.
    marked: BTreeMap<String, String>,
}

impl Sight {
    /// What a stage has to list.
    pub const KINDS: &'static [Kind] = KNOWN.split_at(7).0;

    /// `release` is the name of the scenario's Release.
    pub fn new(release: &str) -> Self {
        Self { release: release.to_owned(), ..Self::default() }
    }

    /// All items of a list of this kind.
    pub fn add(&mut self, kind: &Kind, items: impl IntoIterator<Item = Value>) {
        for item in items {
            let Some(name) = item.pointer("/metadata/name").and_then(Value::as_str) else { continue };
            self.objects.insert(format!("{}/{name}", kind.name), item);
        }
    }

    pub(crate) fn remember(&mut self, marked: &BTreeMap<String, String>) {
        self.marked.clone_from(marked);
    }

    /// What changes when somebody writes an object: a Deployment's status is not meant.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let version = |(name, object): (&String, &Value)| {
            let field = if name.starts_with("Deployment/") { "/metadata/generation" } else { "/metadata/resourceVersion" };
            Some((name.clone(), object.pointer(field)?.to_string()))
        };
        self.objects.iter().filter_map(version).collect()
    }

    pub(crate) fn marked(&self, name: &str) -> Option<&str> {
        self.marked.get(name).map(String::as_str)
    }

    /// By `Kind/name`.
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.objects.get(name)
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.objects.iter().filter_map(move |(name, object)| Some((name.strip_prefix(kind)?.strip_prefix('/')?, object)))
    }

    pub fn release(&self) -> Option<&Value> {
        self.object(&format!("Release/{}", self.release))
    }

    /// A field of the Release's status, by JSON pointer.
    pub fn status(&self, pointer: &str) -> Option<&Value> {
        self.release()?.get("status")?.pointer(pointer)
    }

    pub fn status_text(&self, pointer: &str) -> Option<&str> {
        self.status(pointer)?.as_str()
    }

    /// Status is about the spec as it is now.
    pub fn is_current(&self) -> bool {
        let generation = self.release().and_then(|release| release.pointer("/metadata/generation"));
        generation.is_some() && generation == self.status("/observedGeneration")
    }

    /// A field of a condition.
    pub fn condition(&self, kind: &str, field: &str) -> &str {
        let conditions = self.status("/conditions").and_then(Value::as_array);
        let condition = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
        condition.and_then(|condition| condition[field].as_str()).unwrap_or_default()
    }

    /// Rejected versions with reason and message.
    pub fn rejected(&self) -> BTreeMap<&str, (&str, &str)> {
        let all = self.status("/rejected").and_then(Value::as_array).into_iter().flatten();
        all.map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            (text("version"), (text("reason"), text("message")))
        })
        .collect()
    }

    /// The track that a Service selects; none where it selects all pods of the app, or is not there.
    pub fn selected(&self, service: &str) -> Option<&str> {
        self.object(&format!("Service/{service}"))?.get("spec")?.get("selector")?.get(names::TRACK)?.as_str()
    }

    /// A Deployment that is not there has none.
    pub fn replicas(&self, deployment: &str) -> i64 {
        let object = self.object(&format!("Deployment/{deployment}"));
        // The API server fills in 1; a model may leave it out.
        object.map_or(0, |object| object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1))
    }

    pub fn available(&self, deployment: &str) -> i64 {
        let object = self.object(&format!("Deployment/{deployment}"));
        object.and_then(|object| object.pointer("/status/availableReplicas")).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn image(&self, deployment: &str) -> Option<&str> {
        self.object(&format!("Deployment/{deployment}"))?.pointer("/spec/template/spec/containers/0/image")?.as_str()
    }

    /// Operations in the order in which they were made.
    pub fn operations(&self) -> Vec<&Value> {
        let mut all: Vec<_> = self.of_kind("Operation").map(|(_, object)| object).collect();
        all.sort_by_key(|object| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            (text("/metadata/creationTimestamp"), text("/metadata/name"))
        });
        all
    }

    /// `Reason: note` of each Event that the controller reported.
    pub fn notes(&self) -> Vec<String> {
        let note = |event: &Value| {
            let by = event["reportingController"].as_str().unwrap_or_default();
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            by.starts_with("bascule").then(|| format!("{}: {}", text("reason"), text("note")))
        };
        self.of_kind("Event").filter_map(|(_, event)| note(event)).collect()
    }

    /// The picture in a few lines, for a story that failed.
    pub fn picture(&self) -> String {
        let or_none = |text: Option<&str>| text.unwrap_or("none").to_owned();
        let mut lines = Vec::new();
        if self.release().is_some() {
            lines.push(format!(
                "Release {}: active {} on {}, candidate {} {}, {}",
                self.release,
                or_none(self.status_text("/active/version")),
                or_none(self.status_text("/active/track")),
                or_none(self.status_text("/candidate/version")),
                self.status_text("/candidate/step").unwrap_or_default(),
                if self.is_current() { "status is current" } else { "status is about an older spec" }
            ));
            for kind in ["Ready", "Reconciling", "Stalled", "Available"] {
                let field = |field| self.condition(kind, field);
                lines.push(format!("  {kind}={} {}: {}", field("status"), field("reason"), field("message")));
            }
            for (version, (reason, message)) in self.rejected() {
                lines.push(format!("  rejected {version} {reason}: {message}"));
            }
        } else {
            lines.push(format!("Release {}: there is none", self.release));
        }
        for (name, service) in self.of_kind("Service") {
            let annotations = service.pointer("/metadata/annotations").cloned().unwrap_or_default();
            lines.push(format!("Service {name}: selects {}, {annotations}", self.selected(name).unwrap_or("all tracks")));
        }
        for (name, deployment) in self.of_kind("Deployment") {
            let image = self.image(name).unwrap_or_default();
            let generation = deployment.pointer("/metadata/generation").cloned().unwrap_or_default();
            let (wanted, ready) = (self.replicas(name), self.available(name));
            lines.push(format!("Deployment {name}: {ready} of {wanted} available, {image}, generation {generation}"));
        }
        for operation in self.operations() {
            let (name, kind) = (&operation["metadata"]["name"], &operation["spec"]["type"]);
            lines.push(format!("Operation {name} {kind}: {}", operation.get("status").unwrap_or(&Value::Null)));
        }
        lines.join("\n")
    }
}
