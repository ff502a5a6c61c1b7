//! Every state is visited. Each fault and each precondition is there because without it something else comes out; that is checked too.

#![allow(clippy::print_stderr, reason = "how much was visited is part of the result")]

use bascule_lease_model::Setup;
use stateright::{Checker, Model as _};

const TWO: &str = "never do two believe that they lead";
const LATE: &str = "no late write lands after the new leader has moved traffic";

/// Visits everything, says how much that was, and demands every property.
fn holds(what: &str, setup: Setup) {
    let checker = setup.checker().threads(2).spawn_bfs().join();
    eprintln!("{what}: {} states, {} transitions, depth {}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Finds the way to where it breaks.
fn breaks(what: &str, setup: Setup, property: &'static str) {
    let checker = setup.checker().threads(2).finish_when(stateright::HasDiscoveries::AnyOf(std::iter::once(property).collect())).spawn_bfs().join();
    let path = checker.assert_any_discovery(property);
    eprintln!("{what}: {property:?} is broken after {} steps: {:?}", path.clone().into_actions().len(), path.into_actions());
}

#[test]
fn two_leaders_and_a_switch() {
    holds("election and switch", Setup::new(2));
}

#[test]
fn without_the_precondition_a_late_write_lands() {
    let mut setup = Setup::new(2);
    setup.checks.switch = false;
    breaks("no precondition on the Service", setup, LATE);
}

#[test]
fn without_the_precondition_on_the_lease_two_lead() {
    let mut setup = Setup::new(2);
    setup.checks.lease = false;
    breaks("no precondition on the Lease", setup, TWO);
}
