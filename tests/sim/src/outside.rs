//! The world outside of the cluster: Parameter Store with a history, a registry, a bucket, a queue of events, and everything that goes
//! wrong with them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bascule_controller::sources::{
    SourceError,
    archives::ArchiveStore,
    hints::{HintQueue, Message},
    parameters::{Batch, ParameterStore},
    registry::{Described, EcrLogin, EcrLogins, EcrRefusal, Fetch, LookupError, Question},
};
use bascule_controller::{
    Key,
    gates::{Asks, Session},
};
use bascule_core::{
    Archive, Parameter,
    gate::{Probe, Verdict},
    image::Digest,
    sources::{ParameterName, Scope},
};
use bascule_crds::ArchiveRecord;
use bascule_scenarios::Says;
use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::server::Server;

/// How long one question takes.
const TAKES: Duration = Duration::from_millis(20);
/// How long an empty queue is listened to.
const LISTENS: Duration = Duration::from_secs(20);

/// What is true there.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    versions: BTreeMap<String, Vec<Parameter>>,
    /// How often everything else was made anew under the same name.
    builds: u64,
    events: VecDeque<String>,
    /// What gates measure, by their name; without an entry all is well.
    gauges: BTreeMap<String, Says>,
    written: u64,
    /// What is the matter with whom, and until when in milliseconds.
    troubles: Vec<(Part, Trouble, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    Parameters,
    Registry,
    Archives,
    Queue,
    /// What gates ask.
    Gates,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Parameters, Self::Registry, Self::Archives, Self::Queue, Self::Gates];
}

/// What may be the matter for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    Throttled,
    Unreachable,
    /// It takes the question and never answers.
    Silent,
    Denied,
    /// It leaves every name out.
    Half,
    /// It answers with what was true before the last write.
    Old,
    /// It says that there is no such thing.
    Missing,
}

impl Trouble {
    pub const ALL: [Self; 7] =
        [Self::Throttled, Self::Unreachable, Self::Silent, Self::Denied, Self::Half, Self::Old, Self::Missing];

    fn error(self) -> Option<SourceError> {
        match self {
            Self::Throttled => Some(SourceError::Throttled("Rate exceeded".into())),
            Self::Unreachable | Self::Silent => Some(SourceError::Unreachable("connection refused".into())),
            Self::Denied => Some(SourceError::Denied("not authorized".into())),
            Self::Half | Self::Old | Self::Missing => None,
        }
    }
}

impl Outside {
    pub fn put(&mut self, name: &str, value: &str, at: Timestamp) {
        let versions = self.versions.entry(name.to_owned()).or_default();
        let version = i64::try_from(versions.len()).unwrap_or(i64::MAX) + 1;
        let parameter = Parameter { value: value.to_owned(), version, secure: false, modified_at: Some(at), modified_by: None };
        versions.push(parameter);
        // Best effort: some events never come, some come twice, and between them is what nobody understands.
        self.written += 1;
        let event = json!({"source": "aws.ssm", "detail-type": "Parameter Store Change", "detail": {"name": name}}).to_string();
        match self.written % 4 {
            0 => {}
            1 => self.events.push_back(event),
            2 => self.events.extend([event.clone(), event]),
            _ => self.events.extend(["no event".to_owned(), event, r#"{"source": "aws.ssm"}"#.to_owned()]),
        }
    }

    pub fn measure(&mut self, gate: &str, says: Says) {
        self.gauges.insert(gate.to_owned(), says);
    }

    /// What a gate would be told: nothing but what is measured is good or bad.
    fn gauge(&self, gate: &str, trouble: Option<Trouble>) -> Verdict {
        if trouble.is_some() {
            return Verdict::Unknown("no data".to_owned());
        }
        match self.gauges.get(gate) {
            None | Some(Says::Good) => Verdict::Pass,
            Some(Says::Bad) => Verdict::Fail("measured, and bad".to_owned()),
            Some(Says::Nothing) => Verdict::Unknown("no data".to_owned()),
        }
    }

    /// Tags and keys mean something else from now on.
    pub fn republish(&mut self) {
        self.builds += 1;
    }

    pub fn newest(&self, name: &str) -> Option<&Parameter> {
        self.versions.get(name)?.last()
    }

    pub fn upset(&mut self, part: Part, trouble: Trouble, until: u64) {
        self.troubles.push((part, trouble, until));
    }

    pub fn cease(&mut self) {
        self.troubles.clear();
    }

    fn trouble(&self, part: Part, now: u64) -> Option<Trouble> {
        self.troubles.iter().rfind(|(of, _, until)| *of == part && now < *until).map(|(_, trouble, _)| *trouble)
    }

    fn parameters(&self, names: &[ParameterName], trouble: Option<Trouble>) -> Batch {
        let mut batch = Batch::default();
        for name in names {
            let versions = self.versions.get(name.base()).map_or(&[][..], Vec::as_slice);
            let seen = match trouble {
                Some(Trouble::Half) => continue,
                Some(Trouble::Missing) => None,
                Some(Trouble::Old) => versions.iter().rev().nth(1).or(versions.last()),
                _ => versions.last(),
            };
            match seen {
                Some(parameter) => drop(batch.found.insert(name.clone(), parameter.clone())),
                None => drop(batch.missing.insert(name.clone())),
            }
        }
        batch
    }

    /// The build that a name means.
    fn build(&self, trouble: Option<Trouble>) -> u64 {
        self.builds - u64::from(trouble == Some(Trouble::Old) && self.builds > 0)
    }
}

/// The way from a process to all of it.
#[derive(Debug)]
pub struct World {
    pub server: Arc<Server>,
    /// Events are heard.
    pub hears: bool,
}

impl World {
    /// What is the matter, after the time that a question takes; or why there is no answer.
    async fn asked(&self, part: Part) -> Result<Option<Trouble>, SourceError> {
        tokio::time::sleep(TAKES).await;
        let now = u64::try_from(self.server.elapsed().as_millis()).unwrap_or(0);
        let trouble = self.server.inside().outside.trouble(part, now);
        if trouble == Some(Trouble::Silent) {
            return futures::future::pending().await;
        }
        match trouble.and_then(Trouble::error) {
            Some(error) => Err(error),
            None => Ok(trouble),
        }
    }
}

impl ParameterStore for World {
    fn read<'a>(&'a self, _: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        async move {
            let trouble = self.asked(Part::Parameters).await?;
            Ok(self.server.inside().outside.parameters(names, trouble))
        }
        .boxed()
    }

    fn author<'a>(&'a self, _: &'a Scope, _: &'a ParameterName, _: i64) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        async move {
            self.asked(Part::Parameters).await?;
            Ok(Some("ci".to_owned()))
        }
        .boxed()
    }
}

impl ArchiveStore for World {
    fn look<'a>(&'a self, _: &'a Scope, bucket: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Archive>, SourceError>> {
        async move {
            let trouble = self.asked(Part::Archives).await?;
            if trouble == Some(Trouble::Missing) {
                return Ok(None);
            }
            let build = self.server.inside().outside.build(trouble);
            let record = ArchiveRecord {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                version_id: Some(format!("v{build}")),
                etag: Some(format!("e{build}")),
                sha256: Some(format!("{build:064x}")),
                size: 7,
            };
            Ok(Some(Archive { record, metadata: BTreeMap::new() }))
        }
        .boxed()
    }
}

impl EcrLogins for World {
    fn login<'a>(&'a self, _: &'a Scope, _: &'a str) -> BoxFuture<'a, Result<EcrLogin, EcrRefusal>> {
        async { Err(EcrRefusal::Denied("there is no such registry here".to_owned())) }.boxed()
    }
}

impl HintQueue for World {
    fn exists(&self) -> bool {
        self.hears
    }

    /// What was heard is not taken away before it is deleted, and comes again to whoever did not.
    fn receive(&self) -> BoxFuture<'_, Result<Vec<Message>, SourceError>> {
        async move {
            let end = tokio::time::Instant::now() + LISTENS;
            loop {
                self.asked(Part::Queue).await?;
                let heard: Vec<_> = {
                    let inside = self.server.inside();
                    let message = |body: &String| Message { body: body.clone(), handle: body.clone() };
                    inside.outside.events.iter().take(10).map(message).collect()
                };
                if !heard.is_empty() || tokio::time::Instant::now() >= end {
                    return Ok(heard);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        .boxed()
    }

    fn delete(&self, handles: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        async move {
            self.asked(Part::Queue).await?;
            self.server.inside().outside.events.retain(|event| !handles.contains(event));
            Ok(())
        }
        .boxed()
    }
}

impl Asks for World {
    fn open(&self, _: &Key, probe: &Probe) -> Box<dyn Session> {
        Box::new(Gauge { world: Self { server: self.server.clone(), hears: false }, gate: probe.id.name.clone() })
    }
}

/// One gate that is asked.
struct Gauge {
    world: World,
    gate: String,
}

impl Session for Gauge {
    fn sample(&mut self, _: tokio::time::Instant) -> BoxFuture<'_, Verdict> {
        async move {
            match self.world.asked(Part::Gates).await {
                Ok(trouble) => self.world.server.inside().outside.gauge(&self.gate, trouble),
                Err(error) => Verdict::Unknown(error.to_string()),
            }
        }
        .boxed()
    }
}

/// A registry that knows every tag.
impl Fetch for World {
    fn describe<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        async move {
            let missing = || LookupError::NotFound { repository: question.repository.clone(), tag: question.tag.clone() };
            let trouble = self.asked(Part::Registry).await.map_err(|error| match error {
                SourceError::Denied(_) => {
                    LookupError::Denied { repository: question.repository.clone(), tried: Vec::new(), remarks: Vec::new() }
                }
                SourceError::Throttled(_) => LookupError::Throttled { registry: question.registry.clone(), retry_after: None },
                error => LookupError::Unreachable { what: error.to_string(), retry_after: None },
            })?;
            if trouble == Some(Trouble::Missing) {
                return Err(missing());
            }
            let mut hash = [0_u8; 32];
            let build = self.server.inside().outside.build(trouble);
            let name = format!("{build} {question}");
            for (index, byte) in name.bytes().enumerate() {
                hash[index % 32] = u8::wrapping_add(hash[index % 32].wrapping_mul(31), byte);
            }
            Ok(Digest::from_sha256(hash).into())
        }
        .boxed()
    }
}
