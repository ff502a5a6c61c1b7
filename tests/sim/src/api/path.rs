//! From a path to what it is about.

use super::{kind::Kind, store::Key};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static Kind,
    /// As the path has it: events have two groups.
    pub group: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    /// None: no such path.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut rest: Vec<&str> = parts.collect();
        let mut namespace = None;
        // `/namespaces/shop` is the namespace itself, `/namespaces/shop/pods` what is in it.
        if rest.first() == Some(&"namespaces") && rest.len() > 2 && rest[2] != "status" {
            namespace = Some(rest[1].to_owned());
            rest.drain(..2);
        }
        let kind = Kind::find(group, version, rest.first()?)?;
        let owned = |part: &&str| (*part).to_owned();
        Some(Self { kind, group: group.to_owned(), namespace, name: rest.get(1).map(owned), subresource: rest.get(2).map(owned) })
    }

    /// Where the object is kept.
    pub fn key(&self) -> Key {
        Key {
            kind: self.kind.full,
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone().unwrap_or_default(),
        }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.kind.version.to_owned() } else { format!("{}/{}", self.group, self.kind.version) }
    }

    pub fn is_status(&self) -> bool {
        self.subresource.as_deref() == Some("status")
    }
}
