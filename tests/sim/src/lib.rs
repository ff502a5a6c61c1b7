//! The whole controller in a deterministic simulation: API server, cluster, network, processes and faults from one seed.
//!
//! In: a [`run::Run`] – scenario, seed, faults. Out: its history and what the oracles say. The controller is the production shell.

#![allow(clippy::unnecessary_box_returns, reason = "a refusal is a whole reply, and most calls have none")]
#![allow(clippy::struct_excessive_bools, reason = "how kinds differ is a row of a table")]
#![allow(clippy::format_push_string, clippy::needless_pass_by_value, reason = "the reader comes first in a model")]
#![allow(clippy::similar_names, reason = "call and calls, none and node: the words of the thing")]

pub mod api;
pub mod campaign;
pub mod chance;
pub mod cluster;
pub mod fault;
pub mod network;
pub mod oracle;
pub mod outside;
pub mod process;
pub mod roughly;
pub mod run;
pub mod server;
pub mod stage;
pub mod trouble;
pub mod watch;
