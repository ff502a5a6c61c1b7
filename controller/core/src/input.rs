//! What a revision was made from, so that it can be made again: kept in a ControllerRevision, which nobody can change.
//!
//! In: JSON. Out: JSON. Never here: who keeps it and for how long.

use std::collections::{BTreeMap, BTreeSet};

use bascule_crds::{ConfigRecord, ResolvedArtifact, Track, names};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    body,
    observed::ReleaseView,
    revision::{REVISION_VARIABLE, TRACK_VARIABLE},
    variables::{Meaning, Variables, substitute},
};

/// The whole resolved input of a revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub revision: String,
    pub version: String,
    pub artifacts: Vec<ResolvedArtifact>,
    pub workloads: Vec<InputWorkload>,
    /// ConfigMaps and Secrets that were a part of it, by a hash of what was in them; that content is not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigRecord>,
    /// What the names in the templates stood for.
    pub variables: BTreeMap<String, String>,
}

/// A pod template as the user wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputWorkload {
    pub name: String,
    pub template: Value,
}

/// Name of the ControllerRevision of a revision.
pub fn name(release: &str, revision: &str) -> String {
    format!("{release}-{revision}")
}

/// The ControllerRevision.
pub(crate) fn object(release: &ReleaseView, input: &Input, number: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(&release.name, &input.revision),
            "namespace": release.namespace,
            "labels": { names::RELEASE: release.name, names::REVISION: input.revision },
            "ownerReferences": [body::owner(release)],
        },
        "revision": number,
        "data": input,
    })
}

impl Input {
    /// What its names stood for.
    pub(crate) fn meanings(&self) -> Variables {
        self.variables.iter().map(|(name, value)| (name.clone(), Meaning::Text(value.clone()))).collect()
    }

    /// The pod templates as the API server would see them, on either track: which one it will be is open.
    pub fn templates(&self) -> Vec<Value> {
        let texts = |track: Track| {
            let mut variables = self.meanings();
            variables.insert(TRACK_VARIABLE.to_owned(), Meaning::Text(track.to_string()));
            variables.insert(REVISION_VARIABLE.to_owned(), Meaning::Text(self.revision.clone()));
            variables
        };
        let on = |track: Track| {
            let variables = texts(track);
            let filled = |it: &InputWorkload| substitute(&it.template, "", &variables).unwrap_or_else(|_| it.template.clone());
            self.workloads.iter().map(filled).collect::<Vec<_>>()
        };
        [Track::Blue, Track::Green].into_iter().flat_map(on).collect()
    }
}

/// What pods of a revision need of the namespace, by name. Of ConfigMaps and Secrets also which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
    pub secrets: BTreeMap<String, BTreeSet<String>>,
    /// Secrets with which their images are pulled: no part of what the pods themselves see.
    pub pull_secrets: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
}

impl Needs {
    /// Of pod templates: what a pod cannot start without.
    pub fn of<'a>(templates: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut needs = Self::default();
        for spec in templates.into_iter().filter_map(|template| template.get("spec")) {
            let lists = ["containers", "initContainers"].map(|key| spec.get(key).and_then(Value::as_array));
            for container in lists.into_iter().flatten().flatten() {
                for from in items(container, "envFrom") {
                    add(&mut needs.config_maps, from.get("configMapRef"), "name");
                    add(&mut needs.secrets, from.get("secretRef"), "name");
                }
                for from in items(container, "env").filter_map(|variable| variable.get("valueFrom")) {
                    add(&mut needs.config_maps, from.get("configMapKeyRef"), "name");
                    add(&mut needs.secrets, from.get("secretKeyRef"), "name");
                }
            }
            for volume in items(spec, "volumes") {
                add(&mut needs.config_maps, volume.get("configMap"), "name");
                add(&mut needs.secrets, volume.get("secret"), "secretName");
                needs.volumes.extend(needed(volume.get("persistentVolumeClaim"), "claimName"));
                for source in volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources")) {
                    add(&mut needs.config_maps, source.get("configMap"), "name");
                    add(&mut needs.secrets, source.get("secret"), "name");
                }
            }
            needs.pull_secrets.extend(items(spec, "imagePullSecrets").filter_map(|secret| needed(Some(secret), "name")));
        }
        needs
    }
}

/// With the key of a variable, or those that a volume picks.
fn add(needs: &mut BTreeMap<String, BTreeSet<String>>, reference: Option<&Value>, name: &str) {
    let Some((reference, name)) = reference.zip(needed(reference, name)) else { return };
    let picked = items(reference, "items").filter_map(|item| item.get("key"));
    let keys = reference.get("key").into_iter().chain(picked).filter_map(Value::as_str);
    needs.entry(name).or_default().extend(keys.map(str::to_owned));
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The name, unless the pod starts without it as well.
fn needed(reference: Option<&Value>, key: &str) -> Option<String> {
    let reference = reference?;
    let optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(false);
    let name = reference.get(key).and_then(Value::as_str).filter(|name| !name.is_empty() && !optional)?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_cannot_start_without_is_found_wherever_it_is_named() {
        let template = json!({"spec": {
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{
                "env": [{"valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}, {"valueFrom": {"fieldRef": {}}}, {"value": "x"}],
                "envFrom": [{"configMapRef": {"name": "flags"}}, {"configMapRef": {"name": "maybe", "optional": true}}],
            }],
            "volumes": [
                {"configMap": {"name": "files"}},
                {"secret": {"secretName": "tls"}},
                {"projected": {"sources": [{"secret": {"name": "p"}}, {"configMap": {"name": "q"}}]}},
                {"emptyDir": {}},
            ],
        }});
        let needs = Needs::of([&template, &json!("odd")]);
        assert_eq!(needs.config_maps.into_keys().collect::<Vec<_>>(), ["files", "flags", "q"]);
        assert_eq!(needs.secrets.into_keys().collect::<Vec<_>>(), ["init", "p", "tls", "token"]);
    }

    #[test]
    fn keys_pull_secrets_and_volumes_are_needed_too_unless_they_are_optional() {
        let template = json!({"spec": {
            "imagePullSecrets": [{"name": "registry"}, {}],
            "containers": [{"env": [
                {"valueFrom": {"configMapKeyRef": {"name": "flags", "key": "mode"}}},
                {"valueFrom": {"configMapKeyRef": {"name": "flags", "key": "color", "optional": true}}},
                {"valueFrom": {"secretKeyRef": {"name": "token", "key": "t", "optional": false}}},
            ]}],
            "volumes": [
                {"configMap": {"name": "flags", "items": [{"key": "file", "path": "a"}]}},
                {"secret": {"secretName": "maybe", "optional": true, "items": [{"key": "k", "path": "k"}]}},
                {"projected": {"sources": [{"secret": {"name": "token", "items": [{"key": "u", "path": "u"}]}}]}},
                {"persistentVolumeClaim": {"claimName": "data"}},
            ],
        }});
        let needs = Needs::of([&template]);
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(needs.config_maps, BTreeMap::from([("flags".to_owned(), keys(&["mode", "file"]))]));
        assert_eq!(needs.secrets, BTreeMap::from([("token".to_owned(), keys(&["t", "u"]))]));
        assert_eq!((needs.pull_secrets, needs.volumes), (keys(&["registry"]), keys(&["data"])));
    }

    #[test]
    fn a_stored_template_is_looked_at_with_what_its_names_stood_for() {
        let template = json!({"a": "$(vars.team)-flags", "b": "$(release.track)-$(release.revision)"});
        let input = Input {
            revision: "bcdf".into(),
            version: "v1".into(),
            artifacts: Vec::new(),
            workloads: vec![InputWorkload { name: "web".into(), template }],
            configs: Vec::new(),
            variables: [("vars.team".to_owned(), "shop".to_owned())].into(),
        };
        let on = |track: &str| json!({"a": "shop-flags", "b": format!("{track}-bcdf")});
        assert_eq!(input.templates(), [on("blue"), on("green")]);
    }
}
