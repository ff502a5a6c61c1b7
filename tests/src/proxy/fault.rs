//! What can go wrong with one request, as data: a failing run prints it, and the same text replays it.
//!
//! In: JSON such as `{"at":7,"what":{"Kill":"AfterCommit"}}`. Out: the same. Never here: how it is done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that goes wrong, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Among which requests is counted.
    #[serde(default, skip_serializing_if = "Class::is_request")]
    pub of: Class,
    /// 1 is the first since the proxy was armed.
    pub at: u64,
    pub what: What,
}

/// Requests are counted apart by what they are for, so that the number of a write does not depend on how often a watch was renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Everything that the controller does for a Release: reads and writes.
    #[default]
    Request,
    /// Those of them that write a Service; they are counted as a `Request` too.
    Service,
    /// The lists with which watches begin.
    List,
    Watch,
    /// Events for people.
    Event,
    /// Of the leader election.
    Lease,
}

impl Class {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_request(&self) -> bool {
        *self == Self::Request
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum What {
    /// The connection is cut, and nothing is sent on.
    Drop,
    /// Sent on this many milliseconds later.
    Delay(u64),
    /// Answered with this status code, and not sent on; 429 asks for a second of silence.
    Answer(u16),
    /// Sent on, and the connection is cut.
    Cut(Cut),
    /// Sent on at once; the reply comes this many milliseconds later.
    Hold(u64),
    /// The controller gets SIGKILL.
    Kill(Moment),
    /// Every watch that is open is cut, and the request passes.
    CutWatches,
    /// For this many milliseconds no watch tells anything: the controller goes on with what it knows. The request passes.
    Lag(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cut {
    BeforeReply,
    InReply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Moment {
    /// It has sent the request, which never arrives.
    BeforeCommit,
    /// The API server has done it; the reply finds nobody.
    AfterCommit,
    /// The reply was handed to the kernel a moment ago.
    AfterReply,
    /// The request was on its way and arrives this many milliseconds after the death, when the next process is at work.
    LateCommit(u64),
}

impl What {
    /// Without its numbers: what a summary counts.
    pub fn name(self) -> String {
        match self {
            Self::Drop => "drop".into(),
            Self::Delay(_) => "delay".into(),
            Self::Answer(code) => format!("answer {code}"),
            Self::Cut(Cut::BeforeReply) => "cut before the reply".into(),
            Self::Cut(Cut::InReply) => "cut in the reply".into(),
            Self::Hold(_) => "hold the reply".into(),
            Self::Kill(Moment::BeforeCommit) => "kill before the commit".into(),
            Self::Kill(Moment::AfterCommit) => "kill after the commit".into(),
            Self::Kill(Moment::AfterReply) => "kill after the reply".into(),
            Self::Kill(Moment::LateCommit(_)) => "kill, and a late commit".into(),
            Self::CutWatches => "cut all watches".into(),
            Self::Lag(_) => "watches lag".into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}
