//! Where a gate may send something: a pure answer to a URL. Whoever can write a Release could else ask, with the controller's place in the
//! network, what he may not ask himself: another team's services, the node, the cloud's metadata.
//!
//! In: what the Environment allows, a URL. Out: how the place is found and that it may be used, or a sentence that says whom to ask. Never
//! here: a look-up. There is one parser for what is checked and what is connected to, and its output is both.
//!
//! - The Services of the Release's own namespace are always allowed. The API server says where they are, never DNS.
//! - `configured` is the platform team's own word, and needs no other.
//! - All else takes a pattern. A name must then not lead to this machine, to the node or to nobody ([`acceptable`]); an address must be
//!   written in the pattern as it is.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use bascule_core::gate::{Door, checks};
use url::{Host, Url};

/// Longer than any URL that a person would write.
const LONGEST: usize = 4096;
/// As of Kubernetes itself: who has chosen another domain writes the shorter form.
const CLUSTER_DOMAIN: [&str; 2] = ["cluster", "local"];

/// It may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) url: Url,
    pub(super) way: Way,
}

/// How a place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A Service of the Release's namespace: the API server knows its address.
    Service { name: String, port: u16 },
    /// DNS knows it. What it says must be [`acceptable`], unless the platform team wrote this very name.
    Name { host: String, port: u16, trusted: bool },
    /// It is an address.
    Address(SocketAddr),
}

/// May a gate go there?
pub(super) fn pass(door: &Door, url: &str) -> Result<Allowed, String> {
    let parsed = parse(url)?;
    let (host, port) = (host(&parsed)?, port(&parsed)?);
    let configured = door.configured.as_deref().is_some_and(|ours| ours.trim_end_matches('/') == url.trim_end_matches('/'));
    let way = match host {
        Host::Domain(name) => {
            let name = lookup_name(name)?;
            match service(door, &name) {
                Some(service) if !configured => Way::Service { name: service.to_owned(), port },
                _ => {
                    let allowed = configured || named(door, name.trim_end_matches('.'), port);
                    Way::Name { host: allowed.then_some(name).ok_or_else(|| refused(&parsed))?, port, trusted: configured }
                }
            }
        }
        Host::Ipv4(address) => literal(door, configured, address.into(), port).ok_or_else(|| refused(&parsed))?,
        Host::Ipv6(address) => literal(door, configured, address.into(), port).ok_or_else(|| refused(&parsed))?,
    };
    Ok(Allowed { url: parsed, way })
}

/// May the other side of `first` send us there? To itself; elsewhere only if a pattern says so. Not into the namespace of the Release:
/// what a team may ask of its own Services, a stranger may not.
pub(super) fn pass_on(door: &Door, first: &Allowed, url: &str) -> Result<Allowed, String> {
    let next = first.url.join(url).map_err(|_| "it is none".to_owned())?;
    let next = parse(next.as_str())?;
    if next.origin() == first.url.origin() {
        return Ok(Allowed { url: next, way: first.way.clone() });
    }
    if first.url.scheme() == "https" && next.scheme() != "https" {
        return Err(format!("{} is not https", place(&next)));
    }
    let allowed = pass(&Door { configured: None, ..door.clone() }, next.as_str())?;
    match allowed.way {
        Way::Service { .. } => Err(format!("{} is not where it was sent from", place(&next))),
        Way::Name { .. } | Way::Address(_) => Ok(allowed),
    }
}

/// Host and port: all of a URL that a message may show, since paths and queries hold secrets.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn refused(url: &Url) -> String {
    format!("{} is not allowed: spec.allow.endpoints of the Environment has no pattern for it", place(url))
}

fn parse(url: &str) -> Result<Url, String> {
    if url.len() > LONGEST {
        return Err(format!("the URL is longer than {LONGEST} characters"));
    }
    checks::url(url)
}

fn host(url: &Url) -> Result<Host<&str>, String> {
    url.host().ok_or_else(|| "the URL has no host".to_owned())
}

fn port(url: &Url) -> Result<u16, String> {
    url.port_or_known_default().filter(|port| *port != 0).ok_or_else(|| "the URL has no port that can be used".to_owned())
}

/// As it goes to DNS; one dot at the end is kept there: it keeps the cluster's search domains out.
fn lookup_name(name: &str) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    let fits = |label: &str| (1..=63).contains(&label.len());
    let labels = name.strip_suffix('.').unwrap_or(&name);
    if labels.len() > 253 || !labels.split('.').all(fits) {
        return Err("the URL's host is no name".to_owned());
    }
    Ok(name)
}

/// The Service of the Release's own namespace that this is a name of.
fn service<'a>(door: &Door, name: &'a str) -> Option<&'a str> {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    let (service, rest) = labels.split_first()?;
    let ours = match rest {
        [] => true,
        [namespace] | [namespace, "svc"] => *namespace == door.namespace,
        [namespace, "svc", domain @ ..] => *namespace == door.namespace && domain == CLUSTER_DOMAIN,
        _ => false,
    };
    ours.then_some(*service)
}

fn literal(door: &Door, configured: bool, address: IpAddr, port: u16) -> Option<Way> {
    let written = |pattern: &Pattern<'_>| pattern.address() == Some(address) && pattern.ports.contains(port);
    let allowed = configured || patterns(door).any(|pattern| written(&pattern));
    allowed.then(|| Way::Address(SocketAddr::new(address, port)))
}

fn named(door: &Door, name: &str, port: u16) -> bool {
    patterns(door)
        .any(|pattern| pattern.ports.contains(port) && fits(&pattern.host.trim_end_matches('.').to_ascii_lowercase(), name))
}

struct Pattern<'a> {
    host: &'a str,
    ports: Ports,
}

/// None where the pattern makes no sense: it allows nothing.
enum Ports {
    These(RangeInclusive<u16>),
    Usual,
    None,
}

impl Ports {
    fn contains(&self, port: u16) -> bool {
        match self {
            Self::These(range) => range.contains(&port),
            Self::Usual => [80, 443].contains(&port),
            Self::None => false,
        }
    }
}

fn patterns(door: &Door) -> impl Iterator<Item = Pattern<'_>> {
    door.endpoints.iter().map(|text| Pattern::read(text.trim()))
}

impl<'a> Pattern<'a> {
    fn read(text: &'a str) -> Self {
        let (host, port) = match text.rsplit_once(':') {
            // A colon inside of brackets belongs to the address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let ports = match port {
            None => Ports::Usual,
            Some("*") => Ports::These(1..=u16::MAX),
            Some(port) => port.parse().map_or(Ports::None, |port| Ports::These(port..=port)),
        };
        Self { host, ports }
    }

    fn address(&self) -> Option<IpAddr> {
        match self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse().ok().map(IpAddr::V6),
            None => self.host.parse().ok().map(IpAddr::V4),
        }
    }
}

/// `*` stands for anything but a dot, `**` for anything. In time that grows with the product of the lengths at worst.
fn fits(pattern: &str, name: &str) -> bool {
    let name = name.as_bytes();
    // reached[i]: what was read of the pattern so far fits the first i bytes.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut rest = pattern.as_bytes();
    while let Some(&first) = rest.first() {
        let stars = rest.iter().take_while(|byte| **byte == b'*').count();
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match stars {
                0 => at > 0 && reached[at - 1] && name[at - 1] == first,
                1 => reached[at] || (at > 0 && next[at - 1] && name[at - 1] != b'.'),
                _ => reached[at] || (at > 0 && next[at - 1]),
            };
        }
        reached = next;
        rest = &rest[stars.max(1)..];
    }
    reached[name.len()]
}

/// Where a name that a team may choose must not lead: to this machine, to what only the node should reach (a cloud's metadata gives
/// credentials to whoever asks), to everybody, to nobody; in whatever way it is written.
pub(super) fn acceptable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => acceptable_v4(address),
        IpAddr::V6(address) => match (inner_v4(address), translated(address)) {
            (Some(inner), _) => acceptable_v4(inner),
            (None, Some(inner)) => !inner.is_empty() && inner.into_iter().all(acceptable_v4),
            (None, None) => acceptable_v6(address),
        },
    }
}

/// What clouds serve to their machines at an address that looks like any other: Azure, Alibaba, Oracle.
const CLOUDS: [Ipv4Addr; 3] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

fn acceptable_v4(address: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 is "this network", and Linux connects 0.0.0.0 to itself; from 240.0.0.0 on nobody lives.
    let first = address.octets()[0];
    let is_nowhere = first == 0 || first >= 240;
    !(is_nowhere || address.is_loopback() || address.is_link_local() || address.is_multicast() || CLOUDS.contains(&address))
}

fn acceptable_v6(address: Ipv6Addr) -> bool {
    let head = address.segments();
    // fec0::/10 was once for a site; fd00:ec2::/32 is where AWS keeps metadata and credentials.
    let site_local = head[0] & 0xffc0 == 0xfec0;
    let metadata = head[0] == 0xfd00 && head[1] == 0x0ec2;
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || site_local
        || metadata)
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, behind a translator, in 6to4.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let from = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        // ::1 and :: are IPv6's own, and are known as such.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

/// Those that an address of a translator of one's own (`64:ff9b:1::/48`) may stand for: how much of it is the prefix only the network knows,
/// so they are read out of each place that RFC 6052 has for them. What begins with 0 is no address but the zeros around one.
fn translated(address: Ipv6Addr) -> Option<Vec<Ipv4Addr>> {
    let bytes = address.octets();
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let read = |place: [usize; 4]| Ipv4Addr::from(place.map(|at| bytes[at]));
    let is_ours = address.segments()[..3] == [0x64, 0xff9b, 1];
    is_ours.then(|| places.map(read).into_iter().filter(|inner| inner.octets()[0] != 0).collect())
}

#[cfg(test)]
mod tests;
