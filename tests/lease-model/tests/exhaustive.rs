//! Every state is visited, and every precondition and margin is shown to be needed: without it the checker finds the way to where it breaks.

#![allow(clippy::print_stderr, reason = "how much was visited, and the way to a counterexample, are the result")]

use std::time::Duration;

use bascule_lease_model::{LATE, Pace, Setup, TWO};
use stateright::{Checker, HasDiscoveries, Model as _};

/// Visits everything, says how much that was, and demands every property.
fn holds(what: &str, setup: Setup) {
    let checker = setup.checker().threads(2).spawn_bfs().join();
    eprintln!(
        "{what}: {} states, {} transitions, {} steps deep",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

/// Finds a way to where it breaks, and tells it.
fn breaks(what: &str, setup: Setup, property: &'static str) {
    let found = HasDiscoveries::AnyOf([property].into());
    let way = setup.checker().threads(2).finish_when(found).spawn_bfs().join().assert_any_discovery(property).into_actions();
    eprintln!("{what}: \"{property}\" is broken in {} steps: {way:?}", way.len());
}

/// The election alone. Requests and answers take as long as they like and come in any order, watches show the Lease whenever they like.
#[test]
fn one_leads_whatever_the_network_does() {
    holds("election, requests of any age", Setup { on_their_way: 1, ends: 0, switches: false, liveness: true, ..Setup::new(2) });
}

/// With writes that move traffic: checked against the clock, and then as late as they like. A leader crashes or resigns, and comes back.
#[test]
fn no_late_write_lands_whoever_leads() {
    holds("election and switch", Setup::new(2));
}

#[test]
fn a_lease_that_is_deleted_comes_back_with_one_leader() {
    holds("election, Lease deleted", Setup { deletes: 1, switches: false, liveness: true, ..Setup::new(2) });
}

#[test]
fn watches_that_show_the_past_do_no_harm() {
    holds(
        "election, watches of the past",
        Setup { lagging_watches: true, ends: 0, switches: false, liveness: true, ..Setup::new(2) },
    );
}

/// The standby's clock runs half as fast again as the leader's, which is the margin between giving up and running out here.
#[test]
fn clocks_need_not_run_alike() {
    holds("election and switch, clocks 2 to 3", Setup { paces: vec![Pace(1, 1), Pace(1, 2)], ends: 0, ..Setup::new(2) });
}

#[test]
fn without_its_precondition_a_late_write_lands() {
    let mut setup = Setup::new(2);
    setup.checks.switch = false;
    breaks("no precondition on the Service", setup, LATE);
}

#[test]
fn without_its_precondition_the_lease_has_two_holders() {
    let mut setup = Setup { on_their_way: 1, switches: false, ..Setup::new(2) };
    setup.checks.lease = false;
    breaks("no precondition on the Lease", setup, TWO);
}

#[test]
fn without_a_margin_two_lead() {
    let mut setup = Setup { switches: false, ..Setup::new(2) };
    setup.times.give_up = setup.times.duration + Duration::from_secs(1);
    breaks("given up later than it runs out", setup, TWO);
}

#[test]
fn with_a_clock_that_is_far_too_fast_two_lead() {
    let setup = Setup { paces: vec![Pace(1, 1), Pace(3, 3)], switches: false, ..Setup::new(2) };
    breaks("clocks 1 to 3", setup, TWO);
}
