//! Bad input: every place where text of other people comes in, as a function that anything may be thrown at.
//!
//! In: bytes, from a corpus and a small mutator with a seed. Out: for each target how many inputs were accepted and refused, by reason,
//! and the first input that broke a promise, with the command that replays it. Never here: a cluster, a clock, chance without a seed.
//!
//! A target breaks a promise by panicking: its own assertions say what must hold, and the code under test must not panic at all.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a target says what is wrong by panicking")]

pub mod chance;
pub mod corpus;
pub mod mutate;
pub mod outcome;
pub mod run;
pub mod targets;
mod walk;
