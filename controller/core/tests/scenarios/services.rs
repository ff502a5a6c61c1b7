//! The team's Services: claimed, moved together, moved by other hands, missing, and their previews.

use serde_json::json;

use crate::{
    settled, with,
    world::{World, spec},
};

#[test]
fn two_services_move_together() {
    let mut world = World::new(with("v1", &[("/services", json!([{"name": "web"}, {"name": "api"}]))]));
    world.pass(120);
    world.apply_spec(with("v2", &[("/services", json!([{"name": "web"}, {"name": "api"}]))]));
    world.pass(5);
    assert_eq!((world.selected("web"), world.selected("api")), (Some("green"), Some("green")));
}

#[test]
fn a_service_that_is_no_longer_listed_still_moves() {
    let mut world = World::new(with("v1", &[("/services", json!([{"name": "web"}, {"name": "api"}]))]));
    world.pass(120);
    world.apply_spec(spec("v2", 3));
    world.pass(120);
    assert_eq!(world.selected("api"), Some("green"), "it would be left with no pods");
}

#[test]
fn a_service_replaced_by_hand_is_moved_back() {
    let mut world = settled("v1");
    world.replace_service("web");
    world.run();
    assert_eq!(world.selected("web"), Some("blue"));
    assert_eq!(world.writes, ["route web blue"]);
    world.apply_spec(spec("v2--never", 3));
    world.pass(5);
    world.replace_service("web");
    world.run();
    assert_eq!(world.selected("web"), Some("blue"));
    world.apply_spec(spec("v3", 3));
    world.pass(5);
    world.replace_service("web");
    world.run();
    assert_eq!(world.selected("web"), Some("green"));
}

#[test]
fn a_service_applied_again_is_healed_where_no_policy_stands() {
    let mut world = World::new(spec("v1", 3));
    world.policy_installed = false;
    world.pass(120);
    world.writes.clear();
    world.reapply_service("web");
    world.run();
    assert_eq!(world.writes, ["select web blue"]);
}

#[test]
fn a_track_annotation_edited_by_hand_is_put_right() {
    let mut world = settled("v1");
    world.services.get_mut("web").unwrap().record.as_mut().unwrap().track = "green".into();
    world.run();
    assert_eq!((world.writes.as_slice(), world.selected("web")), (["route web blue".to_owned()].as_slice(), Some("blue")));
}

#[test]
fn a_service_with_other_endpoints_is_not_claimed() {
    let mut world = World::new(spec("v1", 3));
    world.strangers.insert("web".into(), 2);
    world.pass(60);
    assert_eq!((world.candidate(), world.selected("web")), (None, None));
    assert!(world.ready().1 == "ServiceInUse" && world.ready().2.contains("2 ready pods"), "{:?}", world.ready());
    world.strangers.insert("web".into(), 0);
    world.pass(60);
    assert_eq!(world.selected("web"), Some("blue"));
}

#[test]
fn a_service_left_by_a_release_of_the_same_name_is_not_cut_off() {
    let mut world = settled("v1");
    // Deleted with its pods left behind, and created again.
    world.release.status = bascule_crds::ReleaseStatus::default();
    world.release.uid = "another-uid".into();
    world.strangers.insert("web".into(), 3);
    world.pass(60);
    assert_eq!((world.selected("web"), world.ready().1), (Some("blue"), "ServiceInUse"));
}

#[test]
fn a_missing_service_is_waited_for() {
    let mut world = World::new(spec("v1", 3));
    world.services.clear();
    world.pass(30);
    assert_eq!(world.ready().1, "ServiceMissing");
    world.add_service("web");
    world.pass(60);
    assert_eq!(world.selected("web"), Some("blue"));
}

#[test]
fn a_service_that_selects_none_of_the_pods_is_refused() {
    let mut world = World::new(spec("v1", 3));
    world.services.get_mut("web").unwrap().selector = [("app".to_owned(), "other".to_owned())].into();
    world.pass(30);
    assert!(world.ready().2.contains("selects app=other, which no workload's pods carry"), "{:?}", world.ready());
}

#[test]
fn the_preview_is_on_the_candidate_once_it_answers() {
    let preview = |tag| with(tag, &[("/preview", json!(true))]);
    let mut world = World::new(preview("v1"));
    world.pass(120);
    assert_eq!(world.selected("web-preview"), Some("blue"));
    world.apply_spec(preview("v2--never"));
    world.pass(10);
    assert_eq!(world.selected("web-preview"), Some("blue"));
    world.apply_spec(with("v3", &[("/preview", json!(true)), ("/suspend", json!(false))]));
    world.pass(10);
    assert_eq!(world.selected("web-preview"), Some("green"));
    world.apply_spec(spec("v3", 3));
    world.pass(10);
    assert!(!world.services.contains_key("web-preview"));
}
