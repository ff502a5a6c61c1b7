//! Leader election on one `coordination.k8s.io` Lease: of all replicas one writes, and the others are ready to take over at once.
//!
//! In: the name of the Lease, who we are. Out: [`Leadership`], which everybody asks before a request that changes anything, and the news
//! when it turns. Every replica keeps its watches and caches warm; only workers, writes and Events wait for leadership. Losing it stops
//! writes, not the process.
//!
//! | room | what it is |
//! |---|---|
//! | [`election`] | the state machine: pure, explored exhaustively by `tests/lease-model` |
//! | `leadership` | the answer to "may I write, right now?" |
//! | `driver` | the watch, the requests, the news |
//!
//! What an election can promise is little: a request that was sent while we led may arrive when somebody else does. It is the
//! preconditions of the requests (uid, resourceVersion) that keep such a one from landing; see `execute`.

mod driver;
pub mod election;
mod leadership;

use std::{fs, future::Future, sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::oneshot;

use crate::{clock::Clock, metrics::Metrics};
use driver::Driver;
pub(crate) use driver::News;
pub(crate) use leadership::{Leadership, Term};

pub use election::Times;

/// Where the chart puts it.
pub const NAME: &str = "bascule-controller";
/// Outside a cluster.
pub const NAMESPACE: &str = "bascule-system";
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Releasing the Lease takes one request. If that does not work it runs out by itself, and ending is not put off for it.
const RELEASE_WITHIN: Duration = Duration::from_millis(1_500);

/// Which Lease, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    pub namespace: String,
    pub name: String,
    /// Different for every process that there ever was.
    pub identity: String,
    pub times: Times,
}

impl Settings {
    /// This process: the name of its host, which is the name of its pod, and something that a restart does not repeat.
    pub fn of_this_process(namespace: Option<String>, name: String, unique: u64) -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let host = read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
        Self {
            namespace: namespace.or_else(|| read(OWN_NAMESPACE)).unwrap_or_else(|| NAMESPACE.to_owned()),
            name,
            identity: format!("{}_{unique:016x}", host.as_deref().unwrap_or(NAME)),
            times: Times::default(),
        }
    }
}

/// The part of an election that can be told to end.
#[derive(Debug)]
pub(crate) struct Contender {
    resign: oneshot::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Contender {
    /// Leads no more, from this moment on, and then releases the Lease if `hand_over` says so. Without: the Lease runs out, because
    /// something that was begun is still on its way.
    pub(crate) async fn resign(self, hand_over: bool) {
        if self.resign.send(hand_over).is_ok() && tokio::time::timeout(RELEASE_WITHIN, self.ended).await.is_err() {
            tracing::warn!("the Lease could not be released in time; it runs out by itself");
        }
    }
}

/// Everything that a contender needs to know.
pub(crate) struct Wiring<W, F> {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) leadership: Leadership,
    pub(crate) seed: u64,
    /// Ready when this process has read everything.
    pub(crate) warm: W,
    pub(crate) tell: F,
}

/// The contender, and the task that contends.
pub(crate) fn contend<W, F>(settings: Settings, wiring: Wiring<W, F>) -> (Contender, impl Future<Output = ()> + Send)
where
    W: Future<Output = ()> + Send,
    F: Fn(News) + Send + Sync,
{
    let Wiring { client, clock, metrics, leadership, seed, warm, tell } = wiring;
    let (resign, resigned) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let driver = Driver { client, settings, clock, metrics, leadership, seed, tell };
    let task = async move {
        driver.run(warm, resigned).await;
        let _ = end.send(());
    };
    (Contender { resign, ended }, task)
}

#[cfg(test)]
mod tests;
