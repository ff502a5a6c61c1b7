//! AWS itself: its words into ours, for everybody here who asks it.
//!
//! Never here: pace and repetition (the hubs'), credentials of our own making (the SDK's), a way around a role that cannot be assumed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bascule_aws::{Aws, Fault, Found, FoundObject, Identity, RegistryLogin};
use bascule_core::{
    Archive, Parameter,
    sources::{ParameterName, Scope},
};
use bascule_crds::ArchiveRecord;
use futures::{FutureExt as _, future::BoxFuture};
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{
    archives::{ArchiveStore, is_same},
    hints::{HintQueue, Message},
    parameters::{Account, Batch, ParameterStore, account_of},
    registry::{EcrLogin, EcrLogins, EcrRefusal, Hidden, ecr_region},
    trouble::SourceError,
};
use crate::{clock::Clock, metrics::Meters};

/// ECR's tokens are good for twelve hours. One is used for so long at most, and not in its last minutes.
const TOKEN_FOR: Duration = Duration::from_secs(6 * 3600);
const BEFORE_ITS_END: SignedDuration = SignedDuration::from_mins(15);
const MOST_TOKENS: usize = 512;
/// Of one that ends before: whoever gave it has another clock.
const AT_LEAST: Duration = Duration::from_secs(60);

/// Whoever does not say who we are is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Where and as whom, and which region's ECR.
type Counter = (Scope, String);

/// One token, and until when it is used. Whoever needs a new one holds it, so that it is fetched once.
type Slot = Arc<tokio::sync::Mutex<Option<(EcrLogin, Instant)>>>;

/// The real one.
pub struct AwsSources {
    aws: Aws,
    queue: Option<String>,
    clock: Arc<dyn Clock>,
    meters: Meters,
    tokens: Mutex<BTreeMap<Counter, Slot>>,
    identities: Arc<Mutex<BTreeMap<Scope, Acquaintance>>>,
}

/// Whether it is known who we are somewhere.
#[derive(Clone, Debug)]
enum Acquaintance {
    /// Somebody was asked at that time.
    Asked(Instant),
    Known(Identity),
}

impl AwsSources {
    /// Events come from this queue, which is asked with the controller's own identity.
    pub fn new(queue: Option<String>, clock: Arc<dyn Clock>, meters: Meters) -> Self {
        Self { aws: Aws::default(), queue, clock, meters, tokens: Mutex::default(), identities: Arc::default() }
    }

    /// Says in the log who we are there: once, and again later when AWS did not say it.
    pub fn introduce(&self, scope: &Scope) {
        {
            let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
            match identities.get(scope) {
                Some(Acquaintance::Known(_)) => return,
                Some(Acquaintance::Asked(at)) if at.elapsed() < ASK_AGAIN => return,
                Some(Acquaintance::Asked(_)) | None => identities.insert(scope.clone(), Acquaintance::Asked(Instant::now())),
            };
        }
        let (aws, scope, identities) = (self.aws.clone(), scope.clone(), Arc::clone(&self.identities));
        let meters = self.meters.clone();
        tokio::spawn(async move {
            let role = scope.role_arn.as_deref().unwrap_or("none: the process's own identity");
            match counted(&meters, "sts", "GetCallerIdentity", aws.identity(&there(&scope))).await {
                Ok(identity) => {
                    let region = identity.region.as_deref().unwrap_or("none");
                    tracing::info!(arn = identity.arn, account = identity.account, region, role, "who we are in AWS");
                    let known = Acquaintance::Known(identity);
                    identities.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, known);
                }
                Err(why) => tracing::warn!(role, region = scope.region, %why, "AWS does not say who we are"),
            }
        });
    }

    fn identity(&self, scope: &Scope) -> Option<Identity> {
        match self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(scope)? {
            Acquaintance::Known(identity) => Some(identity.clone()),
            Acquaintance::Asked(_) => None,
        }
    }

    async fn token(&self, scope: &Scope, region: &str) -> Result<EcrLogin, Fault> {
        let key = (scope.clone(), region.to_owned());
        let slot = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            // More are not in use at the same time; whoever is forgotten asks again.
            if tokens.len() >= MOST_TOKENS {
                tokens.clear();
            }
            tokens.entry(key).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some((login, until)) = slot.as_ref()
            && Instant::now() < *until
        {
            return Ok(login.clone());
        }
        let scope = there(scope);
        let login = self.aws.registry_login(&scope, region);
        let RegistryLogin { username, password, expires_at } =
            counted(&self.meters, "ecr", "GetAuthorizationToken", login).await?;
        let left = expires_at.map(|end| end.duration_since(self.clock.now()) - BEFORE_ITS_END);
        let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(AT_LEAST).clamp(AT_LEAST, TOKEN_FOR);
        let login = EcrLogin { username: Hidden::new(username), password: Hidden::new(password) };
        *slot = Some((login.clone(), Instant::now() + left));
        Ok(login)
    }
}

impl std::fmt::Debug for AwsSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsSources").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A call of the SDK is twenty kilobytes of future: it lives on the heap.
fn counted<'a, T: Send + 'a>(
    meters: &'a Meters,
    service: &'static str,
    operation: &'static str,
    call: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> BoxFuture<'a, Result<T, Fault>> {
    let call = call.boxed();
    async move {
        let answer = call.await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(Fault::Throttled(_)) => "throttled",
            Err(Fault::Denied(_)) => "denied",
            Err(Fault::Unreachable(_) | Fault::Refused(_)) => "failed",
        };
        meters.called(service, operation, outcome);
        answer
    }
    .boxed()
}

fn there(scope: &Scope) -> bascule_aws::Scope {
    bascule_aws::Scope {
        region: scope.region.clone(),
        role_arn: scope.role_arn.clone(),
        external_id: scope.external_id.clone(),
        endpoint: scope.endpoint.clone(),
    }
}

impl From<Fault> for SourceError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Denied(why) => Self::Denied(why),
            Fault::Throttled(why) => Self::Throttled(why),
            Fault::Unreachable(why) => Self::Unreachable(why),
            Fault::Refused(why) => Self::Refused(why),
        }
    }
}

impl ParameterStore for AwsSources {
    /// The controller's own identity and the roles of its account are one to AWS.
    fn account(&self, scope: &Scope) -> Account {
        let own = self.identity(&Scope::default());
        let own_account = || own.as_ref().filter(|_| scope.role_arn.is_none()).map(|identity| identity.account.clone());
        let own_region = || own.as_ref().and_then(|identity| identity.region.clone());
        (account_of(scope).or_else(own_account), scope.region.clone().or_else(own_region))
    }

    fn read<'a>(&'a self, scope: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        async move {
            self.introduce(scope);
            let texts = names.iter().map(|name| name.as_str().to_owned()).collect();
            let answer = counted(&self.meters, "ssm", "GetParameters", self.aws.parameters(&there(scope), texts)).await?;
            Ok(sorted(names, &answer.found, &answer.invalid))
        }
        .boxed()
    }

    fn author<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a ParameterName,
        version: i64,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        async move {
            let scope = there(scope);
            let asked = self.aws.author(&scope, name.base(), version);
            Ok(counted(&self.meters, "ssm", "GetParameterHistory", asked).await?)
        }
        .boxed()
    }
}

impl ArchiveStore for AwsSources {
    fn look<'a>(
        &'a self,
        scope: &'a Scope,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Archive>, SourceError>> {
        async move {
            self.introduce(scope);
            let found = counted(&self.meters, "s3", "HeadObject", self.aws.object(&there(scope), bucket, key)).await?;
            Ok(found.map(|found| archive(bucket, key, found)))
        }
        .boxed()
    }

    fn keeps<'a>(&'a self, scope: &'a Scope, pinned: &'a ArchiveRecord) -> BoxFuture<'a, Result<bool, SourceError>> {
        async move {
            self.introduce(scope);
            let (there, ArchiveRecord { bucket, key, .. }) = (there(scope), pinned);
            if let Some(version) = &pinned.version_id {
                let asked = self.aws.object_version(&there, bucket, key, version);
                return Ok(counted(&self.meters, "s3", "HeadObject", asked).await?.is_some());
            }
            let newest = counted(&self.meters, "s3", "HeadObject", self.aws.object(&there, bucket, key)).await?;
            Ok(newest.is_some_and(|newest| is_same(pinned, &archive(bucket, key, newest).record)))
        }
        .boxed()
    }
}

fn archive(bucket: &str, key: &str, found: FoundObject) -> Archive {
    Archive {
        record: ArchiveRecord {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version_id: found.version_id,
            etag: found.etag,
            sha256: found.sha256,
            size: found.size,
        },
        metadata: found.metadata,
    }
}

impl EcrLogins for AwsSources {
    fn refused(&self, scope: &Scope, registry: &str) {
        if let Some(region) = ecr_region(registry) {
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&(scope.clone(), region.to_owned()));
        }
    }

    fn login<'a>(&'a self, scope: &'a Scope, registry: &'a str) -> BoxFuture<'a, Result<EcrLogin, EcrRefusal>> {
        async move {
            self.introduce(scope);
            let region = ecr_region(registry).ok_or_else(|| EcrRefusal::Denied(format!("{registry} is not in AWS")))?;
            self.token(scope, region).await.map_err(|fault| match fault {
                Fault::Denied(why) | Fault::Refused(why) => EcrRefusal::Denied(why),
                Fault::Throttled(why) | Fault::Unreachable(why) => EcrRefusal::Unreachable(why),
            })
        }
        .boxed()
    }
}

impl HintQueue for AwsSources {
    fn exists(&self) -> bool {
        self.queue.is_some()
    }

    fn receive(&self) -> BoxFuture<'_, Result<Vec<Message>, SourceError>> {
        async move {
            let Some(queue) = &self.queue else { return Ok(Vec::new()) };
            let own = bascule_aws::Scope::default();
            let received = counted(&self.meters, "sqs", "ReceiveMessage", self.aws.receive(&own, queue)).await?;
            Ok(received.into_iter().map(|it| Message { body: it.body, handle: it.handle }).collect())
        }
        .boxed()
    }

    fn delete(&self, handles: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        async move {
            let Some(queue) = &self.queue else { return Ok(()) };
            let own = bascule_aws::Scope::default();
            Ok(counted(&self.meters, "sqs", "DeleteMessageBatch", self.aws.delete(&own, queue, &handles)).await?)
        }
        .boxed()
    }
}

/// Who was asked for, found again in the answer: AWS gives it in any order, an ARN as a name, and the version apart.
fn sorted(names: &[ParameterName], found: &[Found], invalid: &[String]) -> Batch {
    let mut batch = Batch { found: BTreeMap::new(), missing: BTreeSet::new() };
    for name in names {
        let is_it =
            |it: &&Found| it.name == name.base() || it.arn == name.base() || it.name == name.as_str() || it.name == name.short();
        if let Some(it) = found.iter().find(is_it) {
            let parameter = Parameter {
                value: it.value.clone(),
                version: it.version,
                secure: it.secure,
                modified_at: it.modified_at,
                modified_by: None,
            };
            batch.found.insert(name.clone(), parameter);
        } else if invalid.iter().any(|text| text == name.as_str()) {
            batch.missing.insert(name.clone());
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ParameterName {
        ParameterName::parse(text).unwrap()
    }

    fn found(name: &str, value: &str) -> Found {
        Found {
            name: name.into(),
            arn: format!("arn:aws:ssm:us-east-1:123456789012:parameter{name}"),
            value: value.into(),
            version: 3,
            secure: false,
            modified_at: None,
        }
    }

    #[test]
    fn answers_are_matched_by_name_and_what_is_in_neither_list_is_unknown() {
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/b";
        let names = [name("/a:live"), name(arn), name("/c"), name("/gone:7")];
        let batch = sorted(&names, &[found("/b", "b"), found("/a", "a")], &["/gone:7".into()]);
        assert_eq!((batch.found[&names[0]].value.as_str(), batch.found[&names[1]].value.as_str()), ("a", "b"));
        assert_eq!(batch.missing, BTreeSet::from([names[3].clone()]));
        assert!(!batch.found.contains_key(&names[2]));
    }
}
