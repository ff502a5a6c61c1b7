//! What was released is remembered, and a person may return to it: at once while it is warm, as a release when it is not.

use bascule_crds::{ConditionStatus, ConditionType, RejectReason, ReleasedOutcome, Step as Stage, Track};
use serde_json::json;

use crate::{
    settled, with,
    world::{World, spec},
};

/// v1, v2 and v3, one after the other.
fn three() -> World {
    let mut world = settled("v1");
    for tag in ["v2", "v3"] {
        world.apply_spec(spec(tag, 3));
        world.pass(120);
    }
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
    world.writes.clear();
    world
}

fn versions(world: &World) -> Vec<(i64, &str)> {
    world.release.status.history.iter().map(|it| (it.number, it.version.as_str())).collect()
}

fn rollback(world: &mut World, to: Option<&str>) {
    let mut operation = json!({"release": "web", "type": "Rollback", "by": "ada", "note": "checkout errors"});
    if let Some(to) = to {
        operation["revision"] = json!(to);
    }
    world.operate(&operation);
}

fn answer(world: &World) -> &str {
    &world.release.status.operations.last().unwrap().message
}

#[test]
fn what_has_settled_is_remembered_with_what_it_was_made_from() {
    let world = three();
    assert_eq!(versions(&world), [(1, "v1"), (2, "v2"), (3, "v3")]);
    for released in &world.release.status.history {
        let stored = &world.revisions[&format!("web-{}", released.revision)];
        assert_eq!(stored["artifacts"][0]["ref"], format!("r/web:{}", released.version));
        assert_eq!(stored["workloads"][0]["template"]["spec"]["containers"][0]["image"], "$(artifacts.web.image)");
    }
}

#[test]
fn the_history_is_bounded_and_what_was_stored_goes_with_it() {
    let mut world = settled("v1");
    for n in 2..8 {
        world.apply_spec(with(&format!("v{n}"), &[("/history", json!(3))]));
        world.pass(120);
    }
    assert_eq!(versions(&world), [(5, "v5"), (6, "v6"), (7, "v7")]);
    assert_eq!(world.revisions.len(), 3);
    assert_eq!(world.release.status.discarded, Vec::<String>::new());
}

#[test]
fn the_version_before_takes_over_at_once_while_it_is_warm() {
    let mut world = settled("v1");
    let long = |tag| with(tag, &[("/strategy/scaleDownDelay", json!("10m"))]);
    world.apply_spec(long("v1"));
    world.pass(1);
    world.apply_spec(long("v2"));
    world.pass(60);
    assert!(world.ready().0);
    world.writes.clear();
    rollback(&mut world, None);
    world.run();
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!(world.writes[..3], ["status", "route web blue", "status"]);
    world.pass(300);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
    let (ready, reason, message) = world.ready();
    assert!(!ready && reason == "RolledBack", "{reason}");
    assert_eq!(
        message,
        "v1 is active: ada returned to it (checkout errors); automation is off until another version than v2 is asked for, or Resume"
    );
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::RolledBack);
}

#[test]
fn a_rolled_back_version_does_not_come_back_by_itself() {
    let mut world = three();
    rollback(&mut world, None);
    world.pass(300);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    // Applied again, restarted, resynced, made anew.
    world.apply_spec(with("v3", &[("/strategy/bake", json!("31s"))]));
    world.pass(300);
    world.restart();
    world.pass(3600);
    assert_eq!((world.active(), world.candidate()), (Some(("v2", Track::Green)), None));
    world.apply_spec(spec("v4", 3));
    world.pass(120);
    assert_eq!(world.active(), Some(("v4", Track::Blue)));
    assert!(world.ready().0 && world.release.status.hold.is_none());
    assert_eq!(versions(&world).last(), Some(&(5, "v4")));
    let left = world.release.status.history.iter().find(|it| it.version == "v3").unwrap();
    assert_eq!(left.outcome, ReleasedOutcome::RolledBack);
}

#[test]
fn one_that_is_cold_is_released_again_from_what_was_stored() {
    let mut world = three();
    assert_eq!(world.replicas("web-green"), 0);
    rollback(&mut world, Some("1"));
    world.restart();
    world.pass(10);
    assert_eq!(world.active(), Some(("v1", Track::Green)));
    assert_eq!(world.candidate(), Some(("v1", Stage::Baking)));
    world.pass(120);
    assert_eq!(versions(&world).last(), Some(&(4, "v1")));
    assert_eq!(world.release.status.history.last().unwrap().by.as_deref(), Some("ada"));
}

#[test]
fn hooks_do_not_run_again_and_gates_do() {
    let hooked = |tag: &str| {
        let job = json!({"template": {"spec": {"containers": [{"name": "main", "image": "r/migrate"}]}}});
        let changes = [
            ("/hooks", json!({"beforeStart": [{"name": "migrate", "job": job}]})),
            ("/gates", json!({"beforeSwitch": [{"name": "smoke", "http": {"service": "web"}}]})),
        ];
        with(tag, &changes)
    };
    let mut world = settled("v1");
    for tag in ["v2", "v3"] {
        world.apply_spec(hooked(tag));
        world.pass(120);
    }
    let jobs = world.jobs.len();
    rollback(&mut world, Some("v1"));
    world.pass(5);
    assert_eq!(world.active(), Some(("v1", Track::Green)));
    assert_eq!(world.jobs.len(), jobs);
    assert_eq!(world.release.status.candidate.as_ref().unwrap().gates.len(), 1);
}

#[test]
fn a_rollback_during_the_bake_goes_back_at_once_and_holds() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(5);
    rollback(&mut world, None);
    world.run();
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::RolledBack);
    assert!(world.release.status.hold.is_some());
    world.pass(600);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
}

#[test]
fn the_floor_is_kept_unless_a_person_forces_it() {
    let mut world = three();
    world.apply_spec(with("v3", &[("/rollback/floor", json!("v2"))]));
    rollback(&mut world, Some("v1"));
    world.run();
    assert_eq!(
        answer(&world),
        "RollbackBlocked: v1 is older than rollback.floor, v2; with force: true and a note it is done all the same"
    );
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
    world.operate(
        &json!({"release": "web", "type": "Rollback", "revision": "v1", "by": "ada", "force": true, "note": "read only"}),
    );
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Green)));
}

#[test]
fn a_floor_that_nobody_knows_blocks() {
    let mut world = three();
    world.apply_spec(with("v3", &[("/rollback/floor", json!("v0"))]));
    rollback(&mut world, None);
    world.run();
    assert!(answer(&world).contains("which is not in the history"), "{}", answer(&world));
}

#[test]
fn resume_brings_back_what_the_spec_asks_for() {
    let mut world = three();
    rollback(&mut world, None);
    world.pass(120);
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
    assert!(world.ready().0, "{:?}", world.ready());
}

#[test]
fn while_it_is_held_nothing_new_starts() {
    let mut world = settled("v1");
    world.operate(&json!({"release": "web", "type": "Hold", "by": "ada", "note": "sale"}));
    world.run();
    world.apply_spec(spec("v2", 3));
    world.pass(60);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
    assert_eq!(world.ready(), (false, "Held", "held by ada, sale: v2 is not started"));
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn a_hold_lasts_until_resume_also_over_a_rollback() {
    let mut world = three();
    world.operate(&json!({"release": "web", "type": "Hold", "by": "eve", "note": "sale"}));
    world.run();
    rollback(&mut world, Some("v2"));
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("v2"));
    assert_eq!(world.ready(), (false, "RolledBack", "v2 is active, and held there by ada (checkout errors) until Resume"));
    world.apply_spec(spec("v4", 3));
    world.pass(120);
    assert_eq!((world.active().map(|it| it.0), world.candidate()), (Some("v2"), None));
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("v4"));
}

#[test]
fn a_number_that_is_also_a_version_is_not_guessed_at() {
    let mut world = settled("3");
    for tag in ["2", "1"] {
        world.apply_spec(spec(tag, 3));
        world.pass(120);
    }
    let before = world.release.status.history[0].revision.clone();
    rollback(&mut world, Some("3"));
    world.run();
    let message = answer(&world);
    assert!(message.starts_with("3 is the number of 1 (") && message.ends_with(": name the revision"), "{message}");
    // The second of three is number 2 and version 2.
    rollback(&mut world, Some("2"));
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("2"));
    rollback(&mut world, Some(&before));
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("3"));
}

#[test]
fn a_floor_that_may_mean_two_blocks() {
    let mut world = settled("3");
    for tag in ["2", "1"] {
        world.apply_spec(with(tag, &[("/rollback", json!({"floor": "3"}))]));
        world.pass(120);
    }
    rollback(&mut world, Some("2"));
    world.run();
    let message = answer(&world);
    assert!(message.starts_with("RollbackBlocked: rollback.floor: 3 is the number of 1 ("), "{message}");
}

#[test]
fn who_did_it_and_why_is_in_the_record() {
    let mut world = three();
    rollback(&mut world, None);
    world.pass(120);
    assert!(answer(&world).ends_with(": Rollback by ada: checkout errors"), "{}", answer(&world));
    world.operate(&json!({"release": "web", "type": "Resume", "by": "eve", "note": "mended"}));
    world.pass(60);
    assert!(answer(&world).ends_with(": Resume by eve: mended"), "{}", answer(&world));
    world.apply_spec(spec("v4--never", 3));
    world.pass(120);
    world.operate(&json!({"release": "web", "type": "Retry", "by": "eve", "note": "node was full"}));
    world.run();
    assert!(answer(&world).ends_with(" may be tried again: Retry by eve: node was full"), "{}", answer(&world));
}

#[test]
fn what_is_stored_and_cannot_be_read_is_said() {
    let mut world = three();
    let revision = world.release.status.history[0].revision.clone();
    world.unreadable.insert(format!("read/revision/{revision}"));
    rollback(&mut world, Some("v1"));
    world.pass(30);
    let (_, reason, message) = world.ready();
    assert_eq!(reason, "Resolving");
    assert!(message.starts_with(&format!("ControllerRevision web-{revision} cannot be read: ")), "{message}");
    world.unreadable.clear();
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("v1"));
}

fn readiness(world: &World) -> (ConditionStatus, &str, &str) {
    let condition = world.release.status.condition(ConditionType::RollbackReady).unwrap();
    (condition.status, &condition.reason, &condition.message)
}

#[test]
fn that_the_way_back_lacks_something_is_known_before_it_is_needed() {
    let mut world = three();
    assert_eq!(readiness(&world).1, "Complete");
    world.lacks = vec!["Secret db is gone".to_owned()];
    world.pass(22_000);
    let (status, reason, message) = readiness(&world);
    assert_eq!((status, reason), (ConditionStatus::False, "SomethingIsGone"));
    assert!(message.starts_with("v2 (") && message.ends_with("cannot be returned to as it was: Secret db is gone"), "{message}");
    world.lacks.clear();
    world.not_shown = vec!["Secret db: denied".to_owned()];
    world.pass(22_000);
    let (status, reason, message) = readiness(&world);
    assert_eq!((status, reason), (ConditionStatus::Unknown, "NotAllSeen"));
    assert!(message.ends_with("may be returned to; not looked at: Secret db: denied"), "{message}");
    world.not_shown.clear();
    world.pass(22_000);
    assert_eq!(readiness(&world).1, "Complete");
}

/// One decision after the other, a second later when nothing is to be done, to the very first moment in which it holds.
fn until(world: &mut World, holds: impl Fn(&World) -> bool) {
    while !holds(world) {
        if !world.run_one() {
            world.now += jiff::SignedDuration::from_secs(1);
        }
    }
}

#[test]
fn without_a_bake_the_way_back_is_that_from_the_new_version_at_once() {
    let mut world = settled("v1");
    for (version, before) in [("v2", "v1 ("), ("v3", "v2 (")] {
        world.apply_spec(with(version, &[("/strategy/bake", json!("0s"))]));
        until(&mut world, |world| world.active().map(|it| it.0) == Some(version));
        assert!(readiness(&world).2.starts_with(before), "{:?}", readiness(&world));
    }
}

#[test]
fn in_its_bake_a_version_says_where_the_way_back_leads() {
    let mut world = settled("v1");
    assert_eq!(readiness(&world).1, "NoEarlierVersion");
    for (version, before) in [("v2", "v1 ("), ("v3", "v2 (")] {
        world.apply_spec(spec(version, 3));
        world.pass(10);
        assert_eq!(world.candidate(), Some((version, Stage::Baking)));
        let (status, reason, message) = readiness(&world);
        assert_eq!((status, reason), (ConditionStatus::Unknown, "NotLookedAt"));
        assert!(message.starts_with(before), "{message}");
        world.pass(120);
        let (status, reason, message) = readiness(&world);
        assert_eq!((status, reason), (ConditionStatus::True, "Complete"));
        assert!(message.starts_with(before), "{message}");
    }
    // It goes back: from the first write on it is the way back from v3 that is spoken of.
    world.apply_spec(spec("v4", 3));
    world.pass(10);
    world.operate(&json!({"release": "web", "type": "Abort", "by": "eve"}));
    until(&mut world, |world| world.active().map(|it| it.0) != Some("v4"));
    assert!(readiness(&world).2.starts_with("v2 ("), "{:?}", readiness(&world));
    world.pass(30);
    assert_eq!((readiness(&world).1, &readiness(&world).2[..4]), ("Complete", "v2 ("));
    // One that users never meet changes nothing of it, not even with its end.
    world.apply_spec(spec("v5--never", 3));
    until(&mut world, |world| {
        assert_eq!((readiness(world).1, &readiness(world).2[..4]), ("Complete", "v2 ("));
        world.release.status.rejected.iter().any(|it| it.version == "v5--never")
    });
    // A person returns to v2: v3 was left, so it would be v1.
    rollback(&mut world, Some("v2"));
    until(&mut world, |world| world.candidate().map(|it| it.1) == Some(Stage::Baking));
    assert!(readiness(&world).2.starts_with("v1 ("), "{:?}", readiness(&world));
}

#[test]
fn what_is_gone_from_the_cluster_is_refused_and_nothing_is_given_up_for_it() {
    let mut world = three();
    world.revisions.clear();
    rollback(&mut world, Some("v1"));
    world.pass(120);
    let answer = answer(&world);
    assert!(answer.starts_with("RollbackBlocked: what ") && answer.contains("is not there any more"), "{answer}");
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
    assert!(world.release.status.hold.is_none() && world.release.status.rejected.is_empty());
    assert!(world.ready().0);
}

#[test]
fn code_is_as_old_as_its_first_release_also_when_that_is_forgotten() {
    let keep = |tag: &str, floor: &str| {
        let mut spec = spec(tag, 3);
        (spec.history, spec.rollback.floor) = (3, Some(floor.to_owned()).filter(|floor| !floor.is_empty()));
        spec
    };
    let mut world = settled("v1");
    world.apply_spec(keep("v2", ""));
    world.pass(120);
    rollback(&mut world, Some("v1"));
    world.pass(120);
    world.apply_spec(keep("v3", "v2"));
    world.pass(120);
    assert_eq!(versions(&world), [(2, "v2"), (3, "v1"), (4, "v3")], "its first release has fallen out");
    rollback(&mut world, Some("v1"));
    world.pass(120);
    assert!(answer(&world).starts_with("RollbackBlocked: v1 is older than rollback.floor, v2"), "{}", answer(&world));
    assert_eq!(world.active().map(|it| it.0), Some("v3"));
}

#[test]
fn a_person_who_names_nothing_that_is_known_is_told_what_is() {
    let mut world = three();
    rollback(&mut world, Some("v9"));
    world.run();
    assert!(
        answer(&world).starts_with("v9 is no revision, number or version of the history; it has 1 (v1, "),
        "{}",
        answer(&world)
    );
}

#[test]
fn what_came_to_nothing_leaves_nothing_behind() {
    let mut world = settled("v1");
    for tag in ["v2--never", "v3--never"] {
        world.apply_spec(spec(tag, 3));
        world.pass(120);
    }
    assert_eq!(world.revisions.len(), 3, "a rejected one may be asked for again");
    world.apply_spec(spec("v4", 3));
    world.pass(120);
    assert_eq!(world.revisions.len(), 2);
    assert_eq!(versions(&world), [(1, "v1"), (2, "v4")]);
}

#[test]
fn a_suspended_release_can_be_brought_back() {
    let mut world = three();
    world.apply_spec(with("v3", &[("/suspend", json!(true))]));
    rollback(&mut world, None);
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn one_that_is_named_while_a_newer_candidate_starts_gets_the_traffic_and_the_candidate_none() {
    let mut world = three();
    world.apply_spec(spec("v4--slow5", 3));
    world.pass(2);
    rollback(&mut world, Some("v1"));
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Green)));
    assert!(!world.notes.iter().any(|note| note.message.contains("v4--slow5") && note.message.contains("has the traffic")));
    world.apply_spec(spec("v4--slow5", 2));
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Green)), "the same version with other replicas is the same version");
}

#[test]
fn a_warm_version_takes_over_although_a_restart_has_forgotten_its_pods_and_nothing_is_stored_of_it() {
    let mut world = settled("v1");
    let long = |tag| with(tag, &[("/strategy/scaleDownDelay", json!("10m"))]);
    world.apply_spec(long("v2"));
    world.pass(60);
    world.revisions.clear();
    world.restart();
    rollback(&mut world, None);
    world.pass(5);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
}

#[test]
fn who_is_back_already_is_not_taken_further_by_asking_twice() {
    let mut world = three();
    world.apply_spec(spec("v4--dies5", 3));
    world.pass(60);
    assert_eq!(world.active(), Some(("v3", Track::Blue)), "it went back by itself");
    rollback(&mut world, None);
    world.pass(30);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
    assert!(
        answer(&world).starts_with("users are back on v3 already: v4--dies5 was rejected (BakeFailed)"),
        "{}",
        answer(&world)
    );
    rollback(&mut world, Some("v2"));
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)), "whoever names it means it");
}

#[test]
fn what_nobody_asked_for_does_not_lift_a_hold() {
    let mut world = settled("v1");
    let watching = |tag: &str| {
        let env = json!([{"configMapRef": {"name": "flags"}}]);
        with(tag, &[("/workloads/0/template/spec/containers/0/envFrom", env), ("/restartOn", json!(["ConfigMaps"]))])
    };
    world.configs.insert("ConfigMap flags".into(), "one".into());
    for tag in ["v2", "v3"] {
        world.apply_spec(watching(tag));
        world.pass(120);
    }
    rollback(&mut world, None);
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    // A Secret that is renewed, a flag that is set: another revision of what was left, and nobody's wish.
    world.configs.insert("ConfigMap flags".into(), "two".into());
    world.pass(600);
    assert_eq!((world.active(), world.candidate()), (Some(("v2", Track::Green)), None));
    world.apply_spec(watching("v4"));
    world.pass(120);
    assert_eq!(world.active(), Some(("v4", Track::Blue)));
}

#[test]
fn two_people_with_the_same_thought_go_one_version_back() {
    let mut world = settled("v0");
    let long = |tag| with(tag, &[("/strategy/scaleDownDelay", json!("10m"))]);
    for tag in ["v1", "v2"] {
        world.apply_spec(long(tag));
        world.pass(60);
    }
    rollback(&mut world, None);
    world.pass(1);
    rollback(&mut world, None);
    world.pass(120);
    assert_eq!(world.active().map(|it| it.0), Some("v1"));
}

#[test]
fn a_version_is_returned_to_although_the_hooks_of_today_do_not_fit_it() {
    let mut world = three();
    let job = json!({"template": {"spec": {"containers": [{"name": "main", "image": "$(artifacts.tool.image)"}]}}});
    let mut value =
        serde_json::to_value(with("v4", &[("/hooks", json!({"beforeStart": [{"name": "migrate", "job": job}]}))])).unwrap();
    let tool = json!({"name": "tool", "image": {"ref": "r/tool:v1", "resolve": "Never"}});
    value["artifacts"].as_array_mut().unwrap().push(tool);
    world.apply_spec(crate::world::spec_of(&value));
    world.pass(120);
    assert_eq!(world.active(), Some(("v4,v1", Track::Green)));
    rollback(&mut world, Some("v1"));
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}
