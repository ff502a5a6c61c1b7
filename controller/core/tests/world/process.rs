//! What one controller process knows: what its watches have shown, what it has read, and what has failed. A restart forgets it.

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{Check, PodReport, Policy, Read, Service, Trouble};
use jiff::{SignedDuration, Timestamp};

/// A failed step is tried again when it is due; one that was not for so long is not wanted any more.
const OBSOLETE: SignedDuration = SignedDuration::from_secs(60);

/// A kind of object with a watch of its own: each lags by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Release,
    Deployments,
    ReplicaSets,
    Services,
    Endpoints,
    Operations,
    Jobs,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Release, Self::Deployments, Self::ReplicaSets, Self::Services, Self::Endpoints, Self::Operations, Self::Jobs];
}

/// A part of what is observed that can be unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Environment,
    Deployments,
    ReplicaSets,
    Jobs,
    Service(String),
    Endpoints(String),
    Strangers(String),
}

#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Watches that stand still, and the moment that they still show.
    pub frozen: BTreeMap<Kind, usize>,
    /// Replies: an object is seen at least as it was then.
    pub learnt: BTreeMap<(Kind, String), usize>,
    pub hidden: BTreeSet<Part>,
    /// Everything was read once by this process, and the Release had this version then.
    pub sure: Option<String>,
    /// uid of a Deployment to the generation that our last write left.
    pub confirmed: BTreeMap<String, i64>,
    pub check: Option<Check>,
    pub pods: Option<PodReport>,
    pub looked: BTreeMap<String, (Timestamp, Option<Service>)>,
    pub counted: BTreeMap<String, (Timestamp, u32)>,
    pub troubles: BTreeMap<String, (u32, Trouble)>,
    pub sampled: BTreeMap<bascule_core::gate::ProbeId, super::jobs::Sampled>,
    pub absent: BTreeSet<String>,
    pub volumes: BTreeMap<String, Option<Vec<String>>>,
    pub ended: BTreeMap<String, bascule_core::Ended>,
    pub way_back: Option<bascule_core::WayBack>,
    pub words: BTreeMap<String, String>,
    pub inputs: BTreeMap<String, Option<bascule_core::input::Input>>,
    pub stored: Option<String>,
    pub discarded: BTreeSet<String>,
}

impl Process {
    /// It sees what is true, as far as it looks.
    pub fn is_live(&self) -> bool {
        self.frozen.is_empty()
    }

    pub fn trouble(&mut self, target: &str, message: &str, retry_at: Timestamp) {
        let since = Timestamp::UNIX_EPOCH;
        let trouble = Trouble { target: target.into(), message: message.into(), since, retry_at, lasting: true };
        self.troubles.insert(target.into(), (1, trouble));
    }

    pub(super) fn failed(&mut self, target: &str, message: &str, now: Timestamp) {
        let known = self.troubles.get(target);
        let failures = known.map_or(0, |(failures, _)| *failures) + 1;
        let trouble = Trouble {
            target: target.into(),
            message: message.into(),
            since: known.map_or(now, |(_, trouble)| trouble.since),
            retry_at: now + SignedDuration::from_secs(1 << failures.min(6)),
            lasting: failures > 1,
        };
        self.troubles.insert(target.into(), (failures, trouble));
    }

    pub(super) fn troubles_at(&self, now: Timestamp) -> Vec<Trouble> {
        self.troubles.values().map(|(_, it)| it).filter(|it| it.retry_at + OBSOLETE > now).cloned().collect()
    }

    /// A read that was made a moment ago is not made again.
    pub(super) fn has_read(&self, read: &Read, now: Timestamp, policy: &Policy) -> bool {
        let at = match read {
            Read::Service(name) => self.looked.get(name).map(|(at, _)| *at),
            Read::Strangers { service, .. } => self.counted.get(service).map(|(at, _)| *at),
            Read::Pods { .. }
            | Read::WayBack { .. }
            | Read::Volume { .. }
            | Read::Ends { .. }
            | Read::Job { .. }
            | Read::Words { .. }
            | Read::Input { .. } => None,
        };
        at.is_some_and(|at| now < at + policy.look_for_service)
    }
}
