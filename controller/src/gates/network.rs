//! Gates asked over the network: pods and Services of a candidate, Prometheus, webhooks.
//!
//! In: probes. Out: a [`Session`] for each. Never here: repetition and counting (the hub's part), a place that was not let through the door.
//!
//! - `door` says where a gate may go at all, `line` finds the addresses of that place, `transport` connects to these and to nothing else.
//! - `candidate`, `query` and `webhook` are the three kinds of gate; what they wait for from elsewhere is read in [`Session::prepare`].

mod candidate;
mod door;
mod expect;
mod line;
mod places;
mod query;
#[cfg(test)]
mod scene;
mod secrets;
mod transport;
mod trust;
mod webhook;
mod words;

use std::{fmt, sync::Arc, time::Duration};

use bascule_core::gate::{Ask, Probe};
use bascule_crds::SecretReference;
use kube::Client;
use tokio::time::Instant;

use self::{
    places::{Content, Dns, KubePlaces, Names, Places},
    secrets::Secrets,
    transport::Transport,
    trust::Tls,
};
use super::{Asks, Session};
use crate::{clock::Clock, queue::Key};

/// The words of a request that ends in time are better than those of the hub, which ends it.
const MARGIN: Duration = Duration::from_millis(50);

/// Asks over the network.
pub struct Network {
    shared: Arc<Shared>,
}

/// What all probes share.
struct Shared {
    places: Box<dyn Places>,
    names: Box<dyn Names>,
    transport: Transport,
    tls: Tls,
    secrets: Secrets,
    /// It dates what is signed.
    clock: Arc<dyn Clock>,
}

impl Network {
    /// Nothing is asked yet.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self::with(Box::new(KubePlaces::new(client)), Box::new(Dns), clock)
    }

    fn with(places: Box<dyn Places>, names: Box<dyn Names>, clock: Arc<dyn Clock>) -> Self {
        let (transport, tls, secrets) = (Transport::new(), Tls::new(), Secrets::default());
        Self { shared: Arc::new(Shared { places, names, transport, tls, secrets, clock }) }
    }
}

impl Asks for Network {
    fn open(&self, key: &Key, probe: &Probe) -> Box<dyn Session> {
        let shared = self.shared.clone();
        match &probe.ask {
            Ask::Http(ask) => Box::new(candidate::Questions::new(shared, key, probe, ask)),
            Ask::Prometheus(ask) => Box::new(query::Query::new(shared, probe, ask)),
            Ask::Webhook(ask) => Box::new(webhook::Webhook::new(shared, key, probe, ask)),
        }
    }
}

impl Shared {
    async fn secret(&self, wanted: &SecretReference) -> Result<Arc<Content>, String> {
        self.secrets.read(self.places.as_ref(), wanted).await
    }
}

/// When a request has to end, so that its own words are heard.
fn in_time(until: Instant, within: Duration) -> Instant {
    until.checked_sub(MARGIN.min(within / 10)).unwrap_or(until)
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
