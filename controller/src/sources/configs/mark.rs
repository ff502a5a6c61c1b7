//! Which version of a ConfigMap or Secret there is, and nothing else: nothing else is asked for but metadata, and of that nothing else is
//! kept. An annotation may hold what is in a Secret.

use std::borrow::Cow;

use bascule_crds::ConfigKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug)]
pub(super) struct Mark(ObjectMeta);

impl Mark {
    pub(super) fn name(&self) -> String {
        self.0.name.clone().unwrap_or_default()
    }

    pub(super) fn version(&self) -> String {
        self.0.resource_version.clone().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Meta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta {
            name: Option<String>,
            resource_version: Option<String>,
        }
        let Meta { name, resource_version } = Object::deserialize(deserializer)?.metadata;
        Ok(Self(ObjectMeta { name, resource_version, ..ObjectMeta::default() }))
    }
}

impl Resource for Mark {
    type DynamicType = ConfigKind;
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        true
    }

    fn kind(kind: &ConfigKind) -> Cow<'_, str> {
        match kind {
            ConfigKind::ConfigMaps => "ConfigMap".into(),
            ConfigKind::Secrets => "Secret".into(),
        }
    }

    fn group(_: &ConfigKind) -> Cow<'_, str> {
        "".into()
    }

    fn version(_: &ConfigKind) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(kind: &ConfigKind) -> Cow<'_, str> {
        match kind {
            ConfigKind::ConfigMaps => "configmaps".into(),
            ConfigKind::Secrets => "secrets".into(),
        }
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0
    }
}
