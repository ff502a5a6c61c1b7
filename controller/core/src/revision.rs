//! From the user's text to the exact thing to run: artifacts pinned, variables replaced, and a revision that names the result.
//!
//! In: the spec, its environment and what its artifacts are by now. Out: [`Rendered`], or [`Blocked`] with the reason.
//! The revision is a hash of the user's text after substitution, never of this program's types: an upgrade changes no revision.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bascule_crds::{ReleaseSpec, ResolvedArtifact, Track};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    observed::Observed,
    sources::{self, Report},
    variables::{Meaning, Variables, substitute},
};

/// Letters and digits that cannot spell a word, as Kubernetes uses for its own hashes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// 27^10: a collision among a hundred thousand revisions of one Release is less likely than one in ten thousand.
const LENGTH: usize = 10;

/// Names what runs: equal text after substitution, equal revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(String);

impl Revision {
    fn of(value: &Value) -> Self {
        let hash = Sha256::digest(value.to_string());
        Self(hash.iter().take(LENGTH).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A spec with nothing left open but the track.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub revision: Revision,
    /// What people call it.
    pub version: String,
    pub artifacts: Vec<ResolvedArtifact>,
    pub workloads: Vec<RenderedWorkload>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RenderedWorkload {
    pub name: String,
    /// Replicas that the spec wants now.
    pub replicas: i32,
    /// The pod template; only `$(release.track)` and `$(release.revision)` are still open.
    pub template: Value,
    /// The pod template as the user wrote it, and what its names stand for: a text that a name stands for is never read as a name, so
    /// what is open is put into this one.
    source: Value,
    variables: Arc<Variables>,
}

impl RenderedWorkload {
    /// Labels that the user gives to the pods.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.template.pointer("/metadata/labels").and_then(Value::as_object);
        labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The pod template for one track.
    pub(crate) fn on(&self, track: Track, revision: &str) -> Value {
        let mut variables = Variables::clone(&self.variables);
        variables.insert(TRACK_VARIABLE.to_owned(), Meaning::Text(track.to_string()));
        variables.insert(REVISION_VARIABLE.to_owned(), Meaning::Text(revision.to_owned()));
        // A template that names something unknown was refused when it was rendered.
        substitute(&self.source, "", &variables).unwrap_or_else(|_| self.template.clone())
    }
}

const TRACK_VARIABLE: &str = "release.track";
const REVISION_VARIABLE: &str = "release.revision";

/// Why there is nothing to run yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The answer is on its way.
    Waiting(String),
    /// Somebody else must answer first; nothing is lost meanwhile. Reason and message.
    Unresolved(&'static str, String),
    /// Not without a person: reason and message.
    Invalid(&'static str, String),
}

/// What the spec wants now.
pub(crate) fn render(observed: &Observed, report: &mut Report) -> Result<Rendered, Blocked> {
    let spec = &observed.release.spec;
    let artifacts = sources::resolve(observed, report)?;
    let variables = Arc::new(variables(observed, &artifacts)?);
    let mut workloads = Vec::with_capacity(spec.workloads.len());
    for (index, workload) in spec.workloads.iter().enumerate() {
        let path = format!("spec.workloads[{index}].template");
        let template = substitute(&workload.template, &path, &variables)
            .map_err(|error| Blocked::Invalid("SpecInvalid", error.to_string()))?;
        workloads.push(RenderedWorkload {
            name: workload.name.clone(),
            replicas: replicas(spec, workload.replicas),
            template,
            source: workload.template.clone(),
            variables: variables.clone(),
        });
    }
    let revision = revision(&workloads);
    let version = version(&artifacts, &revision);
    Ok(Rendered { revision, version, artifacts, workloads })
}

/// Replicas of a workload, by the rule in the CRD.
fn replicas(spec: &ReleaseSpec, own: Option<i32>) -> i32 {
    own.or(spec.replicas).unwrap_or(1)
}

fn revision(workloads: &[RenderedWorkload]) -> Revision {
    // Sorted by name: the order in which workloads are written means nothing.
    let templates: BTreeMap<_, _> = workloads.iter().map(|workload| (&workload.name, &workload.template)).collect();
    Revision::of(&json!({ "workloads": templates }))
}

/// Tags as people know them; else the beginning of the digest; else the revision. Of an archive the commit, else its name.
fn version(artifacts: &[ResolvedArtifact], revision: &Revision) -> String {
    let mut names: Vec<String> = artifacts
        .iter()
        .filter_map(|artifact| {
            if let Some(archive) = &artifact.archive {
                let file = archive.key.rsplit('/').next().unwrap_or_default();
                let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
                return artifact.commit.clone().or_else(|| (!stem.is_empty()).then(|| stem.to_owned()));
            }
            artifact
                .tag
                .clone()
                .or_else(|| artifact.digest.as_ref().map(|digest| digest.chars().take("sha256:".len() + 12).collect()))
        })
        .collect();
    names.dedup();
    if names.is_empty() { revision.to_string() } else { names.join(",") }
}

fn variables(observed: &Observed, artifacts: &[ResolvedArtifact]) -> Result<Variables, Blocked> {
    let mut variables = sources::variables(&observed.release, &observed.environment)?;
    // Open until a track is chosen; the revision is the hash of everything else.
    for open in [TRACK_VARIABLE, REVISION_VARIABLE] {
        variables.insert(open.into(), Meaning::Text(format!("$({open})")));
    }
    for artifact in artifacts {
        for (field, value, missing) in fields(artifact) {
            let meaning = value.map_or_else(|| Meaning::Missing(missing.to_owned()), Meaning::Text);
            variables.insert(format!("artifacts.{}.{field}", artifact.name), meaning);
        }
    }
    Ok(variables)
}

/// What a template can say of an artifact: its name, its value, and what there is to know when it has none.
fn fields(artifact: &ResolvedArtifact) -> Vec<(&'static str, Option<String>, &'static str)> {
    let commit = ("commit", artifact.commit.clone(), "has no value: neither the name nor a label tells the commit");
    match &artifact.archive {
        None => vec![
            ("image", artifact.image.clone(), "has no value"),
            ("tag", artifact.tag.clone(), "has no value: the reference has no tag"),
            ("digest", artifact.digest.clone(), "has no value: the tag is not resolved (image.resolve is Never)"),
            commit,
        ],
        Some(archive) => vec![
            ("bucket", Some(archive.bucket.clone()), ""),
            ("key", Some(archive.key.clone()), ""),
            (
                "versionId",
                archive.version_id.clone(),
                "has no value: the bucket kept no versions when it was stored; turn versioning on and store it again",
            ),
            (
                "sha256",
                archive.sha256.clone(),
                "has no value: the object was stored without it; upload with --checksum-algorithm SHA256",
            ),
            ("size", Some(archive.size.to_string()), ""),
            commit,
        ],
    }
}
