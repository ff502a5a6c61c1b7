//! What is asked of the world outside the cluster: what the parameters say, which digest is behind an image's tag, and what lies under a
//! key of S3.
//!
//! In: a Release and its environment. Out: at once, what is known; later, a key in the queue when an answer changed. What must be asked
//! the core says ([`bascule_core::sources`]). Only this room talks to registries and to AWS.

pub mod archives;
#[cfg(feature = "aws")]
mod aws;
pub(crate) mod configs;
pub mod hints;
pub mod lookup;
pub mod parameters;
pub mod registry;
mod trouble;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use archives::Archives;
use bascule_core::{
    Answer, Archive, Claim, Image, Observed, ReleaseView, Sight, config,
    image::Reference,
    sources::{self, ARTIFACT_MISSING, ArchiveQuestion, ImageQuestion, Scope, Wish},
};
use bascule_crds::{Aws, ResolvedArtifact};
use configs::Configs;
use futures::{FutureExt as _, future::BoxFuture};
use hints::{Hint, HintQueue, Message};
use jiff::Timestamp;
use lookup::Lookups;
use parameters::{Batch, ParameterHub, ParameterStore};
use registry::{Access, EcrLogin, EcrLogins, EcrRefusal, Fetch, ImageRequest, LookupError, Question, RegistryHub};
use serde_json::Value;

#[cfg(feature = "aws")]
pub use aws::AwsSources;
pub use trouble::SourceError;

use crate::queue::Key;

/// How often parameters are read where the Environment says nothing.
const EVERY: Duration = Duration::from_secs(15);

/// Everything that is asked of AWS.
pub trait Cloud: std::fmt::Debug + ParameterStore + archives::ArchiveStore + EcrLogins + HintQueue {}

impl<T: std::fmt::Debug + ParameterStore + archives::ArchiveStore + EcrLogins + HintQueue> Cloud for T {}

/// For a controller that was built or started without AWS.
#[derive(Clone, Copy, Debug)]
pub struct NoCloud;

const NO_CLOUD: &str = "this controller was started without AWS";

impl ParameterStore for NoCloud {
    fn read<'a>(&'a self, _: &'a Scope, _: &'a [sources::ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        async { Err(SourceError::Refused(NO_CLOUD.to_owned())) }.boxed()
    }
}

impl archives::ArchiveStore for NoCloud {
    fn look<'a>(&'a self, _: &'a Scope, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Archive>, SourceError>> {
        async { Err(SourceError::Refused(NO_CLOUD.to_owned())) }.boxed()
    }
}

impl EcrLogins for NoCloud {
    fn login<'a>(&'a self, _: &'a Scope, _: &'a str) -> BoxFuture<'a, Result<EcrLogin, EcrRefusal>> {
        async { Err(EcrRefusal::Denied(NO_CLOUD.to_owned())) }.boxed()
    }
}

impl HintQueue for NoCloud {
    fn exists(&self) -> bool {
        false
    }

    fn receive(&self) -> BoxFuture<'_, Result<Vec<Message>, SourceError>> {
        async { Err(SourceError::Refused(NO_CLOUD.to_owned())) }.boxed()
    }

    fn delete(&self, _: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        async { Ok(()) }.boxed()
    }
}

pub(crate) struct Sources {
    parameters: ParameterHub<Key>,
    images: RegistryHub<Key>,
    archives: Lookups<Key, Archives>,
    configs: Configs,
    /// For a question that is asked once and waited for.
    registries: Arc<dyn Fetch>,
    cloud: Arc<dyn Cloud>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    pub(crate) fn new(
        parameters: ParameterHub<Key>,
        images: RegistryHub<Key>,
        archives: Lookups<Key, Archives>,
        configs: Configs,
        registries: Arc<dyn Fetch>,
        cloud: Arc<dyn Cloud>,
    ) -> Self {
        Self { parameters, images, archives, configs, registries, cloud }
    }

    /// The oldest answer about a parameter that is gone by.
    pub(crate) fn oldest_answer(&self) -> Option<Timestamp> {
        self.parameters.oldest_answer()
    }

    /// Whether exactly what was pinned is still to be had; else why nobody knows.
    pub(crate) async fn is_there(&self, key: &Key, observed: &Observed, artifact: &ResolvedArtifact) -> Result<bool, String> {
        // As of today: what was allowed once may not be asked for any more.
        if let Some(why) = sources::must_not_ask(&observed.release, &observed.environment, artifact) {
            return Err(format!("{}: {why}", artifact.reference));
        }
        let scope = Scope::from(&aws(&observed.environment));
        if let Some(archive) = &artifact.archive {
            let kept = self.cloud.keeps(&scope, archive).await;
            return kept.map_err(|error| format!("{}: {error}", artifact.reference));
        }
        let unknown = || format!("{}: no digest of it is known", artifact.reference);
        let reference = artifact.image.as_ref().and_then(|image| image.parse::<Reference>().ok()).ok_or_else(unknown)?;
        let digest = reference.digest().map(ToString::to_string).ok_or_else(unknown)?;
        let question = Question {
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            tag: digest,
            access: access(&key.namespace, &observed.release),
            aws: registry::is_ecr(reference.registry()).then_some(scope),
            wish: Wish::Digest,
            written: 0,
        };
        match self.registries.describe(&question).await {
            Ok(_) => Ok(true),
            Err(LookupError::NotFound { .. }) => Ok(false),
            Err(error) => Err(format!("{reference}: {error}")),
        }
    }

    /// Puts in what the sources say. From now on this is all that the Release asks: what the status has pinned is only watched.
    pub(crate) fn answer(&self, key: &Key, observed: &mut Observed) {
        let (release, claim) = (&observed.release, &observed.environment);
        let aws = aws(claim);
        let scope = Scope::from(&aws);
        let every = aws.poll_interval.map_or(EVERY, bascule_crds::Duration::as_std);
        let names = sources::parameters(release, claim);
        observed.parameters = self.parameters.ask(key, &scope, every, &names);
        let open = sources::questions(release, claim, &observed.parameters);
        observed.images = self.images(key, release, &scope, open.images);
        observed.archives = self.archives(key, &scope, open.archives);
        observed.configs = self.configs.ask(key, &config::names(observed));
    }

    /// Puts in what is known, and asks nothing. None: something would have to be asked.
    pub(crate) fn recall(&self, key: &Key, observed: &mut Observed) -> Option<()> {
        let (release, claim) = (&observed.release, &observed.environment);
        let names = sources::parameters(release, claim);
        observed.parameters = self.parameters.known(&Scope::from(&aws(claim)), &names);
        let asked = sources::questions(release, claim, &observed.parameters);
        // What is only watched holds up nothing.
        let open =
            asked.images.values().any(|asked| asked.wish != Wish::Watch) || asked.archives.values().any(|asked| !asked.watch);
        observed.configs = self.configs.known(key, &config::names(observed));
        (!open).then_some(())
    }

    pub(crate) fn configs(&self) -> &Configs {
        &self.configs
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.parameters.forget(key);
        self.images.forget(key);
        self.archives.forget(key);
        self.configs.forget(key);
    }

    /// Something may have changed: it is asked about soon, if anybody wants it.
    pub(crate) fn hint(&self, hint: &Hint) {
        match hint {
            Hint::Parameter { name } => self.parameters.hint(name),
            Hint::Image { repository, tag } => self.images.hint(repository, tag.as_deref()),
            Hint::Archive { bucket, key } => self.archives.hint(|asked| asked.bucket == *bucket && asked.key == *key),
        }
    }

    fn images(
        &self,
        key: &Key,
        release: &ReleaseView,
        aws: &Scope,
        open: BTreeMap<String, ImageQuestion>,
    ) -> BTreeMap<String, Answer<Image>> {
        let access = access(&key.namespace, release);
        let request = |asked: &ImageQuestion| ImageRequest {
            reference: asked.reference.clone(),
            access: access.clone(),
            aws: aws.clone(),
            wish: asked.wish,
            written: asked.written,
        };
        let answers = self.images.ask(key, &open.values().map(request).collect::<Vec<_>>());
        let read = |(asked, answer): (ImageQuestion, registry::Answer)| {
            known(answer, |found| Image {
                tag: asked.reference.open_tag().or(asked.reference.tag()).map(str::to_owned),
                reference: asked.reference.clone(),
                digest: found.digest.to_string(),
                labels: found.labels,
                platforms: found.platforms,
            })
        };
        open.into_iter().zip(answers).map(|((artifact, asked), answer)| (artifact, read((asked, answer)))).collect()
    }

    fn archives(&self, key: &Key, scope: &Scope, open: BTreeMap<String, ArchiveQuestion>) -> BTreeMap<String, Answer<Archive>> {
        let question = |asked: ArchiveQuestion| archives::Question {
            scope: scope.clone(),
            bucket: asked.bucket,
            key: asked.key,
            watch: asked.watch,
            written: asked.written,
        };
        let (names, questions): (Vec<_>, Vec<_>) = open.into_iter().map(|(name, asked)| (name, question(asked))).unzip();
        let answers = self.archives.ask(key, &questions);
        names.into_iter().zip(answers.into_iter().map(|answer| known(answer, |found| found))).collect()
    }
}

/// In the words of the core.
fn known<F, T>(answer: lookup::Answer<F>, found: impl FnOnce(F) -> T) -> Answer<T> {
    match answer {
        lookup::Answer::Pending => Answer::Pending,
        lookup::Answer::Found(it) => Answer::Known(found(it)),
        lookup::Answer::Failed { why, category, .. } => {
            let reason = if category == "NotFound" { ARTIFACT_MISSING } else { "ArtifactUnresolved" };
            Answer::Failed { reason, message: why }
        }
    }
}

fn aws(claim: &Sight<Claim>) -> Aws {
    match claim {
        Sight::Known(Claim::Of { spec, .. }) => spec.aws.clone(),
        _ => Aws::default(),
    }
}

/// The pull secrets that the pods would use.
fn access(namespace: &str, release: &ReleaseView) -> Access {
    let specs = || release.spec.workloads.iter().filter_map(|workload| workload.template.get("spec"));
    let secrets = specs().filter_map(|spec| spec.get("imagePullSecrets")?.as_array()).flatten();
    let names = secrets.filter_map(|secret| Some(secret.get("name")?.as_str()?.to_owned()));
    let account = specs().find_map(|spec| spec.get("serviceAccountName").and_then(Value::as_str));
    Access::of_pods(namespace, names, account)
}
