//! Rest: when there is nothing to do, nothing is done; the wake-up says when there will be.

use std::collections::BTreeMap;

use bascule_core::{
    JobState, Next, Observed, Plan, decide,
    gate::{Probe, ProbeId, Verdict},
};
use bascule_crds::{GateStage, Step as Stage};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::{
    generate::{Event, half_seen, seen},
    play::{Player, property},
    world::{Rule, World},
};

/// Later than any time that a Release has in it.
const LONG: SignedDuration = SignedDuration::from_hours(1_000);

/// Brings the world to rest, and gives what is seen there. None: it does not rest (which has a property of its own).
fn at_rest(world: &mut World) -> Option<(Observed, Plan)> {
    world.run();
    let plan = world.plan();
    world.rests(&plan).then(|| (world.observed(), plan))
}

/// Everything that a decision about pods and traffic needs; where it is missing, its arrival is a reason of its own to decide.
fn is_seen(observed: &Observed) -> bool {
    let spec = &observed.release.spec;
    observed.environment.known().is_some()
        && observed.jobs.known().is_some()
        && observed.deployments.known().is_some()
        && observed.replica_sets.known().is_some()
        && observed.endpoints.values().all(|sight| sight.known().is_some())
        && spec.services.iter().all(|it| observed.services.get(&it.name).is_some_and(|sight| sight.known().is_some()))
}

/// The next answer of a gate is a reason of its own to decide: it has not been asked yet, has begun to say well, or is a Job that runs.
fn is_counting(observed: &Observed, plan: &Plan) -> bool {
    let gates = &observed.release.spec.gates;
    let wanted = |id: &ProbeId| {
        let stage = if id.stage == GateStage::BeforeSwitch { &gates.before_switch } else { &gates.after_switch };
        stage.iter().find(|gate| gate.name == id.name).map_or(1, bascule_crds::Gate::successes)
    };
    let counts = |probe: &Probe| {
        let samples = observed.samples.iter().find(|samples| samples.id == probe.id);
        samples.is_none_or(|it| it.last == Verdict::Pass && it.passes < wanted(&it.id))
    };
    let mut jobs = observed.jobs.known().into_iter().flat_map(BTreeMap::values);
    plan.probes.iter().any(counts) || jobs.any(|job| job.state == JobState::Running)
}

/// What a plan does, but for the moment of its next wake-up.
fn deeds(plan: &Plan) -> String {
    format!("{:?} {:?} {:?}", plan.next, plan.reads, plan.notes)
}

#[test]
fn at_rest_the_plan_is_empty_until_it_wakes() {
    property("rest", 20, &(any::<bool>(), half_seen(), 0..1_000i64), |(policy, events, part)| {
        let mut player = Player::new(policy, Rule::Rests);
        for event in &events {
            player.happen(event);
            let mut world = player.world.clone();
            prop_assert!(world.plan().wake.is_none_or(|at| at > world.now), "a wake-up in the past");
            let Some((observed, plan)) = at_rest(&mut world) else { continue };
            prop_assert_eq!(&plan.next, &Next::Rest);
            let later = |at: Timestamp| decide(&observed, at, &world.policy);
            let Some(wake) = plan.wake else {
                prop_assert_eq!(deeds(&later(world.now + LONG)), deeds(&plan), "no wake-up, and something to do later");
                continue;
            };
            prop_assert!(wake > world.now);
            let before = world.now + wake.duration_since(world.now) * i32::try_from(part).unwrap() / 1_000;
            for at in [before, wake - SignedDuration::from_nanos(1)] {
                let then = later(at);
                prop_assert_eq!(deeds(&then), deeds(&plan), "something to do before the wake-up");
                prop_assert!(then.wake >= Some(wake), "woken later: {:?}", then.wake);
            }
            if !is_seen(&observed) || is_counting(&observed, &plan) {
                continue;
            }
            let then = later(wake);
            let is_due = then.next != Next::Rest || !then.reads.is_empty() || then.wake.is_some_and(|next| next > wake);
            prop_assert!(is_due, "woken for nothing");
        }
        Ok(())
    });
}

/// No watch tells of what was only read. So either it is looked at again in time, or it does not matter any more.
#[test]
fn no_wake_up_is_lost() {
    property("lost", 20, &(any::<bool>(), seen()), |(policy, events)| {
        let mut player = Player::new(policy, Rule::Rests);
        for event in &events {
            player.happen(event);
            let mut world = player.world.clone();
            let Some((_, plan)) = at_rest(&mut world) else { continue };
            if plan.wake.is_none() {
                world.process.looked.clear();
                world.process.counted.clear();
                let plan = world.plan();
                prop_assert!(plan.is_empty(), "nobody would have looked: {plan:?}, {:?}", world.ready());
            }
        }
        Ok(())
    });
}

/// S8: after a restart and much later, whatever had happened before.
#[test]
fn s8_a_settled_release_costs_no_write() {
    property("S8", 25, &(any::<bool>(), seen()), |(policy, events)| {
        let mut player = Player::new(policy, Rule::Rests);
        player.play(&events).calm();
        // A candidate that a person holds is not settled.
        if player.world.release.status.candidate.is_some() {
            player.happen(&Event::Resume);
        }
        let world = &mut player.world;
        world.remembers = false;
        world.pass(3_000);
        world.pass(3_000);
        // Nor is one that is being measured: a new process counts anew.
        let measured = !world.release.spec.gates.after_switch.is_empty();
        if world.candidate().is_some_and(|(_, step)| step != Stage::Baking || measured) {
            return Ok(());
        }
        // A refused template is asked about again and again, seldom: a question, not a write.
        let count = |world: &World| world.writes.iter().filter(|write| *write != "dry-run").count();
        let writes = count(world);
        world.pass(3_000);
        prop_assert_eq!(count(world), writes, "settled means no writes: {:?}", world.writes.last());
        world.restart();
        world.pass(3_000);
        prop_assert_eq!(count(world), writes, "also after a restart: {:?}", world.writes.last());
        prop_assert!(world.oracle.failures.is_empty(), "{}", world.oracle.failures[0]);
        Ok(())
    });
}
