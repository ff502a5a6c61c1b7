//! AWS as the controller needs it: few questions, deadlines of our own, and failures by what has to be done about them.
//!
//! In: where and as whom, and what is asked. Out: plain values. Never here: repetition, pace, or a decision; one call is one request, so
//! that whoever counts calls counts what AWS counts.

mod archives;
mod fault;
mod identity;
mod parameters;
pub mod policy;
mod queue;
mod registries;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig};
use aws_sdk_ssm::config::SharedCredentialsProvider;

pub use archives::FoundObject;
pub use fault::Fault;
pub use identity::Identity;
pub use parameters::{Answer, Found};
pub use queue::{Message, WAIT as QUEUE_WAITS};
pub use registries::RegistryLogin;

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

/// Clients for each scope, made when they are needed first. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Aws {
    clients: Arc<std::sync::Mutex<BTreeMap<Scope, Clients>>>,
}

/// They share connections and credentials: a role is assumed once for all of them.
#[derive(Clone, Debug)]
struct Clients {
    ssm: aws_sdk_ssm::Client,
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    sts: aws_sdk_sts::Client,
    config: SdkConfig,
}

impl Aws {
    async fn clients(&self, scope: &Scope) -> Clients {
        let known = || self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = known().get(scope).cloned() {
            return clients;
        }
        let config = config(scope).await;
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            // An endpoint of one's own has no name for each bucket.
            .force_path_style(scope.endpoint.is_some())
            .build();
        let clients = Clients {
            ssm: aws_sdk_ssm::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sqs: aws_sdk_sqs::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            config,
        };
        known().entry(scope.clone()).or_insert(clients).clone()
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
    own.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}
