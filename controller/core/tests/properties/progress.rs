//! Progress: while the input stays, each plan that is carried out brings the Release strictly nearer to rest.
//!
//! Nearer is a ranking, compared from the first place to the last: [`rank`]. Inputs are spec, pods, foreign hands and the time.

use std::collections::BTreeSet;

use bascule_core::{Next, Service, Step};
use bascule_crds::{
    Candidate, ConditionType, Gate, GateRecord, GateStage, GateState, Gates, Hooks, ReleaseStatus, Step as Stage, names,
};
use proptest::prelude::*;

use crate::{
    generate::seen,
    known,
    play::{Player, property},
    world::{Process, Rule, World},
};

/// More than any way to rest is long.
const FAR: usize = 60;

/// How far a Release is from rest.
///
/// 1. Operations that nobody has acted on.
/// 2. Phases that are left: see [`phase`].
/// 3. The question whether the server takes the wanted version, as long as it is open.
/// 4. Services that are nowhere where they may be: neither on the active, the candidate nor the version before.
/// 5. Deployments: how far they are from what they will be at rest, but for replicas.
/// 6. Replicas that are too many or too few.
/// 7. Gates that are still to be asked, or to answer, and Jobs that are still to be created.
/// 8. Services whose record is not yet what it will be at rest.
/// 9. Services that do not send where their record says.
/// 10. Operations without an answer, or kept too long; previews, and what is stored of releases, that are not as they will be.
/// 11. Parts of the status that do not say yet what they will say.
/// 12. Whether this very version of the Release was read, and not only watched.
/// 13. What was read and has changed since: a write that is refused tells.
/// 14. What must still be read.
/// 15. What gates are to measure at this moment.
fn rank(world: &World, rest: &World, wanted: Option<&str>) -> [u64; 15] {
    let status = &world.release.status;
    let count = |holds: bool| u64::from(holds);
    let unheard =
        world.operations.iter().filter(|it| !it.answered && status.operations.iter().all(|record| record.uid != it.uid));
    let is_known = world.process.check.as_ref().is_some_and(|check| {
        Some(check.revision.as_str()) == wanted && (check.refusal.is_none() || world.now < check.at + world.policy.recheck)
    });
    let traffic = || world.services.values().filter(|it| it.preview_of.is_none());
    let previews = |world: &World| -> BTreeSet<String> {
        let ours = world.services.values().filter(|it| it.preview_of.is_some());
        ours.map(|it| format!("{} {:?} {:?}", it.name, it.selector, it.ports)).collect()
    };
    let open = world.operations.iter().filter(|it| !it.answered).count() + world.operations.len();
    [
        unheard.count() as u64,
        phase(world, wanted),
        count(!is_known),
        traffic().filter(|it| is_astray(it, status)).count() as u64,
        workloads(world, rest),
        replicas(world, rest),
        open_gates(world, rest) + rest.jobs.keys().filter(|name| !world.jobs.contains_key(*name)).count() as u64,
        traffic().filter(|it| rest.services.get(&it.name).is_none_or(|last| record(it) != record(last))).count() as u64,
        traffic().filter(|it| it.record.as_ref().is_none_or(|record| it.selected() != Some(record.track.as_str()))).count()
            as u64,
        open as u64 + previews(world).symmetric_difference(&previews(rest)).count() as u64 + stored(world, rest),
        unsaid(status, &rest.release.status),
        count(world.process.sure.as_ref() != Some(&world.release.resource_version)),
        outdated(world),
        unread(world, rest),
        world.due_samples(&world.plan().probes) as u64,
    ]
}

/// What is left between now and a settled Release. Everything may end early, so the way down skips.
fn phase(world: &World, wanted: Option<&str>) -> u64 {
    let status = &world.release.status;
    let refused =
        world.process.check.as_ref().is_some_and(|check| Some(check.revision.as_str()) == wanted && check.refusal.is_some());
    match (&status.candidate, wanted) {
        (Some(candidate), wanted) => match (candidate.step, Some(candidate.revision.as_str()) == wanted) {
            // Another than the wanted one is in the way.
            (Stage::Preparing, false) => 17,
            (Stage::Baking, false) => 12,
            (_, false) => 16,
            (Stage::Preparing, true) => 9,
            (Stage::Baking, true) => 4,
            (_, true) if refused => 6,
            (_, true) => 8,
        },
        // Nothing is known to be active: it may be read back from the Services.
        (None, _) if status.active.is_none() && !(refused || wanted.is_some_and(|it| status.rejection(it).is_some())) => 14,
        (None, Some(wanted)) if status.rejection(wanted).is_some() => 0,
        (None, Some(wanted)) if status.active.as_ref().is_some_and(|it| it.revision == wanted) => 0,
        (None, Some(_)) if refused => 2,
        (None, _) => 10,
    }
}

/// What is stored of releases, and what this process knows of it.
fn stored(world: &World, rest: &World) -> u64 {
    let names = |world: &World| world.revisions.keys().cloned().collect::<BTreeSet<_>>();
    let apart = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.symmetric_difference(other).count();
    let unknown = u64::from(world.process.stored != rest.process.stored);
    (apart(&names(world), &names(rest)) + apart(&world.process.discarded, &rest.process.discarded)) as u64 + unknown
}

/// Where label and annotations say that it is.
fn record(service: &Service) -> Option<(&str, &str)> {
    service.record.as_ref().filter(|_| service.labelled).map(|it| (it.track.as_str(), it.revision.as_str()))
}

fn is_astray(service: &Service, status: &ReleaseStatus) -> bool {
    let candidate = status.candidate.as_ref().map(|it| (it.track.as_str(), it.revision.as_str()));
    let versions = status.active.iter().chain(&status.previous).map(|it| (it.track.as_str(), it.revision.as_str()));
    let nowhere = [(names::NO_TRACK, "")].into_iter().filter(|_| status.active.is_none());
    !versions.chain(candidate).chain(nowhere).any(|place| record(service) == Some(place))
}

fn workloads(world: &World, rest: &World) -> u64 {
    let names: BTreeSet<_> = world.deployments.keys().chain(rest.deployments.keys()).collect();
    let confirmed = |world: &World, name: &str| {
        world.deployments.get(name).is_some_and(|it| world.process.confirmed.get(&it.uid) == Some(&it.generation))
    };
    let distance = |name: &str| {
        let (now, then) = (world.deployments.get(name), rest.deployments.get(name));
        u64::from(now.is_some() != then.is_some())
            + u64::from(now.map(|it| &it.revision) != then.map(|it| &it.revision))
            + u64::from(world.template(name) != rest.template(name))
            + u64::from(confirmed(world, name) != confirmed(rest, name))
    };
    names.into_iter().map(|name| distance(name)).sum()
}

fn replicas(world: &World, rest: &World) -> u64 {
    let names: BTreeSet<_> = world.deployments.keys().chain(rest.deployments.keys()).collect();
    names.into_iter().map(|name| u64::from(world.replicas(name).abs_diff(rest.replicas(name)))).sum()
}

fn unsaid(now: &ReleaseStatus, then: &ReleaseStatus) -> u64 {
    use ConditionType::{Available, Ready, Reconciling, RollbackReady, SourcesFresh, Stalled};
    let conditions = [Ready, Reconciling, Stalled, Available, SourcesFresh, RollbackReady]
        .into_iter()
        .filter(|kind| now.condition(*kind) != then.condition(*kind));
    let candidate = |status: &ReleaseStatus| status.candidate.clone().map(|it| Candidate { gates: Vec::new(), ..it });
    let parts = [
        now.observed_generation != then.observed_generation,
        now.replicas != then.replicas || now.selector != then.selector,
        now.artifacts != then.artifacts,
        now.active != then.active,
        candidate(now) != candidate(then),
        now.previous != then.previous,
        now.rejected != then.rejected,
        now.operations != then.operations,
        now.history != then.history,
        now.discarded != then.discarded,
        now.hold != then.hold,
    ];
    let said = |it: &&GateRecord| {
        !gates_of(then).any(|last| (last.stage, &last.name, &last.message) == (it.stage, &it.name, &it.message))
    };
    let gates = gates_of(now).filter(said).count() as u64;
    conditions.count() as u64
        + parts.into_iter().filter(|differs| *differs).count() as u64
        + gates
        + apart(&now.hooks, &then.hooks)
}

fn gates_of(status: &ReleaseStatus) -> impl Iterator<Item = &GateRecord> {
    status.candidate.iter().flat_map(|it| &it.gates)
}

/// How far the gates of a candidate are from their end.
fn open_gates(world: &World, rest: &World) -> u64 {
    let (spec, status) = (&world.release.spec, &world.release.status);
    if spec.suspend || status.hold.as_ref().is_some_and(|hold| hold.revision.is_none()) {
        // While nothing goes on they are forgotten.
        return apart(&gates_of(status).collect::<Vec<_>>(), &gates_of(&rest.release.status).collect::<Vec<_>>());
    }
    let before = spec.gates.before_switch.iter().map(|gate| (GateStage::BeforeSwitch, gate));
    let all = before.chain(spec.gates.after_switch.iter().map(|gate| (GateStage::AfterSwitch, gate)));
    let left = |(stage, gate): (GateStage, &Gate)| {
        let record = gates_of(status).find(|it| it.stage == stage && it.name == gate.name);
        match record.map(|it| (it.state, &it.job)) {
            None => 3,
            Some((GateState::Running, None)) if gate.job.is_some() => 2,
            Some((GateState::Running, _)) => 1,
            Some((GateState::Passed | GateState::Failed, _)) => 0,
        }
    };
    all.map(left).sum()
}

/// How many are in one list only.
fn apart<T: PartialEq>(now: &[T], then: &[T]) -> u64 {
    let missing = |from: &[T], list: &[T]| list.iter().filter(|it| !from.contains(it)).count();
    (missing(now, then) + missing(then, now)) as u64
}

fn outdated(world: &World) -> u64 {
    let version = |it: &Service| it.resource_version.clone();
    let changed = |name: &str, seen: &Option<Service>| world.services.get(name).map(version) != seen.as_ref().map(version);
    world.process.looked.iter().filter(|(name, (_, seen))| changed(name, seen)).count() as u64
}

/// Services that were not looked at, those whose strangers were not counted, pods that were not asked; and what will have been read at rest
/// of Jobs and of the history.
fn unread(world: &World, rest: &World) -> u64 {
    let fresh = |at: jiff::Timestamp| world.now < at + world.policy.look_for_service;
    let listed = world.release.spec.services.iter().flat_map(|it| [it.name.clone(), names::preview(&it.name)]);
    let names: BTreeSet<_> = listed.chain(world.services.keys().cloned()).collect();
    let unseen = names.iter().filter(|name| !world.process.looked.get(*name).is_some_and(|(at, _)| fresh(*at))).count();
    let uncounted =
        world.services.keys().filter(|name| !world.process.counted.get(*name).is_some_and(|(at, _)| fresh(*at))).count();
    let unasked = world.process.pods.as_ref().is_none_or(|report| report.at != world.now);
    let (now, then) = (&world.process, &rest.process);
    let jobs = then.absent.difference(&now.absent).count() + then.words.keys().filter(|it| !now.words.contains_key(*it)).count();
    let inputs = then.inputs.keys().filter(|it| !now.inputs.contains_key(*it)).count();
    let history = inputs as u64 + u64::from(now.way_back != then.way_back);
    unseen as u64 + uncounted as u64 + u64::from(unasked) + jobs as u64 + history
}

/// What a person has returned to, if that lasts; else what the spec asks for.
fn wanted(world: &World, rest: &World, asked: Option<&String>) -> Option<String> {
    let hold = world.release.status.hold.as_ref();
    let goal = hold.filter(|hold| asked.is_none() || rest.release.status.hold.as_ref() == Some(hold));
    goal.and_then(|hold| hold.revision.clone()).or_else(|| asked.cloned())
}

/// The revision that the spec stands for, as a world without a history shows it. None: it cannot be said.
fn asked(world: &World) -> Option<String> {
    let mut spec = world.release.spec.clone();
    spec.suspend = false;
    spec.services.clear();
    spec.hooks = Hooks::default();
    spec.gates = Gates::default();
    let mut fresh = World::new(spec);
    fresh.registry = world.registry;
    fresh.store = world.store.clone();
    fresh.claim = world.claim.clone();
    fresh.release.status.artifacts.clone_from(&world.release.status.artifacts);
    fresh.process = Process::default();
    for _ in 0..4 {
        if let Next::Act(steps) = fresh.plan().next {
            return steps
                .into_iter()
                .find_map(|step| if let Step::DryRun { revision, .. } = step { Some(revision) } else { None });
        }
        fresh.turn();
    }
    None
}

#[test]
fn each_plan_that_is_carried_out_lowers_the_rank() {
    property("progress", 35, &(any::<bool>(), seen()), |(policy, events)| {
        let mut player = Player::new(policy, Rule::Rests);
        for event in &events {
            player.happen(event);
            let mut world = player.world.clone();
            world.fault = None;
            let mut last = (world.release.status.artifacts.clone(), asked(&world));
            let mut rest = world.clone();
            let steps = (0..FAR).take_while(|_| rest.turn()).count();
            let mut wanted = |world: &World| {
                // A person may accept an older build.
                if last.0 != world.release.status.artifacts {
                    last = (world.release.status.artifacts.clone(), asked(world));
                }
                wanted(world, &rest, last.1.as_ref())
            };
            let first = wanted(&world);
            let known = known::starts_more_than_it_needs(&world, first.as_deref()) || known::was_wiped(&world);
            if known || known::returns_and_comes_again(&world) {
                continue;
            }
            prop_assert!(steps < FAR, "it never rests: {:#?}", &rest.writes[rest.writes.len() - 12..]);
            let mut before = rank(&world, &rest, first.as_deref());
            for _ in 0..steps {
                let (status, written) = (world.release.status.clone(), world.writes.len());
                world.turn();
                let after = rank(&world, &rest, wanted(&world).as_deref());
                let what = || {
                    format!(
                        "{before:?} to {after:?} by {:?}\nfrom {status:#?}\nat rest {:#?}",
                        &world.writes[written..],
                        rest.release.status
                    )
                };
                prop_assert!(after < before, "{}", what());
                before = after;
            }
        }
        Ok(())
    });
}
