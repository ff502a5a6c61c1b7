//! What is asked of the world outside the cluster: what the parameters say, and which digest is behind an image's tag.
//!
//! In: a Release and its environment. Out: at once, what is known; later, a key in the queue when an answer changed. What must be asked
//! the core says ([`bascule_core::sources`]). Only this room talks to registries and to AWS.

pub mod parameters;
pub mod registry;

use std::{collections::BTreeMap, time::Duration};

use bascule_core::{
    Answer, Claim, Image, Observed, ReleaseView, Sight,
    sources::{self, ImageQuestion, Scope},
};
use bascule_crds::Aws;
use parameters::ParameterHub;
use registry::{Access, ImageRequest, RegistryHub};
use serde_json::Value;

use crate::queue::Key;

/// How often parameters are read where the Environment says nothing.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Sources {
    parameters: ParameterHub<Key>,
    images: RegistryHub<Key>,
}

impl Sources {
    pub(crate) fn new(parameters: ParameterHub<Key>, images: RegistryHub<Key>) -> Self {
        Self { parameters, images }
    }

    /// Puts in what the sources say. From now on this is all that the Release asks: what the status has pinned is not asked again.
    pub(crate) fn answer(&self, key: &Key, observed: &mut Observed) {
        let (release, claim) = (&observed.release, &observed.environment);
        let aws = aws(claim);
        let every = aws.poll_interval.map_or(EVERY, bascule_crds::Duration::as_std);
        let names = sources::parameters(release, claim);
        observed.parameters = self.parameters.ask(key, &Scope::from(&aws), every, &names);
        let open = sources::images(release, claim, &observed.parameters);
        observed.images = self.images(key, release, open);
    }

    /// Puts in what is known, and asks nothing. None: something would have to be asked.
    pub(crate) fn recall(&self, observed: &mut Observed) -> Option<()> {
        let (release, claim) = (&observed.release, &observed.environment);
        let names = sources::parameters(release, claim);
        observed.parameters = self.parameters.known(&Scope::from(&aws(claim)), &names);
        sources::images(release, claim, &observed.parameters).is_empty().then_some(())
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.parameters.forget(key);
        self.images.forget(key);
    }

    fn images(&self, key: &Key, release: &ReleaseView, open: BTreeMap<String, ImageQuestion>) -> BTreeMap<String, Answer<Image>> {
        let access = access(&key.namespace, release);
        let requests: Vec<_> = open
            .values()
            .map(|asked| ImageRequest { reference: asked.reference.clone(), access: access.clone(), labels: asked.labels })
            .collect();
        let answers = self.images.ask(key, &requests);
        let read = |(asked, answer): (ImageQuestion, registry::Answer)| match answer {
            registry::Answer::Pending => Answer::Pending,
            registry::Answer::Failed { why, category, .. } => {
                let reason = if category == "NotFound" { "ArtifactMissing" } else { "ArtifactUnresolved" };
                Answer::Failed { reason, message: why }
            }
            registry::Answer::Resolved(found) => Answer::Known(Image {
                tag: asked.reference.open_tag().or(asked.reference.tag()).map(str::to_owned),
                reference: asked.reference,
                digest: found.digest.to_string(),
                labels: found.labels,
            }),
        };
        open.into_iter().zip(answers).map(|((artifact, asked), answer)| (artifact, read((asked, answer)))).collect()
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
