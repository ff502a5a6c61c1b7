//! What the cluster says about places: which pods are ready, where a Service is, what a Secret holds; and what DNS says about names.
//!
//! In: names and labels. Out: slim answers, or why there is none, in words that stay the same while the reason does. Never here: a watch, a
//! list of Secrets, an opinion on what may be reached.
//!
//! It needs the verbs `list` on `pods`, `get` on `services` and `get` on `secrets`.

mod kube_places;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::{FutureExt as _, future::BoxFuture};

use crate::sources::registry::Hidden;

pub(super) use kube_places::KubePlaces;

/// The API server, or a test's own.
pub(super) trait Places: Send + Sync + 'static {
    /// Pods that are ready to be asked, by name.
    fn pods<'a>(&'a self, namespace: &'a str, labels: &'a BTreeMap<String, String>) -> BoxFuture<'a, Result<Vec<Pod>, String>>;

    fn service<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Service>, String>>;

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, Unread>>;
}

/// Running, Ready, not about to end, and with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    /// Ports that have a name.
    pub(super) ports: BTreeMap<String, u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Service {
    At {
        ip: IpAddr,
        ports: Vec<u16>,
    },
    Headless,
    /// A name elsewhere, which anybody who may write Services can choose.
    ExternalName,
}

/// The keys of a Secret with what they hold.
pub(super) type Content = BTreeMap<String, Hidden<Vec<u8>>>;

#[derive(Clone, Debug)]
pub(super) enum Secret {
    Content(Arc<Content>),
    Missing,
    Forbidden,
}

/// The API server did not say. Nothing is concluded from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread(pub(super) String);

/// DNS, or a test's own.
pub(super) trait Names: Send + Sync + 'static {
    /// All addresses of a name, sorted. None is a `NotFound`.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// As the machine looks up names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dns;

impl Names for Dns {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        async move {
            let unknown = || format!("{host} has no address in DNS");
            let found = tokio::net::lookup_host((host, 0)).await.map_err(|_| unknown())?;
            let mut addresses: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
        }
        .boxed()
    }
}
