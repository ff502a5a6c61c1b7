//! `Environment`: what the platform team says once for all Releases of staging, production and so on.
//!
//! A namespace claims one by its label; the Environment accepts it by its selector. Both must agree.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// Where parameters are read and as whom, what may be used, and what `$(vars.*)` stands for.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bascule.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    derive = "PartialEq",
    doc = "What holds for all Releases of one environment: variables, AWS, the default registry, and what may be used.",
    validation = ("self.metadata.name.size() <= 63", "the name of an Environment has at most 63 characters: namespaces carry it as a label"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.aws.region"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.aws.roleArn"),
    printcolumn(name = "Registry", type_ = "string", json_path = ".spec.registry"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// Which namespaces may claim it by the label `bascule.dev/environment`. Without it: every namespace that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,

    /// `$(vars.<name>)` in the Releases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = (
        "self.all(name, name.matches('^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$'))",
        "a variable's name has letters, digits, - and _ only"
    ))]
    pub variables: BTreeMap<String, String>,

    #[serde(default, skip_serializing_if = "is_default")]
    pub aws: Aws,

    /// Registry of images that are named without one, as `host[:port]`. Without it: Docker Hub, as in every container tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub registry: Option<String>,

    #[serde(default, skip_serializing_if = "is_default")]
    pub prometheus: Prometheus,

    #[serde(default, skip_serializing_if = "is_default")]
    pub allow: Allow,
}

/// Where gates of type `prometheus` ask.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.secret) || has(self.address)", "secret is for an address"))]
pub struct Prometheus {
    /// As in `http://prometheus.monitoring.svc:9090`; for gates that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub address: Option<String>,

    /// `token`, or `username` and `password`; `ca.crt` for a private certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretReference>,
}

/// A Secret anywhere: only the platform team names these.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// As `metav1.LabelSelector`, without expressions.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// All of these labels, with these values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Where AWS is asked, and as whom.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aws {
    /// Without it: the region of the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z]{2,5}(-[a-z]+)+-[0-9]+$"))]
    pub region: Option<String>,

    /// This role is assumed for everything. When it cannot be assumed nothing is read: there is no way back to the controller's own rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^arn:aws[-a-z]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: Option<String>,

    /// What the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    pub external_id: Option<String>,

    /// Another address of Parameter Store, STS and the rest: a VPC endpoint, or an emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://.+$"))]
    pub endpoint: Option<String>,

    /// How often parameters are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<Duration>,
}

/// What Releases may use. A list that is absent allows everything (but for `endpoints`), an empty one nothing.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Patterns of parameter names: `*` stands for anything but a slash, `**` for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub parameters: Option<Vec<String>>,

    /// Patterns of `registry/repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub images: Option<Vec<String>>,

    /// Patterns of `host:port` that gates may reach beside the Release's own namespace and the Prometheus of this Environment; without
    /// this list: those two only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub endpoints: Option<Vec<String>>,

    /// Patterns of bucket names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub buckets: Option<Vec<String>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
