//! What happens to one Release, told as stories. The world checks the safety invariants at every step of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

#[allow(dead_code, reason = "shared with the properties; each uses a part")]
mod world;

use bascule_crds::{RejectReason, Step as Stage, Track};
use serde_json::{Value, json};
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
fn a_release_costs_seven_writes_and_three_events() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
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
    assert_eq!(world.writes.len(), 8, "{:?}", world.writes);
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
fn pods_that_never_get_ready_are_rejected_at_the_deadline() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(59);
    assert_eq!(world.candidate(), Some(("v2--never", Stage::Starting)));
    world.pass(1);
    assert_eq!(world.candidate(), None);
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::DeadlineExceeded);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!(world.replicas("web-green"), 3, "kept for a look");
    world.pass(30);
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (0, 3));
    let (ready, reason, message) = world.ready();
    assert!(!ready && reason == "Rejected" && message.contains("not ready within 1m"), "{message}");
}

#[test]
fn a_rejected_version_stays_rejected_until_a_person_retries() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(600);
    world.restart();
    world.pass(600);
    assert_eq!(world.candidate(), None);
    world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"}));
    world.run();
    assert_eq!(world.candidate(), Some(("v2--never", Stage::Starting)));
    assert!(world.operations[0].answered);
}

#[test]
fn pods_that_die_after_the_switch_send_traffic_back_at_once() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--dies10", 3));
    world.pass(9);
    assert_eq!((world.active(), world.selected("web")), (Some(("v2--dies10", Track::Green)), Some("green")));
    world.pass(1);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
    let back = world.writes.iter().rposition(|write| write == "route web blue").unwrap();
    assert_eq!(world.writes[back + 1], "status", "traffic first, then the record");
    world.pass(60);
    assert_eq!(world.replicas("web-green"), 0);
}

#[test]
fn the_reason_of_a_switch_back_survives_a_crash_before_the_record() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--dies10", 3));
    world.pass(9);
    world.now += jiff::SignedDuration::from_secs(1);
    while world.selected("web") != Some("blue") {
        world.run_one();
    }
    world.restart();
    world.run();
    assert!(world.release.status.rejected[0].message.contains("0 of 3 pods are ready"), "{:?}", world.release.status.rejected);
}

#[test]
fn without_automatic_rollback_a_bad_bake_is_said_and_left() {
    let mut world = settled("v1");
    world.apply_spec(with("v2--dies10", &[("/rollback/automatic", json!(false))]));
    world.pass(120);
    assert_eq!(world.selected("web"), Some("green"));
    assert_eq!(world.ready().1, "BakeFailing");
    assert_eq!(world.replicas("web-blue"), 3, "the way back stays warm");
    world.operate(&json!({"release": "web", "type": "Abort", "by": "ada", "note": "errors"}));
    world.run();
    assert_eq!(world.selected("web"), Some("blue"));
    assert_eq!(world.release.status.rejected[0].message, "Abort by ada: errors");
}

#[test]
fn the_first_version_has_no_way_back() {
    let mut world = World::new(spec("v1--dies10", 3));
    world.pass(60);
    assert_eq!(world.selected("web"), Some("blue"));
    assert!(world.ready().2.contains("no good version to return to"), "{:?}", world.ready());
    world.apply_spec(spec("v2", 3));
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn abort_before_the_switch_leaves_traffic_alone() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(10);
    world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
    world.run();
    assert_eq!((world.candidate(), world.selected("web")), (None, Some("blue")));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::Aborted);
    assert!(world.operations[0].answered && !world.writes.iter().any(|write| write.starts_with("route")));
}

#[test]
fn abort_without_a_candidate_is_refused_and_answered() {
    let mut world = settled("v1");
    world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
    world.run();
    assert_eq!(world.release.status.operations[0].message, "there is no candidate to abort");
    assert!(world.operations[0].answered);
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
fn image_and_replicas_change_together() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 5));
    world.pass(120);
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (5, 0));
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 1));
    world.pass(10);
    assert_eq!(world.replicas("web-blue"), 1, "the active version follows the spec");
}

#[test]
fn an_autoscaler_is_followed_in_every_phase() {
    let scaled = |tag: &str, replicas: i32| {
        with(
            tag,
            &[
                ("/workloads", json!([{"name": "web", "template": spec(tag, 1).workloads[0].template}])),
                ("/replicas", json!(replicas)),
            ],
        )
    };
    let mut world = World::new(scaled("v1", 2));
    world.pass(120);
    world.apply_spec(scaled("v1", 4));
    world.run();
    assert_eq!((world.replicas("web-blue"), world.release.status.replicas), (4, 4));
    world.apply_spec(scaled("v2--never", 4));
    world.pass(5);
    world.apply_spec(scaled("v2--never", 6));
    world.run();
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (6, 6));
    world.apply_spec(scaled("v3", 6));
    world.pass(5);
    assert_eq!(world.candidate(), Some(("v3", Stage::Baking)));
    world.apply_spec(scaled("v3", 8));
    world.run();
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (8, 8), "the way back can carry the load");
    assert_eq!(world.candidate(), Some(("v3", Stage::Baking)), "pods that are still to come are no failure");
    world.apply_spec(scaled("v3", 2));
    world.run();
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (2, 8));
    world.pass(60);
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (2, 0));
}

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
fn workers_switch_without_a_service() {
    let worker = |tag| with(tag, &[("/services", json!([]))]);
    let mut world = World::new(worker("v1"));
    world.pass(120);
    world.apply_spec(worker("v2"));
    world.pass(5);
    assert_eq!((world.active(), world.replicas("web-blue")), (Some(("v2", Track::Green)), 3));
    world.pass(60);
    assert_eq!((world.replicas("web-green"), world.replicas("web-blue")), (3, 0));
    world.apply_spec(worker("v3--dies10"));
    world.pass(20);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn several_workloads_wait_for_each_other() {
    let both = |tag: &str, worker: &str| {
        let template = |image: String| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
        with(
            tag,
            &[(
                "/workloads",
                json!([
            {"name": "web", "template": template(format!("r/web:{tag}"))},
            {"name": "worker", "template": template(format!("r/worker:{worker}"))}]),
            )],
        )
    };
    let mut world = World::new(both("v1", "w1"));
    world.pass(120);
    world.apply_spec(both("v2", "w2--never"));
    world.pass(50);
    assert_eq!((world.selected("web"), world.replicas("web-green"), world.replicas("worker-green")), (Some("blue"), 1, 1));
    world.pass(60);
    assert_eq!((world.replicas("web-green"), world.replicas("worker-green")), (0, 0));
    world.apply_spec(both("v3", "w3"));
    world.pass(120);
    assert_eq!(world.selected("web"), Some("green"));
    world.apply_spec(spec("v4", 1));
    world.pass(300);
    world.apply_spec(spec("v5", 1));
    world.pass(300);
    assert!(
        !world.deployments.contains_key("worker-blue") && !world.deployments.contains_key("worker-green"),
        "nobody needs it any more"
    );
}

#[test]
fn a_workload_that_made_way_leaves_no_pods_behind() {
    let mut world = settled("v1");
    let template =
        |image: &str| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let both =
        json!([{"name": "web", "template": template("r/web:v2--never")}, {"name": "extra", "template": template("r/extra:v2")}]);
    world.apply_spec(with("v2", &[("/workloads", both)]));
    world.pass(10);
    assert_eq!(world.replicas("extra-green"), 1);
    world.apply_spec(spec("v3", 3));
    world.pass(10);
    assert_eq!((world.selected("web"), world.replicas("extra-green")), (Some("green"), 0));
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
fn a_deployment_edited_by_hand_is_put_right() {
    let mut world = settled("v1");
    world.edit_by_hand("web-blue", "r/web:hack");
    world.run();
    assert_eq!(world.writes, ["apply web-blue", "status"]);
    world.writes.clear();
    world.scale_by_hand("web-blue", 9);
    world.run();
    assert_eq!((world.replicas("web-blue"), world.writes.len()), (3, 2), "{:?}", world.writes);
    world.writes.clear();
    world.restart();
    world.pass(60);
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn an_edit_while_the_controller_was_away_is_put_right() {
    let mut world = settled("v1");
    world.restart();
    world.edit_by_hand("web-blue", "r/web:hack");
    world.run();
    assert_eq!(world.writes, ["apply web-blue", "status"]);
}

#[test]
fn a_refused_template_stalls_and_the_next_good_one_heals() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--refused", 3));
    world.pass(30);
    assert_eq!(world.ready().1, "TemplateInvalid");
    assert!(world.ready().2.starts_with("spec.workloads[web].template.spec"), "{:?}", world.ready());
    assert_eq!((world.candidate(), world.selected("web")), (None, Some("blue")));
    world.apply_spec(spec("v3", 3));
    world.pass(120);
    assert!(world.ready().0);
}

#[test]
fn an_unknown_variable_names_the_field() {
    let mut world = settled("v1");
    let mut broken = spec("v2", 3);
    broken.workloads[0].template["spec"]["containers"][0]["image"] = json!("$(artifacts.wbe.image)");
    world.apply_spec(broken);
    world.pass(30);
    assert!(
        world.ready().2.starts_with("spec.workloads[0].template.spec.containers[0].image: there is no $(artifacts.wbe.image)"),
        "{:?}",
        world.ready()
    );
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

#[test]
fn a_release_that_is_deleted_is_left_to_the_garbage_collector() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.release.deleting = true;
    world.pass(60);
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn a_name_that_is_taken_is_said() {
    let mut world = settled("v1");
    let mut foreign = world.deployments["web-blue"].clone();
    foreign.name = "web-green".into();
    foreign.owner = None;
    foreign.track = Some(Track::Green);
    foreign.replicas = 1;
    world.add_foreign(foreign);
    world.apply_spec(spec("v2", 3));
    world.pass(30);
    assert_eq!(world.ready().1, "NameTaken");
    assert_eq!(world.replicas("web-green"), 1);
}

#[test]
fn old_operations_are_pruned() {
    let mut world = settled("v1");
    for _ in 0..25 {
        world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
        world.run();
    }
    assert_eq!(world.operations.len(), 20);
    assert!(world.release.status.operations.len() <= 10);
}

#[test]
fn a_status_that_cannot_be_written_is_not_written_over_and_over() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    let retry_at = world.now + jiff::SignedDuration::from_secs(5);
    world.troubles.push(bascule_core::Trouble { target: bascule_core::STATUS.into(), message: "denied".into(), retry_at });
    world.run();
    assert_eq!(world.writes, ["dry-run"], "nothing is started that would not be remembered");
    assert_eq!(world.plan().wake, Some(retry_at));
    world.troubles.clear();
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn a_step_that_fails_is_said_and_holds_up_nothing_else() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    let retry_at = world.now + jiff::SignedDuration::from_secs(500);
    let message = "could not apply Deployment web-green: no answer".to_owned();
    world.troubles.push(bascule_core::Trouble { target: "deployment/web-green".into(), message: message.clone(), retry_at });
    world.pass(10);
    assert_eq!((world.ready().1, world.ready().2), ("Retrying", message.as_str()));
    assert_eq!(world.selected("web"), Some("blue"));
    // What is no longer wanted no longer matters.
    world.apply_spec(spec("v1", 3));
    world.pass(10);
    assert!(world.ready().0, "{:?}", world.ready());
}

#[test]
fn a_service_that_goes_missing_does_not_hold_up_the_way_back() {
    let both = json!([{"name": "web"}, {"name": "api"}]);
    let mut world = World::new(with("v1", &[("/services", both.clone())]));
    world.pass(120);
    world.apply_spec(with("v2--dies10", &[("/services", both)]));
    world.pass(5);
    assert_eq!(world.candidate(), Some(("v2--dies10", Stage::Baking)));
    world.remove_service("api");
    world.pass(10);
    assert_eq!((world.selected("web"), world.active()), (Some("blue"), Some(("v1", Track::Blue))));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
}

/// Two Services, and the moment in which only the first has been moved.
fn in_the_middle_of_a_switch(tag: &str) -> World {
    let both = json!([{"name": "api"}, {"name": "web"}]);
    let mut world = World::new(with("v1", &[("/services", both.clone())]));
    world.pass(120);
    world.apply_spec(with(tag, &[("/services", both)]));
    world.fail_after_route = Some("api".into());
    while world.selected("api") != Some("green") {
        world.run_one();
    }
    world.fail_after_route = None;
    assert_eq!(world.selected("web"), Some("blue"));
    world
}

#[test]
fn a_restart_in_the_middle_of_a_switch_goes_on_forward() {
    let mut world = in_the_middle_of_a_switch("v2");
    world.restart();
    world.writes.clear();
    world.pass(120);
    assert!(!world.writes.iter().any(|write| write == "route api blue"), "{:?}", world.writes);
    assert_eq!(
        (world.selected("api"), world.selected("web"), world.active()),
        (Some("green"), Some("green"), Some(("v2", Track::Green)))
    );
}

#[test]
fn pods_that_die_in_the_middle_of_a_switch_bring_everything_back_once() {
    let mut world = in_the_middle_of_a_switch("v2--dies10");
    world.now += jiff::SignedDuration::from_secs(10);
    world.restart();
    world.pass(120);
    assert_eq!(
        (world.selected("api"), world.selected("web"), world.active()),
        (Some("blue"), Some("blue"), Some(("v1", Track::Blue)))
    );
    assert_eq!((world.candidate(), world.release.status.rejected[0].reason), (None, RejectReason::BakeFailed));
    // A retry is another attempt: the record of the first does not end it.
    world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"}));
    world.run();
    assert_eq!(world.candidate(), Some(("v2--dies10", Stage::Baking)));
}

#[test]
fn a_service_that_refuses_to_move_does_not_split_users_for_ever() {
    let mut world = in_the_middle_of_a_switch("v2");
    let retry_at = world.now + jiff::SignedDuration::from_secs(600);
    let message = "could not point Service web to green: denied".to_owned();
    world.troubles.push(bascule_core::Trouble { target: "service/web".into(), message, retry_at });
    world.pass(120);
    assert_eq!((world.selected("api"), world.selected("web"), world.candidate()), (Some("blue"), Some("blue"), None));
    assert!(
        world.release.status.rejected[0].message.contains("not all Services could be moved"),
        "{:?}",
        world.release.status.rejected
    );
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

#[test]
fn a_candidate_that_is_refused_while_it_starts_is_given_up_once() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(5);
    world.refuse_candidate();
    world.pass(30);
    assert_eq!((world.candidate(), world.ready().1), (None, "TemplateInvalid"));
    assert!(world.writes.len() < 12, "{:?}", world.writes);
}
