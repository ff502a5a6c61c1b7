//! Who leads: the election as a pure state machine. It knows no API server, no clock and no task.
//!
//! In: the Lease as a watch shows it, replies to requests, the wish to resign, and with each of them the moment at which it came. Out:
//! the next request or how long to wait ([`Election::next`]), and until when this process leads ([`Election::leads_until`]).
//!
//! Three rules carry it. *A lease is only ever taken by a write on the condition that it is as it was seen*, so of two that want it one
//! fails. *We lead from the moment at which a successful request was sent, for less than the lease lasts*: whoever waits began to count
//! later. *The lease of another has run out when nothing about it has changed for its whole length on our own clock*: no time that is
//! written into the object is ever compared with ours, so clocks may be wrong as long as they run at about the same rate.
//!
//! `tests/lease-model` explores this very code exhaustively; [`Election::mapped`] is for it.

use std::{ops::Add, time::Duration};

/// Monotonic time of this process, from an origin of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    /// An absurdly long duration, written by another hand, means: never.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// How long everything takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Times {
    /// How long the others wait after the last sign of life.
    pub duration: Duration,
    /// From one renewal to the next.
    pub renew: Duration,
    /// After so long without a successful renewal we do not lead any more. What is between this and `duration` is for a clock that
    /// runs faster than ours, and for requests that are on their way.
    pub give_up: Duration,
    /// An answer that takes longer is not waited for: there must be time for a second attempt before `give_up`.
    pub answer: Duration,
    /// The pause after a failure.
    pub retry: Duration,
}

impl Default for Times {
    /// A crash is noticed within 4 s, and costs 1.25 small writes per second. A clock may run 1.6 times as fast as another.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(4),
            renew: Duration::from_millis(800),
            give_up: Duration::from_millis(2_500),
            answer: Duration::from_secs(1),
            retry: Duration::from_millis(400),
        }
    }
}

impl Times {
    /// Says what does not fit together.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.give_up >= self.duration {
            return Err("leadership must be given up before the lease has run out for the others");
        }
        if self.renew + self.answer >= self.give_up {
            return Err("a renewal without an answer must leave time for another one before leadership is given up");
        }
        if self.retry.is_zero() {
            return Err("there must be a pause after a failure");
        }
        Ok(())
    }
}

/// The resourceVersion, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub String);

impl Version {
    /// Comparable since Kubernetes 1.35; what is no number is taken as it comes.
    fn is_older_than(&self, other: &Self) -> bool {
        matches!((self.0.parse::<u64>(), other.0.parse::<u64>()), (Ok(own), Ok(other)) if own < other)
    }
}

/// What matters of a Lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub uid: String,
    pub version: Version,
    /// Empty: nobody, it was released or never held.
    pub holder: String,
    /// How long the holder wants it to be respected; None: not said.
    pub duration: Option<Duration>,
    /// The time in it, as text: only a change of it means something.
    pub renewed: String,
    pub transitions: i32,
}

impl Record {
    /// No sign of life in between. A label is none, and must not keep a dead holder in office.
    fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.uid, &self.holder, &self.renewed, self.transitions)
            == (&other.uid, &other.holder, &other.renewed, other.transitions)
    }
}

/// What is to be sent. Whatever changes a Lease names the uid and version that it was seen with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Read,
    /// By POST, so that of two creators one fails.
    Create,
    /// From nobody, or from one that has not been heard of for too long.
    Take {
        uid: String,
        version: Version,
        transitions: i32,
    },
    Renew {
        uid: String,
        version: Version,
    },
    /// Nobody holds it any more.
    Release {
        uid: String,
        version: Version,
    },
}

/// A request and when it was sent: both together tell it from every other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub at: Moment,
    pub request: Request,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The Lease as it is now.
    Shown(Record),
    /// There is none.
    Missing,
    /// It is not as it was seen, or exists already.
    Conflict,
    /// Refused, overloaded, or no answer: it may have happened. With the pause that the server asks for.
    Failed(Option<Duration>),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    Send(Sent),
    /// Until then, or until something comes in.
    Wait(Option<Moment>),
    /// It has resigned, and nothing remains to be done.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sight {
    /// Not read yet.
    Unknown,
    Absent {
        since: Moment,
    },
    Present {
        record: Record,
        /// The last change, on our own clock.
        since: Moment,
    },
}

/// Where a sight of the Lease comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// May be late.
    Watch,
    Reply,
    /// Asked for because something did not fit: believed also where it is older (a cluster restored from a backup).
    Read,
}

/// One contender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    me: String,
    times: Times,
    sight: Sight,
    /// When the last request was sent that got or renewed it.
    held: Option<Moment>,
    waiting: Option<Sent>,
    /// After a failure: nothing is sent before.
    pause: Option<Moment>,
    /// What we know does not fit: read first.
    look: bool,
    /// A conflict came, and no success since.
    stumbled: bool,
    resigned: bool,
}

impl Election {
    /// `me` must be different for every process that there ever was.
    pub fn new(me: String, times: Times) -> Self {
        Self {
            me,
            times,
            sight: Sight::Unknown,
            held: None,
            waiting: None,
            pause: None,
            look: false,
            stumbled: false,
            resigned: false,
        }
    }

    /// This process leads before that moment, and not from it on. None: it does not.
    pub fn leads_until(&self) -> Option<Moment> {
        self.held.map(|sent| sent + self.times.give_up)
    }

    pub fn leads(&self, now: Moment) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// The Lease as far as is known; None: not read yet, or there is none.
    pub fn seen(&self) -> Option<&Record> {
        match &self.sight {
            Sight::Present { record, .. } => Some(record),
            Sight::Unknown | Sight::Absent { .. } => None,
        }
    }

    /// Who holds it as far as is known; empty: nobody.
    pub fn holder(&self) -> &str {
        self.seen().map_or("", |record| record.holder.as_str())
    }

    /// Forgets what is over by now. Done before anything else, so that nothing depends on whether somebody looked in between.
    pub fn expire(&mut self, now: Moment) {
        if !self.leads(now) {
            self.held = None;
        }
        self.pause = self.pause.filter(|pause| now < *pause);
        // It may still land. Then the next one, on the same condition, fails, and we look.
        self.waiting = self.waiting.take().filter(|sent| now < sent.at + self.times.answer);
    }

    /// The watch shows the Lease.
    pub fn shown(&mut self, record: Record, now: Moment) {
        self.expire(now);
        self.see(record, Source::Watch, now);
    }

    /// The watch shows that there is none: a delete event with its version, or a list without it.
    pub fn gone(&mut self, version: Option<&Version>, now: Moment) {
        self.expire(now);
        if let (Sight::Present { record, .. }, Some(version)) = (&self.sight, version)
            && version.is_older_than(&record.version)
        {
            return;
        }
        self.miss(now);
    }

    /// No longer a contender: from this moment on it does not lead, and what remains is to release what it holds.
    pub fn resign(&mut self) {
        self.resigned = true;
        self.held = None;
        self.pause = None;
    }

    /// The reply to a request, however late.
    pub fn replied(&mut self, sent: &Sent, reply: Reply, now: Moment) {
        self.expire(now);
        let current = self.waiting.as_ref() == Some(sent);
        if current {
            self.waiting = None;
        }
        match reply {
            Reply::Shown(record) if sent.request == Request::Read => {
                // A late one is as good as what a watch shows.
                if self.see(record, if current { Source::Read } else { Source::Watch }, now) {
                    self.look = false;
                }
            }
            // Also a late one proves that it was ours from then on; it only may be too late to be of use.
            Reply::Shown(record) => {
                let ours = record.holder == self.me;
                let version = record.version.clone();
                if self.see(record, Source::Reply, now) {
                    self.stumbled = false;
                    // The server is slow, and the next attempt was made on what is no more: it is not worth waiting for.
                    self.waiting = self.waiting.take().filter(|sent| sent.request.version().is_none_or(|on| *on == version));
                    if ours && !self.resigned {
                        self.held = self.held.max(Some(sent.at));
                        self.expire(now);
                    }
                }
            }
            // What became of a request that is not waited for any more is known better by now.
            _ if !current => {}
            Reply::Missing if sent.request == Request::Create => self.pause = Some(now + self.times.retry),
            Reply::Missing => {
                self.look = false;
                self.miss(now);
            }
            Reply::Conflict => {
                self.look = true;
                // Once is a race that was lost. More often is something that a pause may cure.
                if self.stumbled {
                    self.pause = Some(now + self.times.retry);
                }
                self.stumbled = true;
            }
            Reply::Failed(pause) => self.pause = Some(now + pause.unwrap_or_default().max(self.times.retry)),
        }
    }

    /// What to do now. A request that is handed out counts as sent.
    pub fn next(&mut self, now: Moment) -> Next {
        self.expire(now);
        if let Some(sent) = &self.waiting {
            return Next::Wait(Some(sent.at + self.times.answer));
        }
        let request = match self.wish(now) {
            Wish::Send(request) => request,
            Wish::Wait(until) => return Next::Wait(until),
            Wish::Nothing => return Next::Done,
        };
        if self.pause.is_some() {
            return Next::Wait(self.pause);
        }
        let sent = Sent { at: now, request };
        self.waiting = Some(sent.clone());
        Next::Send(sent)
    }

    fn wish(&self, now: Moment) -> Wish {
        if self.look && !(self.resigned && self.holder() != self.me) {
            return Wish::Send(Request::Read);
        }
        match &self.sight {
            Sight::Present { record, .. } if self.resigned && record.holder == self.me => {
                Wish::Send(Request::Release { uid: record.uid.clone(), version: record.version.clone() })
            }
            _ if self.resigned => Wish::Nothing,
            Sight::Unknown => Wish::Wait(None),
            // Whoever lost it may still lead for a moment; only the leader itself puts it back at once.
            Sight::Absent { since } => self.once(*since + self.times.duration, now, || Request::Create),
            Sight::Present { record, .. } if record.holder == self.me => {
                let due = self.held.map_or(now, |sent| sent + self.times.renew);
                Wish::at(due, now, || Request::Renew { uid: record.uid.clone(), version: record.version.clone() })
            }
            Sight::Present { record, since } => {
                let free = if record.holder.is_empty() { now } else { *since + record.duration.unwrap_or(self.times.duration) };
                Wish::at(free, now, || Request::Take {
                    uid: record.uid.clone(),
                    version: record.version.clone(),
                    transitions: record.transitions,
                })
            }
        }
    }

    fn once(&self, due: Moment, now: Moment, request: impl FnOnce() -> Request) -> Wish {
        Wish::at(if self.leads(now) { now } else { due }, now, request)
    }

    /// True when this is not older than what is known.
    fn see(&mut self, record: Record, source: Source, now: Moment) -> bool {
        let mut changed = now;
        if let Sight::Present { record: known, since } = &self.sight {
            if source != Source::Read && record.version.is_older_than(&known.version) {
                return false;
            }
            if record.says_the_same_as(known) {
                changed = *since;
            }
        }
        if record.holder != self.me {
            self.held = None;
        }
        self.sight = Sight::Present { record, since: changed };
        true
    }

    fn miss(&mut self, now: Moment) {
        if !matches!(self.sight, Sight::Absent { .. }) {
            self.sight = Sight::Absent { since: now };
        }
    }

    /// The same contender with other names for moments, versions and times of renewal: a model checker must recognise a state that
    /// differs from an earlier one only in how much time has passed before it.
    #[must_use]
    pub fn mapped(&self, moment: impl Fn(Moment) -> Moment, text: impl Fn(&str) -> String) -> Self {
        let version = |version: &Version| Version(text(&version.0));
        let mut it = self.clone();
        it.held = it.held.map(&moment);
        it.pause = it.pause.map(&moment);
        it.sight = match it.sight {
            Sight::Unknown => Sight::Unknown,
            Sight::Absent { since } => Sight::Absent { since: moment(since) },
            Sight::Present { record, since } => {
                let (version, renewed) = (version(&record.version), text(&record.renewed));
                Sight::Present { record: Record { version, renewed, ..record }, since: moment(since) }
            }
        };
        it.waiting = it.waiting.map(|sent| Sent { at: moment(sent.at), request: sent.request.mapped(version) });
        it
    }
}

impl Request {
    /// On the condition of which it is made.
    fn version(&self) -> Option<&Version> {
        match self {
            Self::Read | Self::Create => None,
            Self::Take { version, .. } | Self::Renew { version, .. } | Self::Release { version, .. } => Some(version),
        }
    }

    /// With another name for the version.
    #[must_use]
    pub fn mapped(self, version: impl Fn(&Version) -> Version) -> Self {
        match self {
            Self::Read | Self::Create => self,
            Self::Take { uid, version: known, transitions } => Self::Take { uid, version: version(&known), transitions },
            Self::Renew { uid, version: known } => Self::Renew { uid, version: version(&known) },
            Self::Release { uid, version: known } => Self::Release { uid, version: version(&known) },
        }
    }
}

enum Wish {
    Send(Request),
    Wait(Option<Moment>),
    Nothing,
}

impl Wish {
    fn at(due: Moment, now: Moment, request: impl FnOnce() -> Request) -> Self {
        if now < due { Self::Wait(Some(due)) } else { Self::Send(request()) }
    }
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
