//! A scenario: the shape of a Release, and what happens to it, step by step.
//!
//! In: YAML of a person, or one line of JSON from a command that replays. Out: the same data, with nothing left to guess.
//! Never here: how a step is carried out.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bascule_crds::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};

use crate::{Action, Expect, Hand, History, Shape, TeamService, Want};

/// What is waited for comes within this time, unless the step says otherwise. Long, because a machine may be busy with other beds.
const WITHIN: Duration = Duration::from_secs(120);
/// How long something stays as it is, unless the step says otherwise.
const FOR: Duration = Duration::from_secs(3);

/// A story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// A sentence with dashes; the name of the test.
    pub name: String,
    /// What is not plain from the steps, for example why it does not run everywhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Where it can be played.
    #[serde(default = "everywhere", skip_serializing_if = "is_everywhere")]
    pub on: BTreeSet<Place>,
    /// Whether the chart's admission policies are installed (without them only in the simulation, which has its own cluster).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub policies: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shape: Shape,
    /// Before the steps this version is applied and settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_on: Option<String>,
    pub steps: Vec<Step>,
}

/// Where a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// The simulation: virtual time.
    Sim,
    /// A real control plane with fake pods.
    Fake,
    /// A real node.
    Real,
}

impl Place {
    pub const ALL: [Self; 3] = [Self::Sim, Self::Fake, Self::Real];
}

/// One thing that is done, or one that is waited for.
///
/// Written as a map with one word that says which, and beside it `within`, `for`, `refused` or `maybe`.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Do(Deed),
    /// It comes to that, in time.
    Until {
        expect: Expect,
        within: Duration,
    },
    /// It is so, and stays so.
    Stays {
        expect: Expect,
        length: Duration,
    },
    /// Remembers how things are now: `unchanged` and `history` look from here on.
    Mark(String),
    /// What only the API server's history shows. Stages without one pass over it.
    History(History),
}

/// An action, and whether it is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    pub action: Action,
    /// The server must refuse it with a message that contains this.
    pub refused: Option<String>,
    /// The server may refuse it: what it is done to may not be there.
    pub maybe: bool,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self::Do(Deed { action, refused: None, maybe: false })
    }
}

impl Step {
    pub fn until(expect: Expect) -> Self {
        Self::Until { expect, within: WITHIN }
    }

    pub fn stays(expect: Expect) -> Self {
        Self::Stays { expect, length: FOR }
    }

    /// One line, as a person would write it.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Scenario {
    /// Everything that is done, with what goes before the first step.
    pub fn script(&self) -> Vec<Step> {
        let services = self
            .shape
            .team_services()
            .into_iter()
            .map(|name| Action::Service(TeamService { name, hand: Hand::Apply, selector: None }).into());
        let settled = self.settled_on.iter().flat_map(|version| {
            let expect = Expect { settled: Some(version.clone()), ..Expect::default() };
            [Action::Want(Want::version(version)).into(), Step::until(expect), Step::Mark("settled".into())]
        });
        services.chain(settled).chain(self.steps.iter().cloned()).collect()
    }

    pub fn runs_on(&self, place: Place) -> bool {
        self.on.contains(&place)
    }

    /// One line, for a command that replays it.
    pub fn to_line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    pub fn from_line(line: &str) -> anyhow::Result<Self> {
        serde_json::from_str(line).context("read a scenario")
    }

    pub fn to_yaml(&self) -> anyhow::Result<String> {
        // By way of JSON: YAML would write the variants of an enum as tags.
        Ok(serde_yaml_ng::to_string(&serde_json::to_value(self)?)?)
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let with = |word: &str, value: Result<Value, serde_json::Error>| {
            value.map(|value| Map::from_iter([(word.to_owned(), value)])).map_err(ser::Error::custom)
        };
        let mut map = match self {
            Self::Do(deed) => match serde_json::to_value(&deed.action).map_err(ser::Error::custom)? {
                Value::Object(map) => map,
                other => return Err(ser::Error::custom(format!("{other} is no action"))),
            },
            Self::Until { expect, .. } => with("until", serde_json::to_value(expect))?,
            Self::Stays { expect, .. } => with("stays", serde_json::to_value(expect))?,
            Self::Mark(name) => with("mark", Ok(name.clone().into()))?,
            Self::History(history) => with("history", serde_json::to_value(history))?,
        };
        let beside = match self {
            Self::Do(deed) if deed.maybe => Some(("maybe", Value::from(true))),
            Self::Do(deed) => deed.refused.as_ref().map(|text| ("refused", text.clone().into())),
            Self::Until { within, .. } => (*within != WITHIN).then(|| ("within", within.to_string().into())),
            Self::Stays { length, .. } => (*length != FOR).then(|| ("for", length.to_string().into())),
            Self::Mark(_) | Self::History(_) => None,
        };
        if let Some((word, value)) = beside {
            map.insert(word.to_owned(), value);
        }
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        Self::read(&mut map).map_err(|error| de::Error::custom(format!("{error:#}")))
    }
}

impl Step {
    fn read(map: &mut Map<String, Value>) -> anyhow::Result<Self> {
        let step = if let Some(expect) = map.remove("until") {
            Self::Until { expect: serde_json::from_value(expect).context("until")?, within: duration(map, "within", WITHIN)? }
        } else if let Some(expect) = map.remove("stays") {
            Self::Stays { expect: serde_json::from_value(expect).context("stays")?, length: duration(map, "for", FOR)? }
        } else if let Some(name) = map.remove("mark") {
            Self::Mark(serde_json::from_value(name).context("mark")?)
        } else if let Some(history) = map.remove("history") {
            Self::History(serde_json::from_value(history).context("history")?)
        } else {
            let refused = map.remove("refused").map(serde_json::from_value).transpose().context("refused")?;
            let maybe = map.remove("maybe").map_or(Ok(false), serde_json::from_value).context("maybe")?;
            let words = map.keys().cloned().collect::<Vec<_>>().join(", ");
            let action = serde_json::from_value(Value::Object(std::mem::take(map))).with_context(|| format!("step {words}"))?;
            Self::Do(Deed { action, refused, maybe })
        };
        let left: Vec<_> = map.keys().map(String::as_str).collect();
        anyhow::ensure!(left.is_empty(), "a step has nothing called {}", left.join(", "));
        Ok(step)
    }
}

fn duration(map: &mut Map<String, Value>, word: &str, default: Duration) -> anyhow::Result<Duration> {
    map.remove(word).map_or(Ok(default), |value| serde_json::from_value(value).with_context(|| word.to_owned()))
}

fn everywhere() -> BTreeSet<Place> {
    Place::ALL.into()
}

fn is_everywhere(on: &BTreeSet<Place>) -> bool {
    *on == everywhere()
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
