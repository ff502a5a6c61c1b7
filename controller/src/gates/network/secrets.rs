//! Secrets that gates name, each read at most once a minute however many ask: a change comes through within that time.
//!
//! In: a reference. Out: the content, or what somebody has to do. Never here: which key is for what.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bascule_crds::SecretReference;
use tokio::time::Instant;

use super::places::{Content, Places, Secret};

const READ_EVERY: Duration = Duration::from_secs(60);
/// An API server in trouble is well again sooner than that, and must not be asked by every sample until then.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Secrets {
    known: Mutex<BTreeMap<SecretReference, Arc<Entry>>>,
}

/// Whoever comes while it is read waits for that.
#[derive(Default)]
struct Entry(tokio::sync::Mutex<Option<Kept>>);

struct Kept {
    until: Instant,
    outcome: Result<Arc<Content>, String>,
}

impl Secrets {
    pub(super) async fn read(&self, places: &dyn Places, wanted: &SecretReference) -> Result<Arc<Content>, String> {
        let entry = self.entry(wanted);
        let mut kept = entry.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > Instant::now()) {
            return kept.outcome.clone();
        }
        let SecretReference { namespace, name } = wanted;
        let (outcome, pause) = match places.secret(namespace, name).await {
            Ok(Secret::Content(content)) => (Ok(content), READ_EVERY),
            Ok(Secret::Missing) => (Err(format!("the Secret {namespace}/{name} does not exist: create it")), READ_EVERY),
            Ok(Secret::Forbidden) => {
                let why =
                    format!("the controller has no right to read the Secret {namespace}/{name}: grant it `get` on secrets there");
                (Err(why), READ_EVERY)
            }
            Err(why) => (Err(format!("the Secret {namespace}/{name} cannot be read: {}", why.0)), AGAIN_AFTER),
        };
        *kept = Some(Kept { until: Instant::now() + pause, outcome: outcome.clone() });
        outcome
    }

    fn entry(&self, wanted: &SecretReference) -> Arc<Entry> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(wanted) {
            return entry.clone();
        }
        // What nobody reads, and what is due again anyway, is forgotten when something else comes.
        let now = Instant::now();
        let fresh = |entry: &Arc<Entry>| {
            Arc::strong_count(entry) > 1
                || entry.0.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|kept| kept.until > now))
        };
        known.retain(|_, entry| fresh(entry));
        known.entry(wanted.clone()).or_default().clone()
    }
}
