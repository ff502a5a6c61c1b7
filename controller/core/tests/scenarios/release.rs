//! From wanted to settled: what a release costs, how versions make way for each other, and what is remembered.

use bascule_crds::{Step as Stage, Track};
use serde_json::json;

use crate::{
    settled, with,
    world::{World, spec},
};

#[test]
fn the_first_version_is_proved_before_it_gets_traffic() {
    let mut world = World::new(spec("v1", 3));
    world.run();
    assert_eq!(world.writes[..2], ["route web none", "dry-run"], "claimed before the first pod exists");
    assert_eq!(world.candidate(), Some(("v1", Stage::Baking)));
    assert_eq!(world.selected("web"), Some("blue"));
    world.pass(30);
    assert_eq!(world.candidate(), None);
    assert_eq!(world.ready(), (true, "Settled", "v1 is active on blue"));
}

#[test]
fn a_release_costs_eight_writes_and_three_events() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    let stored = world.writes.iter().position(|write| write.starts_with("store ")).expect("what it was made from is stored");
    assert_eq!(world.writes.remove(stored).len(), "store ".len() + 10);
    assert_eq!(stored, 3, "beside the pods, and not in the way of the switch");
    assert_eq!(world.writes, ["dry-run", "status", "apply web-green", "route web green", "status", "status", "scale web-blue 0"]);
    assert_eq!(world.notes.len(), 3, "{:?}", world.notes);
}

#[test]
fn without_the_admission_policy_the_selector_is_one_write_more() {
    let mut world = World::new(spec("v1", 3));
    world.policy_installed = false;
    world.pass(120);
    world.writes.clear();
    world.apply_spec(spec("v2", 3));
    world.pass(120);
    assert_eq!(world.selected("web"), Some("green"));
    assert_eq!(world.writes.len(), 9, "{:?}", world.writes);
}

#[test]
fn a_settled_release_writes_nothing_also_after_a_restart() {
    let mut world = settled("v1");
    world.pass(3600);
    world.restart();
    world.pass(3600);
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn a_newer_version_replaces_a_candidate_that_has_no_traffic() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(10);
    world.apply_spec(spec("v3", 3));
    world.run();
    assert_eq!(world.candidate(), Some(("v3", Stage::Baking)));
    assert!(world.release.status.rejected.is_empty(), "making way is no fault");
}

#[test]
fn a_newer_version_can_wait() {
    let mut world = settled("v1");
    world.apply_spec(with("v2--never", &[("/strategy/onSupersede", json!("Wait"))]));
    world.pass(10);
    world.apply_spec(with("v3", &[("/strategy/onSupersede", json!("Wait"))]));
    world.pass(49);
    assert_eq!(world.candidate(), Some(("v2--never", Stage::Starting)));
    world.pass(60);
    assert_eq!(world.active(), Some(("v3", Track::Green)));
}

#[test]
fn a_newer_version_waits_for_the_end_of_a_bake() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(10);
    world.apply_spec(spec("v3", 3));
    world.pass(10);
    assert_eq!(world.candidate(), Some(("v2", Stage::Baking)));
    world.pass(60);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
}

#[test]
fn back_to_the_old_version_before_the_switch_drops_the_candidate() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(10);
    world.apply_spec(spec("v1", 3));
    world.run();
    assert_eq!((world.candidate(), world.replicas("web-green")), (None, 0));
    assert!(world.ready().0);
}

#[test]
fn back_to_the_old_version_during_the_bake_moves_traffic_at_once() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(10);
    world.apply_spec(spec("v1", 3));
    world.run();
    assert_eq!((world.candidate(), world.selected("web")), (None, Some("blue")));
    assert!(world.release.status.rejected.is_empty() && world.ready().0);
}

#[test]
fn back_to_a_warm_version_after_the_bake_needs_no_new_pods() {
    let mut world = World::new(with("v1", &[("/strategy/scaleDownDelay", json!("300s"))]));
    world.pass(120);
    world.apply_spec(with("v2", &[("/strategy/scaleDownDelay", json!("300s"))]));
    world.pass(60);
    world.apply_spec(with("v1", &[("/strategy/scaleDownDelay", json!("300s"))]));
    world.run();
    assert_eq!((world.candidate(), world.selected("web")), (Some(("v1", Stage::Baking)), Some("blue")));
}

#[test]
fn suspend_starts_nothing_and_still_switches_back() {
    let mut world = settled("v1");
    world.apply_spec(with("v2", &[("/suspend", json!(true))]));
    world.pass(120);
    assert_eq!((world.candidate(), world.ready().1), (None, "Suspended"));
    world.apply_spec(spec("v2--dies10", 3));
    world.pass(5);
    world.apply_spec(with("v2--dies10", &[("/suspend", json!(true))]));
    world.pass(10);
    assert_eq!(world.selected("web"), Some("blue"));
}

#[test]
fn a_release_that_is_deleted_is_left_to_the_garbage_collector() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.release.deleting = true;
    world.pass(60);
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn a_status_that_was_wiped_is_read_back_from_the_services() {
    let mut world = settled("v1");
    world.release.status = bascule_crds::ReleaseStatus::default();
    world.restart();
    world.pass(60);
    assert!(!world.writes.iter().any(|write| write.starts_with("route")), "{:?}", world.writes);
    assert_eq!((world.selected("web"), world.active(), world.ready().0), (Some("blue"), Some(("v1", Track::Blue)), true));
}
