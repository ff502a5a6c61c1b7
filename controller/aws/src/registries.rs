//! ECR: the token with which its registries are read.

use aws_config::Region;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::{Aws, Fault, Scope, fault};

/// A user and a password for a registry.
#[derive(Clone)]
pub struct RegistryLogin {
    pub username: String,
    pub password: String,
    pub expires_at: Option<Timestamp>,
}

/// Without the password.
impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLogin").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Aws {
    /// One request. It opens every registry of that region that the identity may read.
    pub async fn registry_login(&self, scope: &Scope, region: &str) -> Result<RegistryLogin, Fault> {
        let clients = self.clients(scope).await;
        let config = aws_sdk_ecr::config::Builder::from(&clients.config).region(Region::new(region.to_owned())).build();
        let client = aws_sdk_ecr::Client::from_conf(config);
        let answer = client.get_authorization_token().send().await.map_err(fault::of)?;
        let data = answer.authorization_data.unwrap_or_default().into_iter().next();
        let expires_at = data.as_ref().and_then(|data| Timestamp::from_nanosecond(data.expires_at?.as_nanos()).ok());
        let token = data.and_then(|data| data.authorization_token);
        let pair = token.and_then(|token| String::from_utf8(STANDARD.decode(token).ok()?).ok());
        let (username, password) = pair
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .ok_or_else(|| Fault::Refused("ECR gave a token that is none".to_owned()))?;
        Ok(RegistryLogin { username: username.to_owned(), password: password.to_owned(), expires_at })
    }
}
