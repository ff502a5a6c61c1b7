//! Names of container images: parsed once at the edge, afterwards never looked at as text again.
//!
//! In: what a person wrote, `[host[:port]/]path[:tag][@digest]`. Out: a [`Reference`] whose parts are all valid, or a
//! sentence that says what is wrong and where. Never here: a network, a guess at what was meant, a change of the spelling.
//!
//! The grammar is that of the OCI distribution specification as Docker and the kubelet read it, with one difference: a
//! first part with upper-case letters and neither dot nor port (`Team/web`) is refused as a repository, where Docker would
//! take it for a host. Nobody has such a host, and many have a capital in a repository's name by mistake.

mod digest;
mod fault;

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

pub use digest::{Algorithm, Digest, DigestError};
pub use fault::{Fault, ReferenceError};

/// What a name without a host belongs to.
const DOCKER_HUB: &str = "docker.io";
/// Where official images of Docker Hub live; their names are written without it.
const DOCKER_LIBRARY: &str = "library/";
/// The tag of a name that has neither tag nor digest, as in every container tool.
const LATEST: &str = "latest";

/// Longer than any valid reference (253 host + 6 port + 255 path + 129 tag + 136 digest, and separators).
const MAX_TEXT: usize = 1024;
/// From the OCI specification's reference implementation.
const MAX_REPOSITORY: usize = 255;
/// From the grammar of tags.
const MAX_TAG: usize = 128;
/// A DNS name is not longer than this.
const MAX_HOST: usize = 253;

/// The name of an image. Two spellings of one image (`nginx`, `docker.io/library/nginx`) are two references with the same
/// [`registry`](Self::registry) and [`repository`](Self::repository).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    name: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|(fault, at)| ReferenceError::new(text, fault, at))
    }

    /// Whether a text begins with a registry, as Docker and the kubelet read it.
    pub fn names_a_registry(text: &str) -> bool {
        text.split_once('/').is_some_and(|(first, _)| is_host(first))
    }

    /// Registry and repository as the user spelled them, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host with its port, in lower case; Docker Hub is always `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry; official images of Docker Hub carry their `library/`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `registry/repository`, whatever was written: what lists of images are about.
    pub fn place(&self) -> String {
        format!("{}/{}", self.registry(), self.repository())
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag that has to be looked up before it is known what this names: none when a digest already says so.
    pub fn open_tag(&self) -> Option<&str> {
        match self.digest {
            Some(_) => None,
            None => Some(self.tag().unwrap_or(LATEST)),
        }
    }

    /// This image and no other: `name@digest`. The name stays as the user spelled it, so that pods show what they expect
    /// to see and pull secrets, mirrors and policies written for that spelling keep matching; the tag goes, because
    /// beside a digest it is ignored by the runtimes and refused by some.
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// Exactly the text that was parsed.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A fault and the byte where it is; none where the whole text is meant.
type Found<T> = Result<T, (Fault, Option<usize>)>;

fn parse(text: &str) -> Found<Reference> {
    check_whole(text)?;
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(parse_digest(digest, rest.len() + 1)?)),
    };
    // A colon before the last slash belongs to a port.
    let last_part = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last_part..].find(':').map(|colon| last_part + colon) {
        Some(_) if rest[last_part..].starts_with('[') => return Err((Fault::NoRepository, Some(rest.len()))),
        Some(colon) => (&rest[..colon], Some(parse_tag(&rest[colon + 1..], colon + 1)?)),
        None => (rest, None),
    };
    let (registry, repository) = parse_name(name)?;
    Ok(Reference { name: name.to_owned(), registry, repository, tag, digest })
}

/// Mistakes that would otherwise be reported as something stranger.
fn check_whole(text: &str) -> Found<()> {
    if text.is_empty() {
        return Err((Fault::Empty, None));
    }
    if text.len() > MAX_TEXT {
        return Err((Fault::TooLong, None));
    }
    if let Some(blank) = text.find(|c: char| c.is_whitespace() || c.is_control()) {
        return Err((Fault::Blank, Some(blank)));
    }
    if let Some(scheme) = text.find("://") {
        return Err((Fault::Scheme, Some(scheme)));
    }
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err((Fault::ImageId, None));
    }
    Ok(())
}

fn parse_digest(text: &str, at: usize) -> Found<Digest> {
    if text.is_empty() {
        return Err((Fault::NoDigest, Some(at)));
    }
    Digest::parse(text).map_err(|error| (Fault::Digest(error.clone()), Some(at + error.at())))
}

fn parse_tag(text: &str, at: usize) -> Found<String> {
    if text.is_empty() {
        return Err((Fault::NoTag, Some(at)));
    }
    if let Some(wrong) = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))) {
        return Err((Fault::TagCharacter, Some(at + wrong)));
    }
    if text.starts_with(['.', '-']) {
        return Err((Fault::TagStart, Some(at)));
    }
    if text.len() > MAX_TAG {
        return Err((Fault::TagTooLong, Some(at + MAX_TAG)));
    }
    Ok(text.to_owned())
}

/// Splits a name into registry and repository, in their canonical form.
fn parse_name(name: &str) -> Found<(String, String)> {
    let (registry, path, at) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => {
            check_host(host)?;
            (host.to_ascii_lowercase(), path, host.len() + 1)
        }
        _ => (DOCKER_HUB.to_owned(), name, 0),
    };
    check_path(path, at)?;
    let registry = if registry == "index.docker.io" { DOCKER_HUB.to_owned() } else { registry };
    let official = registry == DOCKER_HUB && !path.contains('/');
    let repository = if official { format!("{DOCKER_LIBRARY}{path}") } else { path.to_owned() };
    if repository.len() > MAX_REPOSITORY {
        return Err((Fault::RepositoryTooLong, Some(at)));
    }
    Ok((registry, repository))
}

/// Docker's rule: a first part is a host when it could not be a folder, or is `localhost`.
fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':', '['])
}

fn check_host(host: &str) -> Found<()> {
    let port = if host.starts_with('[') { check_address(host)? } else { check_name(host)? };
    // `u16` alone would also take "+80".
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    match port {
        Some(port) if !is_port(port) => Err((Fault::Port, Some(host.len() - port.len()))),
        _ => Ok(()),
    }
}

/// `[address]` or `[address]:port`; gives the port.
fn check_address(host: &str) -> Found<Option<&str>> {
    let (address, rest) = host[1..].split_once(']').ok_or((Fault::HostAddress, Some(0)))?;
    // A zone (`%eth0`) means nothing on another machine; `Ipv6Addr` refuses it.
    address.parse::<Ipv6Addr>().map_err(|_| (Fault::HostAddress, Some(1)))?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(None),
        None => Err((Fault::HostCharacter, Some(host.len() - rest.len()))),
        port => Ok(port),
    }
}

/// `name` or `name:port`; gives the port.
fn check_name(host: &str) -> Found<Option<&str>> {
    let (domain, port) = host.split_once(':').map_or((host, None), |(domain, port)| (domain, Some(port)));
    check_domain(domain)?;
    Ok(port)
}

fn check_domain(domain: &str) -> Found<()> {
    if domain.len() > MAX_HOST {
        return Err((Fault::HostTooLong, Some(0)));
    }
    let mut at = 0;
    for label in domain.split('.') {
        if let Some(wrong) = label.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            return Err((Fault::HostCharacter, Some(at + wrong)));
        }
        if label.is_empty() {
            return Err((Fault::HostLabel, Some(at)));
        }
        if label.starts_with('-') {
            return Err((Fault::HostHyphen, Some(at)));
        }
        if label.ends_with('-') {
            return Err((Fault::HostHyphen, Some(at + label.len() - 1)));
        }
        at += label.len() + 1;
    }
    Ok(())
}

fn check_path(path: &str, start: usize) -> Found<()> {
    if path.is_empty() {
        return Err((Fault::NoRepository, Some(start)));
    }
    let mut at = start;
    for part in path.split('/') {
        check_part(part, at)?;
        at += part.len() + 1;
    }
    Ok(())
}

/// Letters and digits, with `.`, `_`, `__` or hyphens between them.
fn check_part(part: &str, start: usize) -> Found<()> {
    if part.is_empty() {
        return Err((Fault::EmptyPart, Some(start)));
    }
    let mut separator = "";
    for (offset, c) in part.char_indices() {
        let at = Some(start + offset);
        match c {
            'a'..='z' | '0'..='9' => separator = "",
            'A'..='Z' => return Err((Fault::UpperCase, at)),
            '.' | '_' | '-' if offset == 0 => return Err((Fault::SeparatorAtStart, at)),
            '.' | '_' | '-' => {
                separator = match (separator, c) {
                    ("", '.') => ".",
                    ("", '_') => "_",
                    ("_", '_') => "__",
                    ("" | "-", '-') => "-",
                    _ => return Err((Fault::Separators, at)),
                }
            }
            _ => return Err((Fault::RepositoryCharacter, at)),
        }
    }
    if separator.is_empty() { Ok(()) } else { Err((Fault::SeparatorAtEnd, Some(start + part.len() - 1))) }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests;
