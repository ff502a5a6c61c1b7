//! Several workloads, replicas, autoscalers, and Deployments in which others have a hand.

use bascule_crds::{Step as Stage, Track};
use serde_json::json;

use crate::{
    settled, with,
    world::{World, spec},
};

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
