//! From the user's text to the exact thing to run: artifacts pinned, variables replaced, and a revision that names the result.
//!
//! In: the spec, its environment and what its artifacts are by now. Out: [`Rendered`], or [`Blocked`] with the reason.
//! The revision is a hash of the user's text after substitution, never of this program's types: an upgrade changes no revision.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bascule_crds::{Candidate, ConfigRecord, ReleaseSpec, ResolvedArtifact, Track};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    config,
    input::{Input, InputWorkload},
    observed::Observed,
    sources::{self, Report},
    variables::{Meaning, Variables, substitute},
};

/// Letters and digits that cannot spell a word, as Kubernetes uses for its own hashes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// 27^10: a collision among a hundred thousand revisions of one Release is less likely than one in ten thousand.
const LENGTH: usize = 10;
/// Two tags as long as a tag may be; sixteen artifacts could make more, and keys of archives much more.
const LONGEST_VERSION: usize = 253;

/// Of any text: short enough for a name.
pub(crate) fn short_hash(text: impl AsRef<[u8]>) -> String {
    let hash = Sha256::digest(text);
    hash.iter().take(LENGTH).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// Names what runs: equal text after substitution, equal revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(String);

impl Revision {
    fn of(value: &Value) -> Self {
        Self(short_hash(value.to_string()))
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
    /// Where another content is another revision.
    pub configs: Vec<ConfigRecord>,
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

impl Rendered {
    /// What it was made from.
    pub(crate) fn input(&self) -> Input {
        let workloads: Vec<_> = self
            .workloads
            .iter()
            .map(|workload| InputWorkload { name: workload.name.clone(), template: workload.source.clone() })
            .collect();
        let text = serde_json::to_string(&workloads).unwrap_or_default();
        let named = |name: &str| text.contains(&format!("$({name})"));
        let variables = self.workloads.first().into_iter().flat_map(|workload| workload.variables.iter());
        let variables = variables.filter_map(|(name, meaning)| match meaning {
            Meaning::Text(value) if named(name) && !OPEN.contains(&name.as_str()) => Some((name.clone(), value.clone())),
            Meaning::Text(_) | Meaning::Missing(_) => None,
        });
        Input {
            revision: self.revision.to_string(),
            version: self.version.clone(),
            artifacts: self.artifacts.clone(),
            configs: self.configs.clone(),
            variables: variables.collect(),
            workloads,
        }
    }

    /// The version that a person has asked for: what the pointers lead to. Templates are rendered anew by many a tool, with the same image;
    /// they are the version only where nothing else is.
    pub(crate) fn asked(&self) -> String {
        let written = self.workloads.iter().filter(|_| self.artifacts.is_empty());
        let templates: BTreeMap<_, _> = written.map(|workload| (&workload.name, &workload.source)).collect();
        let what = |it: &ResolvedArtifact| json!([it.name, it.reference, it.image, it.archive]);
        let artifacts: Vec<_> = self.artifacts.iter().map(what).collect();
        short_hash(json!({ "templates": templates, "artifacts": artifacts }).to_string())
    }

    /// Makes it again. None: it would not be the same.
    pub(crate) fn again(input: &Input, spec: &ReleaseSpec) -> Option<Self> {
        let mut variables = input.meanings();
        leave_open(&mut variables);
        let variables = Arc::new(variables);
        let own =
            |name: &str| spec.workloads.iter().find(|workload| workload.name == name).and_then(|workload| workload.replicas);
        let workloads = input.workloads.iter().map(|workload| {
            Some(RenderedWorkload {
                name: workload.name.clone(),
                replicas: replicas(spec, own(&workload.name)),
                template: substitute(&workload.template, "", &variables).ok()?,
                source: workload.template.clone(),
                variables: variables.clone(),
            })
        });
        let workloads = workloads.collect::<Option<Vec<_>>>()?;
        let configs = input.configs.clone();
        let revision = revision(&workloads, &configs);
        let same = revision.as_str() == input.revision;
        same.then(|| Self { revision, version: input.version.clone(), artifacts: input.artifacts.clone(), workloads, configs })
    }
}

pub(crate) const TRACK_VARIABLE: &str = "release.track";
pub(crate) const REVISION_VARIABLE: &str = "release.revision";
const POD_HASH_VARIABLE: &str = "release.podHash";
const OPEN: [&str; 2] = [TRACK_VARIABLE, REVISION_VARIABLE];

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
    let configs = config::resolve(observed, workloads.iter().map(|workload| &workload.template), report)?;
    let revision = revision(&workloads, &configs);
    let version = version(&artifacts, &revision);
    Ok(Rendered { revision, version, artifacts, workloads, configs })
}

/// Replicas of a workload, by the rule in the CRD.
fn replicas(spec: &ReleaseSpec, own: Option<i32>) -> i32 {
    own.or(spec.replicas).unwrap_or(1)
}

/// Pod templates as they will be, as far as that is known.
pub(crate) fn templates(observed: &Observed) -> Result<Vec<Value>, Blocked> {
    let artifacts = sources::resolve(observed, &mut Report::default())?;
    let variables = variables(observed, &artifacts)?;
    let templates = observed.release.spec.workloads.iter().map(|workload| substitute(&workload.template, "", &variables));
    templates.collect::<Result<_, _>>().map_err(|error| Blocked::Invalid("SpecInvalid", error.to_string()))
}

fn revision(workloads: &[RenderedWorkload], configs: &[ConfigRecord]) -> Revision {
    // Sorted by name: the order in which workloads are written means nothing.
    let templates: BTreeMap<_, _> = workloads.iter().map(|workload| (&workload.name, &workload.template)).collect();
    let mut made_of = json!({ "workloads": templates });
    if !configs.is_empty() {
        made_of["configs"] = json!(config::hashes(configs));
    }
    Revision::of(&made_of)
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
    let mut version = if names.is_empty() { revision.to_string() } else { names.join(",") };
    // It stands in the status once for each version of the history.
    if let Some((end, _)) = version.char_indices().nth(LONGEST_VERSION) {
        version.truncate(end);
        version.push('…');
    }
    version
}

/// Open until a track is chosen; the revision is the hash of everything else.
fn leave_open(variables: &mut Variables) {
    for open in OPEN {
        variables.insert(open.into(), Meaning::Text(format!("$({open})")));
    }
}

/// All names that hooks and gates may use, for a look at whether they are right: what the candidate decides is left open.
pub(crate) fn open_variables(observed: &Observed, artifacts: &[ResolvedArtifact]) -> Result<Variables, Blocked> {
    let mut variables = variables(observed, artifacts)?;
    variables.insert(POD_HASH_VARIABLE.into(), Meaning::Text(String::new()));
    Ok(variables)
}

/// What the names in hooks and gates of this candidate stand for.
pub(crate) fn variables_of(observed: &Observed, candidate: &Candidate, pod_hash: &str) -> Result<Variables, String> {
    let mut variables = variables(observed, &candidate.artifacts).map_err(|blocked| match blocked {
        Blocked::Waiting(why) | Blocked::Unresolved(_, why) | Blocked::Invalid(_, why) => why,
    })?;
    let own = [
        (TRACK_VARIABLE, candidate.track.as_str()),
        (REVISION_VARIABLE, candidate.revision.as_str()),
        (POD_HASH_VARIABLE, pod_hash),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), Meaning::Text(value.to_owned()))));
    Ok(variables)
}

fn variables(observed: &Observed, artifacts: &[ResolvedArtifact]) -> Result<Variables, Blocked> {
    let mut variables = sources::variables(&observed.release, &observed.environment)?;
    leave_open(&mut variables);
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
