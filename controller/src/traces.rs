//! Each deploy as a trace: a span for the candidate and a child for each of its steps, sent when it has come to its end.
//!
//! In: endings, which the status has told. Out: OTLP over HTTP, in JSON, to the collector that OpenTelemetry's own variables name. One task and a
//! bounded channel: no release ever waits for a collector, and what does not fit is dropped and counted. Never here: a decision.
//!
//! Spans are made afterwards from times in the status, so they survive another leader, and two that send the same one send the same ids.
//! The SDK of OpenTelemetry is for spans that are open while code runs; for these it would be a second HTTP stack and a clock of its own.

#[cfg(feature = "otlp")]
pub mod otlp;
mod span;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use bascule_core::story::Ending;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{metrics::Metrics, tasks::Tasks};
pub(crate) use span::About;
pub use span::Span;

/// Where spans go.
pub trait Collector: Debug + Send + Sync {
    /// In words why it did not take them. Whoever implements it knows whether to try again.
    fn take<'a>(&'a self, spans: &'a [Span]) -> BoxFuture<'a, Result<(), String>>;
}

/// Each is a deploy: so many at once are a fleet.
const CAPACITY: usize = 1_024;
/// Deploys in one request.
const AT_ONCE: usize = 128;

/// Takes deploys that have ended. Without a collector it takes nothing.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// None: nobody listens, or it is closed.
    sender: Mutex<Option<mpsc::Sender<Vec<Span>>>>,
    metrics: Metrics,
}

impl Tracer {
    pub(crate) fn start(collector: Option<Arc<dyn Collector>>, metrics: Metrics, tasks: &Tasks) -> Self {
        let sender = collector.map(|collector| {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            tasks.spawn(send(collector, receiver, metrics.clone()));
            sender
        });
        Self { sender: Mutex::new(sender), metrics }
    }

    pub(crate) fn ended(&self, about: &About<'_>, ending: &Ending) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref()
            && sender.try_send(span::of(about, ending)).is_err()
        {
            self.metrics.traced("dropped", 1);
        }
    }

    /// No more; what is in the channel is still sent.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

async fn send(collector: Arc<dyn Collector>, mut receiver: mpsc::Receiver<Vec<Span>>, metrics: Metrics) {
    let mut deploys = Vec::with_capacity(AT_ONCE);
    while receiver.recv_many(&mut deploys, AT_ONCE).await > 0 {
        let count = deploys.len();
        let spans: Vec<Span> = deploys.drain(..).flatten().collect();
        match collector.take(&spans).await {
            Ok(()) => metrics.traced("sent", count),
            Err(why) => {
                metrics.traced("dropped", count);
                tracing::warn!(deploys = count, "the collector of traces did not take them: {why}");
            }
        }
    }
}
