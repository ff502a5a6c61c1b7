//! A ConfigMap or a Secret that changes is a change of the Release, where it asks for that.

use bascule_crds::{ConditionStatus, ConditionType, Track};
use serde_json::json;

use crate::{with, world::World};

fn watching(tag: &str) -> bascule_crds::ReleaseSpec {
    let env =
        json!([{"configMapRef": {"name": "flags"}}, {"secretRef": {"name": "token-$(artifacts.web.tag)", "optional": true}}]);
    with(tag, &[("/workloads/0/template/spec/containers/0/envFrom", env), ("/restartOn", json!(["ConfigMaps", "Secrets"]))])
}

fn settled() -> World {
    let mut world = World::new(watching("v1"));
    world.configs.insert("ConfigMap flags".into(), "one".into());
    world.pass(120);
    assert!(world.ready().0, "{:?}", world.ready());
    world
}

#[test]
fn another_content_goes_the_way_of_another_version() {
    let mut world = settled();
    let revision = world.release.status.active.as_ref().unwrap().revision.clone();
    world.configs.insert("ConfigMap flags".into(), "two".into());
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Green)));
    assert_ne!(world.release.status.active.as_ref().unwrap().revision, revision);
    assert_eq!(world.release.status.configs[0].hash, "two");
}

#[test]
fn one_that_is_gone_or_cannot_be_read_changes_nothing_and_is_said() {
    let mut world = settled();
    world.configs.clear();
    world.pass(60);
    let fresh = world.release.status.condition(ConditionType::SourcesFresh).unwrap().clone();
    assert_eq!((fresh.status, fresh.reason.as_str()), (ConditionStatus::False, "ConfigMissing"));
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    world.configs_fail = true;
    world.restart();
    world.pass(60);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
}

#[test]
fn before_the_first_look_nothing_starts() {
    let mut world = World::new(watching("v1"));
    world.pass(60);
    assert_eq!(world.active(), None);
    assert_eq!(world.ready(), (false, "ConfigMissing", "ConfigMap flags does not exist"));
}

#[test]
fn without_the_wish_nobody_looks() {
    let mut spec = watching("v1");
    spec.restart_on.clear();
    let mut world = World::new(spec);
    world.pass(120);
    assert!(world.ready().0);
    assert!(world.release.status.configs.is_empty());
}
