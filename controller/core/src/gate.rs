//! What gates ask of the world outside, and what was answered.
//!
//! In: nothing but decisions. Out: values that the shell turns into requests, again and again, and counts the answers of. Never here: who
//! asks, how, and when exactly. A Job is no question of this kind: it is an object, and its end is seen by a watch.

pub mod checks;

use std::collections::BTreeMap;

use bascule_crds::{Each, GateStage, Method, SecretReference};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Something to be asked every so often, as long as plans say so. What it counts begins anew with anything else than the same probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub id: ProbeId,
    pub ask: Ask,
    /// From the start of one sample to that of the next.
    pub every: SignedDuration,
    /// An answer takes no longer than this.
    pub within: SignedDuration,
}

/// One gate in one attempt to release one revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    pub revision: String,
    /// When the attempt began.
    pub attempt: Timestamp,
    pub stage: GateStage,
    pub name: String,
    /// What is asked, in short: a gate that was written anew has a new question, and what was said to the old one is no answer to it.
    pub question: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Http(HttpAsk),
    Prometheus(PrometheusAsk),
    Webhook(WebhookAsk),
}

/// A request to the candidate itself: no answer is a bad answer.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpAsk {
    pub to: Target,
    /// Without a look at the certificate.
    pub tls: bool,
    pub method: Method,
    /// With its query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    /// CEL, checked.
    pub expect: String,
}

/// Where a request goes; always in the namespace of the Release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Pods with these labels, at this port.
    Pods { labels: BTreeMap<String, String>, port: Port, each: Each },
    /// A Service, at this port of it.
    Service { name: String, port: u16 },
}

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    Number(u16),
    /// As a container of the pod calls it.
    Name(String),
}

/// An instant query. No data, an error and silence are no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusAsk {
    /// Without `/api/v1/query`.
    pub address: String,
    pub secret: Option<SecretReference>,
    pub query: String,
    /// CEL, checked.
    pub expect: String,
    pub door: Door,
}

/// A signed POST. An error and silence are no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookAsk {
    pub url: String,
    pub secret: Option<SecretReference>,
    pub body: Value,
    pub door: Door,
}

/// What a gate of this Release may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// The namespace of the Release: its Services are always allowed.
    pub namespace: String,
    /// The platform team's own address: allowed as it is.
    pub configured: Option<String>,
    /// Patterns of `host:port`; `*` stands for anything but a dot, `**` for anything.
    pub endpoints: Vec<String>,
}

/// What came of a probe since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    pub id: ProbeId,
    /// Good ones in a row, up to now.
    pub passes: u32,
    /// Bad ones, in a row or not.
    pub failures: u32,
    pub last: Verdict,
    pub at: Timestamp,
    /// When this process began to ask.
    pub began: Timestamp,
    /// The last good one.
    pub good: Option<Timestamp>,
}

/// What one sample said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It was measured, and it is not good: one sentence.
    Fail(String),
    /// It could not be measured: one sentence. It ends a row of good ones, and is no bad one.
    Unknown(String),
}
