//! ESR, eventually stable reconciliation: when faults cease and the input stays, traffic comes to rest on the wanted revision or on
//! the last good one with the reason in status, and nothing more is written. From any history, however little of it was seen.

use bascule_core::Next;
use bascule_crds::Track;
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    generate::{Event, Setting, half_seen, seen},
    play::{Player, property},
    world::Rule,
};

fn settles(policy: bool, events: &[Event]) -> Result<(), TestCaseError> {
    let mut player = Player::new(policy, Rule::Rests);
    player.play(events).calm();
    player.world.pass(3_000);
    player.world.pass(3_000);
    it_rests_where_it_should(&player)
}

fn it_rests_where_it_should(player: &Player) -> Result<(), TestCaseError> {
    let (world, wish) = (&player.world, &player.wish);
    let plan = world.plan();
    let (ready, reason, message) = world.ready();
    let said = format!("{reason}: {message}; {:?}", world.writes);
    prop_assert_eq!(&plan.next, &Next::Rest, "{}", &said);
    prop_assert!(world.oracle.failures.is_empty(), "{}", world.oracle.failures[0]);
    // A bad version that may not go back by itself is still being watched.
    let stays = reason == "BakeFailing" && !wish.is_automatic();
    prop_assert!(world.candidate().is_none() || stays, "{:?} {}", world.candidate(), said);

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
            prop_assert!(!world.deployments.values().any(|it| idle(&it)), "pods that nobody needs; {said}");
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
        prop_assert!(ready || reason == "Rejected", "{said}");
    }
    for service in &spec.services {
        let preview = world.services.get(&format!("{}-preview", service.name));
        prop_assert_eq!(preview.is_some(), spec.preview, "{}: {}", service.name, said);
        let track = world.active().map_or("none", |(_, track)| track.as_str());
        prop_assert!(preview.is_none_or(|it| it.selected() == Some(track)), "{preview:?} {said}");
    }
    for operation in &world.operations {
        prop_assert!(operation.answered, "{} was never answered; {said}", operation.name);
    }
    Ok(())
}

#[test]
fn it_always_comes_to_rest_where_it_should() {
    property("settles", 25, &(any::<bool>(), seen()), |(policy, events)| settles(policy, &events));
}

#[test]
fn also_after_times_in_which_little_was_seen() {
    property("settles unseen", 25, &(any::<bool>(), half_seen()), |(policy, events)| settles(policy, &events));
}

/// Found once, kept for ever.
#[test]
fn a_version_that_died_and_is_wanted_again_comes_to_rest() {
    let want = |version, pods| Event::Want { version, pods, replicas: 1 };
    settles(false, &[want(1, 6), Event::Pass(34), want(0, 0), Event::Pass(6), want(1, 6)]).unwrap();
    settles(false, &[Event::Set(Setting::Wait(false)), want(0, 10)]).unwrap();
}
