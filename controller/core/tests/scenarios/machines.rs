//! What an image is built for, and the nodes that there are.

use bascule_core::Sight;
use bascule_crds::{ConditionType, Track};
use serde_json::json;

use super::{
    sources::{followed, pointed, put, ready},
    world::World,
};

#[test]
fn an_image_for_other_machines_is_not_started() {
    let mut world = followed();
    world.platforms = ["linux/arm64".to_owned()].into();
    put(&mut world, "r.example/web:v2");
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("v1", Track::Blue)), (false, "PlatformMissing")));
    let said = world.release.status.condition(ConditionType::Stalled).unwrap();
    assert!(said.message.ends_with("is built for linux/arm64, and the nodes of this cluster are amd64"), "{}", said.message);
    // A node of its kind joins.
    world.nodes = Sight::Known(["amd64".to_owned(), "arm64".to_owned()].into());
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    world.platforms = ["linux/amd64".to_owned(), "linux/arm64/v8".to_owned()].into();
    put(&mut world, "r.example/web:v3");
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
}

#[test]
fn nodes_that_are_not_known_hold_up_nothing() {
    let mut world = followed();
    world.platforms = ["linux/arm64".to_owned()].into();
    world.nodes = Sight::Unknown("not allowed".into());
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn a_template_that_wants_other_nodes_than_the_image_is_told() {
    let select = ("/workloads/0/template/spec/nodeSelector", json!({"kubernetes.io/arch": "arm64"}));
    let mut world = World::new(pointed(&[select]));
    world.nodes = Sight::Known(["amd64".to_owned(), "arm64".to_owned()].into());
    world.platforms = ["linux/amd64".to_owned()].into();
    put(&mut world, "r.example/web:v1");
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (None, (false, "PlatformMissing")));
}

#[test]
fn whoever_asks_for_a_kind_of_node_gets_it_also_when_there_is_none_yet() {
    let select = ("/workloads/0/template/spec/nodeSelector", json!({"kubernetes.io/arch": "arm64"}));
    let mut world = World::new(pointed(&[select]));
    world.platforms = ["linux/arm64".to_owned()].into();
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}
