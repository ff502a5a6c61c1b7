//! Bugs that the properties have found, as small as they get. One that is not mended yet is ignored with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[allow(dead_code, reason = "shared with the scenarios and the properties; each uses a part")]
mod world;

use bascule_core::{Sight, Step, decide};
use bascule_crds::Track;
use world::{World, spec};

fn settled(tag: &str) -> World {
    let mut world = World::new(spec(tag, 2));
    world.remembers = true;
    world.pass(120);
    assert_eq!(world.active(), Some((tag, Track::Blue)));
    world
}

#[test]
fn a_template_that_only_the_dry_run_takes_costs_nothing_for_ever() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--denied", 2));
    world.pass(300);
    let count = |world: &World| world.writes.iter().filter(|write| *write == "status").count();
    let written = count(&world);
    world.pass(3_000);
    assert_eq!(count(&world), written);
}

#[test]
fn without_automatic_rollback_one_can_still_go_forward() {
    let mut world = settled("v1");
    let mut bad = spec("v2--dies5", 2);
    bad.rollback.automatic = false;
    world.apply_spec(bad);
    world.pass(60);
    let mut better = spec("v3", 2);
    better.rollback.automatic = false;
    world.apply_spec(better);
    world.pass(600);
    assert_eq!(world.active().map(|(version, _)| version), Some("v3"), "{:?}", world.ready());
}

#[test]
fn an_unknown_service_that_the_spec_does_not_name_still_counts() {
    let world = settled("v1");
    let mut observed = world.observed();
    let mut idle = world.deployments["web-blue"].clone();
    idle.name = "web-green".into();
    idle.track = Some(Track::Green);
    idle.revision = "old".into();
    let mut deployments = world.deployments.clone();
    deployments.insert("web-green".into(), idle);
    observed.deployments = Sight::Known(deployments);
    observed.services.insert("api".into(), Sight::Unknown("not read yet".into()));
    let plan = decide(&observed, world.now, &world.policy);
    let scales = |step: &Step| matches!(step, Step::Scale { replicas: 0, .. });
    let bascule_core::Next::Act(steps) = plan.next else { return };
    assert!(!steps.iter().any(scales), "{steps:?}");
}
