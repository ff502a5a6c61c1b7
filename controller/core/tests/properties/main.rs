//! Any sequence of edits, operations, hand-made damage, faults and partial sight: what must hold of every decision and every write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[allow(dead_code, reason = "shared with the scenarios; each uses a part")]
#[path = "../world/mod.rs"]
mod world;

mod coverage;
mod generate;
mod knowledge;
mod known;
mod play;
mod progress;
mod proofs;
mod purity;
mod quiescence;
mod safety;
mod settles;
mod stories;
mod story;
