//! Whether everything is there that an earlier version needs to run again: what it was made from, its images and archives, and what its
//! pods name in their namespace.

mod needed;

use std::{sync::Arc, time::Duration};

use bascule_core::{Observed, WayBack, input::Needs};
use bascule_crds::ResolvedArtifact;
use jiff::SignedDuration;
use kube::Api;

use self::needed::Namespace;
use super::fault::Fault;
use crate::{
    queue::{Key, Lane},
    shell::Shell,
    watch::kinds::SlimRevision,
};

/// A registry that takes longer is asked at the next look.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// After a look that failed.
const AGAIN: SignedDuration = SignedDuration::from_mins(2);

/// What was found so far.
#[derive(Default)]
struct Found {
    missing: Vec<String>,
    unseen: Vec<String>,
}

/// Begins to look, unless that is done already; the Release is pushed when it is over.
pub(super) fn begin(shell: &Arc<Shell>, key: &Key, observed: &Observed, revision: &str, name: &str) {
    if !shell.cache().looks_back(key, revision) {
        return;
    }
    let (shell, key, observed) = (shell.clone(), key.clone(), observed.clone());
    let (revision, name) = (revision.to_owned(), name.to_owned());
    tokio::spawn(async move {
        let seen = look(&shell, &key, &observed, &revision, &name).await.unwrap_or_else(|fault| {
            tracing::warn!(release = %key, "could not look at the version to return to: {fault}");
            // Due again in a while, not in hours.
            let at = shell.clock.now() + AGAIN - shell.policy.look_back;
            WayBack {
                revision: revision.clone(),
                at,
                missing: Vec::new(),
                unseen: vec![format!("ControllerRevision {name}: {fault}")],
            }
        });
        shell.cache().looked_back(&key, seen);
        shell.queue.push(key, Lane::Resync);
    });
}

async fn look(shell: &Arc<Shell>, key: &Key, observed: &Observed, revision: &str, name: &str) -> Result<WayBack, Fault> {
    let mut found = Found::default();
    let api: Api<SlimRevision> = Api::namespaced(shell.client.clone(), &key.namespace);
    let stored = api.get_opt(name).await.map_err(Fault::of);
    match stored?.and_then(|stored| stored.input(&observed.release.uid)) {
        None => found.missing.push(format!("ControllerRevision {name}, which it was made from, is gone")),
        Some(input) => {
            let configs = shell.sources.configs();
            let namespace = Namespace { client: &shell.client, configs, name: &key.namespace };
            namespace.look(&Needs::of(&input.templates()), &mut found).await;
            for artifact in &input.artifacts {
                let asked = shell.sources.is_there(key, observed, artifact);
                match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false)) => found.missing.push(gone(artifact)),
                    Ok(Err(why)) => found.unseen.push(why),
                    Err(_) => found.unseen.push(format!("{}: no answer", artifact.reference)),
                }
            }
        }
    }
    Ok(WayBack { revision: revision.to_owned(), at: shell.clock.now(), missing: found.missing, unseen: found.unseen })
}

fn gone(artifact: &ResolvedArtifact) -> String {
    let ResolvedArtifact { reference, image, archive, .. } = artifact;
    match archive.as_ref().map(|archive| &archive.version_id) {
        Some(Some(version)) => format!("version {version} of {reference} is gone"),
        Some(None) => format!("{reference} is gone or was overwritten, and the bucket kept no version of it"),
        None => format!("{} is gone", image.as_ref().unwrap_or(reference)),
    }
}
