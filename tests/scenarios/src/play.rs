//! Plays a scenario on a stage.
//!
//! In: data and a stage. Out: a report, or an error that says what was expected, what is seen, and what went before.
//! Never here: a sleep. Between two looks it is the stage that lets time pass.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, bail, ensure};
use bascule_crds::Duration;
use jiff::Timestamp;
use serde_json::Value;

use crate::{Action, Deed, Expect, Scenario, Sight, Stage, Step};

/// What happened, and when.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub name: String,
    /// A line for each step that was done, with the time since the start in milliseconds.
    pub lines: Vec<(i128, String)>,
}

/// So many steps are told when one fails: enough to see what led to it.
const TOLD: usize = 8;

/// Plays every step of the scenario, in order.
pub async fn play(scenario: &Scenario, stage: &mut impl Stage) -> anyhow::Result<Report> {
    let mut run =
        Run { start: stage.now(), report: Report { name: scenario.name.clone(), lines: Vec::new() }, marked: BTreeMap::new() };
    for (number, step) in scenario.script().into_iter().enumerate() {
        let line = step.line();
        let outcome = run.step(&step, stage).await;
        run.report.lines.push((run.since_start(stage), line.clone()));
        if let Err(error) = outcome {
            let told = run.report.tail(TOLD);
            return Err(error.context(format!("{}: step {} failed: {line}\nthe last steps:\n{told}", scenario.name, number + 1)));
        }
    }
    Ok(run.report)
}

struct Run {
    start: Timestamp,
    report: Report,
    marked: BTreeMap<String, String>,
}

impl Run {
    async fn step<S: Stage>(&mut self, step: &Step, stage: &mut S) -> anyhow::Result<()> {
        match step {
            Step::Do(deed) => self.act(deed, stage).await,
            Step::Until { expect, within } => self.until(expect, *within, stage).await,
            Step::Stays { expect, length } => self.stays(expect, *length, stage).await,
            Step::Mark(name) => {
                self.marked = stage.look().await?.versions();
                stage.mark(name);
                Ok(())
            }
            Step::History(history) => {
                let unmet = stage.recall(history).await?;
                ensure!(unmet.is_empty(), "the history does not show it:\n{}", list(&unmet));
                Ok(())
            }
        }
    }

    async fn act<S: Stage>(&mut self, deed: &Deed, stage: &mut S) -> anyhow::Result<()> {
        let action = with_revisions(&deed.action, stage).await?;
        match (stage.act(&action).await, &deed.refused) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(text)) => bail!("it was let in, although it must be refused with {text:?}"),
            (Err(_), None) if deed.maybe => Ok(()),
            (Err(error), None) => Err(error),
            (Err(error), Some(text)) => {
                let said = format!("{error:#}");
                ensure!(said.contains(text.as_str()), "it must be refused with {text:?}, and was with {said:?}");
                Ok(())
            }
        }
    }

    async fn until<S: Stage>(&mut self, expect: &Expect, within: Duration, stage: &mut S) -> anyhow::Result<()> {
        let end = stage.now() + within.get();
        loop {
            let (unmet, sight) = self.look(expect, stage).await?;
            if unmet.is_empty() {
                return Ok(());
            }
            if stage.now() >= end {
                bail!("not within {within}:\n{}\nwhat is seen:\n{}", list(&unmet), indent(&sight.picture()));
            }
            stage.pause().await;
        }
    }

    async fn stays<S: Stage>(&mut self, expect: &Expect, length: Duration, stage: &mut S) -> anyhow::Result<()> {
        let begin = stage.now();
        let end = begin + length.get();
        loop {
            let (unmet, sight) = self.look(expect, stage).await?;
            if !unmet.is_empty() {
                let after = stage.now().duration_since(begin).as_millis();
                bail!(
                    "it did not stay so for {length}, after {after} ms:\n{}\nwhat is seen:\n{}",
                    list(&unmet),
                    indent(&sight.picture())
                );
            }
            if stage.now() >= end {
                return Ok(());
            }
            stage.pause().await;
        }
    }

    async fn look<S: Stage>(&mut self, expect: &Expect, stage: &mut S) -> anyhow::Result<(Vec<String>, Sight)> {
        let mut sight = stage.look().await.context("look at what there is")?;
        sight.remember(&self.marked);
        Ok((expect.unmet(&sight), sight))
    }

    fn since_start<S: Stage>(&self, stage: &S) -> i128 {
        stage.now().duration_since(self.start).as_millis()
    }
}

/// Puts what status says at this moment into the texts of a write or a deletion.
pub async fn with_revisions<S: Stage>(action: &Action, stage: &mut S) -> anyhow::Result<Action> {
    let (Action::Write(_) | Action::Delete(_)) = action else { return Ok(action.clone()) };
    let text = serde_json::to_string(action)?;
    if !text.contains("$(") {
        return Ok(action.clone());
    }
    let sight = stage.look().await?;
    let mut text = text;
    for place in ["candidate", "active", "previous"] {
        let variable = format!("$({place}.revision)");
        if text.contains(&variable) {
            let revision = sight.status(&format!("/{place}/revision")).and_then(Value::as_str);
            text = text.replace(&variable, revision.with_context(|| format!("status has no {place}"))?);
        }
    }
    while let Some((before, rest)) = text.split_once(OF_STATUS) {
        let (pointer, after) = rest.split_once(')').context("a variable without an end")?;
        let found = sight.status(pointer).and_then(Value::as_str).with_context(|| format!("status has no {pointer}"))?;
        text = format!("{before}{found}{after}");
    }
    Ok(serde_json::from_str(&text)?)
}

/// In the texts of actions, as in `$(status/hooks/0/job/name)`.
const OF_STATUS: &str = "$(status";

fn list(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("  - {sentence}")).collect::<Vec<_>>().join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

impl Report {
    fn tail(&self, count: usize) -> String {
        let from = self.lines.len().saturating_sub(count);
        self.lines[from..].iter().map(|(at, line)| format!("  {at:>8} ms  {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        f.write_str(&self.tail(self.lines.len()))
    }
}
