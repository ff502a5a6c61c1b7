//! The whole controller in a deterministic simulation: API server, cluster, network, processes and faults from one seed.

pub mod api;
