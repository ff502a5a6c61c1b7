//! What a candidate must pass before it gets the traffic, and while it has it.

use bascule_core::{
    ServiceForm,
    gate::{Ask, Target, Verdict},
    story::{Happening, Outcome},
};
use bascule_crds::{GateState, RejectReason, Step as Stage, Track};
use serde_json::{Value, json};

use crate::{settled, with, world::World};

fn http(name: &str) -> Value {
    json!({"name": name, "http": {"service": "web"}, "interval": "2s", "successes": 3, "failures": 2, "timeout": "30s"})
}

fn errors(name: &str) -> Value {
    json!({"name": name, "prometheus": {"query": "errors{track=\"$(release.track)\"}", "expect": "value < 0.01", "address": "http://p:9090"},
        "interval": "5s", "timeout": "20s"})
}

fn gated(tag: &str, before: &[Value], after: &[Value]) -> bascule_crds::ReleaseSpec {
    with(tag, &[("/gates", json!({"beforeSwitch": before, "afterSwitch": after}))])
}

fn says(world: &mut World, gate: &str, verdict: Verdict) {
    world.gauges.insert(gate.to_owned(), verdict);
}

fn fail(why: &str) -> Verdict {
    Verdict::Fail(why.to_owned())
}

fn unknown(why: &str) -> Verdict {
    Verdict::Unknown(why.to_owned())
}

#[test]
fn traffic_comes_after_so_many_good_samples_in_a_row() {
    let mut world = settled("v1");
    world.apply_spec(gated("v2", &[http("smoke")], &[]));
    world.pass(3);
    assert_eq!(world.candidate(), Some(("v2", Stage::Verifying)));
    assert_eq!(world.selected("web"), Some("blue"));
    world.pass(1);
    assert_eq!(world.selected("web"), Some("green"), "three samples, two seconds apart");
    let gates = &world.release.status.candidate.as_ref().unwrap().gates;
    assert_eq!(gates[0].state, GateState::Passed);
}

#[test]
fn so_many_bad_samples_end_it_and_the_gate_says_why() {
    let mut world = settled("v1");
    says(&mut world, "smoke", fail("status 503"));
    world.apply_spec(gated("v2", &[http("smoke")], &[]));
    world.pass(60);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    let rejection = &world.release.status.rejected[0];
    assert_eq!((rejection.reason, rejection.message.as_str()), (RejectReason::GateFailed, "gate smoke: status 503"));
    assert!(!world.writes.contains(&"route web green".to_owned()), "no user ever saw it");
}

#[test]
fn what_cannot_be_measured_is_no_yes_and_no_hasty_no() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("no data"));
    world.apply_spec(gated("v2", &[errors("errors")], &[]));
    world.pass(19);
    assert_eq!(world.candidate(), Some(("v2", Stage::Verifying)));
    let (_, _, message) = world.ready();
    assert!(message.ends_with("gate errors: no data"), "{message}");
    world.pass(2);
    assert_eq!(world.candidate(), None);
    assert_eq!(world.release.status.rejected[0].message, "gate errors: no good answer within 20 s: no data");
}

#[test]
fn what_answers_in_time_after_all_has_passed() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("connection refused"));
    world.apply_spec(gated("v2", &[errors("errors")], &[]));
    world.pass(12);
    says(&mut world, "errors", Verdict::Pass);
    world.pass(5);
    assert_eq!(world.selected("web"), Some("green"));
}

#[test]
fn a_restart_begins_to_count_anew_and_forgets_no_verdict() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("no data"));
    world.apply_spec(gated("v2", &[http("smoke"), errors("errors")], &[]));
    world.pass(2);
    world.restart();
    world.pass(3);
    let state = |world: &World| world.release.status.candidate.as_ref().unwrap().gates[0].state;
    assert_eq!(state(&world), GateState::Running, "two samples before and two after are not three in a row");
    world.pass(3);
    assert_eq!(state(&world), GateState::Passed);
    says(&mut world, "smoke", fail("status 500"));
    world.restart();
    says(&mut world, "errors", Verdict::Pass);
    world.pass(5);
    assert_eq!(world.selected("web"), Some("green"), "what has passed has passed for this attempt");
}

#[test]
fn errors_after_the_switch_send_traffic_back_within_one_interval() {
    let mut world = settled("v1");
    world.apply_spec(gated("v2", &[], &[errors("errors")]));
    world.pass(10);
    assert_eq!(world.selected("web"), Some("green"));
    says(&mut world, "errors", fail("value 0.31"));
    world.pass(5);
    assert_eq!((world.active(), world.selected("web")), (Some(("v1", Track::Blue)), Some("blue")));
    let rejection = &world.release.status.rejected[0];
    assert_eq!((rejection.reason, rejection.message.as_str()), (RejectReason::GateFailed, "gate errors: value 0.31"));
    world.pass(600);
    assert_eq!(world.candidate(), None);
}

#[test]
fn the_bake_ends_when_its_gates_have_answered() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("no data"));
    let mut gate = errors("errors");
    gate["timeout"] = json!("60s");
    world.apply_spec(gated("v2", &[], &[gate]));
    world.pass(45);
    assert_eq!(world.candidate(), Some(("v2", Stage::Baking)), "the bake is 30 s, and nobody has said that it is well");
    says(&mut world, "errors", Verdict::Pass);
    world.pass(10);
    assert_eq!((world.candidate(), world.active()), (None, Some(("v2", Track::Green))));
    assert!(world.ready().0, "{:?}", world.ready());
}

#[test]
fn without_an_answer_to_the_end_traffic_goes_back() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("no data"));
    world.apply_spec(gated("v2", &[], &[errors("errors")]));
    world.pass(120);
    assert_eq!(world.active(), Some(("v1", Track::Blue)));
    assert_eq!(world.release.status.rejected[0].reason, RejectReason::GateFailed);
}

#[test]
fn a_job_gate_runs_once_and_its_exit_code_decides() {
    let job = |image: &str| json!({"name": "accept", "timeout": "60s", "job": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    let mut world = settled("v1");
    world.apply_spec(gated("v2", &[job("r/accept--slow10")], &[]));
    world.pass(9);
    assert_eq!(world.candidate(), Some(("v2", Stage::Verifying)));
    world.restart();
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    assert_eq!(world.jobs.len(), 1);
    world.apply_spec(gated("v3", &[job("r/accept--fails")], &[]));
    world.pass(60);
    assert_eq!(world.active(), Some(("v2", Track::Green)));
    assert_eq!(world.release.status.rejected[0].message, "gate accept: exit code 1: table users is locked");
}

#[test]
fn a_gate_that_says_another_number_each_time_is_not_a_write_each_time() {
    let mut world = settled("v1");
    let mut gate = errors("errors");
    gate["failures"] = json!(100);
    gate["timeout"] = json!("10m");
    gate["interval"] = json!("1s");
    world.apply_spec(gated("v2", &[gate], &[]));
    world.run();
    world.writes.clear();
    for n in 0..60 {
        says(&mut world, "errors", fail(&format!("value 0.{n:02}")));
        world.pass(1);
    }
    assert!(world.writes.len() <= 5, "{:?}", world.writes);
}

#[test]
fn a_gate_on_a_service_that_is_none_of_the_release_is_refused_at_once() {
    let mut world = settled("v1");
    let gate = json!({"name": "smoke", "http": {"service": "wbe"}});
    world.apply_spec(gated("v2", &[gate], &[]));
    world.run();
    let (_, reason, message) = world.ready();
    assert_eq!((reason, message), ("GateInvalid", "spec.gates.beforeSwitch[smoke].http.service: wbe is none of spec.services"));
}

#[test]
fn a_mistake_is_said_also_when_nothing_is_to_be_released() {
    let mut world = settled("v1");
    world.apply_spec(gated("v1", &[json!({"name": "p", "prometheus": {"query": "up", "expect": "value > 0.0"}})], &[]));
    world.run();
    let (ready, reason, message) = world.ready();
    assert!(!ready && reason == "GateInvalid", "{reason}");
    assert_eq!(
        message,
        "spec.gates.beforeSwitch[p].prometheus.address: it names none, and the Environment has no spec.prometheus.address"
    );
    world.apply_spec(gated("v1", &[], &[]));
    world.run();
    assert!(world.ready().0);
}

#[test]
fn time_in_which_nobody_asked_is_not_the_candidates() {
    let mut world = settled("v1");
    world.apply_spec(gated("v2", &[], &[errors("errors")]));
    world.pass(5);
    assert_eq!(world.candidate(), Some(("v2", Stage::Baking)));
    // The controller is away for an hour.
    world.now += jiff::SignedDuration::from_hours(1);
    world.restart();
    world.pass(30);
    assert_eq!((world.active(), world.candidate()), (Some(("v2", Track::Green)), None), "asked once more, and well");
}

#[test]
fn a_hold_stops_the_clock_of_a_gate() {
    let mut world = settled("v1");
    says(&mut world, "errors", unknown("no data"));
    world.apply_spec(gated("v2", &[errors("errors")], &[]));
    world.pass(5);
    world.operate(&json!({"release": "web", "type": "Hold", "by": "ada"}));
    world.pass(300);
    assert_eq!(world.candidate(), Some(("v2", Stage::Verifying)));
    says(&mut world, "errors", Verdict::Pass);
    world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
    world.pass(10);
    assert_eq!(world.selected("web"), Some("green"));
}

/// A name for the addresses of its pods has no address to ask.
#[test]
fn after_the_switch_the_pods_behind_a_headless_service_are_asked() {
    let mut world = settled("v1");
    world.services.get_mut("web").unwrap().form = ServiceForm::Headless;
    world.apply_spec(gated("v2", &[], &[http("smoke")]));
    world.pass(5);
    assert_eq!(world.candidate(), Some(("v2", Stage::Baking)));
    let plan = world.plan();
    let Ask::Http(ask) = &plan.probes[0].ask else { panic!("{plan:?}") };
    assert!(matches!(&ask.to, Target::Pods { labels, .. } if labels["bascule.dev/track"] == "green"), "{ask:?}");
}

#[test]
fn a_version_that_nobody_wants_any_more_gets_no_traffic_while_the_next_one_is_looked_into() {
    let mut world = settled("v1");
    world.add_service("api");
    world.apply_spec(gated("v2", &[http("smoke")], &[]));
    says(&mut world, "smoke", unknown("not yet"));
    world.pass(10);
    assert_eq!(world.candidate(), Some(("v2", Stage::Verifying)));
    // One edit: another version, no gate, and a Service more, which must be looked at before that version can start.
    let mut next = gated("v3", &[], &[]);
    next.services.push(bascule_crds::ServiceReference { name: "api".into() });
    world.told.clear();
    world.apply_spec(next);
    world.pass(120);
    assert_eq!(world.active(), Some(("v3", Track::Green)));
    let endings: Vec<_> = world
        .told
        .iter()
        .filter_map(|it| match it {
            Happening::Ended(ending) => Some((ending.candidate.version.as_str(), ending.outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(endings, [("v2", Outcome::Superseded), ("v3", Outcome::Settled)]);
}
