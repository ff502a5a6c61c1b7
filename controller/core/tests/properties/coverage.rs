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
    ("available PodsMissing", 22),
    ("enters Baking", 50),
    ("enters Preparing", 21),
    ("enters Switching", 4),
    ("enters Verifying", 33),
    ("fault Crash { applied: false }", 4),
    ("fault Crash { applied: true }", 3),
    ("fault Fails { again: 0 }", 18),
    ("fault Fails { again: 1 }", 17),
    ("fault Fails { again: 2 }", 15),
    ("fault Fails { again: 3 }", 13),
    ("fault Fails { again: 4 }", 11),
    ("fault Fails { again: 5 }", 11),
    ("fault Unanswered { applied: false }", 5),
    ("fault Unanswered { applied: true }", 2),
    ("next Act", 50),
    ("next Record", 50),
    ("next Rest", 50),
    ("note GatePassed", 24),
    ("note Healed", 22),
    ("note HookDone", 11),
    ("note Operated", 50),
    ("note PassedOver", 15),
    ("note Rejected", 36),
    ("note Settled", 50),
    ("note Stalled", 37),
    ("note Started", 50),
    ("note Superseded", 13),
    ("note Switched", 50),
    ("note SwitchedBack", 6),
    ("operation Done", 50),
    ("operation Refused", 50),
    ("phase Baking", 50),
    ("phase None", 50),
    ("phase Preparing", 50),
    ("phase Starting", 50),
    ("phase Switching", 50),
    ("phase Verifying", 50),
    ("read Input", 50),
    ("read Job", 4),
    ("read Pods", 45),
    ("read Service", 50),
    ("read Strangers", 50),
    ("read WayBack", 50),
    ("read Words", 8),
    ("ready ArtifactUnresolved", 4),
    ("ready BakeFailing", 1),
    ("ready DeploymentDeleting", 1),
    ("ready DeploymentMissing", 2),
    ("ready GateInvalid", 3),
    ("ready Held", 8),
    ("ready NameTaken", 3),
    ("ready Progressing", 50),
    ("ready Rejected", 30),
    ("ready Resolving", 13),
    ("ready Retrying", 2),
    ("ready RollbackBlocked", 3),
    ("ready RolledBack", 8),
    ("ready SelectorMismatch", 1),
    ("ready ServiceDeleting", 1),
    ("ready ServiceInUse", 9),
    ("ready ServiceMissing", 4),
    ("ready ServiceUnknown", 21),
    ("ready ServiceUnusable", 8),
    ("ready Settled", 50),
    ("ready SpecInvalid", 1),
    ("ready Suspended", 4),
    ("ready TemplateInvalid", 3),
    ("ready WayBackNotAvailable", 5),
    ("rejected Aborted", 4),
    ("rejected BakeFailed", 10),
    ("rejected DeadlineExceeded", 6),
    ("rejected GateFailed", 5),
    ("rejected HookFailed", 8),
    ("rejected Refused", 1),
    ("rejected RolledBack", 20),
    ("rollback Complete", 37),
    ("rollback NoEarlierVersion", 50),
    ("rollback NotLookedAt", 20),
    ("rollback SomethingIsGone", 1),
    ("sources Fresh", 36),
    ("sources OutOfOrder", 9),
    ("sources ParameterMissing", 2),
    ("sources Unreachable", 8),
    ("stalled GateInvalid", 3),
    ("stalled NameTaken", 3),
    ("stalled NotStalled", 50),
    ("stalled Rejected", 30),
    ("stalled RolledBack", 8),
    ("stalled SelectorMismatch", 1),
    ("stalled ServiceInUse", 9),
    ("stalled ServiceUnusable", 8),
    ("stalled SpecInvalid", 1),
    ("stalled TemplateInvalid", 3),
    ("stalled ValueInvalid", 2),
    ("step Answer", 50),
    ("step Apply", 50),
    ("step DeleteDeployment", 7),
    ("step DeletePreview", 7),
    ("step Discard", 29),
    ("step DryRun", 50),
    ("step Preview", 11),
    ("step Prune", 50),
    ("step Route", 50),
    ("step Run", 30),
    ("step Scale", 50),
    ("step Select", 50),
    ("step Store", 50),
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
