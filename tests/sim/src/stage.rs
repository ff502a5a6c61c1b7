//! The simulation as a stage: a cluster, a server and controllers in one thread of virtual time.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use bascule_scenarios::{Action, Author, Call, Controller, Dialect, History, Scenario, Sight, Stage};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::{Reply, Request, Target},
    process::Replica,
    server::Server,
};

/// Where all scenarios are played.
pub const NAMESPACE: &str = "shop";

#[derive(Debug)]
pub struct SimStage {
    pub server: Arc<Server>,
    pub replica: Arc<Replica>,
    author: Author,
    marks: Vec<(String, usize, SignedDuration)>,
}

/// Events are written beside everything else: one about what went before a mark may come so much after it.
const EVENTS_LATE: SignedDuration = SignedDuration::from_millis(200);

impl SimStage {
    pub fn new(server: Arc<Server>, replica: Arc<Replica>, scenario: &Scenario) -> Self {
        let author = Author::new(&scenario.shape, NAMESPACE, Dialect::Annotations);
        Self { server, replica, author, marks: Vec::new() }
    }

    fn send(&self, call: Call) -> anyhow::Result<Reply> {
        let reply = self.server.carry_out(&Request {
            user: "team".into(),
            method: call.method.into(),
            path: call.path,
            query: call.query,
            content_type: call.content_type.into(),
            body: call.body,
            ..Request::default()
        });
        if !reply.is_ok() {
            bail!("{}", reply.body["message"].as_str().unwrap_or("refused"));
        }
        Ok(reply)
    }

    async fn process(&self, what: Controller) {
        match what {
            Controller::Stop => {
                self.replica.unwanted();
                self.replica.stop().await;
            }
            Controller::Kill => {
                self.replica.unwanted();
                self.replica.kill();
            }
            Controller::Start => self.replica.start(),
            Controller::Restart => {
                self.replica.kill();
                self.replica.start();
            }
        }
    }

    fn kill(&self, kill: &bascule_scenarios::KillPods) -> anyhow::Result<()> {
        let pods: Vec<Value> = self.list("pods");
        for call in self.author.kill(kill, &pods)? {
            self.send(call)?;
        }
        Ok(())
    }

    fn list(&self, full: &'static str) -> Vec<Value> {
        let inside = self.server.inside();
        let here = inside.api.store.all(full).filter(|object| object["metadata"]["namespace"] == NAMESPACE);
        here.map(|object| (**object).clone()).collect()
    }
}

impl Stage for SimStage {
    async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::KillPods(kill) => self.kill(kill),
            Action::Measure(measure) => {
                self.server.inside().outside.measure(&measure.gate, measure.says);
                Ok(())
            }
            Action::Controller(what) => {
                self.process(*what).await;
                Ok(())
            }
            _ => {
                if let Action::Want(want) = action
                    && let Some((name, value)) = self.author.written(want)
                {
                    let now = self.server.now();
                    self.server.inside().outside.put(name, &value, now);
                }
                for call in self.author.calls(action)? {
                    self.send(call)?;
                }
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<Sight> {
        let mut sight = self.author.sight();
        for kind in Sight::KINDS {
            let Some(target) = Target::parse(&kind.path(NAMESPACE)) else { bail!("the model has no {}", kind.plural) };
            sight.add(kind, self.list(target.kind.full));
        }
        Ok(sight)
    }

    async fn pause(&mut self) {
        let version = self.server.version();
        tokio::select! {
            biased;
            () = self.server.until_newer(version) => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }

    fn now(&self) -> Timestamp {
        self.server.now()
    }

    fn mark(&mut self, name: &str) {
        let length = self.server.inside().history.len();
        self.marks.push((name.to_owned(), length, self.server.elapsed()));
    }

    async fn recall(&mut self, history: &History) -> anyhow::Result<Vec<String>> {
        let mark = match &history.since {
            Some(name) => self.marks.iter().rev().find(|(mark, _, _)| mark == name),
            None => self.marks.last(),
        };
        let (from, at) = mark.map_or((0, SignedDuration::ZERO), |(_, from, at)| (*from, *at + EVENTS_LATE));
        let inside = self.server.inside();
        let done =
            inside.history[from..].iter().filter(|asked| asked.code < 300 && (asked.at > at || !asked.path.contains("/events")));
        let done = done.filter(|asked| !asked.path.contains("/leases"));
        let writes: Vec<String> = done.filter_map(|asked| asked.words.clone()).collect();
        Ok(history.unmet(&writes))
    }
}
