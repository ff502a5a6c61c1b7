//! AWS as the controller needs it: few questions, deadlines of our own, and failures by what has to be done about them.
//!
//! In: where and as whom, and what is asked. Out: plain values. Never here: repetition, pace, or a decision; one call is one request, so
//! that whoever counts calls counts what AWS counts.

mod fault;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig};
use aws_sdk_ssm::types::ParameterType;
use jiff::Timestamp;

pub use fault::Fault;

/// The SDK's defaults are minutes, or none at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// What the role's trail shows.
const SESSION: &str = "bascule";

/// Where AWS is asked, and as whom. What is absent comes from the process: its environment, its pod's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    pub region: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    pub endpoint: Option<String>,
}

/// A parameter that was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub arn: String,
    pub value: String,
    pub version: i64,
    pub secure: bool,
    pub modified_at: Option<Timestamp>,
}

/// Without its value, which may be a secret.
impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// What Parameter Store says about some names. One that is in neither list was not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub found: Vec<Found>,
    pub invalid: Vec<String>,
}

/// Clients for each scope, made when they are needed first. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Aws {
    clients: Arc<std::sync::Mutex<BTreeMap<Scope, aws_sdk_ssm::Client>>>,
}

impl Aws {
    /// One request: at most ten names.
    pub async fn parameters(&self, scope: &Scope, names: Vec<String>) -> Result<Answer, Fault> {
        let client = self.ssm(scope).await;
        let answer = client.get_parameters().set_names(Some(names)).with_decryption(true).send().await.map_err(fault::of)?;
        let found = answer.parameters.unwrap_or_default().into_iter().filter_map(|it| {
            Some(Found {
                name: it.name?,
                arn: it.arn.unwrap_or_default(),
                value: it.value?,
                version: it.version,
                secure: it.r#type == Some(ParameterType::SecureString),
                modified_at: it.last_modified_date.and_then(|at| Timestamp::from_nanosecond(at.as_nanos()).ok()),
            })
        });
        Ok(Answer { found: found.collect(), invalid: answer.invalid_parameters.unwrap_or_default() })
    }

    async fn ssm(&self, scope: &Scope) -> aws_sdk_ssm::Client {
        let known = || self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known().get(scope).cloned() {
            return client;
        }
        let client = aws_sdk_ssm::Client::new(&config(scope).await);
        known().entry(scope.clone()).or_insert(client).clone()
    }
}

/// The one place where it is decided who we are. A role that cannot be assumed is a failure: there is no way back to stronger rights.
async fn config(scope: &Scope) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).operation_timeout(ANSWER_WITHIN).build();
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).retry_config(RetryConfig::disabled());
    if let Some(region) = &scope.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &scope.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let own = loader.load().await;
    let Some(role) = &scope.role_arn else { return own };
    let mut assumed = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&own);
    if let Some(id) = &scope.external_id {
        assumed = assumed.external_id(id);
    }
    let provider = assumed.build().await;
    own.into_builder().credentials_provider(aws_sdk_ssm::config::SharedCredentialsProvider::new(provider)).build()
}
