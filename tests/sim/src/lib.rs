//! The whole controller in a deterministic simulation: API server, cluster, network, processes and faults from one seed.
//!
//! In: a [`run::Run`] – scenario, seed, faults. Out: its history and what the oracles say. The controller is the production shell.

pub mod api;
pub mod campaign;
pub mod chance;
pub mod cluster;
pub mod fault;
pub mod network;
pub mod oracle;
pub mod process;
pub mod registry;
pub mod roughly;
pub mod run;
pub mod server;
pub mod stage;
pub mod trouble;
pub mod watch;
