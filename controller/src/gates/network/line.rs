//! The way to a place that was let through the door: its addresses, and whom to believe there.
//!
//! In: what the door allows. Out: a [`Line`], to which requests are sent. Never here: a second look-up. What is connected to is what was
//! checked, however often DNS changes its mind.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    Method, Request,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
    request::Builder,
};
use http_body_util::Full;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::time::Instant;
use url::{Host, Position, Url};

use super::{
    Shared,
    door::{Allowed, Way, acceptable},
    places::Service,
    transport::{Call, Reply, Trouble},
    trust::Trust,
};

/// Everything that a request needs to know of a place.
#[derive(Clone)]
pub(super) struct Line {
    url: Url,
    addresses: Vec<SocketAddr>,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

impl Shared {
    /// Finds the place. `authority` is the only one that is believed there, if there is one.
    pub(super) async fn line(&self, namespace: &str, allowed: &Allowed, authority: Option<&[u8]>) -> Result<Line, String> {
        let addresses = match &allowed.way {
            Way::Address(address) => vec![*address],
            Way::Service { name, port } => vec![self.service(namespace, name, *port).await?],
            Way::Name { host, port, trusted } => self.named(host, *port, *trusted).await?,
        };
        let tls = match allowed.url.scheme() {
            "https" => {
                let trust = authority.map_or(Trust::World, Trust::Only);
                Some((server_name(&allowed.url)?, self.tls.config(trust)?))
            }
            _ => None,
        };
        Ok(Line { url: allowed.url.clone(), addresses, tls })
    }

    /// Where a Service of this namespace is.
    pub(super) async fn service(&self, namespace: &str, name: &str, port: u16) -> Result<SocketAddr, String> {
        match self.places.service(namespace, name).await? {
            None => Err(format!("the Service {name} does not exist in {namespace}")),
            Some(Service::ExternalName) => {
                Err(format!("the Service {name} is only a name for something elsewhere: use that name, and allow it"))
            }
            Some(Service::Headless) => Err(format!("the Service {name} has no address of its own (it is headless)")),
            Some(Service::At { ports, .. }) if !ports.contains(&port) => Err(format!("the Service {name} has no port {port}")),
            Some(Service::At { ip, .. }) => Ok(SocketAddr::new(ip, port)),
        }
    }

    async fn named(&self, host: &str, port: u16, trusted: bool) -> Result<Vec<SocketAddr>, String> {
        let addresses = self.names.addresses(host).await?;
        if !trusted && !addresses.iter().all(|address| acceptable(*address)) {
            return Err(format!("{host} leads to this machine, its node or nobody: that is not allowed"));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

impl Line {
    /// A request with what every one of ours has in its head.
    pub(super) fn request(&self, method: Method) -> Builder {
        request(method, &self.url)
    }

    /// Sends it; of the answer's body at most so much is read.
    pub(super) async fn send(
        &self,
        shared: &Shared,
        request: Request<Full<Bytes>>,
        most: usize,
        until: Instant,
    ) -> Result<Reply, Trouble> {
        let call = Call { addresses: self.addresses.clone(), tls: self.tls.clone(), request, most, until };
        shared.transport.send(call).await
    }
}

/// The head of a request to this URL, over a connection that ends with it.
pub(super) fn request(method: Method, url: &Url) -> Builder {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, host)
        .header(USER_AGENT, concat!("bascule-controller/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
}

pub(super) fn server_name(url: &Url) -> Result<ServerName<'static>, String> {
    let unfit = || "the URL's host is no name that a certificate could have".to_owned();
    match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(|_| unfit()),
        Some(Host::Ipv4(address)) => Ok(ServerName::IpAddress(std::net::IpAddr::V4(address).into())),
        Some(Host::Ipv6(address)) => Ok(ServerName::IpAddress(std::net::IpAddr::V6(address).into())),
        None => Err(unfit()),
    }
}
