//! The gate of type `prometheus`: an instant query. No data, NaN, an error and silence are no answer, and no answer is neither good nor bad.
//!
//! In: a probe. Out: verdicts. Never here: what a query means, ranges.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bascule_core::gate::{Probe, PrometheusAsk, Verdict};
use bascule_expressions::{Kind, Sample, Values};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{
    HeaderValue, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use serde::{Deserialize, de::IgnoredAny};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use super::{
    Shared,
    door::{self, Allowed},
    expect::{Condition, Held},
    in_time,
    line::Line,
    places::Content,
    transport::Reply,
    words,
};
use crate::{
    gates::{Session, hub::silence},
    sources::registry::Hidden,
};

/// Some thousand series with their labels, which take some ten times as much once they are read. Who asks for more has not aggregated.
const LARGEST_ANSWER: usize = 128 * 1024;

/// One such gate on its way.
pub(super) struct Query {
    shared: Arc<Shared>,
    ask: PrometheusAsk,
    expect: Condition,
    within: Duration,
    silence: String,
    ready: Option<(Line, Option<HeaderValue>)>,
}

impl Query {
    pub(super) fn new(shared: Arc<Shared>, probe: &Probe, ask: &PrometheusAsk) -> Self {
        let expect = Condition::new(&ask.expect, Kind::Prometheus);
        let within = probe.within.unsigned_abs();
        Self { shared, ask: ask.clone(), expect, within, silence: silence(probe), ready: None }
    }

    async fn find(&mut self) -> Result<(), String> {
        self.ready = None;
        self.expect.usable()?;
        let PrometheusAsk { address, secret, door, .. } = &self.ask;
        let allowed = at_query(door::pass(door, address).map_err(|why| format!("Prometheus is not asked: {why}"))?);
        let secret = match secret {
            // The platform team's password is for the platform team's Prometheus, whatever else a Release may name.
            Some(secret) if secret.namespace != door.namespace && door.configured.as_ref() != Some(address) => {
                return Err("a Secret of another namespace is only for the address that the Environment names".to_owned());
            }
            Some(secret) => self.shared.secret(secret).await?,
            None => Arc::default(),
        };
        let authority = secret.get("ca.crt").map(|pem| pem.reveal().as_slice());
        let line = self.shared.line(&door.namespace, &allowed, authority).await?;
        self.ready = Some((line, credentials(&secret)?));
        Ok(())
    }

    async fn ask(&self, until: Instant) -> Verdict {
        let Some((line, credentials)) = &self.ready else {
            return Verdict::Unknown("Prometheus was not asked".to_owned());
        };
        let Ok(request) = self.request(line, credentials.as_ref()) else {
            return Verdict::Unknown("the request cannot be made".to_owned());
        };
        match line.send(&self.shared, request, LARGEST_ANSWER, in_time(until, self.within)).await {
            Ok(reply) => self.judge(&hushed(reply, credentials.as_ref())).await.unwrap_or_else(Verdict::Unknown),
            Err(trouble) => Verdict::Unknown(format!("Prometheus: {}", trouble.words(&self.silence))),
        }
    }

    fn request(&self, line: &Line, credentials: Option<&HeaderValue>) -> Result<Request<Full<Bytes>>, http::Error> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &self.ask.query)
            .append_pair("timeout", &format!("{}ms", self.within.as_millis()))
            .finish();
        let mut request = line.request(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        request.body(Full::from(form))
    }

    /// The error says why nothing was measured.
    async fn judge(&self, reply: &Reply) -> Result<Verdict, String> {
        let samples = samples(reply)?;
        let seen = match samples.as_slice() {
            [one] => format!("value {}", words::number(one.value)),
            several => format!("{} series", several.len()),
        };
        let held = self.expect.holds(Values::vector(samples)).await;
        let expect = self.expect.shown();
        match held {
            Held::Yes => Ok(Verdict::Pass),
            Held::No => Ok(Verdict::Fail(format!("{seen}: expect {expect} is false"))),
            Held::Nothing(why) => Err(format!("{seen}: expect {expect} has no answer: {why}")),
            Held::Mistake => Err("the controller made a mistake while it judged the answer; its log says more".to_owned()),
        }
    }
}

/// The API stands below the address.
fn at_query(mut allowed: Allowed) -> Allowed {
    let path = format!("{}/api/v1/query", allowed.url.path().trim_end_matches('/'));
    let url: &mut Url = &mut allowed.url;
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    allowed
}

/// What proves who asks. Also over plain http: inside of a cluster that is usual, and the platform team has named or allowed the address.
fn credentials(secret: &Content) -> Result<Option<HeaderValue>, String> {
    let text = |key: &str| match secret.get(key).map(|value| std::str::from_utf8(value.reveal())) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(Hidden::new(text.trim_end_matches(['\r', '\n'])))),
        Some(Err(_)) => Err(format!("`{key}` of the Secret is not text")),
    };
    let header = match (text("token")?, text("username")?, text("password")?) {
        (Some(token), _, _) => Hidden::new(format!("Bearer {}", token.reveal())),
        (None, Some(user), Some(password)) => {
            Hidden::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", user.reveal(), password.reveal()))))
        }
        (None, None, None) => return Ok(None),
        (None, _, _) => return Err("the Secret has only one of `username` and `password`".to_owned()),
    };
    let unfit = |_| "what is in the Secret cannot be sent in a header".to_owned();
    let mut value = HeaderValue::from_str(header.reveal()).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Some say back what they were asked with. Nothing of such an answer is heard: its words would be in the status, for everybody to read.
fn hushed(mut reply: Reply, credentials: Option<&HeaderValue>) -> Reply {
    let header = credentials.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()?.split_once(' '));
    let Some((kind, secret)) = header else { return reply };
    let pair = (kind == "Basic").then(|| STANDARD.decode(secret).ok()).flatten();
    let password = pair.iter().filter_map(|pair| pair.splitn(2, |byte| *byte == b':').nth(1));
    let said = |text: &[u8]| !text.is_empty() && reply.body.windows(text.len()).any(|part| part == text);
    if password.chain([secret.as_bytes()]).any(said) {
        reply.body = b"(it says back what it was asked with)".to_vec();
    }
    reply
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
}

/// Prometheus names the type first, so that nothing is read twice.
#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Series>),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

/// Time and value.
type Point = (IgnoredAny, String);

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<Point>,
}

/// What was measured, at least one; or why it is nothing.
fn samples(reply: &Reply) -> Result<Vec<Sample>, String> {
    if reply.cut {
        return Err(format!("Prometheus' answer is larger than {} KiB: aggregate more", LARGEST_ANSWER / 1024));
    }
    let samples = match data(reply)? {
        Data::Scalar(point) => vec![Sample { value: number(&point)?, labels: BTreeMap::new() }],
        Data::Vector(series) => series.into_iter().map(sample).collect::<Result<Vec<_>, _>>()?,
        Data::Matrix(_) => return Err("the query gives a matrix, and not numbers of one moment".to_owned()),
        Data::String(_) => return Err("the query gives a string, and not numbers of one moment".to_owned()),
    };
    let lost = samples.iter().filter(|sample| sample.value.is_nan()).count();
    match (samples.len(), lost) {
        (0, _) => Err("no data; if that means zero, add `or vector(0)` to the query".to_owned()),
        (_, 0) => Ok(samples),
        (1, _) => Err("the value is NaN".to_owned()),
        (all, lost) => Err(format!("{lost} of {all} values are NaN")),
    }
}

fn sample(series: Series) -> Result<Sample, String> {
    let point = series.value.ok_or_else(|| "the query gives histograms, and not numbers".to_owned())?;
    Ok(Sample { value: number(&point)?, labels: series.metric })
}

fn number(point: &Point) -> Result<f64, String> {
    // Its own spelling of what is no number; Rust's parser takes more than that.
    match point.1.as_str() {
        "NaN" => Ok(f64::NAN),
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        text => text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(strange),
    }
}

fn strange() -> String {
    "what answers there is not a Prometheus, or one that is not understood".to_owned()
}

fn data(reply: &Reply) -> Result<Data, String> {
    let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok();
    match answer {
        Some(Answer { status, data: Some(data), .. }) if reply.status.is_success() && status == "success" => Ok(data),
        Some(Answer { status, error_type, error, .. }) if status == "error" => {
            let kind = words::sentence(&error_type.unwrap_or_else(|| "error".to_owned()));
            Err(format!("Prometheus says {kind}: {}", words::sentence(&error.unwrap_or_default())))
        }
        _ if reply.status.is_success() => Err(strange()),
        _ => Err(format!("Prometheus answered {}{}", reply.status.as_u16(), first_words(reply))),
    }
}

/// Of an answer that should have been another one.
pub(super) fn first_words(reply: &Reply) -> String {
    if reply.body.is_empty() { String::new() } else { format!(": {}", words::preview(&reply.body)) }
}

impl Session for Query {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), String>> {
        self.find().boxed()
    }

    fn sample(&mut self, until: Instant) -> BoxFuture<'_, Verdict> {
        self.ask(until).boxed()
    }
}

#[cfg(test)]
mod tests;
