//! ConfigMaps and Secrets that make another revision when they change: where a Release asks for that with `restartOn`.
//!
//! In: pod templates, and what hashes their ConfigMaps and Secrets have by now. Out: the hashes that are wanted. Never here: what is in
//! them; nobody tells the core.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bascule_crds::{ConfigKind, ConfigRecord, ReleaseSpec};
use serde_json::Value;

use crate::{
    input::Needs,
    mutant::{self, Mutant},
    observed::{Answer, Observed},
    revision::Blocked,
    sources::{Freshness, Report},
};

/// One of them, in the namespace of the Release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigName {
    pub kind: ConfigKind,
    pub name: String,
}

impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ConfigKind::ConfigMaps => "ConfigMap",
            ConfigKind::Secrets => "Secret",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// Those that are to be watched.
pub fn names(observed: &Observed) -> Vec<ConfigName> {
    if observed.release.spec.restart_on.is_empty() {
        return Vec::new();
    }
    crate::revision::templates(observed).map_or_else(|_| Vec::new(), |templates| named(&observed.release.spec, templates.iter()))
}

fn named<'a>(spec: &ReleaseSpec, templates: impl Iterator<Item = &'a Value>) -> Vec<ConfigName> {
    let needs = Needs::of(templates);
    let of = |kind, needed: BTreeMap<String, BTreeSet<String>>| {
        let asked = spec.restart_on.contains(&kind);
        needed.into_keys().filter(move |_| asked).map(move |name| ConfigName { kind, name })
    };
    of(ConfigKind::ConfigMaps, needs.config_maps).chain(of(ConfigKind::Secrets, needs.secrets)).collect()
}

/// What they are by now. One that cannot be read, or is gone, stays as it was last: only another content is another revision.
pub(crate) fn resolve<'a>(
    observed: &Observed,
    templates: impl Iterator<Item = &'a Value>,
    report: &mut Report,
) -> Result<Vec<ConfigRecord>, Blocked> {
    let mut resolved = Vec::new();
    for config in named(&observed.release.spec, templates) {
        let mut stored = observed.release.status.configs.iter();
        let last = stored.find(|it| it.kind == config.kind && it.name == config.name);
        let (stale, blocked) = match observed.configs.get(&config) {
            Some(Answer::Known(Some(hash))) => {
                let hash = last.filter(|_| mutant::is(Mutant::IgnoreConfigs)).map_or(hash, |last| &last.hash);
                resolved.push(ConfigRecord { kind: config.kind, name: config.name, hash: hash.clone() });
                continue;
            }
            Some(Answer::Known(None)) => {
                let why = format!("{config} does not exist");
                (Freshness::Stale { reason: "ConfigMissing", message: why.clone() }, Blocked::Unresolved("ConfigMissing", why))
            }
            Some(Answer::Failed { reason, message }) => {
                (Freshness::Stale { reason, message: message.clone() }, Blocked::Unresolved(reason, message.clone()))
            }
            Some(Answer::Pending) | None => (Freshness::Unseen, Blocked::Waiting(format!("{config} is being read"))),
        };
        match last {
            Some(last) => {
                resolved.push(last.clone());
                report.said.push(stale);
            }
            None => return Err(blocked),
        }
    }
    Ok(resolved)
}

/// As a part of what the revision is a hash of.
pub(crate) fn hashes(configs: &[ConfigRecord]) -> BTreeMap<String, String> {
    let name = |it: &ConfigRecord| ConfigName { kind: it.kind, name: it.name.clone() }.to_string();
    configs.iter().map(|it| (name(it), it.hash.clone())).collect()
}
