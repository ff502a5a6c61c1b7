//! From pointers to artifacts: what must be asked of Parameter Store and of the registries, and what the answers mean.
//!
//! In: the Release, what its namespace says of its environment, and answers as far as there are any. Out: questions, the artifacts that
//! are wanted now, and what is to be said of the sources. Never here: who asks, when, and as whom.
//!
//! One rule for everything that goes wrong with a parameter: what was resolved last stays wanted, and status says why.

mod name;
mod order;
mod pattern;

use std::{cmp::Ordering, collections::BTreeMap};

use bascule_crds::{Artifact, Aws, EnvironmentSpec, ParameterRecord, Pointer, Resolve, ResolvedArtifact};
use serde_json::Value;

pub use name::{NameError, ParameterName};

use crate::{
    image::Reference,
    observed::{Answer, Claim, Image, Observed, Parameter, ReleaseView, Sight},
    revision::Blocked,
    variables::{Meaning, Variables, substitute},
};
use order::Key;
use pattern::allows;

/// Where a parameter is read, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub region: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    pub endpoint: Option<String>,
}

impl From<&Aws> for Scope {
    fn from(aws: &Aws) -> Self {
        Self {
            region: aws.region.clone(),
            role_arn: aws.role_arn.clone(),
            external_id: aws.external_id.clone(),
            endpoint: aws.endpoint.clone(),
        }
    }
}

/// A pointer was moved to something older than what was released.
pub(crate) const OUT_OF_ORDER: &str = "OutOfOrder";

/// Answers of Parameter Store, by artifact.
pub type Parameters = BTreeMap<String, Answer<Option<Parameter>>>;

/// The parameters that this Release's artifacts point to, by artifact.
pub fn parameters(release: &ReleaseView, claim: &Sight<Claim>) -> BTreeMap<String, ParameterName> {
    let Ok(setting) = Setting::new(release, claim) else { return BTreeMap::new() };
    let named = release.spec.artifacts.iter().enumerate().filter_map(|(index, artifact)| match artifact.image.pointer() {
        Pointer::Parameter(text) => Some((artifact.name.clone(), setting.parameter(text, index).ok()?)),
        Pointer::Reference(_) | Pointer::Nothing => None,
    });
    named.collect()
}

/// What a registry must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    pub reference: Reference,
    /// Also for its labels.
    pub labels: bool,
}

/// What must be asked of the registries, by artifact.
pub fn images(release: &ReleaseView, claim: &Sight<Claim>, parameters: &Parameters) -> BTreeMap<String, ImageQuestion> {
    let Ok(setting) = Setting::new(release, claim) else { return BTreeMap::new() };
    let open = release.spec.artifacts.iter().enumerate().filter_map(|(index, artifact)| {
        match setting.point(artifact, index, parameters.get(&artifact.name)) {
            Pointed::Open { reference, .. } => {
                Some((artifact.name.clone(), ImageQuestion { reference, labels: artifact.image.order.is_some() }))
            }
            Pointed::At(_) | Pointed::Not(_) => None,
        }
    });
    open.collect()
}

/// What the sources are like, beside the artifacts themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// None: no artifact comes from a parameter.
    pub(crate) freshness: Option<Freshness>,
    /// Why a pointer that is known is not followed.
    pub(crate) held: Option<Obstacle>,
    /// What is passed over because it is older: a person may accept it.
    pub(crate) passed: Vec<ResolvedArtifact>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    Fresh,
    /// Not asked yet: what was said before stays.
    Unseen,
    /// Read, and not followed on purpose.
    Passed {
        reason: &'static str,
        message: String,
    },
    Stale {
        reason: &'static str,
        message: String,
    },
}

/// Why an artifact is not what its pointer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The answer is on its way.
    Pending(String),
    /// The pointer is not known as it is now.
    Stale(&'static str, String),
    /// It is known, and older than what was released last: why, and what it is.
    OutOfOrder(String, Box<ResolvedArtifact>),
    /// Something else must come first; nobody has to do anything about the Release.
    Waiting(&'static str, String),
    /// Not without a person.
    Wrong(&'static str, String),
}

impl From<Obstacle> for Blocked {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Pending(why) => Self::Waiting(why),
            Obstacle::Stale(reason, why) | Obstacle::Waiting(reason, why) => Self::Unresolved(reason, why),
            Obstacle::OutOfOrder(why, _) => Self::Unresolved(OUT_OF_ORDER, why),
            Obstacle::Wrong(reason, why) => Self::Invalid(reason, why),
        }
    }
}

/// The artifacts that are wanted now.
pub(crate) fn resolve(observed: &Observed, report: &mut Report) -> Result<Vec<ResolvedArtifact>, Blocked> {
    let setting = Setting::new(&observed.release, &observed.environment).inspect_err(|_| {
        let named = |artifact: &Artifact| matches!(artifact.image.pointer(), Pointer::Parameter(_));
        report.freshness = observed.release.spec.artifacts.iter().any(named).then_some(Freshness::Unseen);
    })?;
    let mut artifacts = Vec::new();
    let mut blocked = None;
    for (index, artifact) in observed.release.spec.artifacts.iter().enumerate() {
        let answer = observed.parameters.get(&artifact.name);
        let last = setting.last(artifact, index);
        let found = match setting.point(artifact, index, answer) {
            Pointed::At(resolved) => Ok(resolved),
            Pointed::Not(obstacle) => Err(obstacle),
            Pointed::Open { reference, record } => seen(artifact, index, &reference, record, observed.images.get(&artifact.name)),
        };
        let found = found.and_then(|resolved| in_order(artifact, index, resolved, last));
        if matches!(artifact.image.pointer(), Pointer::Parameter(_)) {
            let freshness = freshness(&found, answer);
            report.freshness = report.freshness.take().max(Some(freshness));
        }
        match (found, last) {
            (Ok(resolved), _) => artifacts.push(resolved),
            (Err(obstacle), Some(last)) => {
                artifacts.push(last.clone());
                if let Obstacle::OutOfOrder(_, passed) = &obstacle {
                    report.passed.push(ResolvedArtifact::clone(passed));
                }
                if matches!(obstacle, Obstacle::Waiting(..) | Obstacle::Wrong(..)) {
                    report.held.get_or_insert(obstacle);
                }
            }
            (Err(obstacle), None) => {
                blocked.get_or_insert(obstacle);
            }
        }
    }
    blocked.map_or(Ok(artifacts), |obstacle| Err(obstacle.into()))
}

fn freshness(found: &Result<ResolvedArtifact, Obstacle>, answer: Option<&Answer<Option<Parameter>>>) -> Freshness {
    match (found, answer) {
        (Err(Obstacle::Stale(reason, message)), _) => Freshness::Stale { reason, message: message.clone() },
        (Err(Obstacle::OutOfOrder(message, _)), _) => Freshness::Passed { reason: OUT_OF_ORDER, message: message.clone() },
        // A name that cannot be asked for says nothing about the source.
        (_, None | Some(Answer::Pending)) => Freshness::Unseen,
        _ => Freshness::Fresh,
    }
}

/// Automation never goes back: neither to an older version of a parameter nor, where `order` says how to tell, to an older build.
fn in_order(
    artifact: &Artifact,
    index: usize,
    resolved: ResolvedArtifact,
    last: Option<&ResolvedArtifact>,
) -> Result<ResolvedArtifact, Obstacle> {
    let Some(last) = last.filter(|last| **last != resolved) else { return Ok(resolved) };
    let path = format!("spec.artifacts[{index}].image.parameter");
    let version = |it: &ResolvedArtifact| it.parameter.as_ref().map_or(0, |record| record.version);
    let name = |it: &ResolvedArtifact| it.tag.clone().or_else(|| it.digest.clone()).unwrap_or_default();
    if last.parameter.as_ref().is_some_and(|last| resolved.parameter.as_ref().is_some_and(|now| is_older(now, last))) {
        let message = format!(
            "{path}: version {} ({}) is older than version {}, which was released ({}); Accept follows it all the same",
            version(&resolved),
            name(&resolved),
            version(last),
            name(last)
        );
        return Err(Obstacle::OutOfOrder(message, Box::new(resolved)));
    }
    let Some(label) = artifact.image.order.as_ref().map(|order| &order.label) else { return Ok(resolved) };
    let (Some(now), Some(then)) = (&resolved.order, &last.order) else { return Ok(resolved) };
    match Key::parse(now).zip(Key::parse(then)).and_then(|(now, then)| now.compare(&then)) {
        Some(Ordering::Less) => {
            let message = format!(
                "{path}: {} has {label} {now}, which is older than {then} of {}, which was released; Accept follows it all the same",
                name(&resolved),
                name(last)
            );
            Err(Obstacle::OutOfOrder(message, Box::new(resolved)))
        }
        Some(_) => Ok(resolved),
        None => {
            let message =
                format!("{path}: {label} of {} is {now}, and {then} of {}: these have no order", name(&resolved), name(last));
            Err(Obstacle::Wrong("OrderUnknown", message))
        }
    }
}

/// What names stand for in the environment of a Release.
pub(crate) fn variables(release: &ReleaseView, claim: &Sight<Claim>) -> Result<Variables, Blocked> {
    let mut variables = Variables::new();
    let environment = match claim {
        Sight::Known(Claim::Of { name, spec }) => {
            let vars = spec.variables.iter().map(|(name, value)| (format!("vars.{name}"), Meaning::Text(value.clone())));
            variables.extend(vars);
            Meaning::Text(name.clone())
        }
        Sight::Known(Claim::Nothing) => {
            Meaning::Missing(format!("has no value: namespace {} has no label bascule.dev/environment", release.namespace))
        }
        Sight::Known(Claim::Refused { reason, message }) => return Err(Blocked::Invalid(reason, message.clone())),
        Sight::Unknown(why) => return Err(Blocked::Waiting(format!("namespace {}: {why}", release.namespace))),
    };
    variables.insert("env.name".into(), environment);
    variables.insert("release.name".into(), Meaning::Text(release.name.clone()));
    variables.insert("release.namespace".into(), Meaning::Text(release.namespace.clone()));
    Ok(variables)
}

/// Where an artifact's pointer leads.
enum Pointed {
    /// It is known which image this is.
    At(ResolvedArtifact),
    /// A registry must say.
    Open {
        reference: Reference,
        record: Option<ParameterRecord>,
    },
    Not(Obstacle),
}

/// A Release in its environment.
struct Setting<'a> {
    release: &'a ReleaseView,
    environment: Option<&'a EnvironmentSpec>,
    variables: Variables,
}

impl<'a> Setting<'a> {
    fn new(release: &'a ReleaseView, claim: &'a Sight<Claim>) -> Result<Self, Blocked> {
        let environment = match claim {
            Sight::Known(Claim::Of { spec, .. }) => Some(spec.as_ref()),
            _ => None,
        };
        Ok(Self { release, environment, variables: variables(release, claim)? })
    }

    fn parameter(&self, text: &str, index: usize) -> Result<ParameterName, Obstacle> {
        let path = format!("spec.artifacts[{index}].image.parameter");
        let invalid = |why: String| Obstacle::Wrong("SpecInvalid", why);
        let text = match substitute(&Value::String(text.to_owned()), &path, &self.variables) {
            Ok(Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(error) => return Err(invalid(error.to_string())),
        };
        let name = ParameterName::parse(&text).map_err(|error| invalid(format!("{path}: {error}")))?;
        let list = self.environment.and_then(|environment| environment.allow.parameters.as_ref());
        if !allows(list, name.short()) {
            let message =
                format!("{path}: parameter {} is not in spec.allow.parameters of Environment {}", name.short(), self.name());
            return Err(Obstacle::Wrong("NotAllowed", message));
        }
        Ok(name)
    }

    fn name(&self) -> &str {
        match self.variables.get("env.name") {
            Some(Meaning::Text(name)) => name,
            _ => "",
        }
    }

    fn point(&self, artifact: &Artifact, index: usize, answer: Option<&Answer<Option<Parameter>>>) -> Pointed {
        let pointed = match artifact.image.pointer() {
            Pointer::Reference(text) => self.reference(artifact, index, text),
            Pointer::Nothing => {
                Err(Obstacle::Wrong("SpecInvalid", format!("spec.artifacts[{index}].image: it has neither ref nor parameter")))
            }
            Pointer::Parameter(text) => self.parameter(text, index).and_then(|name| self.value(artifact, index, &name, answer)),
        };
        pointed.unwrap_or_else(Pointed::Not)
    }

    /// The image as the spec names it.
    fn reference(&self, artifact: &Artifact, index: usize, text: &str) -> Result<Pointed, Obstacle> {
        let path = format!("spec.artifacts[{index}].image.ref");
        let reference: Reference = text.parse().map_err(|error| Obstacle::Wrong("SpecInvalid", format!("{path}: {error}")))?;
        self.is_allowed(&reference, &path)?;
        Ok(self.pinned(artifact, text, reference, None))
    }

    /// The image as the parameter names it.
    fn value(
        &self,
        artifact: &Artifact,
        index: usize,
        name: &ParameterName,
        answer: Option<&Answer<Option<Parameter>>>,
    ) -> Result<Pointed, Obstacle> {
        let path = format!("spec.artifacts[{index}].image.parameter");
        let parameter = match answer {
            None | Some(Answer::Pending) => {
                return Err(Obstacle::Pending(format!("{path}: asking Parameter Store for {name}")));
            }
            Some(Answer::Failed { reason, message }) => return Err(Obstacle::Stale(reason, format!("{path}: {message}"))),
            Some(Answer::Known(None)) => {
                let message = format!("{path}: parameter {name} does not exist; put it back, or name another one");
                return Err(Obstacle::Stale("ParameterMissing", message));
            }
            Some(Answer::Known(Some(parameter))) => parameter,
        };
        let record = ParameterRecord { name: name.to_string(), version: parameter.version, modified_at: parameter.modified_at };
        // Replicas of Parameter Store follow each other: an answer of yesterday is no news. A label may be moved, and by a person.
        let last = self.last(artifact, index).filter(|_| name.selector().is_none());
        if let Some(last) = last.filter(|last| last.parameter.as_ref().is_some_and(|last| is_older(&record, last))) {
            return Ok(Pointed::At(last.clone()));
        }
        let text = self.full(artifact, &path, parameter)?;
        let reference: Reference = text.parse().map_err(|error: crate::image::ReferenceError| {
            // What is secret is not repeated.
            let what = if parameter.secure { error.fault().to_string() } else { error.to_string() };
            Obstacle::Wrong("ValueInvalid", format!("{path}: version {} of {name}: {what}", parameter.version))
        })?;
        self.is_allowed(&reference, &path)?;
        Ok(self.pinned(artifact, &text, reference, Some(record)))
    }

    /// The value with its registry.
    fn full(&self, artifact: &Artifact, path: &str, parameter: &Parameter) -> Result<String, Obstacle> {
        let value = parameter.value.trim();
        if value.is_empty() {
            let message = format!("{path}: version {} is empty; write the name of an image to it", parameter.version);
            return Err(Obstacle::Wrong("ValueInvalid", message));
        }
        let registry = artifact.image.registry.as_ref().or_else(|| self.environment?.registry.as_ref());
        Ok(match registry {
            Some(registry) if !Reference::names_a_registry(value) => format!("{registry}/{value}"),
            _ => value.to_owned(),
        })
    }

    fn is_allowed(&self, reference: &Reference, path: &str) -> Result<(), Obstacle> {
        let list = self.environment.and_then(|environment| environment.allow.images.as_ref());
        let image = format!("{}/{}", reference.registry(), reference.repository());
        if allows(list, &image) {
            return Ok(());
        }
        Err(Obstacle::Wrong("NotAllowed", format!("{path}: {image} is not in spec.allow.images of Environment {}", self.name())))
    }

    /// What it was resolved to before, when that was the very same pointer: a tag is looked up once.
    fn pinned(&self, artifact: &Artifact, text: &str, reference: Reference, record: Option<ParameterRecord>) -> Pointed {
        let digest = reference.digest().map(ToString::to_string);
        let ordered = artifact.image.order.is_some();
        if artifact.image.resolve == Resolve::Never || (digest.is_some() && !ordered) {
            let tag = reference.tag().map(ToOwned::to_owned);
            return Pointed::At(ResolvedArtifact {
                name: artifact.name.clone(),
                reference: text.to_owned(),
                parameter: record,
                image: text.to_owned(),
                tag,
                digest,
                order: None,
            });
        }
        let same = |known: &&ResolvedArtifact| {
            let version = |record: &ParameterRecord| (record.name.clone(), record.version);
            known.name == artifact.name
                && known.reference == text
                && known.parameter.as_ref().map(version) == record.as_ref().map(version)
                && known.digest.is_some()
                && (known.order.is_some() || !ordered)
        };
        match self.release.status.artifacts.iter().find(same) {
            Some(known) => Pointed::At(known.clone()),
            None => Pointed::Open { reference, record },
        }
    }

    /// What the same parameter led to last: it stays wanted while its pointer cannot be followed.
    fn last(&self, artifact: &Artifact, index: usize) -> Option<&'a ResolvedArtifact> {
        let Pointer::Parameter(text) = artifact.image.pointer() else { return None };
        let name = self.parameter(text, index).ok()?;
        self.release.status.artifacts.iter().find(|known| {
            known.name == artifact.name && known.parameter.as_ref().is_some_and(|record| record.name == name.as_str())
        })
    }
}

/// What the registry says about it.
fn seen(
    artifact: &Artifact,
    index: usize,
    reference: &Reference,
    record: Option<ParameterRecord>,
    answer: Option<&Answer<Image>>,
) -> Result<ResolvedArtifact, Obstacle> {
    let field = if record.is_some() { "parameter" } else { "ref" };
    let path = format!("spec.artifacts[{index}].image.{field}");
    match answer {
        Some(Answer::Known(image)) if image.reference == *reference => Ok(ResolvedArtifact {
            name: artifact.name.clone(),
            reference: reference.to_string(),
            parameter: record,
            image: format!("{}@{}", reference.name(), image.digest),
            tag: image.tag.clone(),
            digest: Some(image.digest.clone()),
            order: order(artifact, image, &path)?,
        }),
        Some(Answer::Failed { reason, message }) => Err(Obstacle::Waiting(reason, format!("{path}: {message}"))),
        _ => Err(Obstacle::Pending(format!("{path}: asking the registry for the digest of {reference}"))),
    }
}

/// What the image says of its place among the builds, where that is asked for.
fn order(artifact: &Artifact, image: &Image, path: &str) -> Result<Option<String>, Obstacle> {
    let Some(label) = artifact.image.order.as_ref().map(|order| &order.label) else { return Ok(None) };
    let unknown = |why: String| Obstacle::Wrong("OrderUnknown", format!("{path}: {}: {why}", image.reference));
    let text = image
        .labels
        .get(label)
        .ok_or_else(|| unknown(format!("the image has no label {label}, by which builds are put in order")))?;
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    Key::parse(text).map(|_| Some(text.clone())).ok_or_else(|| {
        unknown(format!("its label {label} is \"{shown}\": neither a number nor a semantic version nor an RFC 3339 time"))
    })
}

/// Written before what was released last. A parameter that was deleted and made anew begins with 1 again, and is newer all the same.
fn is_older(now: &ParameterRecord, last: &ParameterRecord) -> bool {
    let made_anew = matches!((now.modified_at, last.modified_at), (Some(now), Some(then)) if now > then);
    now.name == last.name && now.version < last.version && !made_anew
}
