//! What happens to one Release, told as stories, by topic. The world checks the safety invariants at every step of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[allow(dead_code, reason = "shared with the properties; each uses a part")]
#[path = "../world/mod.rs"]
mod world;

mod archives;
mod configs;
mod faults;
mod gates;
mod history;
mod hooks;
mod machines;
mod release;
mod rollback;
mod services;
mod sources;
mod stateful;
mod story;
mod workloads;

use bascule_crds::Track;
use serde_json::Value;
use world::{World, spec, spec_of};

fn settled(tag: &str) -> World {
    let mut world = World::new(spec(tag, 3));
    world.pass(120);
    assert_eq!(world.active(), Some((tag, Track::Blue)));
    assert!(world.ready().0, "{:?}", world.ready());
    world.writes.clear();
    world.notes.clear();
    world
}

fn with(tag: &str, changes: &[(&str, Value)]) -> bascule_crds::ReleaseSpec {
    let mut value = serde_json::to_value(spec(tag, 3)).unwrap();
    for (path, change) in changes {
        let (parent, key) = path.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = change.clone();
    }
    spec_of(&value)
}
