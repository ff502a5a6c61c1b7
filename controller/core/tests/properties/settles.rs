//! ESR, eventually stable reconciliation: when faults cease and the input stays, traffic comes to rest on the wanted revision or on
//! the last good one with the reason in status, and nothing more is written. From any history, however little of it was seen.

use bascule_core::Next;
use bascule_crds::{Candidate, Step as Stage, Track};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    generate::{Event, Setting, half_seen, seen},
    play::{Player, property},
    world::{Rule, World},
};

fn settles(policy: bool, events: &[Event], resume: bool) -> Result<(), TestCaseError> {
    let mut player = Player::new(policy, Rule::Rests);
    player.play(events).calm();
    if resume {
        player.happen(&Event::Resume);
    }
    let world = &mut player.world;
    // From here on everything is seen.
    world.remembers = false;
    world.pass(3_000);
    world.pass(3_000);
    prop_assert!(!resume || world.release.status.hold.is_none(), "{:?}", world.release.status.hold);
    it_rests_where_it_should(&player)
}

/// What a person has said about where it is to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// Nothing new starts, and what is on its way gets no traffic.
    Held,
    /// It has returned to another version.
    Returned,
    /// It was to return, and that one is not good, or cannot be made again.
    NotReturned,
}

fn said(world: &World) -> Said {
    let status = &world.release.status;
    match status.hold.as_ref().map(|hold| hold.revision.as_ref()) {
        None => Said::Nothing,
        Some(None) => Said::Held,
        Some(goal) if status.active.as_ref().map(|it| &it.revision) == goal => Said::Returned,
        Some(_) => Said::NotReturned,
    }
}

fn it_rests_where_it_should(player: &Player) -> Result<(), TestCaseError> {
    let (world, wish, status) = (&player.world, &player.wish, &player.world.release.status);
    let plan = world.plan();
    let (ready, reason, message) = world.ready();
    let told = said(world);
    let said = format!("{reason}: {message}; {told:?} {:?}", world.writes);
    prop_assert_eq!(&plan.next, &Next::Rest, "{}", &said);
    prop_assert!(world.oracle.failures.is_empty(), "{}", world.oracle.failures[0]);
    // A bad version that may not go back by itself is still being watched.
    let stays = reason == "BakeFailing" && !wish.is_automatic();
    let waits = told == Said::Held && world.candidate().is_some_and(|(_, step)| step != Stage::Baking);
    prop_assert!(world.candidate().is_none() || stays || waits, "{:?} {}", world.candidate(), said);
    prop_assert!(plan.probes.is_empty() || stays, "{:?} {said}", plan.probes);

    let spec = &world.release.spec;
    let listed = |name: &str| spec.services.iter().any(|it| it.name == name);
    let claimed = || world.services.values().filter(|it| it.preview_of.is_none() && (it.labelled || listed(&it.name)));
    if let Some((version, track)) = world.active() {
        for service in claimed() {
            prop_assert_eq!(service.selected(), Some(track.as_str()), "{}: {}", &service.name, &said);
        }
        // One that was read back from the Services while the spec was broken goes by its revision.
        let is_wanted = version == wish.tag || version == world.release.status.active.as_ref().unwrap().revision;
        prop_assert_eq!(ready, is_wanted && reason == "Settled", "{} is active; {}", version, said);
        if !stays {
            let idle = |it: &&bascule_core::Deployment| it.track == Some(track.other()) && it.replicas > 0;
            prop_assert!(waits || !world.deployments.values().any(|it| idle(&it)), "pods that nobody needs; {said}");
        }
        for workload in &spec.workloads {
            if let Some(it) = world.deployments.get(&track.deployment(&workload.name)).filter(|_| ready) {
                prop_assert_eq!(it.replicas, workload.replicas.or(spec.replicas).unwrap_or(1), "{}", &it.name);
            }
        }
    } else {
        prop_assert!(!ready, "{said}");
        for service in claimed() {
            prop_assert!(service.selected().is_none_or(|it| Track::parse(it).is_none()), "{}: {}", service.name, said);
        }
    }
    if !wish.tag.contains("--") {
        // Nothing is wrong with it: only a person's Abort, or pods that were taken away, may keep it out.
        let fits = match told {
            _ if stays => true,
            Said::Nothing => ready || reason == "Rejected",
            Said::Held => ready || ["Rejected", "Held"].contains(&reason) || waits,
            Said::Returned => reason == "RolledBack",
            Said::NotReturned => ["Rejected", "RollbackBlocked"].contains(&reason),
        };
        prop_assert!(fits, "{said}");
    }
    what_is_kept_is_needed(world)?;
    for service in &spec.services {
        let preview = world.services.get(&format!("{}-preview", service.name));
        prop_assert_eq!(preview.is_some(), spec.preview, "{}: {}", service.name, said);
        let answers = |it: &&Candidate| {
            let mut sets = world.sets.values().map(|set| &set.view).filter(|set| set.revision == it.revision);
            it.step != Stage::Baking
                && it.workloads.iter().all(|record| sets.any(|set| set.workload == record.name && set.available > 0))
        };
        let shown = status.candidate.as_ref().filter(answers).map(|it| it.track);
        let shown = shown.or(status.active.as_ref().map(|it| it.track));
        let track = shown.map_or("none", Track::as_str);
        prop_assert!(preview.is_none_or(|it| it.selected() == Some(track)), "{preview:?} {said}");
    }
    for operation in &world.operations {
        prop_assert!(operation.answered, "{} was never answered; {said}", operation.name);
    }
    Ok(())
}

/// Of what was stored nothing stays that nobody can return to.
fn what_is_kept_is_needed(world: &World) -> Result<(), TestCaseError> {
    let status = &world.release.status;
    let versions = status.active.iter().chain(&status.previous).map(|it| &it.revision);
    let versions =
        versions.chain(status.history.iter().map(|it| &it.revision)).chain(status.candidate.iter().map(|it| &it.revision));
    // What came to nothing goes with the next one that settles.
    let needed: Vec<_> = versions.chain(&status.discarded).map(|it| bascule_core::input::name("web", it)).collect();
    let surplus: Vec<_> = world.revisions.keys().filter(|name| !needed.contains(*name)).collect();
    // What a status that was wiped had to say of it is lost.
    prop_assert!(surplus.is_empty() || world.oracle.people.has_lost(), "{surplus:?} {:?}", world.writes);
    Ok(())
}

#[test]
fn it_always_comes_to_rest_where_it_should() {
    property("settles", 30, &(any::<bool>(), seen(), any::<bool>()), |(policy, events, resume)| settles(policy, &events, resume));
}

#[test]
fn also_after_times_in_which_little_was_seen() {
    let histories = (any::<bool>(), half_seen(), any::<bool>());
    property("settles unseen", 30, &histories, |(policy, events, resume)| settles(policy, &events, resume));
}

/// Found once, kept for ever.
#[test]
fn a_version_that_died_and_is_wanted_again_comes_to_rest() {
    let want = |version, pods| Event::Want { version, pods, replicas: 1 };
    settles(false, &[want(1, 6), Event::Pass(34), want(0, 0), Event::Pass(6), want(1, 6)], false).unwrap();
    settles(false, &[Event::Set(Setting::Wait(false)), want(0, 10)], false).unwrap();
}
