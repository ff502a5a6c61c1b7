//! OTLP over HTTP in JSON, as far as spans need it.
//!
//! In: spans. Out: one POST to `/v1/traces`, tried again a few times when time may heal it. Never here: a header's value in words.

use std::{env, fmt, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{Collector, Span};

/// A collector is near, and deploys are few.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// And a restart of it is over by then.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// OTLP's own word for a span that is about this process's inner work.
const INTERNAL: u8 = 1;
const ERROR: u8 = 2;

/// A collector that speaks OTLP over HTTP.
#[derive(Clone)]
pub struct Otlp {
    client: Client,
    url: Url,
    resource: Vec<(String, String)>,
}

impl fmt::Debug for Otlp {
    /// The headers of its client may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Otlp {
    /// As OpenTelemetry's variables say: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (whole), or `OTEL_EXPORTER_OTLP_ENDPOINT` (without the path),
    /// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`. None: none is named.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        Self::named(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn named(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Self>> {
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (name, text) = match (variable(TRACES), variable(BASE)) {
            (Some(whole), _) => (TRACES, whole),
            (None, Some(base)) => (BASE, format!("{}/v1/traces", base.trim_end_matches('/'))),
            (None, None) => return Ok(None),
        };
        let url: Url = text.parse().with_context(|| format!("{name} is no URL"))?;
        anyhow::ensure!(["http", "https"].contains(&url.scheme()), "{name} must begin with http:// or https://: OTLP over HTTP");
        let headers = variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let client = Client::builder()
            .timeout(ANSWER_WITHIN)
            .default_headers(headers_of(&headers).context("OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value")?)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("set up the client of the collector")?;
        let mut resource = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        resource.retain(|(key, _)| key != "service.name");
        let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "bascule-controller".to_owned());
        resource.insert(0, ("service.name".to_owned(), service));
        resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        Ok(Some(Self { client, url, resource }))
    }

    async fn post(&self, body: String) -> Result<(), Refusal> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        // An error of the client names the URL, and that may hold a password.
        let answer = request.send().await.map_err(|error| Refusal { text: error.without_url().to_string(), heals: true })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Refusal { text: format!("it answered {status}"), heals: is_passing(status) }),
        }
    }

    fn body(&self, spans: &[Span]) -> Value {
        let resource: Vec<_> = self.resource.iter().map(|(key, text)| attribute(key, text)).collect();
        let scope = json!({"name": "bascule", "version": env!("CARGO_PKG_VERSION")});
        let spans: Vec<_> = spans.iter().map(span).collect();
        json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
    }
}

impl Collector for Otlp {
    fn take<'a>(&'a self, spans: &'a [Span]) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let body = self.body(spans).to_string();
            let mut pauses = PAUSES.into_iter();
            loop {
                let why = match self.post(body.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(why) => why,
                };
                match pauses.next().filter(|_| why.heals) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(why.text),
                }
            }
        }
        .boxed()
    }
}

struct Refusal {
    text: String,
    /// Time may heal it.
    heals: bool,
}

/// As the protocol lists them.
fn is_passing(status: StatusCode) -> bool {
    [429, 502, 503, 504].contains(&status.as_u16())
}

fn span(span: &Span) -> Value {
    let attributes: Vec<_> = span.attributes.iter().map(|(key, text)| attribute(key, text)).collect();
    let mut value = json!({
        "traceId": span.trace,
        "spanId": span.id,
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(span.from),
        "endTimeUnixNano": nanoseconds(span.to),
        "attributes": attributes,
        "status": {},
    });
    if let Some(parent) = &span.parent {
        value["parentSpanId"] = json!(parent);
    }
    if let Some(why) = &span.failed {
        value["status"] = json!({"code": ERROR, "message": why});
    }
    value
}

/// 64 bits are a string in this JSON.
fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().to_string()
}

fn attribute(key: &str, text: &str) -> Value {
    json!({"key": key, "value": {"stringValue": text}})
}

fn headers_of(text: &str) -> anyhow::Result<HeaderMap> {
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::from_str(&value).map_err(|_| anyhow::anyhow!("the value of {name} is none of a header"))?;
        value.set_sensitive(true);
        Ok((HeaderName::try_from(name)?, value))
    };
    pairs(text).into_iter().map(header).collect()
}

/// `name=value,name=value`, with percent signs as in W3C's baggage.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), unescaped(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(variables: &'static [(&'static str, &'static str)]) -> anyhow::Result<Option<Otlp>> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Otlp::named(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn where_spans_go_is_said_by_the_variables_that_everybody_knows() {
        assert!(collector(&[]).unwrap().is_none());
        let base = collector(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")]).unwrap().unwrap();
        assert_eq!(base.url.as_str(), "http://collector:4318/v1/traces");
        let whole = collector(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/otlp"),
        ]);
        assert_eq!(whole.unwrap().unwrap().url.as_str(), "https://traces.example/otlp");
    }

    #[test]
    fn a_wrong_variable_is_named_and_its_value_is_not() {
        let error = collector(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]).unwrap_err();
        assert_eq!(error.to_string(), "OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://: OTLP over HTTP");
        let secret = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_EXPORTER_OTLP_HEADERS", "api key=s3cret")];
        let error = format!("{:#}", collector(Box::leak(Box::new(secret))).unwrap_err());
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn headers_may_be_escaped_and_are_never_shown() {
        let headers = headers_of("authorization=Basic%20abc%3D, x-team=shop").unwrap();
        assert_eq!(headers["authorization"].to_str().unwrap(), "Basic abc=");
        assert_eq!(headers["x-team"].to_str().unwrap(), "shop");
        assert!(!format!("{headers:?}").contains("abc"), "{headers:?}");
    }
}
