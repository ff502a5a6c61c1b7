//! The world at one moment: processes, the server's two objects, and what is on its way between them.

use std::time::Duration;

use crate::election::{Election, Moment, Record, Reply, Request, Sent, Times, Version};

/// Every process's clock always shows this; with each tick what was is longer ago.
pub(crate) const NOW: Moment = Moment(Duration::from_secs(100));

/// How fast a clock runs: ticks of its own in an even and in an odd tick of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace(pub u64, pub u64);

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) election: Election,
    /// Which leadership this is, counted over all; only for the judgement, no process knows it.
    pub(crate) term: Option<u64>,
    pub(crate) resigned: bool,
}

/// Something on its way. It may arrive at any time, or never.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mail {
    Ask {
        from: usize,
        name: String,
        sent: SentKey,
    },
    Answer {
        to: usize,
        name: String,
        sent: SentKey,
        reply: ReplyKey,
    },
    /// The write that moves traffic: which version of the Service it was decided on, and in which leadership.
    Switch {
        from: usize,
        on: u64,
        term: u64,
    },
}

/// `Sent` with an order, so that mail can be sorted: in which order it is kept makes no difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SentKey(pub(crate) Sent);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplyKey(pub(crate) Reply);

macro_rules! ordered_by_text {
    ($($name:ident),*) => {$(
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                if self == other { std::cmp::Ordering::Equal } else { format!("{self:?}").cmp(&format!("{other:?}")) }
            }
        }
    )*};
}
ordered_by_text!(SentKey, ReplyKey);

impl Mail {
    /// The process that it belongs to, dead or alive.
    pub(crate) fn owner(&self) -> usize {
        match self {
            Self::Ask { from, .. } | Self::Switch { from, .. } => *from,
            Self::Answer { to, .. } => *to,
        }
    }

    pub(crate) fn is_about_the_lease(&self) -> bool {
        !matches!(self, Self::Switch { .. })
    }
}

/// The Lease as it was at some moment; or that there was none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Glimpse(pub(crate) Option<Record>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) version: u64,
    /// In which leadership it was moved last.
    pub(crate) term: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) processes: Vec<Option<Process>>,
    /// How often each place was started: no name is used twice.
    pub(crate) starts: Vec<u32>,
    pub(crate) lease: Option<Record>,
    /// How many Leases there have been.
    pub(crate) leases: u32,
    pub(crate) service: Service,
    pub(crate) mail: Vec<Mail>,
    /// For each process: what its watch is about to show it.
    pub(crate) sights: Vec<Option<Glimpse>>,
    pub(crate) ends_left: u32,
    pub(crate) deletes_left: u32,
    pub(crate) odd: bool,
    /// A write of an earlier leadership has landed after one of a later had.
    pub(crate) late_write: bool,
}

/// What the server checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    pub lease: bool,
    pub switch: bool,
}

impl World {
    pub(crate) fn start(&mut self, place: usize, times: Times) {
        let name = format!("{}{}", ["a", "b", "c"][place], self.starts[place]);
        self.starts[place] += 1;
        let election = Election::new(name.clone(), times);
        self.processes[place] = Some(Process { name, election, term: None, resigned: false });
        self.sights[place] = None;
    }

    pub(crate) fn end(&mut self, place: usize) {
        self.processes[place] = None;
        self.sights[place] = None;
        // Nobody is there to read an answer. What was asked may still arrive.
        self.mail.retain(|mail| !matches!(mail, Mail::Answer { to, .. } if *to == place));
    }

    pub(crate) fn leaders(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().flatten().filter(|process| process.election.leads(NOW))
    }

    /// After something came in: has a leadership begun or ended?
    pub(crate) fn count_terms(&mut self) {
        let newest = self.terms().max().unwrap_or(0);
        for process in self.processes.iter_mut().flatten() {
            match (process.election.leads(NOW), process.term) {
                (true, None) => process.term = Some(newest + 1),
                (false, Some(_)) => process.term = None,
                _ => {}
            }
        }
    }

    fn terms(&self) -> impl Iterator<Item = u64> {
        let processes = self.processes.iter().flatten().filter_map(|process| process.term);
        let mail = self.mail.iter().filter_map(|mail| if let Mail::Switch { term, .. } = mail { Some(*term) } else { None });
        processes.chain(mail).chain([self.service.term])
    }

    /// A request about the Lease arrives, and is answered.
    pub(crate) fn serve(&mut self, name: &str, request: &Request, times: Times, checks: Checks) -> Reply {
        let written = |holder: &str, known: &Record, version: u64| Record {
            holder: holder.to_owned(),
            version: Version(version.to_string()),
            renewed: version.to_string(),
            duration: Some(times.duration),
            ..known.clone()
        };
        let version = self.shown_versions().max().unwrap_or(0) + 1;
        let (holder, condition) = match request {
            Request::Read => return self.lease.clone().map_or(Reply::Missing, Reply::Shown),
            Request::Create if self.lease.is_some() => return Reply::Conflict,
            Request::Create => {
                self.leases += 1;
                let none = Record {
                    uid: format!("u{}", self.leases),
                    version: Version(String::new()),
                    holder: String::new(),
                    duration: None,
                    renewed: String::new(),
                    transitions: 0,
                };
                let lease = written(name, &none, version);
                self.lease = Some(lease.clone());
                return Reply::Shown(lease);
            }
            Request::Take { uid, version, .. } | Request::Renew { uid, version } => (name, (uid, version)),
            Request::Release { uid, version } => ("", (uid, version)),
        };
        let Some(known) = &self.lease else { return Reply::Missing };
        if checks.lease && condition != (&known.uid, &known.version) {
            return Reply::Conflict;
        }
        let lease = written(holder, known, version);
        self.lease = Some(lease.clone());
        Reply::Shown(lease)
    }

    /// The write that moves traffic arrives.
    pub(crate) fn land(&mut self, on: u64, term: u64, checks: Checks) {
        if checks.switch && on != self.service.version {
            return;
        }
        if term < self.service.term {
            self.late_write = true;
        }
        self.service = Service { version: self.service.version + 1, term };
    }

    /// A write of an earlier leadership is on its way when a later one has moved traffic already.
    pub(crate) fn has_a_late_write_on_its_way(&self) -> bool {
        self.mail.iter().any(|mail| matches!(mail, Mail::Switch { term, .. } if *term < self.service.term))
    }
}
