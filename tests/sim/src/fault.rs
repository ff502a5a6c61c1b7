//! Faults as data: what goes wrong, and when. A run is its scenario, its seed and its faults, and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    chance::Chance,
    outside::{Part, Trouble},
};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    pub when: When,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// At the k-th request of the controller (watches are not counted).
    Request(u64),
    /// At this time, in milliseconds since the beginning.
    Millis(u64),
}

/// Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// The process is killed before the request reaches the server.
    CrashBefore,
    /// The request is carried out, and the process is killed before it has the reply.
    CrashAfterCommit,
    /// The process is killed when it has the reply.
    CrashAfterReply,
    /// The request never arrives, and nobody answers.
    Lose,
    /// It is carried out, and nobody answers.
    LoseReply,
    /// It arrives so much later; the process may have given up by then.
    Delay(u64),
    /// It is carried out, and the reply is so late.
    DelayReply(u64),
    /// It is carried out twice.
    Duplicate,
    /// It is not carried out, and answered with this code. A 429 has so many seconds in `Retry-After`.
    Answer { code: u16, retry_after: u64 },
    /// The process is killed, at a time.
    Crash,
    /// The process is ended with SIGTERM, and started again.
    Terminate,
    /// Events of this kind come so late, for so long.
    Lag { kind: String, late: u64, length: u64 },
    /// All watches end.
    CutWatches,
    /// What happened so far cannot be watched any more: everybody lists again.
    Compact,
    /// The next lists show how things were so long ago.
    StaleLists { age: u64, lists: u64 },
    /// The controller's clock jumps.
    ClockJump(i64),
    /// A second process works beside the first, for so long.
    SecondLeader(u64),
    /// The process stands still for so long, and goes on as if nothing had happened.
    Freeze(u64),
    /// Every request of the controller fails for so long.
    Partition(u64),
    /// Every pod of this track is deleted by somebody.
    KillPods { track: String },
    /// Somebody writes a label and the replicas of the Deployment that carries traffic.
    ForeignDeployment { replicas: i64 },
    /// Somebody edits the pod template of the Deployment that carries traffic.
    ForeignTemplate,
    /// Somebody replaces the team's Services by their manifests, without our annotations.
    ForeignService,
    /// Somebody points a Service to the other track by hand.
    ForeignTrack,
    /// Somebody deletes the Deployment of this track.
    DeleteDeployment { track: String },
    /// Somebody deletes the previews.
    DeletePreview,
    /// The status of the Release is wiped.
    WipeStatus,
    /// Jobs that have ended are removed, as Kubernetes does after a day.
    TidyJobs,
    /// Somebody deletes all Jobs.
    DeleteJobs,
    /// Jobs that run fail: their node is lost.
    FailJobs,
    /// Something is the matter with AWS or the registry, for so long.
    Outside { part: Part, trouble: Trouble, length: u64 },
    /// Tags and keys mean something else from now on.
    Republish,
}

impl What {
    /// It hits the controller, its way to the server or its news, and is over soon: a story still ends as it should.
    pub fn is_gentle(&self) -> bool {
        !matches!(
            self,
            Self::KillPods { .. }
                | Self::ForeignDeployment { .. }
                | Self::ForeignTemplate
                | Self::ForeignService
                | Self::ForeignTrack
                | Self::DeleteDeployment { .. }
                | Self::DeletePreview
                | Self::WipeStatus
                | Self::TidyJobs
                | Self::DeleteJobs
                | Self::FailJobs
                | Self::Outside { .. }
                | Self::Republish
                | Self::ClockJump(_)
                | Self::Partition(_)
                | Self::Freeze(_)
                // Without an election one may judge the other's candidate by old news.
                | Self::SecondLeader(_)
                | Self::Answer { code: 422, .. }
        )
    }

    /// One of all that there are.
    pub fn sample(chance: &mut Chance) -> Self {
        let kinds =
            ["Release", "Operation", "Environment", "Deployment", "ReplicaSet", "Service", "EndpointSlice", "Namespace", "Job"];
        let track = if chance.once_in(2) { "blue" } else { "green" }.to_owned();
        let secs = |chance: &mut Chance, most: u64| chance.between(1, most) * 1_000;
        match chance.below(35) {
            0 => Self::CrashBefore,
            1 => Self::CrashAfterCommit,
            2 => Self::CrashAfterReply,
            3 => Self::Lose,
            4 => Self::LoseReply,
            5 => Self::Delay(secs(chance, 14)),
            6 => Self::DelayReply(secs(chance, 12)),
            7 => Self::Duplicate,
            8 => Self::Answer { code: 409, retry_after: 0 },
            9 => Self::Answer { code: 422, retry_after: 0 },
            10 => Self::Answer { code: 429, retry_after: chance.between(1, 5) },
            11 => Self::Answer { code: 500, retry_after: 0 },
            12 => Self::Answer { code: 503, retry_after: 0 },
            13 => Self::Crash,
            14 => Self::Terminate,
            15..=17 => {
                let kind = chance.pick(&kinds).copied().unwrap_or("Service").to_owned();
                Self::Lag { kind, late: chance.between(50, 6_000), length: secs(chance, 20) }
            }
            18 => Self::CutWatches,
            19 => Self::Compact,
            20 => Self::StaleLists { age: chance.between(50, 20_000), lists: chance.between(1, 8) },
            21 => Self::ClockJump(i64::try_from(secs(chance, 120)).unwrap_or(0) * if chance.once_in(2) { 1 } else { -1 }),
            22 => Self::SecondLeader(secs(chance, 20)),
            23 => Self::Freeze(secs(chance, 20)),
            24 => Self::Partition(secs(chance, 15)),
            25 => Self::KillPods { track },
            26 => Self::ForeignDeployment { replicas: i64::try_from(chance.between(1, 5)).unwrap_or(1) },
            27 => Self::ForeignTemplate,
            28 => Self::ForeignService,
            29 => Self::ForeignTrack,
            30 => Self::DeleteDeployment { track },
            31 => Self::TidyJobs,
            32 => Self::DeleteJobs,
            33 => Self::FailJobs,
            _ => {
                if chance.once_in(2) {
                    Self::DeletePreview
                } else {
                    Self::WipeStatus
                }
            }
        }
    }

    /// It is about one request; else it has a time.
    pub fn is_of_a_request(&self) -> bool {
        matches!(
            self,
            Self::CrashBefore
                | Self::CrashAfterCommit
                | Self::CrashAfterReply
                | Self::Lose
                | Self::LoseReply
                | Self::Delay(_)
                | Self::DelayReply(_)
                | Self::Duplicate
                | Self::Answer { .. }
        )
    }

    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrashBefore => "crash before a request",
            Self::CrashAfterCommit => "crash after a commit",
            Self::CrashAfterReply => "crash after a reply",
            Self::Lose => "request lost",
            Self::LoseReply => "applied but unanswered",
            Self::Delay(_) => "request delayed",
            Self::DelayReply(_) => "reply delayed",
            Self::Duplicate => "request duplicated",
            Self::Answer { code: 409, .. } => "answered 409",
            Self::Answer { code: 422, .. } => "answered 422",
            Self::Answer { code: 429, .. } => "answered 429",
            Self::Answer { code: 500, .. } => "answered 500",
            Self::Answer { code: 503, .. } => "answered 503",
            Self::Answer { .. } => "answered with an error",
            Self::Crash => "crash at a time",
            Self::Terminate => "terminated",
            Self::Lag { .. } => "watch lags",
            Self::CutWatches => "watches cut",
            Self::Compact => "history compacted",
            Self::StaleLists { .. } => "older list",
            Self::ClockJump(_) => "clock jumps",
            Self::SecondLeader(_) => "two leaders",
            Self::Freeze(_) => "process frozen",
            Self::Partition(_) => "partition",
            Self::KillPods { .. } => "pods killed",
            Self::ForeignDeployment { .. } => "foreign write to a Deployment",
            Self::ForeignTemplate => "foreign write to a pod template",
            Self::ForeignService => "foreign write to a Service",
            Self::ForeignTrack => "foreign switch",
            Self::DeleteDeployment { .. } => "Deployment deleted",
            Self::DeletePreview => "preview deleted",
            Self::WipeStatus => "status wiped",
            Self::TidyJobs => "ended Jobs removed",
            Self::DeleteJobs => "Jobs deleted",
            Self::FailJobs => "Jobs fail",
            Self::Outside { part: Part::Parameters, .. } => "Parameter Store in trouble",
            Self::Outside { part: Part::Registry, .. } => "registry in trouble",
            Self::Outside { part: Part::Archives, .. } => "S3 in trouble",
            Self::Outside { part: Part::Queue, .. } => "queue of events in trouble",
            Self::Outside { part: Part::Gates, .. } => "gates in trouble",
            Self::Republish => "tags and keys moved",
        }
    }
}

/// What is still to go wrong, and what did.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Vec<Fault>,
    injected: BTreeMap<&'static str, u64>,
    /// No list older than the store, unless a fault says so: how old, and how many lists.
    stale: (u64, u64),
    lags: Vec<(String, u64, u64)>,
    partition_until: u64,
}

impl Faults {
    pub fn new(plan: Vec<Fault>) -> Self {
        Self { plan, ..Self::default() }
    }

    /// Takes what is to happen at the k-th request.
    pub fn at_request(&mut self, k: u64) -> Option<What> {
        let index = self.plan.iter().position(|fault| fault.when == When::Request(k))?;
        let what = self.plan.remove(index).what;
        self.count(&what);
        Some(what)
    }

    /// Times at which something is to happen, in order.
    pub fn timed(&self) -> Vec<(u64, What)> {
        let mut timed: Vec<_> = self
            .plan
            .iter()
            .filter_map(|fault| match fault.when {
                When::Millis(at) => Some((at, fault.what.clone())),
                When::Request(_) => None,
            })
            .collect();
        timed.sort_by_key(|(at, _)| *at);
        timed
    }

    pub fn count(&mut self, what: &What) {
        *self.injected.entry(what.name()).or_default() += 1;
    }

    pub fn injected(&self) -> &BTreeMap<&'static str, u64> {
        &self.injected
    }

    pub fn lag(&mut self, kind: &str, late: u64, until: u64) {
        self.lags.push((kind.to_owned(), late, until));
    }

    /// How late an event of this kind is now.
    pub fn late(&self, kind: &str, now: u64) -> u64 {
        self.lags.iter().filter(|(of, _, until)| of == kind && *until > now).map(|(_, late, _)| *late).max().unwrap_or(0)
    }

    pub fn stale(&mut self, age: u64, lists: u64) {
        self.stale = (age, lists);
    }

    /// The age of the next list, if it is to be an old one.
    pub fn age_of_list(&mut self) -> Option<u64> {
        let (age, lists) = self.stale;
        if lists == 0 {
            return None;
        }
        self.stale = (age, lists - 1);
        Some(age)
    }

    pub fn part_until(&mut self, until: u64) {
        self.partition_until = self.partition_until.max(until);
    }

    pub fn parted(&self, now: u64) -> bool {
        now < self.partition_until
    }

    /// Whatever goes on ends, and nothing more is to come.
    pub fn cease(&mut self) {
        self.plan.clear();
        self.lags.clear();
        self.stale = (0, 0);
        self.partition_until = 0;
    }
}
