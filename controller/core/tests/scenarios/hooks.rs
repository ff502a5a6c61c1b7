//! What must run before a version starts: once, in order, and nothing of the version before it is through.

use bascule_crds::{HookState, RejectReason, Step as Stage, Track};
use serde_json::{Value, json};

use crate::{settled, with, world::World};

fn hook(name: &str, image: &str) -> Value {
    json!({"name": name, "timeout": "60s", "job": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

fn hooked(tag: &str, hooks: &[Value]) -> bascule_crds::ReleaseSpec {
    with(tag, &[("/hooks", json!({"beforeStart": hooks}))])
}

fn jobs(world: &World) -> Vec<&str> {
    world.jobs.values().map(|job| job.image.as_str()).collect()
}

fn runs(world: &World) -> usize {
    world.writes.iter().filter(|write| write.starts_with("run ")).count()
}

#[test]
fn hooks_run_one_after_the_other_and_then_the_pods_start() {
    let mut world = settled("v1");
    world
        .apply_spec(hooked("v2", &[hook("backup", "r/backup:$(artifacts.web.tag)--slow5"), hook("migrate", "r/migrate--slow5")]));
    world.run();
    assert_eq!(world.candidate(), Some(("v2", Stage::Preparing)));
    assert_eq!(jobs(&world), ["r/backup:v2--slow5"], "the second waits for the first");
    assert_eq!(world.replicas("web-green"), 0);
    world.pass(6);
    assert_eq!(jobs(&world).len(), 2);
    assert_eq!(world.replicas("web-green"), 0, "and the pods wait for both");
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    assert!(world.ready().0, "{:?}", world.ready());
    assert_eq!(runs(&world), 2);
}

#[test]
fn a_migration_that_fails_ends_the_release_before_anything_of_it_runs() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "r/migrate--fails")]));
    world.pass(300);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    let rejection = &world.release.status.rejected[0];
    assert_eq!(rejection.reason, RejectReason::HookFailed);
    assert_eq!(rejection.message, "hook migrate failed: exit code 1: table users is locked");
    assert!(!world.deployments.contains_key("web-green"), "nothing of the new version ever ran");
    assert_eq!(runs(&world), 1, "and the hook is not tried again");
}

#[test]
fn what_failed_runs_again_when_a_person_says_so_and_what_was_done_does_not() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("backup", "r/backup"), hook("migrate", "r/migrate--fails")]));
    world.pass(30);
    world.restart();
    world.apply_spec(hooked("v2", &[hook("backup", "r/backup"), hook("migrate", "r/migrate")]));
    world.pass(300);
    assert_eq!(world.active(), Some(("v1", Track::Blue)), "hooks are no part of the revision: it stays rejected");
    world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"}));
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    assert_eq!(runs(&world), 3, "the backup once, the migration twice");
}

#[test]
fn a_version_that_comes_back_finds_its_hooks_done() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2--never", &[hook("migrate", "r/migrate")]));
    world.pass(5);
    world.apply_spec(hooked("v3--never", &[hook("migrate", "r/migrate")]));
    world.pass(5);
    world.apply_spec(hooked("v2--never", &[hook("migrate", "r/migrate")]));
    world.pass(5);
    assert_eq!(runs(&world), 2, "once for each of the two");
}

#[test]
fn a_hook_of_a_version_that_made_way_ends_before_the_next_begins() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "r/migrate--slow20")]));
    world.pass(5);
    world.apply_spec(hooked("v3", &[hook("migrate", "r/migrate--slow20")]));
    world.pass(5);
    assert_eq!(runs(&world), 1);
    let (_, _, message) = world.ready();
    assert!(message.contains("which still runs"), "{message}");
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Green)));
}

#[test]
fn a_job_that_was_deleted_before_its_end_is_not_created_again() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "r/migrate--slow20")]));
    world.pass(5);
    world.drop_jobs();
    world.restart();
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    assert_eq!(runs(&world), 1);
    let rejection = &world.release.status.rejected[0];
    assert!(rejection.message.contains("is gone, and its end was not seen"), "{}", rejection.message);
    assert_eq!(world.release.status.hooks[0].state, HookState::Failed);
}

#[test]
fn a_hook_that_hangs_is_over_at_its_timeout() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "r/migrate--hangs")]));
    world.pass(55);
    assert_eq!(world.candidate(), Some(("v2", Stage::Preparing)));
    world.pass(10);
    assert_eq!(world.candidate(), None);
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::HookFailed);
}

#[test]
fn held_between_two_hooks_the_first_ends_and_the_second_does_not_begin() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("backup", "r/backup--slow5"), hook("migrate", "r/migrate--slow5")]));
    world.run();
    world.operate(&json!({"release": "web", "type": "Hold", "by": "ada", "note": "incident"}));
    world.pass(300);
    assert_eq!(jobs(&world), ["r/backup--slow5"]);
    assert_eq!(world.release.status.hooks[0].state, HookState::Done);
    assert_eq!(world.ready(), (false, "Held", "held by ada, incident: hook migrate of v2 does not begin"));
    world.restart();
    world.pass(60);
    assert_eq!(runs(&world), 1);
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    world.pass(60);
    assert_eq!((world.active(), runs(&world)), (Some(("v2", Track::Green)), 2));
}

#[test]
fn suspended_during_the_last_hook_no_pod_starts() {
    let mut world = settled("v1");
    let hooks = [hook("migrate", "r/migrate--slow5")];
    world.apply_spec(hooked("v2", &hooks));
    world.run();
    world.apply_spec(with("v2", &[("/hooks", json!({"beforeStart": hooks})), ("/suspend", json!(true))]));
    world.pass(300);
    assert_eq!(world.candidate(), Some(("v2", Stage::Preparing)));
    assert_eq!(world.ready(), (false, "Suspended", "suspended: the hooks of v2 are done, and its pods do not start"));
    assert!(!world.deployments.contains_key("web-green"));
    world.apply_spec(hooked("v2", &hooks));
    world.pass(60);
    assert_eq!((world.active(), runs(&world)), (Some(("v2", Track::Green)), 1));
}

#[test]
fn the_time_of_the_hooks_is_not_the_time_of_the_pods() {
    let mut world = settled("v1");
    let mut hooks = hook("migrate", "r/migrate--slow100");
    hooks["timeout"] = json!("10m");
    world.apply_spec(hooked("v2--slow30", &[hooks]));
    world.pass(180);
    assert_eq!(world.active(), Some(("v2--slow30", Track::Green)), "the deadline is one minute, from when the pods start");
}

#[test]
fn a_hook_is_told_what_it_runs_for() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "$(artifacts.web.image)")]));
    world.run();
    assert_eq!(jobs(&world), ["r/web:v2"]);
}

#[test]
fn a_hook_that_names_something_unknown_is_said_at_once_with_its_path() {
    let mut world = settled("v1");
    world.apply_spec(hooked("v2", &[hook("migrate", "$(artifacts.wbe.image)")]));
    world.run();
    let (ready, reason, message) = world.ready();
    assert!(!ready && reason == "GateInvalid", "{reason}");
    let path = "spec.hooks.beforeStart[migrate].job.template.spec.containers[0].image: there is no $(artifacts.wbe.image)";
    assert!(message.starts_with(path), "{message}");
    assert_eq!(world.candidate(), None);
}
