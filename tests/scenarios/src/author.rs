//! The team: keeps the manifest of its Release and of its Services, and knows which API calls an action is.
//!
//! In: actions. Out: calls, the same for every stage. Never here: sending them.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::{
    Action, Call, Delete, Edit, Hand, How, KillPods, Operate, Pods, Shape, Sight, TeamService, Want, Write,
    call::{APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC},
    sight::Kind,
};

/// How pods are told to behave, and what they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Fake pods and those of the simulation: annotations. Any image will do.
    Annotations,
    /// The example app: environment. The image without its tag.
    App(String),
}

/// Whom the API server records as the writer of what the team applies.
const TEAM: &str = "team";
const IMAGE: &str = "r.example/web";

#[derive(Clone, Debug)]
pub struct Author {
    shape: Shape,
    namespace: String,
    dialect: Dialect,
    wanted: Option<Want>,
    /// What was changed beside the version, as one merge patch.
    edits: Value,
    operations: u32,
}

impl Author {
    pub fn new(shape: &Shape, namespace: &str, dialect: Dialect) -> Self {
        let shape = shape.clone();
        Self { shape, namespace: namespace.to_owned(), dialect, wanted: None, edits: json!({}), operations: 0 }
    }

    /// An empty sight of this scenario.
    pub fn sight(&self) -> Sight {
        Sight::new(&self.shape.release)
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The calls that an action is. Pods and the process are the stage's: see [`Author::kill`].
    pub fn calls(&mut self, action: &Action) -> anyhow::Result<Vec<Call>> {
        Ok(match action {
            Action::Want(want) => {
                if let Some(replicas) = want.replicas {
                    self.shape.replicas = replicas;
                }
                self.wanted = Some(want.clone());
                vec![self.apply_release()?]
            }
            Action::Edit(Edit { merge: change }) => {
                merge_into(&mut self.edits, change, true);
                vec![self.apply_release()?]
            }
            Action::Scale(replicas) => {
                let path = format!("{}/scale", self.path("Release", &self.shape.release)?);
                let call = Call::new("PATCH", path).query("fieldManager", "autoscaler");
                vec![call.with(MERGE, json!({"spec": {"replicas": replicas}}))]
            }
            Action::Service(service) => vec![self.service(service)?],
            Action::Operate(operate) => (0..operate.times).map(|_| self.operate(operate)).collect::<anyhow::Result<_>>()?,
            Action::Write(write) => vec![self.write(write)?],
            Action::Create(object) => vec![self.create(object)?],
            Action::Delete(Delete { kind, name, propagation }) => {
                vec![Call::new("DELETE", self.path(kind, name)?).query("propagationPolicy", &format!("{propagation:?}"))]
            }
            Action::KillPods(_) | Action::Measure(_) | Action::Controller(_) => bail!("{action:?} is no API call"),
        })
    }

    /// Where the pods are listed that [`Author::kill`] wants to see.
    pub fn pods_path(&self) -> anyhow::Result<String> {
        Ok(Kind::named("Pod")?.path(&self.namespace))
    }

    /// What is done to the pods of a version, given all pods of the namespace.
    pub fn kill(&self, kill: &KillPods, pods: &[Value]) -> anyhow::Result<Vec<Call>> {
        let of_version = |pod: &&Value| {
            let image = pod.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
            image.ends_with(&format!(":{}", kill.version)) && pod.pointer("/metadata/deletionTimestamp").is_none()
        };
        let mut names: Vec<_> =
            pods.iter().filter(of_version).filter_map(|pod| pod.pointer("/metadata/name")?.as_str()).collect();
        names.sort_unstable();
        names.iter().skip(kill.keep).map(|name| self.end_pod(name, kill.deleted)).collect()
    }

    fn end_pod(&self, name: &str, deleted: bool) -> anyhow::Result<Call> {
        let path = self.path("Pod", name)?;
        if deleted || self.dialect != Dialect::Annotations {
            return Ok(Call::new("DELETE", path).query("gracePeriodSeconds", "0"));
        }
        let dies = json!({"bed.bascule.dev/behaviour": "dies", "bed.bascule.dev/dies-after": "1ms", "bed.bascule.dev/ready-after": null});
        Ok(Call::new("PATCH", path).with(MERGE, json!({"metadata": {"annotations": dies}})))
    }

    /// The parameter that the team writes for this version, and its value.
    pub fn written(&self, want: &Want) -> Option<(&str, String)> {
        let image = match &self.dialect {
            Dialect::Annotations => IMAGE,
            Dialect::App(image) => image,
        };
        Some((self.shape.parameter.as_deref()?, format!("{image}:{}", want.version)))
    }

    /// The Release as the team has it now.
    pub fn release(&self) -> anyhow::Result<Value> {
        let want = self.wanted.as_ref().context("no version is wanted yet")?;
        let shape = &self.shape;
        let workloads = shape.workloads.iter().map(|workload| {
            let mut object = json!({"name": workload.name, "template": self.template(&workload.name, want)});
            if !shape.autoscaled {
                object["replicas"] = workload.replicas.unwrap_or(shape.replicas).into();
            }
            object
        });
        let services: Vec<_> = shape.services.iter().map(|name| json!({"name": name})).collect();
        let image = match &self.dialect {
            Dialect::Annotations => IMAGE,
            Dialect::App(image) => image,
        };
        let pointer = match &shape.parameter {
            Some(parameter) => json!({"parameter": parameter, "resolve": "Never"}),
            None => json!({"ref": format!("{image}:{}", want.version), "resolve": "Never"}),
        };
        let mut release = json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Release",
            "metadata": {"name": shape.release, "namespace": self.namespace},
            "spec": {
                "artifacts": [{"name": "web", "image": pointer}],
                "workloads": workloads.collect::<Vec<_>>(),
                "services": services,
                "strategy": {
                    "progressDeadline": shape.progress_deadline.to_string(), "bake": shape.bake.to_string(),
                    "scaleDownDelay": shape.scale_down_delay.to_string(),
                },
            },
        });
        for change in [&shape.merge, &self.edits, &want.merge] {
            merge_into(&mut release, change, false);
        }
        for operation in want.json.as_array().into_iter().flatten() {
            patch(&mut release, operation).with_context(|| format!("JSON patch {operation}"))?;
        }
        Ok(release)
    }

    fn template(&self, workload: &str, want: &Want) -> Value {
        let pods = want.pods_of.get(workload).unwrap_or(&want.pods);
        let mut metadata = json!({"labels": {"app": workload}});
        let mut container = json!({"name": workload, "image": "$(artifacts.web.image)"});
        match &self.dialect {
            Dialect::Annotations => {
                let annotations = annotations(pods);
                if !annotations.is_empty() {
                    metadata["annotations"] = annotations.into();
                }
            }
            Dialect::App(image) => {
                let environment = [("VERSION", want.version.clone())].into_iter().chain(environment(pods));
                container["env"] = environment.map(|(name, value)| json!({"name": name, "value": value})).collect();
                container["ports"] = json!([{"containerPort": 8080}]);
                container["readinessProbe"] =
                    json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
                if *pods == Pods::CannotPull {
                    container["image"] = format!("{image}-that-nobody-built:{}", want.version).into();
                }
            }
        }
        // Long enough for the example app to drain; fake pods end when they are told.
        let grace = if self.dialect == Dialect::Annotations { 1 } else { 15 };
        json!({"metadata": metadata, "spec": {"terminationGracePeriodSeconds": grace, "containers": [container]}})
    }

    fn apply_release(&self) -> anyhow::Result<Call> {
        Ok(apply(self.path("Release", &self.shape.release)?, TEAM, true, self.release()?))
    }

    /// A Service of the team: it selects the workload of its name, else the first one.
    pub fn service_manifest(&self, service: &TeamService) -> Value {
        let named = self.shape.workloads.iter().find(|workload| workload.name == service.name).or(self.shape.workloads.first());
        let selector = match &service.selector {
            Some(selector) => json!(selector),
            None => json!({"app": named.map_or("web", |workload| &workload.name)}),
        };
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service.name, "namespace": self.namespace},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
        })
    }

    fn service(&self, service: &TeamService) -> anyhow::Result<Call> {
        let path = self.path("Service", &service.name)?;
        let manifest = self.service_manifest(service);
        Ok(match service.hand {
            Hand::Apply => apply(path, TEAM, true, manifest),
            Hand::Replace => Call::new("PUT", path).query("fieldManager", TEAM).with(JSON, manifest),
            Hand::Delete => Call::new("DELETE", path),
        })
    }

    fn operate(&mut self, operate: &Operate) -> anyhow::Result<Call> {
        self.operations += 1;
        let release = operate.release.as_ref().unwrap_or(&self.shape.release);
        let mut spec = json!({"release": release, "type": operate.kind});
        for (field, value) in [("note", &operate.note), ("revision", &operate.revision)] {
            if let Some(value) = value {
                spec[field] = value.clone().into();
            }
        }
        // Numbered, so that a run has the same names again.
        let metadata = json!({"name": format!("op-{:03}", self.operations), "namespace": self.namespace});
        let body = json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": metadata, "spec": spec});
        Ok(Call::new("POST", Kind::named("Operation")?.path(&self.namespace)).with(JSON, body))
    }

    fn write(&self, write: &Write) -> anyhow::Result<Call> {
        let mut path = self.path(&write.kind, &write.name)?;
        if let Some(subresource) = &write.subresource {
            path = format!("{path}/{subresource}");
        }
        let manager = write.manager.as_deref().unwrap_or("somebody");
        let patched = |content_type, body: &Value| {
            Call::new("PATCH", path.clone()).query("fieldManager", manager).with(content_type, body.clone())
        };
        Ok(match &write.how {
            How::Merge(body) => patched(MERGE, body),
            How::Strategic(body) => patched(STRATEGIC, body),
            How::Json(body) => patched(JSON_PATCH, body),
            How::Apply(body) => apply(path, manager, write.force, self.named(&write.kind, &write.name, body)?),
            How::Replace(body) => {
                Call::new("PUT", path).query("fieldManager", manager).with(JSON, self.named(&write.kind, &write.name, body)?)
            }
        })
    }

    fn create(&self, object: &Value) -> anyhow::Result<Call> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let body = self.on_this_bed(&self.named(kind, name, object)?)?;
        Ok(Call::new("POST", Kind::named(kind)?.path(&self.namespace)).query("fieldManager", "somebody").with(JSON, body))
    }

    /// The object with kind, name and namespace filled in.
    fn named(&self, kind: &str, name: &str, body: &Value) -> anyhow::Result<Value> {
        let known = Kind::named(kind)?;
        let mut object =
            json!({"apiVersion": known.version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}});
        merge_into(&mut object, body, false);
        Ok(object)
    }

    /// A real node has another image for the one that stories name.
    fn on_this_bed(&self, body: &Value) -> anyhow::Result<Value> {
        let Dialect::App(image) = &self.dialect else { return Ok(body.clone()) };
        Ok(serde_json::from_str(&body.to_string().replace(&format!("{IMAGE}:"), &format!("{image}:")))?)
    }

    fn path(&self, kind: &str, name: &str) -> anyhow::Result<String> {
        Ok(format!("{}/{name}", Kind::named(kind)?.path(&self.namespace)))
    }
}

fn apply(path: String, manager: &str, force: bool, body: Value) -> Call {
    Call::new("PATCH", path).query("fieldManager", manager).query("force", if force { "true" } else { "false" }).with(APPLY, body)
}

fn annotations(pods: &Pods) -> Map<String, Value> {
    let note = |key: &str, value: String| (format!("bed.bascule.dev/{key}"), Value::from(value));
    let behaves = |value: &str| note("behaviour", value.to_owned());
    let notes = match pods {
        Pods::Ready => vec![],
        Pods::Never => vec![behaves("never-ready")],
        Pods::Flapping => vec![behaves("flapping")],
        Pods::CannotPull => vec![behaves("cannot-pull")],
        Pods::ReadyAfter(after) => vec![note("ready-after", after.to_string())],
        Pods::Dies(after) => vec![behaves("dies"), note("dies-after", after.to_string())],
        Pods::TerminatesAfter(after) => vec![note("terminates-after", after.to_string())],
    };
    notes.into_iter().collect()
}

fn environment(pods: &Pods) -> Vec<(&'static str, String)> {
    // Quick to end, where it does not matter: a story is not about draining.
    let quick = ("DRAIN", "1s".to_owned());
    match pods {
        Pods::Ready | Pods::CannotPull => vec![quick],
        Pods::Never => vec![quick, ("READY_AFTER", "never".to_owned())],
        // Ready for a moment, then gone with exit code 1, and started again by the kubelet.
        Pods::Flapping => vec![quick, ("EXIT_AFTER", "3s".to_owned())],
        Pods::ReadyAfter(after) => vec![quick, ("READY_AFTER", after.to_string())],
        Pods::Dies(after) => vec![quick, ("UNREADY_AFTER", after.to_string())],
        Pods::TerminatesAfter(after) => vec![("DRAIN", after.to_string())],
    }
}

/// JSON merge patch. With `keep_nulls` the result is a patch itself, that says the same as both.
pub(crate) fn merge_into(target: &mut Value, change: &Value, keep_nulls: bool) {
    match change {
        Value::Null => {}
        Value::Object(changes) => {
            if !target.is_object() {
                *target = json!({});
            }
            let Some(object) = target.as_object_mut() else { return };
            for (key, value) in changes {
                match value {
                    Value::Null if keep_nulls => {
                        object.insert(key.clone(), Value::Null);
                    }
                    Value::Null => {
                        object.remove(key);
                    }
                    value => merge_into(object.entry(key.clone()).or_insert(Value::Null), value, keep_nulls),
                }
            }
        }
        other => target.clone_from(other),
    }
}

/// One operation of a JSON patch: add, replace or remove.
fn patch(target: &mut Value, operation: &Value) -> anyhow::Result<()> {
    let path = operation["path"].as_str().context("it has no path")?;
    let (parent, key) = path.rsplit_once('/').context("the path begins with no slash")?;
    let parent = target.pointer_mut(parent).with_context(|| format!("there is no {parent}"))?;
    let value = || operation.get("value").cloned().context("it has no value");
    match (operation["op"].as_str().unwrap_or_default(), parent) {
        ("add" | "replace", Value::Object(map)) => {
            map.insert(key.to_owned(), value()?);
        }
        ("remove", Value::Object(map)) => {
            map.remove(key).with_context(|| format!("there is no {path}"))?;
        }
        ("add", Value::Array(list)) if key == "-" => list.push(value()?),
        (verb, Value::Array(list)) => {
            let index: usize = key.parse()?;
            anyhow::ensure!(index < list.len() || (verb == "add" && index == list.len()), "there is no {path}");
            match verb {
                "add" => list.insert(index, value()?),
                "replace" => list[index] = value()?,
                "remove" => {
                    list.remove(index);
                }
                _ => bail!("it is none of add, replace, remove"),
            }
        }
        _ => bail!("it is none of add, replace, remove on an object or a list"),
    }
    Ok(())
}
