//! What the tests on real clusters share: the bed, a controller of one's own, a proxy in front of its API server, a stage for one app,
//! and a load client.
//!
//! In: a bed that `hack/testbed` brought up. Out: words in which a test can tell its story.
//! Never here: a test, or a sleep; waiting is for conditions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]
#![allow(clippy::print_stderr, clippy::manual_assert, reason = "a failing test says what it saw")]
#![allow(clippy::missing_panics_doc, reason = "all of them do")]

pub mod aws;
pub mod bed;
pub mod controller;
pub mod load;
pub mod proxy;
pub mod registry;
pub mod scenario_stage;
pub mod stage;

pub use bed::Bed;
pub use controller::Controller;
pub use stage::{Behaviour, Stage};
