//! What was answered, as a gate hands it over.
//!
//! In: an HTTP response, or the result of a query. Out: the values of variables. Never here: a connection; an opinion about the
//! answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::program::Variable;
use super::value::Value;
use super::{Kind, MAX_BODY, MAX_SAMPLES};

/// What an [`Expression`](super::Expression) is evaluated over.
#[derive(Clone, Debug)]
pub struct Values {
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    Response {
        status: u16,
        headers: Value,
        body: Body,
        latency: Option<Duration>,
    },
    /// As values at once: a macro may ask for them many times.
    Result {
        first: Option<f64>,
        values: Value,
        samples: Value,
        total: usize,
    },
}

/// Headers of a response: names in small letters, several values of one name joined by ", ".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in pairs {
            headers
                .entry(name.as_ref().to_ascii_lowercase())
                .and_modify(|before| {
                    before.push_str(", ");
                    before.push_str(value.as_ref());
                })
                .or_insert_with(|| value.as_ref().to_owned());
        }
        Self(headers)
    }
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    text: Arc<str>,
    whole: bool,
}

impl Body {
    /// What was read; more than [`MAX_BODY`] bytes of it mean that the body is longer than anybody wants to know. So a reader stops
    /// at one byte more. What is not UTF-8 becomes `U+FFFD`.
    pub fn new(bytes: &[u8]) -> Self {
        let kept = bytes.get(..MAX_BODY).unwrap_or(bytes);
        Self { text: String::from_utf8_lossy(kept).into(), whole: kept.len() == bytes.len() }
    }

    /// Half a body is not a body: what is not in it may be behind it.
    fn text(&self) -> Result<&Arc<str>, String> {
        if self.whole {
            Ok(&self.text)
        } else {
            Err(format!("the body has more than {MAX_BODY} bytes, and is not read to its end"))
        }
    }
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Values {
    /// A response to the request of an http gate.
    pub fn http(status: u16, headers: Headers, body: Body, latency: Duration) -> Self {
        Self::response(status, headers, body, Some(latency))
    }

    /// A response to the request of a webhook gate.
    pub fn webhook(status: u16, headers: Headers, body: Body) -> Self {
        Self::response(status, headers, body, None)
    }

    /// The result of a query that gives a number.
    pub fn scalar(value: f64) -> Self {
        Self::vector([Sample { labels: BTreeMap::new(), value }])
    }

    /// The result of a query that gives a vector.
    pub fn vector(samples: impl IntoIterator<Item = Sample>) -> Self {
        let mut samples = samples.into_iter();
        let kept: Vec<Sample> = samples.by_ref().take(MAX_SAMPLES).collect();
        let total = kept.len() + samples.count();
        let first = kept.first().map(|sample| sample.value);
        let values = Value::List(kept.iter().map(|sample| Value::Double(sample.value)).collect());
        let samples = Value::List(kept.into_iter().map(of_sample).collect());
        Self { answer: Answer::Result { first, values, samples, total } }
    }

    fn response(status: u16, headers: Headers, body: Body, latency: Option<Duration>) -> Self {
        let entries = headers.0.into_iter().map(|(name, value)| (Arc::from(name), Value::String(value.into())));
        let headers = Value::Map(Arc::new(entries.collect()));
        Self { answer: Answer::Response { status, headers, body, latency } }
    }

    pub fn kind(&self) -> Kind {
        match &self.answer {
            Answer::Response { latency: Some(_), .. } => Kind::Http,
            Answer::Response { latency: None, .. } => Kind::Webhook,
            Answer::Result { .. } => Kind::Prometheus,
        }
    }

    /// Bytes that a reader of JSON would read.
    pub(super) fn body_size(&self) -> usize {
        match &self.answer {
            Answer::Response { body, .. } => body.text.len(),
            Answer::Result { .. } => 0,
        }
    }

    pub(super) fn json(&self) -> Result<Value, String> {
        let Answer::Response { body, .. } = &self.answer else { return Err(absent(Variable::Json)) };
        Value::from_json(body.text()?).map_err(|error| format!("the body is not JSON: {error}"))
    }

    /// Everything but `json`, which is worth keeping.
    pub(super) fn get(&self, variable: Variable) -> Result<Value, String> {
        match (&self.answer, variable) {
            (Answer::Response { status, .. }, Variable::Status) => Ok(Value::Int(i64::from(*status))),
            (Answer::Response { headers, .. }, Variable::Headers) => Ok(headers.clone()),
            (Answer::Response { body, .. }, Variable::Body) => Ok(Value::String(body.text()?.clone())),
            (Answer::Response { latency: Some(latency), .. }, Variable::Latency) => {
                Ok(Value::Duration(i64::try_from(latency.as_nanos()).unwrap_or(i64::MAX)))
            }
            (Answer::Result { first, total, .. }, Variable::Value) => match (first, total) {
                (Some(value), 1) => Ok(Value::Double(*value)),
                (None, _) => Err("the query has no result; if that means zero, add `or vector(0)` to the query".to_owned()),
                _ => {
                    Err(format!("the query gives {total} series, and `value` is for one: use `values`, or `sum(…)` in the query"))
                }
            },
            (Answer::Result { total, .. }, Variable::Values | Variable::Samples) if *total > MAX_SAMPLES => Err(format!(
                "the query gives {total} series, and {MAX_SAMPLES} is the most: use `topk(…)` or `sum(…)` in the query"
            )),
            (Answer::Result { values, .. }, Variable::Values) => Ok(values.clone()),
            (Answer::Result { samples, .. }, Variable::Samples) => Ok(samples.clone()),
            _ => Err(absent(variable)),
        }
    }
}

fn of_sample(sample: Sample) -> Value {
    let labels = sample.labels.into_iter().map(|(name, value)| (Arc::from(name), Value::String(value.into())));
    let labels = Value::Map(Arc::new(labels.collect()));
    Value::Map(Arc::new([(Arc::from("labels"), labels), (Arc::from("value"), Value::Double(sample.value))].into_iter().collect()))
}

fn absent(variable: Variable) -> String {
    format!("there is no `{}` in this answer", variable.name())
}
