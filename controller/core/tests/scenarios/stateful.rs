//! What cannot run twice at the same time.

use bascule_crds::{ConditionStatus, ConditionType, RejectReason, Track};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    settled, with,
    world::{World, spec_of},
};

fn stateful(tag: &str, strategy: Option<&str>) -> bascule_crds::ReleaseSpec {
    let spec = with(tag, &[]);
    let mut value: Value = serde_json::to_value(spec).unwrap();
    let workload = &mut value["workloads"][0];
    workload["template"]["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    if let Some(strategy) = strategy {
        workload["strategy"] = json!({"type": strategy});
    }
    spec_of(&value)
}

fn with_volume(mode: &str) -> World {
    let mut world = settled("v1");
    world.volumes.insert("data".into(), vec![mode.to_owned()]);
    world
}

#[test]
fn a_volume_that_only_one_can_have_is_refused_before_anything_starts() {
    let mut world = with_volume("ReadWriteOnce");
    world.apply_spec(stateful("v2", None));
    world.pass(10);
    let (_, reason, message) = world.ready();
    assert_eq!(reason, "VolumeNotShared");
    assert!(message.starts_with("spec.workloads[web].template: PersistentVolumeClaim data is ReadWriteOnce"), "{message}");
    assert!(world.candidate().is_none() && world.active() == Some(("v1", Track::Blue)));
}

#[test]
fn one_that_many_can_have_is_no_hindrance() {
    let mut world = with_volume("ReadWriteMany");
    world.apply_spec(stateful("v2", None));
    world.pass(10);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

/// Never a pod of both at the same time.
fn alone(world: &World) {
    let of = |track| world.sets.values().filter(move |set| set.view.track == Some(track));
    let pods = |track| of(track).map(|set| set.view.replicas + set.ending).sum::<i32>();
    assert!(pods(Track::Blue) == 0 || pods(Track::Green) == 0);
}

fn pass(world: &mut World, secs: i64) {
    for _ in 0..secs {
        world.pass(1);
        alone(world);
    }
}

#[test]
fn with_recreate_the_old_pods_end_before_the_new_ones_start() {
    let mut world = with_volume("ReadWriteOnce");
    world.apply_spec(stateful("v2", Some("Recreate")));
    pass(&mut world, 60);
    assert_eq!((world.active(), world.selected("web")), (Some(("v2", Track::Green)), Some("green")));
    assert!(world.ready().0, "{:?}", world.ready());
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (0, 3));
    let stop = world.writes.iter().position(|write| write == "scale web-blue 0").unwrap();
    let start = world.writes.iter().position(|write| write == "apply web-green").unwrap();
    assert!(stop < start, "{:?}", world.writes);
}

#[test]
fn a_recreated_version_that_never_gets_ready_gives_its_place_back() {
    let mut world = with_volume("ReadWriteOnce");
    world.apply_spec(stateful("v2--never", Some("Recreate")));
    pass(&mut world, 100);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (3, 0));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::DeadlineExceeded);
}

#[test]
fn a_recreated_version_that_goes_bad_gives_its_place_back() {
    let mut world = with_volume("ReadWriteOnce");
    world.apply_spec(stateful("v2--dies10", Some("Recreate")));
    pass(&mut world, 100);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (3, 0));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
}

#[test]
fn a_pod_that_is_slow_to_end_is_waited_for_in_both_directions() {
    let mut world = with_volume("ReadWriteOnce");
    world.pods_end_in = SignedDuration::from_secs(20);
    world.apply_spec(stateful("v2--dies10", Some("Recreate")));
    pass(&mut world, 19);
    assert!(!world.deployments.contains_key("web-green"), "{:?}", world.writes);
    pass(&mut world, 5);
    assert_eq!(world.active(), Some(("v2--dies10", Track::Green)));
    pass(&mut world, 20);
    assert_eq!((world.selected("web"), world.replicas("web-blue")), (Some("blue"), 0), "traffic is back, the pods still wait");
    let available = world.release.status.condition(ConditionType::Available).unwrap();
    assert_eq!((available.status, available.message.as_str()), (ConditionStatus::False, "not all pods are ready: web"));
    pass(&mut world, 60);
    assert_eq!((world.active(), world.replicas("web-blue"), world.replicas("web-green")), (Some(("v1", Track::Blue)), 3, 0));
}

#[test]
fn held_in_the_gap_users_get_the_old_version_back_and_do_not_wait_for_a_person() {
    let mut world = with_volume("ReadWriteOnce");
    world.apply_spec(stateful("v2--slow30", Some("Recreate")));
    pass(&mut world, 10);
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (0, 3));
    world.operate(&json!({"release": "web", "type": "Hold", "by": "ada", "note": "incident"}));
    pass(&mut world, 30);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
    assert_eq!((world.replicas("web-blue"), world.replicas("web-green")), (3, 0));
    assert_eq!(world.ready(), (false, "Held", "held by ada, incident: v2--slow30 is not started"));
    assert!(world.release.status.rejected.is_empty(), "it is nobody's fault");
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    pass(&mut world, 120);
    assert_eq!(world.active(), Some(("v2--slow30", Track::Green)));
}

#[test]
fn a_volume_that_cannot_be_looked_at_is_said() {
    let mut world = with_volume("ReadWriteMany");
    world.unreadable.insert("read/volume/data".into());
    world.apply_spec(stateful("v2", None));
    world.pass(30);
    assert_eq!((world.active(), world.candidate()), (Some(("v1", Track::Blue)), None));
    assert_eq!(world.ready(), (false, "Retrying", "read/volume/data cannot be read: denied"));
    world.unreadable.clear();
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}
