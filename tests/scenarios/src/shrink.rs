//! The smallest scenario that still fails.

use crate::Scenario;

/// Leaves out steps as long as it fails without them.
pub fn shrink(scenario: &Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    let mut at = 0;
    while at < best.steps.len() {
        let mut smaller = best.clone();
        smaller.steps.remove(at);
        if fails(&smaller) { best = smaller } else { at += 1 }
    }
    best
}
