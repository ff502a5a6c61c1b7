//! What those who count are told: how long each step took, what became of a version, how long users had to live with a bad one.

use bascule_core::story::{Ending, Happening, Outcome, Restorer};
use bascule_crds::{GateStage, GateState, RejectReason, Step};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    faults::in_the_middle_of_a_switch,
    settled,
    sources::{pointed, put},
    with,
    world::{World, spec},
};

fn told_since(world: &mut World, seconds: i64) -> Vec<Happening> {
    world.told.clear();
    world.pass(seconds);
    std::mem::take(&mut world.told)
}

fn ending(told: &[Happening]) -> &Ending {
    let mut endings = told.iter().filter_map(|it| if let Happening::Ended(ending) = it { Some(ending) } else { None });
    endings.next().expect("it has ended")
}

fn passed(told: &[Happening]) -> Vec<(Step, i64)> {
    let of = |it: &Happening| if let Happening::Passed { step, took } = it { Some((*step, took.as_secs())) } else { None };
    told.iter().filter_map(of).collect()
}

fn restored(told: &[Happening]) -> Option<(Restorer, i64)> {
    told.iter().find_map(|it| if let Happening::Restored { by, took } = it { Some((*by, took.as_secs())) } else { None })
}

#[test]
fn a_good_version_tells_how_long_each_step_took() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    let told = told_since(&mut world, 120);
    assert_eq!(told.first(), Some(&Happening::Began));
    assert_eq!(passed(&told).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [Step::Starting, Step::Verifying, Step::Baking]);
    assert_eq!(passed(&told)[2].1, 30, "the bake of the spec");
    assert!(told.iter().any(|it| matches!(it, Happening::Arrived { lead } if *lead < SignedDuration::from_secs(60))), "{told:?}");
    let ending = ending(&told);
    assert_eq!((ending.outcome, ending.reason, ending.candidate.version.as_str()), (Outcome::Settled, None, "v2"));
    assert!(ending.candidate.ready_at <= ending.candidate.switched_at);
    assert_eq!(restored(&told), None);
}

#[test]
fn without_a_bake_arriving_and_settling_are_told_in_one() {
    let mut world = settled("v1");
    world.apply_spec(with("v2", &[("/strategy/bake", json!("0s"))]));
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).outcome, Outcome::Settled);
    assert!(ending(&told).candidate.switched_at.is_some());
    assert!(told.iter().any(|it| matches!(it, Happening::Arrived { .. })), "{told:?}");
}

#[test]
fn a_version_that_never_gets_ready_is_rejected_and_users_have_not_met_it() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    let told = told_since(&mut world, 120);
    let ending = ending(&told);
    assert_eq!((ending.outcome, ending.reason), (Outcome::Rejected, Some(RejectReason::DeadlineExceeded)));
    assert!(ending.message.contains("not ready within"), "{}", ending.message);
    assert!(!world.release.status.rejected[0].had_traffic);
    assert_eq!((restored(&told), passed(&told)), (None, vec![]));
}

#[test]
fn a_version_that_dies_tells_how_long_users_had_it() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--dies10", 3));
    let told = told_since(&mut world, 120);
    assert_eq!((ending(&told).outcome, ending(&told).reason), (Outcome::SwitchedBack, Some(RejectReason::BakeFailed)));
    assert!(world.release.status.rejected[0].had_traffic);
    let (by, took) = restored(&told).expect("users are back");
    assert!(by == Restorer::Automatic && (1..=10).contains(&took), "{took} s");
}

#[test]
fn whoever_gives_a_version_up_in_its_bake_is_a_person_who_restores() {
    for (operation, reason) in [("Abort", RejectReason::Aborted), ("Rollback", RejectReason::RolledBack)] {
        let mut world = settled("v1");
        world.apply_spec(spec("v2", 3));
        world.pass(10);
        world.told.clear();
        world.operate(&json!({"release": "web", "type": operation, "by": "ada"}));
        let told = told_since(&mut world, 30);
        assert_eq!((ending(&told).outcome, ending(&told).reason), (Outcome::SwitchedBack, Some(reason)));
        assert_eq!(restored(&told).map(|(by, _)| by), Some(Restorer::Person), "{operation}");
    }
}

#[test]
fn whoever_takes_the_change_back_during_the_bake_restores() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(10);
    world.apply_spec(spec("v1", 3));
    let told = told_since(&mut world, 30);
    assert_eq!((ending(&told).outcome, ending(&told).reason), (Outcome::SwitchedBack, None));
    assert_eq!(restored(&told).map(|(by, _)| by), Some(Restorer::Person));
}

#[test]
fn a_bad_version_that_keeps_the_traffic_is_told_and_the_next_one_restores() {
    let mut world = World::new(spec("v1--dies10", 3));
    let told = told_since(&mut world, 120);
    assert_eq!((ending(&told).outcome, ending(&told).reason), (Outcome::Kept, Some(RejectReason::BakeFailed)));
    assert_eq!(restored(&told), None);
    world.apply_spec(spec("v2", 3));
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).outcome, Outcome::Settled);
    let (by, took) = restored(&told).expect("users have a good one");
    assert!(by == Restorer::Person && took >= 60, "{took} s");
}

/// Seconds from when somebody asked for it to traffic.
fn lead(told: &[Happening]) -> i64 {
    told.iter().find_map(|it| if let Happening::Arrived { lead } = it { Some(lead.as_secs()) } else { None }).expect("arrived")
}

#[test]
fn a_version_was_asked_for_when_its_parameter_was_written() {
    let mut world = World::new(pointed(&[]));
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    world.release.spec.suspend = true;
    put(&mut world, "r.example/web:v2");
    world.pass(1_000);
    world.release.spec.suspend = false;
    let told = told_since(&mut world, 120);
    assert!((900..1_100).contains(&lead(&told)), "{} s", lead(&told));
}

#[test]
fn a_parameter_of_march_asks_for_nothing_in_june() {
    let mut world = World::new(pointed(&[]));
    put(&mut world, "r.example/web:v1");
    world.now += SignedDuration::from_secs(100_000);
    let told = told_since(&mut world, 120);
    assert!(lead(&told) < 100, "the first version: {} s", lead(&told));
    world.pass(100_000);
    // The same once more: a newer record, and no other image.
    put(&mut world, "r.example/web:v1");
    world.pass(50_000);
    world.apply_spec(pointed(&[("/workloads/0/template/spec/priorityClassName", json!("high"))]));
    let told = told_since(&mut world, 120);
    assert!(lead(&told) < 100, "{} s", lead(&told));
}

#[test]
fn a_switch_that_came_and_went_between_two_writes_was_met_by_users() {
    let mut world = in_the_middle_of_a_switch("v2--dies10");
    world.now += SignedDuration::from_secs(10);
    world.restart();
    assert_eq!(world.candidate(), Some(("v2--dies10", Step::Starting)), "nothing of the switch is written");
    let told = told_since(&mut world, 120);
    assert_eq!((ending(&told).outcome, ending(&told).reason), (Outcome::SwitchedBack, Some(RejectReason::BakeFailed)));
    assert!(world.release.status.rejected[0].had_traffic);
}

#[test]
fn a_rollback_tells_how_long_the_bad_version_had_users() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2", 3));
    world.pass(600);
    world.operate(&json!({"release": "web", "type": "Rollback", "by": "ada"}));
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).outcome, Outcome::Returned);
    let (by, took) = restored(&told).expect("users are back");
    assert!(by == Restorer::Person && took >= 590, "{took} s");
    assert!(!told.iter().any(|it| matches!(it, Happening::Arrived { .. })), "nobody delivered anything: {told:?}");
    assert!(world.release.status.rejected[0].had_traffic);
}

#[test]
fn one_that_makes_way_is_nobodys_fault() {
    let mut world = settled("v1");
    world.apply_spec(spec("v2--never", 3));
    world.pass(5);
    world.apply_spec(spec("v3", 3));
    let told = told_since(&mut world, 5);
    assert_eq!((ending(&told).outcome, ending(&told).candidate.version.as_str()), (Outcome::Superseded, "v2--never"));
    assert_eq!(told.iter().filter(|it| **it == Happening::Began).count(), 1, "the next one");
}

#[test]
fn gates_are_counted_when_they_end() {
    let gate =
        json!({"name": "smoke", "http": {"service": "web"}, "interval": "2s", "successes": 1, "failures": 1, "timeout": "30s"});
    let gates = json!({"beforeSwitch": [gate], "afterSwitch": []});
    let mut world = settled("v1");
    world.apply_spec(with("v2", &[("/gates", gates.clone())]));
    let told = told_since(&mut world, 120);
    let passed = Happening::Gated { stage: GateStage::BeforeSwitch, passed: true };
    assert_eq!(told.iter().filter(|it| **it == passed).count(), 1, "{told:?}");
    world.gauges.insert("smoke".into(), bascule_core::gate::Verdict::Fail("no".into()));
    world.apply_spec(with("v3", &[("/gates", gates)]));
    let told = told_since(&mut world, 120);
    let failed = Happening::Gated { stage: GateStage::BeforeSwitch, passed: false };
    assert_eq!(told.iter().filter(|it| **it == failed).count(), 1, "{told:?}");
    assert_eq!(ending(&told).reason, Some(RejectReason::GateFailed));
    assert_eq!(ending(&told).candidate.gates[0].state, GateState::Failed, "not as one that is still asked");
}

#[test]
fn a_gate_of_the_bake_has_passed_when_it_settles_and_failed_when_it_says_no() {
    let gate =
        json!({"name": "errors", "http": {"service": "web"}, "interval": "2s", "successes": 1, "failures": 2, "timeout": "30s"});
    let gates = json!({"beforeSwitch": [], "afterSwitch": [gate]});
    let mut world = settled("v1");
    world.apply_spec(with("v2", &[("/gates", gates.clone())]));
    let told = told_since(&mut world, 120);
    let counted =
        |told: &[Happening]| told.iter().filter(|it| matches!(it, Happening::Gated { .. })).cloned().collect::<Vec<_>>();
    assert_eq!(counted(&told), [Happening::Gated { stage: GateStage::AfterSwitch, passed: true }]);
    assert_eq!(ending(&told).candidate.gates[0].state, GateState::Passed);
    world.gauges.insert("errors".into(), bascule_core::gate::Verdict::Fail("no".into()));
    world.apply_spec(with("v3", &[("/gates", gates)]));
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).outcome, Outcome::SwitchedBack);
    assert_eq!(counted(&told), [Happening::Gated { stage: GateStage::AfterSwitch, passed: false }]);
    assert_eq!(ending(&told).candidate.gates[0].state, GateState::Failed);
}

const BUILD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_deploy_knows_the_trace_of_its_build() {
    let mut world = World::new(pointed(&[]));
    world.build_trace = Some(BUILD.into());
    put(&mut world, "r.example/web:v1");
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).candidate.artifacts[0].trace.as_deref(), Some(BUILD));
    world.build_trace = Some("not one".into());
    put(&mut world, "r.example/web:v2");
    let told = told_since(&mut world, 120);
    assert_eq!(ending(&told).candidate.artifacts[0].trace, None, "what is none is left out, and nobody is told off");
}

#[test]
fn a_label_that_was_not_read_before_an_upgrade_is_no_reason_to_write() {
    let mut world = World::new(pointed(&[]));
    put(&mut world, "r.example/web:v1");
    world.pass(120);
    world.writes.clear();
    world.build_trace = Some(BUILD.into());
    world.restart();
    world.pass(3600);
    assert_eq!((world.writes.len(), world.release.status.artifacts[0].trace.as_ref()), (0, None));
}
