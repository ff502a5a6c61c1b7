//! A model of two controllers, one Lease and one Service, for a checker that visits every state that can be reached.
//!
//! In: how many faults of which kind, how fast each clock runs, which preconditions the server checks. Out: a [`stateright::Model`].
//! The election in it is the production code itself, `controller/src/lease/election.rs`, in every order in which its inputs can come:
//! requests and replies that are late, lost, or answered long after the process has died; watches that lag; processes that pause, crash,
//! resign and start again; a Lease that somebody deletes. A write that moves traffic is checked against the clock and then takes as long as it
//! likes to arrive.
//!
//! Never here: an election of its own. Time is in ticks, and a state is told from another only by what is different *now*: how long ago
//! something was, as far as anybody still asks; which version is newer. So there are finitely many, and all are visited, without a
//! horizon.

// The file is the one that production compiles.
#[path = "../../../controller/src/lease/election.rs"]
pub mod election;

mod calm;
mod model;
mod names;
mod world;

pub use calm::Calmed;
pub use model::{Act, CALM, LATE, Setup, TWO};
pub use world::{Checks, Pace, World};
