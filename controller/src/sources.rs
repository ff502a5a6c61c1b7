//! What is asked of the world outside the cluster: which digest is behind an image's tag.
//!
//! In: a Release. Out: at once, for each artifact that is not pinned yet, a digest or the reason why there is none; later, a key in
//! the queue when an answer changed. Only this room talks to registries.

pub mod registry;

use std::collections::BTreeMap;

use bascule_core::{ReleaseView, Sight, image::Reference};
use bascule_crds::{Resolve, ResolvedArtifact};
use registry::{Access, Answer, ImageRequest, RegistryHub};
use serde_json::Value;

use crate::queue::Key;

#[derive(Debug)]
pub(crate) struct Images {
    hub: RegistryHub<Key>,
}

impl Images {
    pub(crate) fn new(hub: RegistryHub<Key>) -> Self {
        Self { hub }
    }

    /// Answers by artifact name. What the status has pinned already is not asked again, ever.
    pub(crate) fn answers(&self, key: &Key, release: &ReleaseView) -> BTreeMap<String, Sight<ResolvedArtifact>> {
        let open: Vec<_> = open_tags(release).collect();
        let requests: Vec<_> = open
            .iter()
            .map(|(_, reference)| ImageRequest { reference: reference.clone(), access: access(&key.namespace, release) })
            .collect();
        let answers = self.hub.ask(key, &requests);
        let named = open.into_iter().zip(answers).filter_map(|((artifact, reference), answer)| {
            let sight = match answer {
                Answer::Pending => return None,
                Answer::Failed { why, .. } => Sight::Unknown(why),
                Answer::Resolved { digest, tag } => Sight::Known(ResolvedArtifact {
                    name: artifact.name.clone(),
                    reference: artifact.image.reference.clone(),
                    image: reference.pinned(&digest),
                    tag,
                    digest: Some(digest.to_string()),
                }),
            };
            Some((artifact.name.clone(), sight))
        });
        named.collect()
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.hub.forget(key);
    }
}

/// No registry has to be asked.
pub(crate) fn all_pinned(release: &ReleaseView) -> bool {
    open_tags(release).next().is_none()
}

/// Artifacts whose tag is still to be pinned.
fn open_tags(release: &ReleaseView) -> impl Iterator<Item = (&bascule_crds::Artifact, Reference)> {
    let pinned = &release.status.artifacts;
    release.spec.artifacts.iter().filter(|artifact| artifact.image.resolve == Resolve::Always).filter_map(|artifact| {
        let known = pinned
            .iter()
            .any(|known| known.name == artifact.name && known.reference == artifact.image.reference && known.digest.is_some());
        let reference: Reference = artifact.image.reference.parse().ok().filter(|_| !known)?;
        reference.digest().is_none().then_some((artifact, reference))
    })
}

/// The pull secrets that the pods would use.
fn access(namespace: &str, release: &ReleaseView) -> Access {
    let specs = || release.spec.workloads.iter().filter_map(|workload| workload.template.get("spec"));
    let secrets = specs().filter_map(|spec| spec.get("imagePullSecrets")?.as_array()).flatten();
    let names = secrets.filter_map(|secret| Some(secret.get("name")?.as_str()?.to_owned()));
    let account = specs().find_map(|spec| spec.get("serviceAccountName").and_then(Value::as_str));
    Access::of_pods(namespace, names, account)
}
