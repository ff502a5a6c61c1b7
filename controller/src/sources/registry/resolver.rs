//! One attempt at one tag: ask openly, and only when that is refused, with what we have.
//!
//! In: a question. Out: its digest, or an error that says which credentials were tried. Never here: HTTP, repetition.
//!
//! Order: the pull secrets that match, at ECR a token of AWS, the controller's file, nobody. The next one is tried after a 401 or 403
//! only; any other answer is the answer.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::client::{First, RegistryClient};
use super::credential_file::CredentialFile;
use super::credentials::{Keyring, Login, Source};
use super::ecr::{EcrLogins, EcrRefusal};
use super::error::{LookupError, Tried};
use super::pull_secrets::PullSecrets;
use super::{Described, Fetch, Question};
use crate::sources::lookup::Failure as _;

/// Each costs up to three requests within one deadline.
const MOST_LOGINS: usize = 8;

/// Looks tags up at their registries, with the credentials that may be used for them.
pub struct Resolver {
    client: RegistryClient,
    file: Option<CredentialFile>,
    pull_secrets: Option<Arc<dyn PullSecrets>>,
    ecr: Option<Arc<dyn EcrLogins>>,
}

/// What can be tried, and what cannot.
#[derive(Default)]
struct Logins {
    logins: Vec<Login>,
    remarks: Vec<String>,
}

impl Resolver {
    /// Without `pull_secrets` all namespaces ask with the same credentials, and share their answers.
    pub fn new(client: RegistryClient, file: Option<CredentialFile>, pull_secrets: Option<Arc<dyn PullSecrets>>) -> Self {
        Self { client, file, pull_secrets, ecr: None }
    }

    /// Registries of AWS are read with the identity of the Environment.
    #[must_use]
    pub fn with_ecr(self, ecr: Option<Arc<dyn EcrLogins>>) -> Self {
        Self { ecr, ..self }
    }

    async fn resolve(&self, question: &Question) -> Result<Described, LookupError> {
        let challenges = match self.client.ask(question).await? {
            First::Found(found) => return Ok(found),
            First::Challenged(challenges) => challenges,
        };
        let Logins { mut logins, mut remarks } = self.logins(question).await?;
        if challenges.is_empty() {
            logins.clear();
            remarks.push("the registry offers no way to log in".to_owned());
        }
        let mut tried = Vec::new();
        for login in logins.iter().take(MOST_LOGINS).map(Some).chain([None]) {
            if let Some(found) = self.client.ask_as(question, &challenges, login).await? {
                return Ok(found);
            }
            if let (Some(ecr), Some(scope), Some(Source::Aws)) = (&self.ecr, &question.aws, login.map(|login| &login.source)) {
                ecr.refused(scope, &question.registry);
            }
            tried.push(login.map_or(Tried::Without, |login| Tried::With(login.source.clone())));
        }
        Err(LookupError::Denied { repository: format!("{}/{}", question.registry, question.repository), tried, remarks })
    }

    async fn logins(&self, question: &Question) -> Result<Logins, LookupError> {
        let mut found = Logins::default();
        if let Some(pull_secrets) = &self.pull_secrets {
            let secrets =
                pull_secrets.read(&question.access).await.map_err(|unread| LookupError::unreachable(unread.to_string()))?;
            found.remarks.extend(secrets.remarks);
            for secret in secrets.configs {
                let source = Source::PullSecret(secret.name);
                match Keyring::parse(secret.format, secret.bytes.reveal(), &source) {
                    Ok(keyring) => found.add(&keyring, question),
                    Err(error) => found.remarks.push(format!("{source} {error}")),
                }
            }
        }
        if let (Some(ecr), Some(scope)) = (&self.ecr, &question.aws) {
            match ecr.login(scope, &question.registry).await {
                Ok(login) => found.logins.push(Login { source: Source::Aws, username: login.username, password: login.password }),
                Err(EcrRefusal::Denied(why)) => found.remarks.push(format!("AWS gives no token for it: {why}")),
                Err(EcrRefusal::Unreachable(why)) => {
                    return Err(LookupError::unreachable(format!("AWS gives no token for {}: {why}", question.registry)));
                }
            }
        }
        // Where an Environment says who we are, nobody stronger asks in its place.
        let is_ours = question.aws.as_ref().is_none_or(|scope| scope.role_arn.is_none());
        if let Some(file) = self.file.as_ref().filter(|_| is_ours) {
            match file.keyring().await {
                Ok(keyring) => found.add(&keyring, question),
                Err(remark) => found.remarks.push(remark),
            }
        }
        Ok(found)
    }
}

impl Logins {
    fn add(&mut self, keyring: &Keyring, question: &Question) {
        self.logins.extend(keyring.logins(&question.registry, &question.repository).cloned());
    }
}

impl Fetch for Resolver {
    fn describe<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        Box::pin(self.resolve(question))
    }

    fn reads_pull_secrets(&self) -> bool {
        self.pull_secrets.is_some()
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("file", &self.file)
            .field("pull_secrets", &self.pull_secrets.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
