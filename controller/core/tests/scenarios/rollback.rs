//! What goes wrong with a version: it never gets ready, it dies, a person gives it up, and the way back.

use bascule_crds::{RejectReason, Step as Stage, Track};
use serde_json::json;

use crate::{
    settled, with,
    world::{Part, World, spec},
};

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
fn a_first_version_that_a_person_keeps_is_watched_again_and_then_remembered() {
    let mut world = World::new(spec("v1", 3));
    world.pass(5);
    let revision = world.release.status.candidate.as_ref().unwrap().revision.clone();
    world.killed.insert(revision);
    world.pass(120);
    assert_eq!((world.ready().1, world.release.status.history.len()), ("Rejected", 0));
    world.revive();
    world.operate(&json!({"release": "web", "type": "Retry", "by": "ada", "note": "mended outside"}));
    world.run();
    assert_eq!(world.candidate().map(|it| it.1), Some(Stage::Baking));
    world.pass(120);
    assert!(world.ready().0, "{:?}", world.ready());
    assert_eq!(world.release.status.history[0].version, "v1");
    world.apply_spec(spec("v2", 3));
    world.pass(120);
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
fn a_switch_whose_answer_was_lost_until_the_deadline_is_not_taken_back() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    while world.selected("web") != Some("green") {
        world.run_one();
    }
    assert_eq!(world.active(), Some(("v1", Track::Blue)), "not recorded yet");
    let retry_at = world.now + jiff::SignedDuration::from_secs(70);
    world.process.trouble("service/web", "could not route Service web: no answer", retry_at);
    world.now += jiff::SignedDuration::from_secs(65);
    world.run();
    assert_eq!((world.active(), world.selected("web")), (Some(("v2", Track::Green)), Some("green")));
    assert!(world.release.status.rejected.is_empty(), "{:?}", world.release.status.rejected);
}

#[test]
fn an_abort_waits_until_it_is_seen_whether_there_is_a_way_back() {
    let mut world = settled("v1");
    world.apply_spec(with("v2--dies10", &[("/rollback/automatic", json!(false))]));
    world.pass(200);
    world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
    world.restart();
    world.process.hidden.insert(Part::ReplicaSets);
    world.run();
    assert_eq!(world.selected("web"), Some("green"));
    assert!(world.release.status.rejected.is_empty() && !world.operations[0].answered, "unknown is not gone");
    world.process.hidden.clear();
    world.run();
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::Aborted);
}
