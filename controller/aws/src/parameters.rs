//! Parameter Store: values, and who wrote them.

use aws_sdk_ssm::types::ParameterType;
use jiff::Timestamp;

use crate::{Aws, Fault, Scope, fault};

/// A page of a history.
const PAGE: i32 = 50;
/// AWS keeps a hundred versions.
const PAGES: usize = 3;

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

impl Aws {
    /// One request: at most ten names.
    pub async fn parameters(&self, scope: &Scope, names: Vec<String>) -> Result<Answer, Fault> {
        let client = self.clients(scope).await.ssm;
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

    /// Who wrote this version: a request, or a few where there are very many versions. None: the history does not say.
    pub async fn author(&self, scope: &Scope, name: &str, version: i64) -> Result<Option<String>, Fault> {
        let client = self.clients(scope).await.ssm;
        let mut next = None;
        for _ in 0..PAGES {
            let page = client.get_parameter_history().name(name).max_results(PAGE).set_next_token(next).send();
            let page = page.await.map_err(fault::of)?;
            let written = page.parameters.unwrap_or_default().into_iter().find(|it| it.version == version);
            if let Some(written) = written {
                return Ok(written.last_modified_user);
            }
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        Ok(None)
    }
}
