//! A Release in its environment: what names stand for, which parameter is meant, and whether it may be used.
//!
//! In: the Release, and what its namespace claims. Out: where each artifact's pointer leads.

use bascule_crds::{EnvironmentSpec, ParameterRecord, ResolvedArtifact, Source};
use serde_json::Value;

use super::{Obstacle, ParameterName, Place, Pointed, archive, image, order::is_older, pattern::allows};
use crate::{
    image::Reference,
    observed::{Answer, Claim, Parameter, ReleaseView, Sight},
    revision::Blocked,
    variables::{Meaning, Variables, substitute},
};

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

pub(super) struct Setting<'a> {
    release: &'a ReleaseView,
    pub(super) environment: Option<&'a EnvironmentSpec>,
    variables: Variables,
}

/// What says which artifact it is.
pub(super) struct Pointer<'a> {
    pub(super) text: &'a str,
    /// The parameter it was read from.
    pub(super) record: Option<ParameterRecord>,
    /// It is not repeated.
    pub(super) secure: bool,
}

/// What an Environment allows.
#[derive(Clone, Copy, Debug)]
pub(super) enum List {
    Parameters,
    Images,
    Buckets,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Images => "images",
            Self::Buckets => "buckets",
        }
    }
}

impl<'a> Setting<'a> {
    pub(super) fn new(release: &'a ReleaseView, claim: &'a Sight<Claim>) -> Result<Self, Blocked> {
        let environment = match claim {
            Sight::Known(Claim::Of { spec, .. }) => Some(spec.as_ref()),
            _ => None,
        };
        Ok(Self { release, environment, variables: variables(release, claim)? })
    }

    /// The name of the Environment.
    fn name(&self) -> &str {
        match self.variables.get("env.name") {
            Some(Meaning::Text(name)) => name,
            _ => "",
        }
    }

    /// A text of the spec with its variables replaced.
    pub(super) fn text(&self, text: &str, path: &str) -> Result<String, Obstacle> {
        match substitute(&Value::String(text.to_owned()), path, &self.variables) {
            Ok(Value::String(text)) => Ok(text),
            Ok(other) => Ok(other.to_string()),
            Err(error) => Err(Obstacle::Wrong("SpecInvalid", error.to_string())),
        }
    }

    pub(super) fn parameter(&self, text: &str, place: &Place<'_>) -> Result<ParameterName, Obstacle> {
        let path = place.pointer();
        let text = self.text(text, &path)?;
        let name = ParameterName::parse(&text).map_err(|error| Obstacle::Wrong("SpecInvalid", format!("{path}: {error}")))?;
        // An ARN may be of another account or region: there it is the whole of it that must be allowed.
        self.permits(List::Parameters, &format!("parameter {}", name.base()), name.base(), &path)?;
        Ok(name)
    }

    /// Whether the Environment's list has it; what is not allowed is not even asked for.
    pub(super) fn permits(&self, list: List, what: &str, text: &str, path: &str) -> Result<(), Obstacle> {
        if allows(self.list(list), text) {
            return Ok(());
        }
        let list = list.name();
        Err(Obstacle::Wrong("NotAllowed", format!("{path}: {what} is not in spec.allow.{list} of Environment {}", self.name())))
    }

    pub(super) fn list(&self, list: List) -> Option<&'a Vec<String>> {
        let allow = &self.environment?.allow;
        match list {
            List::Parameters => allow.parameters.as_ref(),
            List::Images => allow.images.as_ref(),
            List::Buckets => allow.buckets.as_ref(),
        }
    }

    /// Whether the Environment still lets anybody ask about it.
    pub(super) fn may_ask(&self, resolved: &ResolvedArtifact) -> bool {
        if let Some(archive) = &resolved.archive {
            return allows(self.list(List::Buckets), &archive.bucket);
        }
        let reference = resolved.reference.parse::<Reference>();
        reference.is_ok_and(|reference| allows(self.list(List::Images), &reference.place()))
    }

    /// What was released last.
    pub(super) fn resolved(&self) -> impl Iterator<Item = &'a ResolvedArtifact> + use<'a> {
        self.release.status.artifacts.iter()
    }

    /// What is said of the sources at present, where it is about this.
    pub(super) fn is_told(&self, about: &str) -> bool {
        let told = self.release.status.condition(bascule_crds::ConditionType::SourcesFresh);
        told.is_some_and(|told| told.message.contains(about))
    }

    /// What the same parameter led to last: it stays wanted while its pointer cannot be followed.
    pub(super) fn last(&self, place: &Place<'_>) -> Option<&'a ResolvedArtifact> {
        let name = self.parameter(place.artifact.parameter()?, place).ok()?;
        self.resolved().find(|known| {
            known.name == place.artifact.name && known.parameter.as_ref().is_some_and(|record| record.name == name.as_str())
        })
    }

    pub(super) fn point(&self, place: &Place<'_>, answer: Option<&Answer<Option<Parameter>>>) -> Pointed {
        let pointed = match (place.artifact.parameter(), place.artifact.source()) {
            (Some(text), _) => self.parameter(text, place).and_then(|name| self.value(place, &name, answer)),
            (None, Source::Image(source)) => self.spec(place, source.reference.as_deref()),
            (None, Source::Archive(source)) => self.spec(place, source.key.as_deref()),
            (None, Source::Nothing) => Err(nowhere(place)),
        };
        pointed.unwrap_or_else(Pointed::Not)
    }

    /// As the spec says.
    fn spec(&self, place: &Place<'_>, text: Option<&str>) -> Result<Pointed, Obstacle> {
        let text = text.ok_or_else(|| nowhere(place))?;
        self.lead(place, &Pointer { text, record: None, secure: false })
    }

    /// As the parameter says.
    fn value(
        &self,
        place: &Place<'_>,
        name: &ParameterName,
        answer: Option<&Answer<Option<Parameter>>>,
    ) -> Result<Pointed, Obstacle> {
        let path = place.pointer();
        let last = self.last(place);
        let parameter = match answer {
            None | Some(Answer::Pending) => {
                return Err(Obstacle::Pending(format!("{path}: asking Parameter Store for {name}")));
            }
            Some(Answer::Failed { reason, message }) => return Err(Obstacle::Stale(reason, format!("{path}: {message}"))),
            Some(Answer::Known(None)) => {
                let message = match last {
                    Some(_) => format!("{path}: parameter {name} does not exist any more; put it back, or name another one"),
                    None => format!("{path}: parameter {name} does not exist yet: write it, or name another one"),
                };
                return Err(Obstacle::Stale("ParameterMissing", message));
            }
            Some(Answer::Known(Some(parameter))) => parameter,
        };
        let mut record = ParameterRecord {
            name: name.to_string(),
            version: parameter.version,
            modified_at: parameter.modified_at,
            modified_by: parameter.modified_by.clone(),
        };
        if let Some(known) = last.and_then(|last| last.parameter.as_ref()) {
            let is_same = (known.version, known.modified_at) == (record.version, record.modified_at);
            // Who wrote it is found out once.
            if is_same {
                record.modified_by.clone_from(&known.modified_by);
            }
            // Replicas of Parameter Store follow each other: an answer of yesterday is no news. A label may be moved, and by a person.
            if name.selector().is_none() && is_older(&record, known) {
                return Ok(Pointed::At(Box::new(last.cloned().unwrap_or_default())));
            }
        }
        let text = parameter.value.trim();
        if text.is_empty() {
            let what = if matches!(place.artifact.source(), Source::Archive(_)) {
                "the key of an object"
            } else {
                "the name of an image"
            };
            let message = format!("{path}: version {} is empty; write {what} to it", parameter.version);
            return Err(Obstacle::Wrong("ValueInvalid", message));
        }
        self.lead(place, &Pointer { text, record: Some(record), secure: parameter.secure })
    }

    fn lead(&self, place: &Place<'_>, pointer: &Pointer<'_>) -> Result<Pointed, Obstacle> {
        match place.artifact.source() {
            Source::Image(source) => image::lead(self, place, source, pointer),
            Source::Archive(source) => archive::lead(self, place, source, pointer),
            Source::Nothing => Err(nowhere(place)),
        }
    }
}

/// The schema lets none of these through.
fn nowhere(place: &Place<'_>) -> Obstacle {
    let (path, what) = match place.artifact.source() {
        Source::Image(_) => (place.path.as_str(), "neither ref nor parameter"),
        Source::Archive(_) => (place.path.as_str(), "neither key nor parameter"),
        Source::Nothing => (place.path.trim_end_matches(".image"), "neither image nor archive"),
    };
    Obstacle::Wrong("SpecInvalid", format!("{path}: it has {what}"))
}
