//! Proof that the generators come everywhere: what a bounded number of histories has reached, counted and asserted.
//!
//! Counted are the phases in which a decision was made, what it was, every kind of step, read, note, rejection, answer and fault, and
//! every reason that a condition has had. The histories are the same each time; the least is about a quarter of what they reach, so
//! that a change of the core shifts the numbers without breaking the test. `--nocapture` shows the table.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    generate::{half_seen, seen},
    play::{Player, property},
    world::Rule,
};

/// What must be reached, and how often at least, in [`CASES`] histories of each kind.
const MUST: &[(&str, u64)] = &[
    ("available AllPodsReady", 50),
    ("available NothingActive", 50),
    ("available PodsMissing", 10),
    ("fault Crash { applied: false }", 5),
    ("fault Crash { applied: true }", 6),
    ("fault Fails { again: 0 }", 30),
    ("fault Fails { again: 1 }", 20),
    ("fault Fails { again: 2 }", 20),
    ("fault Fails { again: 3 }", 20),
    ("fault Fails { again: 4 }", 20),
    ("fault Fails { again: 5 }", 20),
    ("fault Unanswered { applied: false }", 5),
    ("fault Unanswered { applied: true }", 7),
    ("next Act", 50),
    ("next Record", 50),
    ("next Rest", 50),
    ("note Healed", 10),
    ("note Operated", 8),
    ("note Rejected", 30),
    ("note Settled", 50),
    ("note Stalled", 30),
    ("note Started", 50),
    ("note Superseded", 10),
    ("note Switched", 50),
    ("note SwitchedBack", 3),
    ("operation Done", 10),
    ("operation Refused", 40),
    ("phase Baking", 50),
    ("phase None", 50),
    ("phase Starting", 50),
    ("enters Switching", 1),
    ("phase Verifying", 30),
    ("read Pods", 50),
    ("read Service", 50),
    ("read Strangers", 50),
    ("ready ArtifactUnresolved", 5),
    ("ready BakeFailing", 2),
    ("ready DeploymentDeleting", 2),
    ("ready DeploymentMissing", 2),
    ("ready NameTaken", 2),
    ("ready Progressing", 50),
    ("ready Rejected", 20),
    ("ready Resolving", 2),
    ("ready Retrying", 10),
    ("ready SelectorMismatch", 1),
    ("ready ServiceDeleting", 1),
    ("ready ServiceInUse", 10),
    ("ready ServiceMissing", 5),
    ("ready ServiceUnknown", 30),
    ("ready ServiceUnusable", 7),
    ("ready Settled", 50),
    ("ready SpecInvalid", 1),
    ("ready Suspended", 8),
    ("ready TemplateInvalid", 1),
    ("ready WayBackNotAvailable", 1),
    ("rejected Aborted", 7),
    ("rejected BakeFailed", 8),
    ("rejected DeadlineExceeded", 10),
    ("rejected Refused", 2),
    ("sources Fresh", 20),
    ("note PassedOver", 3),
    ("sources OutOfOrder", 3),
    ("sources ParameterMissing", 3),
    ("sources Unreachable", 3),
    ("stalled NameTaken", 2),
    ("stalled NotStalled", 50),
    ("stalled Rejected", 20),
    ("stalled SelectorMismatch", 1),
    ("stalled ServiceInUse", 10),
    ("stalled ServiceUnusable", 7),
    ("stalled SpecInvalid", 1),
    ("stalled TemplateInvalid", 1),
    ("stalled ValueInvalid", 3),
    ("step Answer", 50),
    ("step Apply", 50),
    ("step DeleteDeployment", 9),
    ("step DeletePreview", 10),
    ("step DryRun", 50),
    ("step Preview", 10),
    ("step Prune", 8),
    ("step Route", 50),
    ("step Scale", 50),
    ("step Select", 50),
];

const CASES: u32 = 120;

#[test]
fn the_generators_come_everywhere() {
    let counts = std::cell::RefCell::new(BTreeMap::<String, u64>::new());
    let count = |policy, events: &[_]| {
        let mut player = Player::new(policy, Rule::Rests);
        player.world.oracle.tally.on = true;
        player.play(events);
        for (what, number) in player.world.oracle.tally.counts {
            *counts.borrow_mut().entry(what).or_default() += number;
        }
        Ok(())
    };
    property("coverage", CASES, &(any::<bool>(), seen()), |(policy, events)| count(policy, &events));
    property("coverage half seen", CASES, &(any::<bool>(), half_seen()), |(policy, events)| count(policy, &events));

    let counts = counts.into_inner();
    for (what, number) in &counts {
        println!("{number:>7}  {what}");
    }
    let reached = |what: &str| counts.get(what).copied().unwrap_or(0);
    let missing: Vec<_> = MUST.iter().filter(|(what, least)| reached(what) < *least).collect();
    assert!(missing.is_empty(), "not reached often enough: {missing:?}");
}
