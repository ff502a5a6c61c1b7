//! Gates and hooks: what proves a candidate, and what must have run before it starts.
//!
//! Exactly one kind of each; times and counts have defaults that suit a web server.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{duration::Duration, release::raw_object};

/// What must run before any pod of a new revision starts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// One after the other, each once for a revision: a backup, then a migration. When one fails, nothing of the revision starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub before_start: Vec<Hook>,
}

/// A Job that runs at most once for a revision.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    pub job: JobTemplate,
    /// It is ended after this time, and counts as failed.
    #[serde(default = "default_hook_timeout")]
    pub timeout: Duration,
}

/// What runs in the Job.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplate {
    /// A pod template. It runs once and is not repeated: its exit code decides. Kept as written but for variables.
    #[schemars(schema_with = "raw_object")]
    pub template: Value,
}

/// What a candidate must pass.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// Against the candidate, once all its pods are ready and before any user sees it; side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub before_switch: Vec<Gate>,

    /// While users are on it, during the bake; side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub after_switch: Vec<Gate>,
}

/// One question, asked until it is answered for good. No data, an error or silence is never a yes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "[has(self.http), has(self.prometheus), has(self.job), has(self.webhook)].filter(it, it).size() == 1",
        "a gate is exactly one of http, prometheus, job and webhook"
    ),
    validation = (
        "!has(self.job) || !(has(self.interval) || has(self.successes) || has(self.failures))",
        "a job runs once: interval, successes and failures are for the other gates"
    ),
    validation = (
        "!has(self.interval) || duration(self.interval) >= duration('1s')",
        "interval is at least 1s"
    )
)]
pub struct Gate {
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpGate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusGate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTemplate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookGate>,

    /// From one sample to the next. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,

    /// So many samples in a row must be good. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub successes: Option<u32>,

    /// So many bad samples, in a row or not, and the candidate is given up. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: Option<u32>,

    /// Without a verdict after this time the candidate is given up. After the switch it is at least the bake.
    #[serde(default = "default_gate_timeout")]
    pub timeout: Duration,
}

impl Gate {
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(5))
    }

    pub fn successes(&self) -> u32 {
        self.successes.unwrap_or(1)
    }

    pub fn failures(&self) -> u32 {
        self.failures.unwrap_or(1)
    }
}

/// A request to the pods of the candidate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.service) != has(self.workload)", "a request goes either to a service or to a workload"),
    validation = ("!has(self.workload) || has(self.port)", "a workload has no port of its own: name one"),
    validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "a request takes at most 1m")
)]
pub struct HttpGate {
    /// One of `spec.services`: the candidate's pods are reached on the port that it sends to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 55))]
    pub service: Option<String>,

    /// One of `spec.workloads`, for what no Service shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub workload: Option<String>,

    /// Name or number: of the Service (default: its first), or of the workload's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub port: Option<Value>,

    #[serde(default = "slash")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^/"))]
    pub path: String,

    #[serde(default)]
    pub method: Method,

    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "headers")]
    pub headers: BTreeMap<String, String>,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,

    /// `Https` without a look at the certificate, as for probes: pods have none that is good for their address.
    #[serde(default)]
    pub scheme: Scheme,

    /// Whom to ask in one sample.
    #[serde(default)]
    pub each: Each,

    /// A good answer, in CEL: `status`, `headers`, `body`, `json`, `latency`. Default: `status >= 200 && status < 300`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub expect: Option<String>,

    /// No answer within this time is a bad one.
    #[serde(default = "default_request_timeout")]
    pub timeout: Duration,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    #[default]
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "HEAD")]
    Head,
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "OPTIONS")]
    Options,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Options => "OPTIONS",
        }
    }
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Each {
    /// One pod of the candidate, another one each time.
    #[default]
    Any,
    /// All of them; each must answer well.
    Pod,
}

/// An instant query.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "a query takes at most 1m"),
    validation = ("!has(self.secret) || has(self.address)", "secret is for an address of its own; the Environment's has the Environment's")
)]
pub struct PrometheusGate {
    /// In PromQL; `$(release.track)`, `$(release.revision)` and `$(release.podHash)` are those of the candidate.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,

    /// A good result, in CEL: `value` (a number; of a vector its only element), `samples` (each with `value` and `labels`).
    #[schemars(length(min = 1, max = 2048))]
    pub expect: String,

    /// Default: that of the Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub address: Option<String>,

    /// A Secret in the namespace of the Release, for an address of its own: `token`, or `username` and `password`; `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret: Option<String>,

    /// No answer within this time is no answer.
    #[serde(default = "default_query_timeout")]
    pub timeout: Duration,
}

/// Somebody else decides: a signed POST, answered with a verdict at once or later.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "a request takes at most 1m"))]
pub struct WebhookGate {
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^/?#@]+(/.*)?$"))]
    pub url: String,

    /// A Secret in the namespace of the Release whose `key` signs the requests (HMAC-SHA256); `ca.crt` for a private certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret: Option<String>,

    /// No answer within this time is no answer.
    #[serde(default = "default_query_timeout")]
    pub timeout: Duration,
}

fn int_or_string(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-int-or-string": true })
}

fn headers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let value = schemars::json_schema!({ "type": "string", "maxLength": 8192 });
    schemars::json_schema!({ "type": "object", "maxProperties": 32, "additionalProperties": value })
}

fn slash() -> String {
    "/".to_owned()
}

/// Longer than most migrations take, short enough that a hanging one is noticed the same day.
fn default_hook_timeout() -> Duration {
    Duration::from_secs(900)
}

fn default_gate_timeout() -> Duration {
    Duration::from_secs(300)
}

fn default_request_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_query_timeout() -> Duration {
    Duration::from_secs(10)
}
