//! A bed as the stage of a scenario: a namespace of its own, with a controller of its own.
//!
//! In: actions as data. Out: API requests as the bed's administrator, and raw objects.
//! Never here: what is expected; the scenario judges, the same as in the simulation.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bascule_scenarios::{Action, Author, Call, Controller, Dialect, Place, Scenario, Sight};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::{Bed, Stage};

/// Short beside anything that a story waits for, long beside what a look costs the API server.
const POLL: Duration = Duration::from_millis(200);
/// A namespace has at most 63 characters, and the process and a number come behind.
const LONGEST_NAME: usize = 40;

#[derive(Debug)]
pub struct BedStage {
    stage: Stage,
    author: Author,
    began: Instant,
}

/// What kind of bed it is.
pub fn place(bed: &Bed) -> Place {
    if bed.variable("BASCULE_BED_NODE") == "real" { Place::Real } else { Place::Fake }
}

impl BedStage {
    /// A fresh namespace, and a controller that looks after it.
    pub async fn new(bed: &Bed, scenario: &Scenario) -> Self {
        let dialect = match place(bed) {
            Place::Real => Dialect::App(format!("{}/example/app", bed.variable("BASCULE_REGISTRY"))),
            Place::Fake | Place::Sim => Dialect::Annotations,
        };
        let name: String = scenario.name.chars().take(LONGEST_NAME).collect();
        let stage = Stage::new(bed, name.trim_end_matches('-')).await;
        let author = Author::new(&scenario.shape, &stage.namespace, dialect);
        Self { stage, author, began: Instant::now() }
    }

    /// Plays it, and takes the namespace away.
    pub async fn play(bed: &Bed, scenario: &Scenario) -> anyhow::Result<bascule_scenarios::Report> {
        let mut stage = Self::new(bed, scenario).await;
        let outcome = bascule_scenarios::play(scenario, &mut stage).await;
        let outcome = outcome.map_err(|error| error.context(format!("the controller's log ends:\n{}", stage.log())));
        stage.stage.end().await;
        outcome
    }

    fn log(&self) -> String {
        self.stage.controller.log_text().lines().map(|line| ["  ", line, "\n"].concat()).collect()
    }

    async fn send(&self, call: &Call) -> anyhow::Result<Value> {
        let what = || format!("{} {}", call.method, call.target());
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = http::Request::builder().method(call.method).uri(call.target());
        if call.body.is_some() {
            request = request.header("Content-Type", call.content_type);
        }
        let request = request.body(body.into_bytes()).with_context(what)?;
        self.stage.client.0.request::<Value>(request).await.with_context(what)
    }

    async fn list(&self, path: String) -> anyhow::Result<Vec<Value>> {
        let call = Call { method: "GET", path, query: [].into(), content_type: "", body: None };
        let mut answer = self.send(&call).await?;
        Ok(answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    async fn process(&mut self, controller: Controller) -> anyhow::Result<()> {
        let process = &mut self.stage.controller;
        match controller {
            Controller::Kill => process.kill(),
            Controller::Start => process.run().await,
            Controller::Restart => process.restart().await,
            Controller::Stop => match process.stop() {
                Some(0) => {}
                code => bail!("SIGTERM must end the controller with exit code 0; it ended with {code:?}"),
            },
        }
        Ok(())
    }
}

impl bascule_scenarios::Stage for BedStage {
    async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        let calls = match action {
            Action::Controller(controller) => return self.process(*controller).await,
            Action::Measure(_) => bail!("only the simulation decides what gates are told"),
            Action::KillPods(kill) => self.author.kill(kill, &self.list(self.author.pods_path()?).await?)?,
            action => self.author.calls(action)?,
        };
        for call in &calls {
            self.send(call).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<Sight> {
        let lists = Sight::KINDS.iter().map(|kind| self.list(kind.path(self.author.namespace())));
        let lists = try_join_all(lists).await?;
        let mut sight = self.author.sight();
        for (kind, items) in Sight::KINDS.iter().zip(lists) {
            sight.add(kind, items);
        }
        Ok(sight)
    }

    async fn pause(&mut self) {
        tokio::time::sleep(POLL).await;
    }

    /// Only differences of it are looked at.
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX);
        Timestamp::UNIX_EPOCH + elapsed
    }
}
