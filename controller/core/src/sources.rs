//! From pointers to artifacts: what must be asked of Parameter Store, of the registries and of S3, and what the answers mean.
//!
//! In: the Release, what its namespace says of its environment, and answers as far as there are any. Out: questions, the artifacts that
//! are wanted now, and what is to be said of the sources. Never here: who asks, when, and as whom.
//!
//! One rule for everything that goes wrong with a parameter: what was resolved last stays wanted, and status says why.

mod archive;
mod image;
mod name;
mod order;
mod origin;
mod pattern;
mod setting;

use std::collections::BTreeMap;

use bascule_crds::{Artifact, Aws, ParameterRecord, Resolve, ResolvedArtifact, Source};

pub use self::name::{NameError, ParameterName};
pub(crate) use order::name;
pub(crate) use setting::variables;

use crate::{
    image::Reference,
    observed::{Answer, Claim, Observed, Parameter, ReleaseView, Sight},
    revision::Blocked,
};
use setting::Setting;

/// Where AWS is asked, and as whom.
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
/// It is not there, or not any more.
pub const ARTIFACT_MISSING: &str = "ArtifactMissing";

/// Answers of Parameter Store, by artifact.
pub type Parameters = BTreeMap<String, Answer<Option<Parameter>>>;

/// A parameter to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterQuestion {
    pub name: ParameterName,
    /// The version that was followed last: of another one it is worth to know who wrote it.
    pub followed: Option<i64>,
}

/// The parameters that this Release's artifacts point to, by artifact.
pub fn parameters(release: &ReleaseView, claim: &Sight<Claim>) -> BTreeMap<String, ParameterQuestion> {
    let Ok(setting) = Setting::new(release, claim) else { return BTreeMap::new() };
    let named = release.spec.artifacts.iter().enumerate().filter_map(|(index, artifact)| {
        let place = Place::new(artifact, index);
        let name = setting.parameter(artifact.parameter()?, &place).ok()?;
        let followed = setting.last(&place).and_then(|last| Some(last.parameter.as_ref()?.version));
        Some((artifact.name.clone(), ParameterQuestion { name, followed }))
    });
    named.collect()
}

/// What a registry must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageQuestion {
    pub reference: Reference,
    pub wish: Wish,
    /// The version of the parameter that points to it: every write is a new pointer, also one of the same value.
    pub written: i64,
}

/// How much somebody wants to know of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Which one it is.
    Digest,
    /// And, if that can be read, what it says of itself.
    About,
    /// And what it says of itself.
    Order,
    /// It is pinned: whether its tag still means the same, once in a while.
    Watch,
}

/// What S3 must be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveQuestion {
    pub bucket: String,
    pub key: String,
    /// It is pinned: whether the same still lies there, once in a while.
    pub watch: bool,
    /// As in [`ImageQuestion`].
    pub written: i64,
}

/// Why nobody may be asked about what was pinned before, by the Environment and the spec of today.
pub fn must_not_ask(release: &ReleaseView, claim: &Sight<Claim>, artifact: &ResolvedArtifact) -> Option<&'static str> {
    if !Setting::new(release, claim).is_ok_and(|setting| setting.may_ask(artifact)) {
        return Some("the Environment does not allow it any more");
    }
    let source = release.spec.artifacts.iter().find(|it| it.name == artifact.name).and_then(|it| it.image.as_ref());
    let never = source.is_some_and(|source| source.resolve == Resolve::Never);
    never.then_some("resolve: Never, so its registry is not asked")
}

/// What must be looked up, by artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    pub images: BTreeMap<String, ImageQuestion>,
    pub archives: BTreeMap<String, ArchiveQuestion>,
}

/// What must be asked of the registries and of S3.
pub fn questions(release: &ReleaseView, claim: &Sight<Claim>, parameters: &Parameters) -> Questions {
    let mut questions = Questions::default();
    let Ok(setting) = Setting::new(release, claim) else { return questions };
    for (index, artifact) in release.spec.artifacts.iter().enumerate() {
        let (place, name) = (Place::new(artifact, index), artifact.name.clone());
        let pointed = setting.point(&place, parameters.get(&name));
        let watched = wanted(&setting, &place, &pointed).and_then(Watched::of);
        let written = |record: Option<ParameterRecord>| record.map_or(0, |record| record.version);
        match (pointed, watched) {
            (Pointed::Image { reference, wish, record, .. }, _) => {
                questions.images.insert(name, ImageQuestion { reference, wish, written: written(record) });
            }
            (Pointed::Archive { bucket, key, record }, _) => {
                questions.archives.insert(name, ArchiveQuestion { bucket, key, watch: false, written: written(record) });
            }
            (_, Some(Watched::Tag(reference))) => {
                questions.images.insert(name, ImageQuestion { reference, wish: Wish::Watch, written: 0 });
            }
            (_, Some(Watched::Key { bucket, key })) => {
                questions.archives.insert(name, ArchiveQuestion { bucket, key, watch: true, written: 0 });
            }
            (Pointed::At(_) | Pointed::Not(_), None) => {}
        }
    }
    questions
}

/// What the sources are like, beside the artifacts themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Of each artifact what there is to say. Empty: none comes from a parameter, and there is nothing to say of the others.
    pub(crate) said: Vec<Freshness>,
    /// Why a pointer that is known is not followed.
    pub(crate) held: Option<Obstacle>,
    /// What is passed over because it is older: a person may accept it.
    pub(crate) passed: Vec<ResolvedArtifact>,
}

impl Report {
    /// Not everything has been asked yet.
    pub(crate) fn is_unseen(&self) -> bool {
        self.said.contains(&Freshness::Unseen)
    }

    /// What is read, and not followed on purpose: reason and message.
    pub(crate) fn passed_over(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.said.iter().filter_map(|said| match said {
            Freshness::Passed { reason, message } => Some((*reason, message.as_str())),
            _ => None,
        })
    }
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
        let named = |artifact: &Artifact| artifact.parameter().is_some();
        report.said.extend(observed.release.spec.artifacts.iter().any(named).then_some(Freshness::Unseen));
    })?;
    let mut artifacts = Vec::new();
    let mut blocked = None;
    for (index, artifact) in observed.release.spec.artifacts.iter().enumerate() {
        let place = Place::new(artifact, index);
        let answer = observed.parameters.get(&artifact.name);
        let last = setting.last(&place);
        let found = found(&setting, &place, observed, report).and_then(|resolved| order::in_order(&place, resolved, last));
        if artifact.parameter().is_some() {
            report.said.push(freshness(&found, answer));
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

fn found(
    setting: &Setting<'_>,
    place: &Place<'_>,
    observed: &Observed,
    report: &mut Report,
) -> Result<ResolvedArtifact, Obstacle> {
    let name = &place.artifact.name;
    let pointed = setting.point(place, observed.parameters.get(name));
    if let Some(resolved) = wanted(setting, place, &pointed) {
        let changed = match Watched::of(resolved) {
            Some(Watched::Tag(_)) if !is_news(observed.images.get(name)) => unseen(setting, resolved),
            Some(Watched::Tag(_)) => image::moved(place, resolved, observed.images.get(name)),
            Some(Watched::Key { .. }) if !is_news(observed.archives.get(name)) => unseen(setting, resolved),
            Some(Watched::Key { .. }) => archive::changed(place, resolved, observed.archives.get(name)),
            None => None,
        };
        report.said.extend(changed);
    }
    match pointed {
        Pointed::At(resolved) => Ok(*resolved),
        Pointed::Not(obstacle) => Err(obstacle),
        Pointed::Image { reference, text, record, .. } => {
            let nodes = observed.architectures.known();
            let resolved = image::seen(place, &reference, text, record, observed.images.get(name))?;
            image::runs_here(place, observed.images.get(name), nodes, &observed.release.spec).map(|()| resolved)
        }
        Pointed::Archive { bucket, key, record } => archive::seen(place, &bucket, &key, record, observed.archives.get(name)),
    }
}

/// It tells what has become of something that is pinned; a failure does not.
fn is_news<T>(answer: Option<&Answer<T>>) -> bool {
    match answer {
        Some(Answer::Known(_)) => true,
        Some(Answer::Failed { reason, .. }) => *reason == ARTIFACT_MISSING,
        Some(Answer::Pending) | None => false,
    }
}

/// Nobody has looked, or could: what was said of it before stays.
fn unseen(setting: &Setting<'_>, resolved: &ResolvedArtifact) -> Option<Freshness> {
    setting.is_told(&resolved.reference).then_some(Freshness::Unseen)
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

/// An artifact of the spec, and what it is called in messages.
struct Place<'a> {
    artifact: &'a Artifact,
    /// `spec.artifacts[0].image`
    path: String,
}

impl<'a> Place<'a> {
    fn new(artifact: &'a Artifact, index: usize) -> Self {
        let kind = if matches!(artifact.source(), Source::Archive(_)) { "archive" } else { "image" };
        Self { artifact, path: format!("spec.artifacts[{index}].{kind}") }
    }

    /// With the field that points.
    fn pointer(&self) -> String {
        let field = match self.artifact.source() {
            _ if self.artifact.parameter().is_some() => "parameter",
            Source::Archive(_) => "key",
            Source::Image(_) | Source::Nothing => "ref",
        };
        format!("{}.{field}", self.path)
    }
}

/// Where an artifact's pointer leads.
enum Pointed {
    /// It is known which one this is.
    At(Box<ResolvedArtifact>),
    /// A registry must say which one, and how the pointer calls it.
    Image {
        reference: Reference,
        text: String,
        wish: Wish,
        record: Option<ParameterRecord>,
    },
    /// S3 must say.
    Archive {
        bucket: String,
        key: String,
        record: Option<ParameterRecord>,
    },
    Not(Obstacle),
}

/// A name that others may give another meaning.
enum Watched {
    Tag(Reference),
    Key { bucket: String, key: String },
}

impl Watched {
    fn of(resolved: &ResolvedArtifact) -> Option<Self> {
        if let Some(archive) = &resolved.archive {
            return Some(Self::Key { bucket: archive.bucket.clone(), key: archive.key.clone() });
        }
        let is_pinned = resolved.digest.is_some() && resolved.image.as_ref().is_some_and(|image| *image != resolved.reference);
        let reference: Reference = resolved.reference.parse().ok().filter(|_| is_pinned)?;
        reference.open_tag().is_some().then_some(Self::Tag(reference))
    }
}

/// What stays wanted as long as nothing else is found: it is watched also while its parameter cannot be read.
fn wanted<'a>(setting: &Setting<'a>, place: &Place<'_>, pointed: &'a Pointed) -> Option<&'a ResolvedArtifact> {
    match pointed {
        Pointed::At(resolved) => Some(resolved),
        Pointed::Not(Obstacle::Stale(..) | Obstacle::Pending(_)) => setting.last(place).filter(|last| setting.may_ask(last)),
        Pointed::Not(_) | Pointed::Image { .. } | Pointed::Archive { .. } => None,
    }
}

/// What was found out about it before, when it was the very same pointer: it is looked up once.
fn known<'a>(
    setting: &Setting<'a>,
    place: &Place<'_>,
    reference: &str,
    record: Option<&ParameterRecord>,
    by: Option<&String>,
) -> Option<&'a ResolvedArtifact> {
    let version = |record: &ParameterRecord| (record.name.clone(), record.version);
    setting.resolved().find(|known| {
        known.name == place.artifact.name
            && known.reference == reference
            && known.parameter.as_ref().map(version) == record.map(version)
            && by.is_none_or(|by| known.order.as_ref().is_some_and(|order| order.by == *by))
    })
}
