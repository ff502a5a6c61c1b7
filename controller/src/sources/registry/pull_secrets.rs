//! The pull secrets of a namespace.
//!
//! In: on whose behalf an image is looked up. Out: the docker configurations of those Secrets, and remarks about those that
//! could not be used. Never here: a list or a watch of Secrets, any other key of a Secret, matching of hosts.
//!
//! It needs the verb `get` on `secrets` and `serviceaccounts`, and is only put to use where the installation grants that.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Deserialize;

use super::Access;
use super::credentials::ConfigFormat;
use super::hidden::Hidden;
use crate::client::is_name;

/// Pods with more pull secrets than this are not known; each one costs a read for each attempt.
const MOST_SECRETS: usize = 16;

/// Where pull secrets come from: the API server, or a test's own.
pub trait PullSecrets: Send + Sync + 'static {
    fn read<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<PullSecretsFound, PullSecretsUnread>>;
}

#[derive(Clone, Debug, Default)]
pub struct PullSecretsFound {
    pub configs: Vec<PullSecretConfig>,
    /// Why a secret that was named gives nothing; in words.
    pub remarks: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct PullSecretConfig {
    pub name: String,
    pub format: ConfigFormat,
    pub bytes: Hidden<Vec<u8>>,
}

/// The API server did not say whether there are pull secrets. Nothing is concluded from that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pull secrets of namespace {namespace:?} could not be read: {why}")]
pub struct PullSecretsUnread {
    pub namespace: String,
    pub why: String,
}

/// Reads them from the API server, at the time when they are needed.
#[derive(Clone)]
pub struct KubePullSecrets {
    client: Client,
}

/// The two keys of a Secret that are read; the others are not even parsed.
#[derive(Clone, Debug, Resource, Deserialize)]
#[resource(inherit = Secret)]
struct PullSecret {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<PullSecretData>,
}

#[derive(Clone, Debug, Deserialize)]
struct PullSecretData {
    #[serde(default, rename = ".dockerconfigjson")]
    config: Option<Hidden<String>>,
    #[serde(default, rename = ".dockercfg")]
    legacy: Option<Hidden<String>>,
}

#[derive(Clone, Debug, Resource, Deserialize)]
#[resource(inherit = ServiceAccount)]
struct Puller {
    metadata: ObjectMeta,
    #[serde(default, rename = "imagePullSecrets")]
    pull_secrets: Vec<Named>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

/// What a single read comes to: the object, or why there is none.
enum Seen<T> {
    Object(T),
    Missing,
    Forbidden,
}

impl KubePullSecrets {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn find(&self, access: &Access) -> Result<PullSecretsFound, PullSecretsUnread> {
        let mut found = PullSecretsFound::default();
        let (namespace, names) = match access {
            Access::Controller => return Ok(found),
            Access::PullSecrets { namespace, names } => (namespace, names.clone()),
            Access::ServiceAccount { namespace, name } => {
                (namespace, self.of_service_account(namespace, name, &mut found).await?)
            }
        };
        if names.len() > MOST_SECRETS {
            found.remarks.push(format!("only the first {MOST_SECRETS} pull secrets are tried"));
        }
        for name in names.into_iter().take(MOST_SECRETS) {
            self.add(namespace, name, &mut found).await?;
        }
        Ok(found)
    }

    async fn of_service_account(
        &self,
        namespace: &str,
        name: &str,
        found: &mut PullSecretsFound,
    ) -> Result<BTreeSet<String>, PullSecretsUnread> {
        let why = match self.get::<Puller>(namespace, name).await? {
            Seen::Object(account) => {
                return Ok(account.pull_secrets.into_iter().map(|named| named.name).filter(|name| !name.is_empty()).collect());
            }
            Seen::Missing => "does not exist",
            Seen::Forbidden => "must not be read by the controller",
        };
        found.remarks.push(format!("service account {name:?} {why}"));
        Ok(BTreeSet::new())
    }

    async fn add(&self, namespace: &str, name: String, found: &mut PullSecretsFound) -> Result<(), PullSecretsUnread> {
        let why = match self.get::<PullSecret>(namespace, &name).await? {
            Seen::Object(secret) => match secret.config() {
                Ok((format, bytes)) => {
                    found.configs.push(PullSecretConfig { name, format, bytes });
                    return Ok(());
                }
                Err(why) => why,
            },
            Seen::Missing => "does not exist",
            Seen::Forbidden => "must not be read by the controller",
        };
        found.remarks.push(format!("pull secret {name:?} {why}"));
        Ok(())
    }

    async fn get<T>(&self, namespace: &str, name: &str) -> Result<Seen<T>, PullSecretsUnread>
    where
        T: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + fmt::Debug
            + for<'de> Deserialize<'de>,
    {
        if !is_name(name) {
            return Ok(Seen::Missing);
        }
        match Api::<T>::namespaced(self.client.clone(), namespace).get(name).await {
            Ok(object) => Ok(Seen::Object(object)),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Seen::Missing),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Seen::Forbidden),
            Err(kube::Error::Api(status)) => Err(unread(namespace, format!("the API server answered {}", status.code))),
            // A parser's words could quote what it read.
            Err(kube::Error::SerdeError(_)) => Err(unread(namespace, "the API server's answer is not understood")),
            Err(_) => Err(unread(namespace, "the API server does not answer")),
        }
    }
}

fn unread(namespace: &str, why: impl Into<String>) -> PullSecretsUnread {
    PullSecretsUnread { namespace: namespace.to_owned(), why: why.into() }
}

impl PullSecret {
    fn config(self) -> Result<(ConfigFormat, Hidden<Vec<u8>>), &'static str> {
        let (format, encoded) = match self.data {
            Some(PullSecretData { config: Some(config), .. }) => (ConfigFormat::Config, config),
            Some(PullSecretData { legacy: Some(legacy), .. }) => (ConfigFormat::Legacy, legacy),
            _ => return Err("has no docker configuration in it"),
        };
        let bytes = STANDARD.decode(encoded.reveal()).map_err(|_| "is not valid base64")?;
        Ok((format, Hidden::new(bytes)))
    }
}

impl PullSecrets for KubePullSecrets {
    fn read<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<PullSecretsFound, PullSecretsUnread>> {
        Box::pin(self.find(access))
    }
}

impl fmt::Debug for KubePullSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubePullSecrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
