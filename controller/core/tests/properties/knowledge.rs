//! What the plan may depend on: to know less destroys no more (S4), and a way back asks the new version nothing (S2).

use std::collections::BTreeSet;

use bascule_core::{Next, Observed, Plan, Sight, Step, decide};
use bascule_crds::{RejectReason, Step as Stage, names};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    generate::{half_seen, seen},
    known,
    play::{Player, property},
    world::{Kind, Rule, World},
};

/// More than any way to rest is long.
const FAR: usize = 60;

/// What a plan ends or moves, in words without versions of objects.
fn destroyed(observed: &Observed, plan: &Plan) -> BTreeSet<String> {
    let stored = &observed.release.status;
    let replicas = |name: &str| observed.deployments.known().and_then(|them| them.get(name)).map_or(0, |it| it.replicas);
    // One that sends nowhere, or there already, is not moved: its record is put right.
    let moved = |name: &str, track: &str, revision: Option<&String>| {
        let service = observed.services.get(name).and_then(|sight| sight.known()?.as_ref())?;
        let serves = service.selected().is_none_or(|it| it != names::NO_TRACK && it != track);
        // To where the last settled version is: another hand had moved it.
        let revision = revision.or(service.record.as_ref().map(|record| &record.revision));
        let is_home = stored.active.as_ref().is_some_and(|it| it.track.as_str() == track && Some(&it.revision) == revision);
        (serves && !is_home).then(|| format!("{name} to {track}"))
    };
    let mut deeds = BTreeSet::new();
    match &plan.next {
        Next::Act(steps) => deeds.extend(steps.iter().filter_map(|step| match step {
            Step::Scale { deployment, resource_version: Some(_), replicas, .. } => Some(format!("{deployment} to {replicas}")),
            Step::Apply { deployment, body } => {
                let wanted = body["spec"]["replicas"].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap();
                (wanted < replicas(deployment)).then(|| format!("{deployment} to {wanted}"))
            }
            Step::DeleteDeployment { deployment, .. } => Some(format!("delete {deployment}")),
            Step::DeletePreview { service, .. } => Some(format!("delete {service}")),
            Step::Route(write) => moved(&write.service, write.track_name(), Some(&write.revision)),
            Step::Select { service, track, .. } => moved(service, track, None),
            _ => None,
        })),
        Next::Record(next) => {
            // What a person has returned from is left because that person says so, whatever is seen.
            let new = next.rejected.iter().filter(|it| it.reason != RejectReason::RolledBack);
            let new = new.filter(|it| stored.rejection(&it.revision) != Some(it));
            deeds.extend(new.map(|it| format!("reject {} {}", it.revision, it.reason)));
            let settled = stored.candidate.is_some() && next.candidate.is_none();
            deeds.extend(settled.then(|| "no candidate any more".to_owned()));
        }
        Next::Rest => {}
    }
    deeds
}

/// All that is ended or moved until the Release rests, when everything is seen.
fn destroyed_until_rest(world: &World) -> BTreeSet<String> {
    let mut world = world.clone();
    let spec = &world.release.spec;
    let status = &world.release.status;
    let tracks = status.active.iter().map(|it| it.track).chain(status.candidate.iter().map(|it| it.track));
    let versions = tracks.flat_map(|track| {
        let wanted = |workload: &bascule_crds::Workload| workload.replicas.or(spec.replicas).unwrap_or(1);
        spec.workloads.iter().map(move |it| format!("{} to {}", track.deployment(&it.name), wanted(it)))
    });
    // How many pods the spec wants of a version needs no other knowledge.
    let mut deeds: BTreeSet<String> = versions.collect();
    for _ in 0..FAR {
        deeds.extend(destroyed(&world.observed(), &world.plan()));
        if !world.turn() {
            break;
        }
    }
    deeds
}

/// The same, with parts that could not be seen: a bit for each.
fn dimmed(observed: &Observed, mask: u16) -> Observed {
    fn dim<T>(sight: &mut Sight<T>) {
        *sight = Sight::Unknown("not read yet".into());
    }
    let mut other = observed.clone();
    let hides = |bit: usize| mask & (1 << (bit % 16)) != 0;
    if hides(0) {
        dim(&mut other.environment);
    }
    if hides(1) {
        dim(&mut other.deployments);
    }
    if hides(2) {
        dim(&mut other.replica_sets);
    }
    let listed: Vec<_> = observed.release.spec.services.iter().map(|it| it.name.clone()).collect();
    for (index, sight) in other.services.iter_mut().filter(|(name, _)| listed.contains(name)).map(|(_, sight)| sight).enumerate()
    {
        if hides(3 + index) {
            dim(sight);
        }
    }
    for (index, sight) in other.endpoints.values_mut().enumerate() {
        if hides(6 + index) {
            dim(sight);
        }
    }
    for (index, sight) in other.strangers.values_mut().enumerate() {
        if hides(10 + index) {
            dim(sight);
        }
    }
    if hides(13) {
        other.pods = None;
    }
    if hides(14) {
        dim(&mut other.jobs);
    }
    if hides(15) {
        // As a new process begins.
        other.samples.clear();
        other.words.clear();
        other.absent.clear();
        other.inputs.clear();
        other.stored = None;
    }
    other
}

#[test]
fn s4_to_know_less_destroys_no_more() {
    property("less", 25, &(any::<bool>(), seen(), any::<u16>()), |(policy, events, mask)| {
        let mut player = Player::new(policy, Rule::Rests);
        for (index, event) in events.iter().enumerate() {
            player.happen(event);
            let mut world = player.world.clone();
            world.fault = None;
            if known::was_wiped(&world) {
                continue;
            }
            let observed = world.observed();
            let allowed = destroyed_until_rest(&world);
            let mask = mask.rotate_left(u32::try_from(index).unwrap());
            let plan = decide(&dimmed(&observed, mask), world.now, &world.policy);
            for deed in destroyed(&observed, &plan) {
                prop_assert!(
                    allowed.contains(&deed),
                    "{deed}, which is not done when all is seen: {allowed:?}\nmask {mask:016b}\n{plan:?}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn s2_the_way_back_asks_the_new_version_nothing() {
    property("way back", 40, &(any::<bool>(), half_seen(), 0..4i32), |(policy, events, available)| {
        let mut player = Player::new(policy, Rule::Rests);
        for event in &events {
            player.happen(event);
            let mut world = player.world.clone();
            world.thaw(Kind::Operations);
            world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
            let observed = world.observed();
            let Some(candidate) = observed.release.status.candidate.clone().filter(|it| it.step == Stage::Baking) else {
                continue;
            };
            let mut other = observed.clone();
            if let Sight::Known(sets) = &mut other.replica_sets {
                for set in sets.iter_mut().filter(|set| set.track == Some(candidate.track)) {
                    set.available = available;
                }
            }
            let moves = |observed: &Observed| match decide(observed, world.now, &world.policy).next {
                Next::Act(steps) => steps.into_iter().filter(|it| matches!(it, Step::Route(_) | Step::Select { .. })).collect(),
                Next::Rest | Next::Record(_) => Vec::new(),
            };
            prop_assert_eq!(moves(&observed), moves(&other));
        }
        Ok(())
    });
}
