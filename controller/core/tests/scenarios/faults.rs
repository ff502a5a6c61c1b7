//! What is refused, what fails, and what ends in the middle.

use bascule_crds::{RejectReason, Step as Stage, Track};
use serde_json::json;

use crate::{
    settled, with,
    world::{Hand, World, spec, spec_of},
};

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
fn a_status_that_cannot_be_written_is_not_written_over_and_over() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    let retry_at = world.now + jiff::SignedDuration::from_secs(5);
    world.process.trouble(bascule_core::STATUS, "denied", retry_at);
    world.run();
    assert_eq!(world.writes, ["dry-run"], "nothing is started that would not be remembered");
    assert_eq!(world.plan().wake, Some(retry_at));
    world.process.troubles.clear();
    world.pass(120);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
}

#[test]
fn a_step_that_fails_is_said_and_holds_up_nothing_else() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    let retry_at = world.now + jiff::SignedDuration::from_secs(500);
    let message = "could not apply Deployment web-green: no answer".to_owned();
    world.process.trouble("deployment/web-green", &message, retry_at);
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
pub(crate) fn in_the_middle_of_a_switch(tag: &str) -> World {
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
fn a_candidate_whose_deployment_is_gone_in_the_middle_of_a_switch_gets_no_more_traffic() {
    let mut world = in_the_middle_of_a_switch("v2");
    world.deployments.remove("web-green");
    world.sets.retain(|_, set| set.view.track != Some(Track::Green));
    world.restart();
    world.writes.clear();
    world.run();
    assert!(!world.writes.iter().any(|write| write == "route web green"), "{:?}", world.writes);
    assert_eq!((world.selected("api"), world.selected("web")), (Some("blue"), Some("blue")));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
}

#[test]
fn while_nobody_is_well_in_the_middle_of_a_switch_nothing_is_moved_until_the_deadline() {
    let mut world = in_the_middle_of_a_switch("v2");
    world.meddle(&Hand::KillActive, "web", "web");
    world.meddle(&Hand::KillCandidate, "web", "web");
    world.restart();
    world.writes.clear();
    world.pass(30);
    assert!(!world.writes.iter().any(|write| write.starts_with("route")), "{:?}", world.writes);
    assert_eq!((world.ready().1, world.candidate()), ("WayBackNotAvailable", Some(("v2", Stage::Switching))));
    world.pass(60);
    assert_eq!((world.selected("api"), world.selected("web"), world.candidate()), (Some("blue"), Some("blue"), None));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
}

#[test]
fn users_of_the_part_that_answers_are_not_sent_to_where_nothing_does_at_the_deadline() {
    let wanted = |tag: &str, worker: &str| {
        let mut value = serde_json::to_value(spec(tag, 3)).unwrap();
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "w", "image": format!("r/w:{worker}")}]}});
        value["workloads"].as_array_mut().unwrap().push(json!({"name": "worker", "replicas": 1, "template": template}));
        value["services"] = json!([{"name": "api"}, {"name": "web"}]);
        spec_of(&value)
    };
    let mut world = World::new(wanted("v1", "v1"));
    world.pass(120);
    world.apply_spec(wanted("v2", "v2--dies5"));
    world.fail_after_route = Some("api".into());
    while world.selected("api") != Some("green") {
        world.run_one();
    }
    world.fail_after_route = None;
    world.meddle(&Hand::KillActive, "web", "web");
    // Until its worker is dead too.
    world.now += jiff::SignedDuration::from_secs(6);
    world.pods_move();
    world.restart();
    world.pass(30);
    assert_eq!((world.selected("api"), world.selected("web")), (Some("green"), Some("blue")));
    world.pass(90);
    assert_eq!((world.selected("api"), world.selected("web"), world.candidate()), (Some("green"), Some("green"), None));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::BakeFailed);
}

#[test]
fn an_abort_in_the_middle_of_a_switch_with_nowhere_to_go_is_answered() {
    let mut world = in_the_middle_of_a_switch("v2");
    world.meddle(&Hand::KillActive, "web", "web");
    world.remove_service("web");
    world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
    world.restart();
    world.pass(300);
    assert_eq!((world.selected("api"), world.candidate()), (Some("green"), None));
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::Aborted);
    assert!(world.operations[0].answered);
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
    world.process.trouble("service/web", &message, retry_at);
    world.pass(120);
    assert_eq!((world.selected("api"), world.selected("web"), world.candidate()), (Some("blue"), Some("blue"), None));
    assert!(
        world.release.status.rejected[0].message.contains("not all Services could be moved"),
        "{:?}",
        world.release.status.rejected
    );
}

#[test]
fn a_candidate_that_is_refused_while_it_starts_is_given_up_once() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(5);
    world.refuse_candidate();
    world.pass(30);
    assert_eq!((world.candidate(), world.ready().1), (None, "Rejected"));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::Refused);
    assert!(world.writes.len() < 12, "{:?}", world.writes);
}
