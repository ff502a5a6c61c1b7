//! Releases, Environments and Operations as they come, and a Release as it is kept between two decisions: spec and status as text.
//!
//! In: objects as the API server sends them. Out: what the core wants to know, parsed when it is asked for (some ten microseconds).
//! One that cannot be read is left alone, and never ends the watch of the others. A pod template as a tree of JSON values costs 50 KiB and as text 2: ten thousand Releases must fit into 100 MB.

use bascule_core::{OperationView, ReleaseView, trace::Trace};
use bascule_crds::{Environment, EnvironmentSpec, Operation, OperationSpec, Release, ReleaseSpec, ReleaseStatus, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};

use super::{kinds::slim, lenient::Shallow};
use crate::standing::Standing;

/// A Release as it comes, so that one that cannot be read does not end the watch of all.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Release")]
pub(crate) struct SlimRelease {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Shallow,
    #[serde(default)]
    status: Shallow,
}

/// What is kept of it.
#[derive(Clone, Debug)]
pub(crate) struct KeptRelease {
    uid: String,
    resource_version: String,
    generation: i64,
    deleting: bool,
    spec: Box<str>,
    status: Option<Box<str>>,
    /// It exists, and this is all that can be said of it.
    pub(crate) unreadable: bool,
    /// Names of the Services in the spec.
    pub(crate) services: Box<[String]>,
    pub(crate) standing: Standing,
    /// What its annotation names.
    pub(crate) trace: Option<Trace>,
}

impl SlimRelease {
    /// Checked once here, so that a kept one can always be read.
    pub(crate) fn kept(&self) -> Result<KeptRelease, Unreadable> {
        if self.spec.cut || self.status.cut {
            return Err(Unreadable::TooDeep);
        }
        let spec = self.spec.value.to_string();
        let status = Some(&self.status.value).filter(|status| !status.is_null()).map(ToString::to_string);
        let parsed: ReleaseSpec = read("spec", &spec)?;
        let parsed_status: Option<ReleaseStatus> = status.as_deref().map(|text| read("status", text)).transpose()?;
        let meta = &self.metadata;
        let standing = Standing::of(&parsed, &parsed_status.unwrap_or_default());
        Ok(KeptRelease {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            spec: spec.into_boxed_str(),
            status: status.map(String::into_boxed_str),
            unreadable: false,
            services: parsed.services.into_iter().map(|service| service.name).collect(),
            standing,
            trace: self.trace(),
        })
    }

    fn trace(&self) -> Option<Trace> {
        Trace::parse(self.metadata.annotations.as_ref()?.get(names::TRACEPARENT)?)
    }

    /// Of one that cannot be read: that it exists. Nothing is decided about it, and nobody is told that it is not there.
    pub(crate) fn unreadable(&self) -> KeptRelease {
        let meta = &self.metadata;
        KeptRelease {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            spec: Box::default(),
            status: None,
            unreadable: true,
            services: Box::default(),
            standing: Standing::unreadable(),
            trace: None,
        }
    }
}

/// Says which field it is that cannot be read.
fn read<T: DeserializeOwned>(root: &str, text: &str) -> Result<T, Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = format!("{root}.{}", error.path());
        Unreadable::Field { path, why: error.into_inner() }
    })
}

/// Why a Release is left alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is nested too deep")]
    TooDeep,
    #[error("{path}: {why}")]
    Field { path: String, why: serde_json::Error },
}

impl KeptRelease {
    pub(crate) fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// None: it cannot be read.
    pub(crate) fn view(&self, namespace: &str, name: &str) -> Option<ReleaseView> {
        Some(ReleaseView {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            generation: self.generation,
            deleting: self.deleting,
            spec: serde_json::from_str(&self.spec).ok()?,
            status: self
                .status
                .as_deref()
                .map_or_else(|| Some(ReleaseStatus::default()), |text| serde_json::from_str(text).ok())?,
        })
    }
}

/// An Environment as it comes.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Environment")]
pub(crate) struct SlimEnvironment {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Shallow,
}

/// What is kept of it, or why it cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptEnvironment(pub(crate) Result<Box<EnvironmentSpec>, String>);

impl SlimEnvironment {
    pub(crate) fn kept(&self) -> KeptEnvironment {
        let spec = match &self.spec {
            Shallow { cut: true, .. } => Err(Unreadable::TooDeep.to_string()),
            Shallow { value, .. } if value.is_null() => Ok(Box::default()),
            Shallow { value, .. } => read("spec", &value.to_string()).map(Box::new).map_err(|error| error.to_string()),
        };
        KeptEnvironment(spec)
    }
}

/// An Operation as it comes. A type that this version does not know yet must not end the watch of all.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Operation")]
pub(crate) struct SlimOperation {
    #[serde(deserialize_with = "slim")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Shallow,
    #[serde(default)]
    status: Shallow,
}

impl SlimOperation {
    pub(crate) fn view(&self) -> Result<OperationView, serde_json::Error> {
        let meta = &self.metadata;
        Ok(OperationView {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            spec: OperationSpec::deserialize(&self.spec.value)?,
            answered: !self.status.value.is_null(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(spec: &serde_json::Value) -> SlimRelease {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2, "managedFields": [{}]},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_kept_reads_back() {
        let template = json!({"spec": {"containers": [{"name": "web", "image": "i", "args": ["$(env.name)"], "x": 1.50}]}});
        let kept = release(&json!({"workloads": [{"name": "web", "template": template}], "services": [{"name": "web"}]}))
            .kept()
            .unwrap();
        let view = kept.view("shop", "web").unwrap();
        assert_eq!((view.uid.as_str(), view.resource_version.as_str(), view.generation), ("u", "7", 2));
        assert_eq!(view.spec.workloads[0].template, template);
        assert_eq!(*kept.services, ["web".to_owned()]);
    }

    #[test]
    fn an_operation_of_a_later_version_is_left_alone() {
        let operation = |kind: &str| json!({"metadata": {"name": "o", "uid": "u"}, "spec": {"release": "web", "type": kind}});
        assert!(serde_json::from_value::<SlimOperation>(operation("Promote")).unwrap().view().is_err());
        let known = serde_json::from_value::<SlimOperation>(operation("Abort")).unwrap().view().unwrap();
        assert!(!known.answered);
    }

    #[test]
    fn one_that_cannot_be_read_says_so() {
        assert!(release(&json!({"workloads": 3})).kept().is_err());
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let text = format!(
            r#"{{"items":[{{"metadata":{{"name":"web"}},"spec":{{"workloads":[{{"name":"web","template":{deep}}}]}}}}]}}"#
        );
        let list: kube::core::ObjectList<SlimRelease> = serde_json::from_str(&text).unwrap();
        assert!(matches!(list.items[0].kept(), Err(Unreadable::TooDeep)), "and it does not end the list of all");
    }
}
