//! The shell around the core: watches fill a cache, a queue hands out keys, workers ask the core, `execute` writes.
//!
//! Everything comes in through [`Controller::new`]'s arguments, so that a test can drive the production shell with its own API server and clock.

mod cache;
pub mod client;
pub mod clock;
pub mod config;
mod events;
mod execute;
pub mod gates;
mod http;
pub mod lease;
mod metrics;
mod overlooked;
#[cfg(feature = "aws")]
pub mod policy;
mod queue;
mod scrape;
mod shell;
pub mod sources;
mod standing;
mod tasks;
pub mod telemetry;
pub mod told;
pub mod traces;
mod watch;
mod worker;

pub use metrics::Meters;
pub use queue::Key;
pub use shell::{Controller, Lookout, Settings};
pub use watch::ClusterReads;
