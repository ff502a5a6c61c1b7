//! Where versions come from: parameters, environments, and everything that can be wrong with them.

use bascule_core::Claim;
use bascule_crds::{ConditionStatus, ConditionType, EnvironmentSpec, Track};
use serde_json::{Value, json};

use super::world::{Registry, World};
use super::{spec, spec_of};

const NAME: &str = "/shop/staging/web/image";

pub(crate) fn pointed(changes: &[(&str, Value)]) -> bascule_crds::ReleaseSpec {
    let mut value = serde_json::to_value(spec("v1", 3)).unwrap();
    value["artifacts"][0]["image"] = json!({"parameter": "/shop/$(env.name)/web/image"});
    // What the pods run is a digest: how they behave is in the tag.
    value["workloads"][0]["template"]["metadata"]["annotations"] = json!({"behaviour": "$(artifacts.web.tag)"});
    for (path, change) in changes {
        let (parent, key) = path.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = change.clone();
    }
    spec_of(&value)
}

pub(crate) fn put(world: &mut World, value: &str) {
    world.store.put(NAME, value, world.now);
}

/// Version 1 of the parameter has led to v1, and it is settled.
pub(crate) fn followed() -> World {
    let mut world = World::new(pointed(&[]));
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Blue)), true), "{:?}", world.ready());
    assert_eq!(fresh(&world), (ConditionStatus::True, "Fresh".to_owned()));
    world.writes.clear();
    world.notes.clear();
    world
}

pub(crate) fn ready(world: &World) -> (bool, &str) {
    let (ready, reason, _) = world.ready();
    (ready, reason)
}

pub(crate) fn fresh(world: &World) -> (ConditionStatus, String) {
    let condition = world.release.status.condition(ConditionType::SourcesFresh).unwrap();
    (condition.status, condition.reason.clone())
}

pub(crate) fn message(world: &World) -> &str {
    &world.release.status.condition(ConditionType::SourcesFresh).unwrap().message
}

pub(crate) fn environment(value: Value) -> Claim {
    let spec: EnvironmentSpec = serde_json::from_value(value).unwrap();
    Claim::Of { name: "staging".into(), spec: Box::new(spec) }
}

#[test]
fn a_version_that_was_left_stays_away_however_often_its_value_is_written_again() {
    let mut world = followed();
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    world.operate(&json!({"release": "web", "type": "Rollback", "by": "ada"}));
    world.pass(120);
    let held = |world: &World, what: &str| {
        assert_eq!((world.active(), ready(world)), (Some(("v1", Track::Blue)), (false, "RolledBack")), "{what}");
    };
    held(&world, "at first");
    for _ in 0..3 {
        put(&mut world, "r.example/web:v2");
        world.pass(120);
        held(&world, "the same value, as another version of the parameter");
        world.restart();
        world.pass(3600);
        held(&world, "a new process, which reads everything anew");
        world.apply_spec(pointed(&[]));
        world.pass(120);
        held(&world, "the same spec, applied again");
    }
    put(&mut world, "r.example/web:v3");
    world.pass(120);
    assert_eq!((world.active(), ready(&world).0), (Some(("v3", Track::Green)), true));
}

#[test]
fn a_parameter_that_is_written_is_a_release() {
    let mut world = followed();
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v2", Track::Green)), true));
    let artifact = &world.release.status.active.as_ref().unwrap().artifacts[0];
    let record = artifact.parameter.as_ref().unwrap();
    assert_eq!((record.name.as_str(), record.version, artifact.reference.as_str()), (NAME, 2, "r.example/web:v2"));
    assert_eq!(record.modified_by.as_deref(), Some("ci"));
    world.writes.clear();
    world.restart();
    world.pass(60);
    assert!(world.writes.is_empty(), "who wrote it is found out once: {:?}", world.writes);
}

#[test]
fn the_same_value_again_changes_the_record_and_no_pod() {
    let mut world = followed();
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    assert_eq!(world.writes, ["status"]);
    assert_eq!(world.release.status.artifacts[0].parameter.as_ref().unwrap().version, 2);
}

#[test]
fn while_parameter_store_fails_everything_stays_and_status_says_so_once() {
    let mut world = followed();
    world.store.fails = Some(false);
    world.pass(600);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Blue)), true));
    assert_eq!(world.writes, ["status"]);
    assert_eq!(fresh(&world), (ConditionStatus::False, "Unreachable".to_owned()));
    world.restart();
    world.pass(60);
    assert_eq!(world.writes, ["status"]);
    world.store.fails = None;
    world.pass(60);
    assert_eq!(fresh(&world), (ConditionStatus::True, "Fresh".to_owned()));
    assert_eq!(world.writes, ["status", "status"]);
}

#[test]
fn ten_minutes_without_parameter_store_in_mid_release_lose_nothing_and_change_nothing() {
    let mut world = followed();
    put(&mut world, "r.example/web:v2--slow70");
    world.apply_spec(pointed(&[("/strategy/progressDeadline", json!("10m"))]));
    world.pass(10);
    assert_eq!(world.candidate().map(|(version, _)| version), Some("v2--slow70"));
    world.store.fails = Some(false);
    world.pass(600);
    assert_eq!((world.active(), world.ready().0), (Some(("v2--slow70", Track::Green)), true), "the release came to its end");
    put(&mut world, "r.example/web:v3");
    world.writes.clear();
    world.pass(60);
    assert!(world.writes.is_empty(), "{:?}", world.writes);
    world.store.fails = None;
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
}

#[test]
fn another_template_is_released_with_the_last_image_while_parameter_store_fails() {
    let mut world = followed();
    world.store.fails = Some(false);
    world.apply_spec(pointed(&[("/workloads/0/template/metadata/annotations", json!({"note": "new"}))]));
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Green)), true));
}

#[test]
fn a_parameter_that_is_gone_takes_nothing_with_it() {
    let mut world = followed();
    world.store.forget();
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Blue)), true));
    assert_eq!(fresh(&world), (ConditionStatus::False, "ParameterMissing".to_owned()));
    assert!(message(&world).contains(NAME), "{}", message(&world));
}

#[test]
fn a_parameter_that_was_made_anew_is_followed_although_it_begins_with_version_1() {
    let mut world = followed();
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    world.store.forget();
    world.pass(5);
    put(&mut world, "r.example/web:v3");
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Blue)));
}

#[test]
fn an_answer_of_yesterday_is_no_news() {
    let mut world = followed();
    let old = world.store.values[NAME].clone();
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    world.writes.clear();
    world.store.values.insert(NAME.into(), old);
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v2", Track::Green)), true));
    assert!(world.writes.is_empty(), "{:?}", world.writes);
}

#[test]
fn a_label_that_was_moved_back_is_shown_and_not_followed() {
    let mut world = World::new(pointed(&[("/artifacts/0/image/parameter", json!(format!("{NAME}:live")))]));
    for version in ["v1", "v2"] {
        put(&mut world, &format!("r.example/web:{version}"));
        world.pass(120);
    }
    let mut back = world.store.values[NAME].clone();
    (back.version, back.value, back.modified_at) = (1, "r.example/web:v1".into(), Some(super::world::start()));
    world.store.values.insert(NAME.into(), back);
    world.notes.clear();
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v2", Track::Green)), true));
    assert_eq!(fresh(&world), (ConditionStatus::True, "OutOfOrder".to_owned()));
    assert_eq!(world.notes.len(), 1, "{:?}", world.notes);
}

#[test]
fn an_image_that_is_not_there_yet_is_waited_for() {
    let mut world = followed();
    world.registry = Registry::Fails;
    put(&mut world, "r.example/web:v2");
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("v1", Track::Blue)), (false, "ArtifactUnresolved")));
    world.registry = Registry::Answers;
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn what_was_rejected_before_does_not_hide_that_the_next_one_cannot_be_found() {
    let mut world = followed();
    put(&mut world, "r.example/web:v2--never");
    world.pass(700);
    assert_eq!(ready(&world), (false, "Rejected"));
    world.registry = Registry::Fails;
    put(&mut world, "r.example/web:v3");
    world.pass(60);
    let (is_ready, reason, message) = world.ready();
    assert_eq!((is_ready, reason), (false, "ArtifactUnresolved"), "{message}");
    assert!(message.contains("; before it v2--never was rejected (DeadlineExceeded)"), "{message}");
    world.registry = Registry::Answers;
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Green)));
}

#[test]
fn a_value_that_is_no_image_stalls_and_names_the_field() {
    for (value, says) in [("  ", "version 2 is empty"), ("https://r.example/web:v2", "begins with a scheme")] {
        let mut world = followed();
        put(&mut world, value);
        world.pass(60);
        assert_eq!((world.active(), ready(&world)), (Some(("v1", Track::Blue)), (false, "ValueInvalid")));
        let said = world.release.status.condition(ConditionType::Stalled).unwrap();
        assert!(
            said.message.contains(says) && said.message.starts_with("spec.artifacts[0].image.parameter: "),
            "{}",
            said.message
        );
    }
}

#[test]
fn a_secret_value_is_not_repeated() {
    let mut world = followed();
    put(&mut world, "https://secret");
    world.store.values.get_mut(NAME).unwrap().secure = true;
    world.pass(60);
    assert_eq!(ready(&world), (false, "ValueInvalid"));
    assert!(!serde_json::to_string(&world.release.status).unwrap().contains("secret"));
}

#[test]
fn the_registry_of_the_environment_is_put_before_a_value_without_one() {
    let mut world = World::new(pointed(&[]));
    world.claim = environment(json!({"registry": "r.example:5000"}));
    put(&mut world, "shop/web:v1\n");
    world.pass(120);
    assert_eq!(world.release.status.artifacts[0].reference, "r.example:5000/shop/web:v1");
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}

#[test]
fn what_is_not_allowed_is_neither_asked_for_nor_run() {
    let mut world = followed();
    world.claim = environment(json!({"allow": {"parameters": ["/shop/staging/**"], "images": ["r.example/web"]}}));
    put(&mut world, "r.example/web:v2");
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    put(&mut world, "r.example/evil:v3");
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("v2", Track::Green)), (false, "NotAllowed")));
    world.claim = environment(json!({"allow": {"parameters": ["/shop/prod/**"]}}));
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("v2", Track::Green)), (false, "NotAllowed")));
    assert!(world.observed().parameters.is_empty());
}

#[test]
fn an_environment_that_is_missing_stalls_and_takes_nothing_away() {
    let mut world = followed();
    world.claim = Claim::Refused { reason: "EnvironmentMissing", message: "there is no Environment staging".into() };
    world.pass(120);
    assert_eq!((world.active(), ready(&world)), (Some(("v1", Track::Blue)), (false, "EnvironmentMissing")));
    assert_eq!(fresh(&world).0, ConditionStatus::True);
}

#[test]
fn without_an_environment_the_controllers_defaults_hold() {
    let mut world = World::new(pointed(&[("/artifacts/0/image/parameter", json!("/shop/web/image"))]));
    world.claim = Claim::Nothing;
    world.store.put("/shop/web/image", "web:v1", world.now);
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}

#[test]
fn variables_of_the_environment_are_put_in() {
    let mut world = World::new(pointed(&[("/artifacts/0/image/parameter", json!("/$(vars.team)/web"))]));
    world.claim = environment(json!({"variables": {"team": "shop"}}));
    world.store.put("/shop/web", "r.example/web:v1", world.now);
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}

fn ordered() -> World {
    let mut world = World::new(pointed(&[("/artifacts/0/image/order", json!({"label": "build"}))]));
    put(&mut world, "r.example/web:b5");
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("b5", Track::Blue)), true), "{:?}", world.ready());
    let order = world.release.status.artifacts[0].order.clone().unwrap();
    assert_eq!((order.by.as_str(), order.value.as_str()), ("build", "5"));
    world.writes.clear();
    world.notes.clear();
    world
}

#[test]
fn an_older_build_that_comes_late_is_shown_and_never_released() {
    let mut world = ordered();
    put(&mut world, "r.example/web:b7");
    world.pass(120);
    world.notes.clear();
    // Its version is newer, the build is not.
    put(&mut world, "r.example/web:b6");
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("b7", Track::Green)), true));
    assert_eq!(fresh(&world), (ConditionStatus::True, "OutOfOrder".to_owned()));
    assert!(message(&world).contains("b6 has build 6, which is older than 7 of b7"), "{}", message(&world));
    assert_eq!(world.notes.len(), 1, "{:?}", world.notes);
    put(&mut world, "r.example/web:b10");
    world.pass(120);
    assert_eq!((world.active(), fresh(&world).1.as_str()), (Some(("b10", Track::Blue)), "Fresh"));
}

#[test]
fn an_accepted_build_is_released_and_what_is_newer_than_it_is_followed() {
    let mut world = ordered();
    put(&mut world, "r.example/web:b3");
    world.pass(60);
    assert_eq!(world.active(), Some(("b5", Track::Blue)));
    world.operate(&json!({"release": "web", "type": "Accept", "by": "ada", "revision": "b4"}));
    world.pass(30);
    assert_eq!(world.active(), Some(("b5", Track::Blue)));
    world.operate(&json!({"release": "web", "type": "Accept", "by": "ada", "note": "b5 loses orders"}));
    world.pass(120);
    assert_eq!((world.active(), fresh(&world).1.as_str()), (Some(("b3", Track::Green)), "Fresh"));
    put(&mut world, "r.example/web:b4");
    world.pass(120);
    assert_eq!(world.active(), Some(("b4", Track::Blue)));
}

#[test]
fn an_accept_of_nothing_is_refused() {
    let mut world = ordered();
    world.operate(&json!({"release": "web", "type": "Accept", "by": "ada"}));
    world.pass(30);
    let record = &world.release.status.operations[0];
    assert_eq!(record.outcome, bascule_crds::OperationOutcome::Refused);
    assert!(record.message.contains("nothing is passed over"), "{}", record.message);
}

#[test]
fn an_accept_while_parameter_store_is_silent_waits() {
    let mut world = ordered();
    put(&mut world, "r.example/web:b3");
    world.pass(30);
    world.store.fails = Some(true);
    world.restart();
    world.operate(&json!({"release": "web", "type": "Accept", "by": "ada"}));
    world.pass(30);
    assert!(world.release.status.operations.is_empty());
    world.store.fails = None;
    world.pass(120);
    assert_eq!(world.active(), Some(("b3", Track::Green)));
}

#[test]
fn a_build_without_its_label_is_not_released() {
    let mut world = ordered();
    put(&mut world, "r.example/web:v9");
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("b5", Track::Blue)), (false, "OrderUnknown")));
}

#[test]
fn a_rejected_newer_build_does_not_open_the_way_for_an_older_one() {
    let mut world = ordered();
    put(&mut world, "r.example/web:b7--never");
    world.pass(120);
    assert_eq!(world.release.status.rejected.len(), 1);
    put(&mut world, "r.example/web:b4");
    world.pass(120);
    assert_eq!(world.active(), Some(("b5", Track::Blue)));
}

#[test]
fn another_label_to_order_by_compares_nothing_with_the_old_one() {
    let mut world = ordered();
    // By `build` it would be older.
    world.apply_spec(pointed(&[("/artifacts/0/image/order", json!({"label": "build"})), ("/replicas", json!(4))]));
    put(&mut world, "r.example/web:b4");
    world.pass(60);
    assert_eq!(world.active(), Some(("b5", Track::Blue)));
    world.release.status.artifacts[0].order.as_mut().unwrap().by = "number".into();
    world.pass(120);
    assert_eq!(world.active().map(|(version, _)| version), Some("b4"));
}

#[test]
fn a_tag_that_moved_is_reported_once_and_not_followed_until_the_pointer_changes() {
    let mut world = followed();
    world.registry = Registry::Moved;
    world.pass(120);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Blue)), true));
    assert_eq!(fresh(&world), (ConditionStatus::True, "TagMoved".to_owned()));
    assert!(message(&world).contains("r.example/web:v1 is sha256:"), "{}", message(&world));
    assert_eq!((world.writes.len(), world.notes.len()), (1, 1), "{:?} {:?}", world.writes, world.notes);
    // A new process says nothing else before it has looked.
    world.registry = Registry::Silent;
    world.restart();
    world.pass(60);
    assert_eq!((fresh(&world).1.as_str(), world.writes.len()), ("TagMoved", 1));
    world.registry = Registry::Moved;
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    assert_eq!((world.active(), fresh(&world).1.as_str()), (Some(("v1", Track::Green)), "Fresh"));
}

#[test]
fn a_tag_that_is_gone_is_reported_and_a_registry_that_fails_is_not() {
    let mut world = followed();
    world.registry = Registry::Fails;
    world.pass(60);
    assert!(world.writes.is_empty(), "{:?}", world.writes);
    world.registry = Registry::Gone;
    world.pass(60);
    assert_eq!((world.active(), world.ready().0), (Some(("v1", Track::Blue)), true));
    assert_eq!(fresh(&world), (ConditionStatus::False, "ArtifactMissing".to_owned()));
    world.registry = Registry::Answers;
    world.pass(60);
    assert_eq!(fresh(&world), (ConditionStatus::True, "Fresh".to_owned()));
}

#[test]
fn a_text_that_is_secret_is_neither_asked_for_nor_shown() {
    for allow in [json!({}), json!({"images": ["r.example/**"]})] {
        let mut world = followed();
        world.claim = environment(json!({"allow": allow}));
        put(&mut world, "hunter2-the-password");
        world.store.values.get_mut(NAME).unwrap().secure = true;
        world.pass(60);
        assert_eq!((world.active(), ready(&world)), (Some(("v1", Track::Blue)), (false, "NotAllowed")));
        let said = format!("{} {:?}", serde_json::to_string(&world.release.status).unwrap(), world.notes);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(world.observed().images.is_empty());
    }
    // What fits the list is the name of an image, and no secret.
    let mut world = followed();
    world.claim = environment(json!({"allow": {"images": ["r.example/**"]}}));
    put(&mut world, "r.example/web:v2");
    world.store.values.get_mut(NAME).unwrap().secure = true;
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn one_report_hides_no_other() {
    let mut spec = serde_json::to_value(pointed(&[])).unwrap();
    spec["artifacts"].as_array_mut().unwrap().push(json!({"name": "api", "image": {"parameter": "/shop/api:live"}}));
    let mut world = World::new(spec_of(&spec));
    put(&mut world, "r.example/web:v1");
    for version in ["v1", "v2"] {
        world.store.put("/shop/api", &format!("r.example/api:{version}"), world.now);
        world.pass(120);
    }
    // The label of one goes back, the tags of both move, and the parameter of the other is deleted.
    let mut back = world.store.values["/shop/api"].clone();
    (back.version, back.value, back.modified_at) = (1, "r.example/api:v1".into(), Some(super::world::start()));
    world.store.values.insert("/shop/api".into(), back);
    world.registry = Registry::Moved;
    world.notes.clear();
    world.pass(60);
    for says in ["is older than version 2", "r.example/web:v1 is sha256:"] {
        assert!(message(&world).contains(says), "{}", message(&world));
    }
    let told = world.notes.len();
    assert_eq!(told, 2, "{:?}", world.notes);
    let web = world.store.values.remove(NAME).unwrap();
    world.pass(60);
    assert_eq!(fresh(&world), (ConditionStatus::False, "ParameterMissing".to_owned()));
    for says in ["does not exist any more", "is older than version 2", "r.example/web:v1 is sha256:"] {
        assert!(message(&world).contains(says), "{}", message(&world));
    }
    world.store.values.insert(NAME.into(), web);
    world.pass(60);
    world.restart();
    world.pass(60);
    assert_eq!(world.notes.len(), told, "each is told once: {:?}", world.notes);
}

#[test]
fn another_way_to_order_builds_asks_the_build_that_runs_and_not_its_tag() {
    let mut world = World::new(pointed(&[]));
    put(&mut world, "r.example/web:b5");
    world.pass(120);
    let digest = world.release.status.artifacts[0].digest.clone();
    world.registry = Registry::Moved;
    world.apply_spec(pointed(&[("/artifacts/0/image/order", json!({"label": "build"}))]));
    world.pass(120);
    let artifact = &world.release.status.artifacts[0];
    assert_eq!((&artifact.digest, artifact.reference.as_str()), (&digest, "r.example/web:b5"));
    assert_eq!(artifact.order.as_ref().unwrap().value, "5");
    assert_eq!(world.active(), Some(("b5", Track::Blue)));
}

#[test]
fn a_parameter_of_another_account_must_be_allowed_as_a_whole() {
    let arn = "arn:aws:ssm:eu-west-3:999999999999:parameter/shop/web";
    let mut world = World::new(pointed(&[("/artifacts/0/image/parameter", json!(arn))]));
    world.claim = environment(json!({"allow": {"parameters": ["/shop/**"]}}));
    world.pass(30);
    assert_eq!(ready(&world), (false, "NotAllowed"));
    assert!(world.observed().parameters.is_empty());
    world.claim = environment(json!({"allow": {"parameters": ["arn:aws:ssm:eu-west-3:999999999999:parameter/shop/**"]}}));
    world.store.put(arn, "r.example/web:v1", world.now);
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}

#[test]
fn what_is_pinned_is_watched_while_its_parameter_is_silent_but_not_what_is_not_allowed_any_more() {
    let mut world = followed();
    world.store.fails = Some(false);
    world.registry = Registry::Moved;
    world.pass(60);
    assert!(message(&world).contains("r.example/web:v1 is sha256:"), "{}", message(&world));
    world.claim = environment(json!({"allow": {"images": ["other.example/**"]}}));
    world.pass(60);
    assert!(world.observed().images.is_empty());
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
}
