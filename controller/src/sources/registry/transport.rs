//! HTTP as far as registries need it: where to, how long, how much.
//!
//! In: requests. Out: responses with a bounded body, or what went wrong in words that do not change from attempt to
//! attempt. Never here: what a manifest or a token is, credentials other than a header that is passed through.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};

use super::error::LookupError;
use crate::sources::lookup::Failure as _;

/// A host that does not accept within this time is down or behind a firewall that swallows packets.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Shorter than a whole attempt, so that it is the host that hangs which is named, and in the same words each time.
const REQUEST_DEADLINE: Duration = Duration::from_secs(8);
/// Between two attempts at one registry there are mostly minutes: connections are not worth keeping for longer.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS: usize = 2;
/// Registries redirect at most from one spelling of a path to another.
const MOST_REDIRECTS: usize = 3;

/// Which hosts are spoken to without TLS: loopback, and those that the installation names; and which are reached elsewhere.
#[derive(Clone, Debug, Default)]
pub struct PlainHttp {
    hosts: BTreeSet<String>,
    elsewhere: BTreeMap<String, String>,
}

impl PlainHttp {
    /// `host` or `host:port`; without a port, every port of that host.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self { hosts: hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect(), elsewhere: BTreeMap::new() }
    }

    /// These registries are reached at another `host[:port]` than their name says.
    #[must_use]
    pub fn reached_at(mut self, elsewhere: impl IntoIterator<Item = (String, String)>) -> Self {
        self.elsewhere.extend(elsewhere);
        self
    }

    pub(super) fn allows(&self, registry: &str) -> bool {
        is_loopback(registry) || self.hosts.contains(registry) || self.hosts.contains(host_of(registry))
    }
}

/// The host without its port; brackets stay.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => registry,
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = host_of(registry);
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse() == Ok(Ipv6Addr::LOCALHOST))
}

#[derive(Debug)]
pub(super) struct Transport {
    /// Proxies of the environment are for the world outside; nothing on this machine is reached through one.
    outside: Client,
    inside: Client,
    plain: PlainHttp,
}

impl Transport {
    pub(super) fn new(plain: PlainHttp) -> Result<Self, reqwest::Error> {
        let client = || {
            Client::builder()
                .user_agent(concat!("bascule-controller/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_DEADLINE)
                .timeout(REQUEST_DEADLINE)
                .pool_idle_timeout(IDLE_CONNECTION)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .redirect(same_place_only())
        };
        // An image without CA certificates is no reason not to start: its registry may need none.
        let outside = client().build().or_else(|error| {
            tracing::warn!(%error, "no CA certificates found: registries are reached by plain http only");
            client().tls_certs_only([]).build()
        })?;
        // Never TLS, so it needs no certificates either.
        Ok(Self { outside, inside: client().tls_certs_only([]).no_proxy().build()?, plain })
    }

    /// The address of a path at a registry. The parts come from a checked reference.
    pub(super) fn address(&self, registry: &str, path: &str) -> Result<Url, LookupError> {
        // Docker Hub answers under another name than it has.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let host = self.plain.elsewhere.get(registry).map_or(host, String::as_str);
        let scheme = if self.plain.allows(host) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}{path}")).map_err(|error| LookupError::malformed(registry, error.to_string()))
    }

    /// Whether a password or a token may travel there.
    pub(super) fn is_safe(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.plain.allows(&place_of(url)),
            _ => false,
        }
    }

    /// Whether a registry at `place` may send us there with a request of its own making: from the world outside neither to this machine nor to
    /// one that is spoken to without TLS.
    pub(super) fn leads(&self, place: &str, target: &Url) -> bool {
        self.plain.allows(place) && (is_loopback(place) || !is_loopback(&place_of(target))) || target.scheme() == "https"
    }

    /// A blob: registries keep them elsewhere, and redirect there with an address that opens it for some minutes. The credential stays
    /// behind, and so does whoever would lead us from the world outside to this machine.
    pub(super) async fn fetch(&self, url: Url, authorization: Option<&HeaderValue>) -> Result<Response, LookupError> {
        let place = place_of(&url);
        let response = self.send(Method::GET, url.clone(), HeaderMap::new(), authorization).await?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        let target = response.headers().get(LOCATION).and_then(|value| url.join(value.to_str().ok()?).ok());
        let target = target.filter(|target| target.scheme() == "https" || self.is_safe(target));
        let target = target.filter(|target| is_loopback(&place) || !is_loopback(&place_of(target)));
        let target = target.ok_or_else(|| LookupError::malformed(&place, "it redirects to where its blobs cannot be"))?;
        self.send(Method::GET, target, HeaderMap::new(), None).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, LookupError> {
        let place = place_of(&url);
        let client = if is_loopback(&place) { &self.inside } else { &self.outside };
        let mut request = client.request(method, url).headers(headers);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| LookupError::unreachable(trouble(&place, &error)))
    }
}

/// Host and port as in a reference, without the scheme's own port.
pub(super) fn place_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A credential is for one place: what redirects elsewhere is answered with that redirect, which is then an error.
fn same_place_only() -> Policy {
    Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= MOST_REDIRECTS { attempt.follow() } else { attempt.stop() }
    })
}

/// The body, if it is not larger than that.
pub(super) async fn read_bounded(mut response: Response, limit: usize) -> Result<Vec<u8>, LookupError> {
    let place = place_of(response.url());
    let too_large = || LookupError::malformed(&place, format!("it is larger than {} KiB", limit / 1024));
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| LookupError::unreachable(trouble(&place, &error)))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What every status means that is neither a success nor a demand to log in.
pub(super) fn refusal(place: &str, response: &Response) -> LookupError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    if status.as_u16() == 429 {
        LookupError::Throttled { registry: place.to_owned(), retry_after }
    } else if status.is_server_error() || status.as_u16() == 408 {
        LookupError::Unreachable { what: format!("{place} answered {status}"), retry_after }
    } else if status.is_redirection() {
        LookupError::malformed(place, "it redirects to another place, which is not followed")
    } else {
        LookupError::malformed(place, status.to_string())
    }
}

/// Seconds, or a date that is read against the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let (then, now) = (date(text)?, date(headers.get(DATE)?.to_str().ok()?)?);
    Duration::try_from(then.duration_since(now)).ok()
}

/// The innermost cause says what is the matter; the layers around it repeat the address.
fn trouble(place: &str, error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() {
            format!("{place} cannot be connected to within {} s", CONNECT_DEADLINE.as_secs())
        } else {
            format!("{place} does not answer within {} s", REQUEST_DEADLINE.as_secs())
        };
    }
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    let what = cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    format!("{place} cannot be reached: {}", what.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_hosts_are_spoken_to_without_tls() {
        let plain = PlainHttp::new(["registry.kube-system:5000".to_owned(), "Mirror.Lan".to_owned()]);
        for registry in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.8.8.8",
            "[::1]:5000",
            "[::1]",
            "registry.kube-system:5000",
            "mirror.lan",
            "mirror.lan:81",
        ] {
            assert!(plain.allows(registry), "{registry}");
        }
        for registry in [
            "ghcr.io",
            "registry.kube-system",
            "registry.kube-system:5001",
            "128.0.0.1",
            "[::2]",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!plain.allows(registry), "{registry}");
        }
    }

    #[test]
    fn a_registry_of_the_world_leads_to_the_world() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let transport = Transport::new(PlainHttp::new(["mirror.lan".to_owned()])).unwrap();
        let leads = |place: &str, target: &str| transport.leads(place, &target.parse().unwrap());
        assert!(leads("ghcr.io", "https://ghcr.io/token") && leads("mirror.lan", "http://mirror.lan/token"));
        assert!(leads("127.0.0.1:5000", "http://127.0.0.1:5001/token") && leads("mirror.lan", "https://ghcr.io/token"));
        assert!(!leads("ghcr.io", "http://127.0.0.1:8080/token") && !leads("ghcr.io", "http://mirror.lan/token"));
        assert!(!leads("mirror.lan", "http://127.0.0.1:8080/token") && !leads("mirror.lan", "http://[::1]:8080/token"));
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_a_date_of_the_servers_clock() {
        let read = |pairs: &[(reqwest::header::HeaderName, &str)]| {
            retry_after(&pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect())
        };
        assert_eq!(read(&[(RETRY_AFTER, "30")]), Some(Duration::from_secs(30)));
        let date = (RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(read(&[date.clone(), (DATE, "Wed, 21 Oct 2015 07:26:30 GMT")]), Some(Duration::from_secs(90)));
        assert_eq!(read(&[date.clone(), (DATE, "Wed, 21 Oct 2015 07:29:00 GMT")]), None);
        assert_eq!(read(&[date]), None);
        assert_eq!(read(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(read(&[]), None);
    }
}
