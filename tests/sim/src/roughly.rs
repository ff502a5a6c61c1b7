//! A story under faults: what is waited for on the way may be missed or come late, and the end still comes.
//!
//! What only holds when nothing goes wrong (how long something stays, how many writes there are) is not asked.

use std::collections::BTreeMap;

use anyhow::bail;
use bascule_scenarios::{Action, Expect, Scenario, Stage, Step, with_revisions};
use jiff::SignedDuration;

use crate::stage::SimStage;

/// Longer than a lost request and all its pauses.
const LATER: SignedDuration = SignedDuration::from_secs(90);

/// Plays it. With `gentle` faults the last thing that is waited for must come.
pub async fn play(scenario: &Scenario, stage: &mut SimStage, gentle: bool) -> anyhow::Result<()> {
    let script = scenario.script();
    let last = script.iter().rposition(|step| matches!(step, Step::Until { .. }));
    let act = script.iter().rposition(|step| matches!(step, Step::Do(_)));
    for (number, step) in script.into_iter().enumerate() {
        match step {
            Step::Do(deed) => {
                // What cannot be said at the moment, and what is refused, does not happen.
                if let Ok(action) = with_revisions(&deed.action, stage).await {
                    let _ = stage.act(&action).await;
                }
            }
            Step::Until { expect, within } => {
                let met = until(&expect, within.get() + LATER, stage).await?;
                if !met.is_empty() && gentle && Some(number) == last && last > act {
                    let sight = stage.look().await?;
                    bail!("it did not end as it should:\n  {}\nwhat is seen:\n{}", met.join("\n  "), sight.picture());
                }
            }
            Step::Stays { length, .. } => tokio::time::sleep(length.get().unsigned_abs()).await,
            Step::Mark(_) | Step::History(_) => {}
        }
    }
    Ok(())
}

/// What is not met in time.
async fn until(expect: &Expect, within: SignedDuration, stage: &mut SimStage) -> anyhow::Result<Vec<String>> {
    // Nothing is marked under faults, and words may be others: whoever was away has not seen the reasons.
    let expect = Expect {
        unchanged: Vec::new(),
        rejected_says: BTreeMap::new(),
        candidate_says: None,
        message: None,
        answer: None,
        notes: Vec::new(),
        ..expect.clone()
    };
    let end = stage.now() + within;
    loop {
        let unmet = expect.unmet(&stage.look().await?);
        if unmet.is_empty() || stage.now() >= end {
            return Ok(unmet);
        }
        stage.pause().await;
    }
}

/// Pods die in it, or a Job is deleted, at a moment that matters: its end depends on what the controller does just then.
pub fn has_fate(scenario: &Scenario) -> bool {
    let is_fate = |action: &Action| match action {
        Action::KillPods(_) => true,
        Action::Delete(delete) => delete.kind == "Job",
        _ => false,
    };
    scenario.steps.iter().any(|step| matches!(step, Step::Do(deed) if is_fate(&deed.action)))
}

/// The process ends and starts in it.
pub fn acts_on_the_process(scenario: &Scenario) -> bool {
    scenario.steps.iter().any(|step| matches!(step, Step::Do(deed) if matches!(deed.action, Action::Controller(_))))
}
