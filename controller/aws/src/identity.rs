//! Who we are in AWS.

use crate::{Aws, Fault, Scope, fault};

/// As STS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: String,
    pub arn: String,
    pub region: Option<String>,
}

impl Aws {
    /// One request. Nobody needs a right for it.
    pub async fn identity(&self, scope: &Scope) -> Result<Identity, Fault> {
        let clients = self.clients(scope).await;
        let answer = clients.sts.get_caller_identity().send().await.map_err(fault::of)?;
        Ok(Identity {
            account: answer.account.unwrap_or_default(),
            arn: answer.arn.unwrap_or_default(),
            region: clients.config.region().map(ToString::to_string),
        })
    }
}
