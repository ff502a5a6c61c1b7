//! Gates: what a candidate is asked, again and again, while it must prove itself.
//!
//! In: the probes that the last decision wants. Out: at once, counts from memory; later, a key in the queue when one of them changed.
//! Only this room talks to the user's endpoints. Never here: what a count means, Jobs (they are objects, and watched), status.
//!
//! ```text
//! worker ── want(key, probes) ──> Gates ── at most 64 at once ──> Session ──> pods, Prometheus, webhooks
//!    │                            one task for each probe
//!    ├───── samples(key) ─────────┤
//!    └ <─── changed(key) ─────────┘
//! ```

mod hub;
mod network;

use bascule_core::gate::{Ask, Probe, Verdict};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;

pub use hub::{Gates, Wiring};
pub use network::Network;

use crate::queue::Key;

/// Who can ask: the network, or a simulation's own world.
pub trait Asks: Send + Sync + 'static {
    /// What asks for one probe, from its first sample to its last. Nothing is sent yet.
    fn open(&self, key: &Key, probe: &Probe) -> Box<dyn Session>;
}

/// One probe on its way; it remembers what the next sample needs. Its futures may be dropped at any time.
pub trait Session: Send {
    /// Finds out where to ask and with what, if that takes a question to somebody else. This time is not the candidate's: nobody is blamed
    /// for it. The words say why there can be no sample.
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    /// One sample. Whoever has better words than "no answer" ends by himself a little before `until`.
    fn sample(&mut self, until: Instant) -> BoxFuture<'_, Verdict>;
}

/// Label of a metric.
fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::Http(_) => "http",
        Ask::Prometheus(_) => "prometheus",
        Ask::Webhook(_) => "webhook",
    }
}

/// Label of a metric.
fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail(_) => "fail",
        Verdict::Unknown(_) => "unknown",
    }
}
