//! What a revision was made from, so that it can be made again: kept in a ControllerRevision, which nobody can change.
//!
//! In: JSON. Out: JSON. Never here: who keeps it and for how long.

use std::collections::{BTreeMap, BTreeSet};

use bascule_crds::{ConfigRecord, ResolvedArtifact, names};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{body, observed::ReleaseView};

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

/// What pods of a revision need of the namespace, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
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
                    needs.config_map(from.get("configMapRef"), "name");
                    needs.secret(from.get("secretRef"), "name");
                }
                for from in items(container, "env").filter_map(|variable| variable.get("valueFrom")) {
                    needs.config_map(from.get("configMapKeyRef"), "name");
                    needs.secret(from.get("secretKeyRef"), "name");
                }
            }
            for volume in items(spec, "volumes") {
                needs.config_map(volume.get("configMap"), "name");
                needs.secret(volume.get("secret"), "secretName");
                needs.volumes.extend(needed(volume.get("persistentVolumeClaim"), "claimName"));
                for source in volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources")) {
                    needs.config_map(source.get("configMap"), "name");
                    needs.secret(source.get("secret"), "name");
                }
            }
        }
        needs
    }

    fn config_map(&mut self, reference: Option<&Value>, key: &str) {
        self.config_maps.extend(needed(reference, key));
    }

    fn secret(&mut self, reference: Option<&Value>, key: &str) {
        self.secrets.extend(needed(reference, key));
    }
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
        assert_eq!(needs.config_maps.into_iter().collect::<Vec<_>>(), ["files", "flags", "q"]);
        assert_eq!(needs.secrets.into_iter().collect::<Vec<_>>(), ["init", "p", "tls", "token"]);
    }
}
