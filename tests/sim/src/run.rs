//! One run: a scenario, a seed, faults. The same three give the same history, byte for byte.

use std::{collections::BTreeMap, sync::Arc};

use bascule_scenarios::{Scenario, play};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    api::Request,
    cluster,
    fault::{Fault, Faults},
    process::Replica,
    registry::Registry,
    server::{Asked, Server},
    stage::{NAMESPACE, SimStage},
};

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Run {
    pub scenario: Scenario,
    pub seed: u64,
    pub faults: Vec<Fault>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not be; empty is good.
    pub violations: Vec<String>,
    /// Requests of the controller, watches not counted.
    pub requests: u64,
    /// Requests of everybody.
    pub steps: usize,
    pub virtual_time: SignedDuration,
    pub injected: BTreeMap<&'static str, u64>,
    pub history: Vec<Asked>,
}

impl Outcome {
    /// The history as text: what is compared byte for byte.
    pub fn text(&self) -> String {
        let line = |asked: &Asked| {
            let dry = if asked.dry_run { " dry" } else { "" };
            format!("{:>10} {} {} {}{dry} {} {}\n", asked.at.as_millis(), asked.user, asked.method, asked.path, asked.code, asked.version)
        };
        self.history.iter().map(line).collect()
    }
}

impl Run {
    /// Plays it in a thread of its own virtual time.
    pub fn play(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.played()),
            Err(error) => Outcome { violations: vec![format!("no runtime: {error}")], ..Outcome::default() },
        }
    }

    async fn played(&self) -> Outcome {
        let server = Server::new(self.seed, Faults::new(self.faults.clone()));
        make_namespace(&server);
        server.inside().api.admission.service_track = self.scenario.policies;
        let models = tokio::spawn(cluster::run(server.clone(), self.seed));
        let replica = Replica::new(&server, &Arc::new(Registry), 0, self.seed);
        replica.start();
        let mut stage = SimStage::new(server.clone(), replica.clone(), &self.scenario);
        let mut violations = Vec::new();
        if let Err(error) = play(&self.scenario, &mut stage).await {
            violations.push(format!("{error:#}"));
        }
        replica.stop().await;
        models.abort();
        let mut inside = server.inside();
        violations.append(&mut inside.oracle.violations);
        Outcome {
            violations,
            requests: inside.counts.get(&0).copied().unwrap_or(0),
            steps: inside.history.len(),
            virtual_time: server.elapsed(),
            injected: inside.faults.injected().clone(),
            history: std::mem::take(&mut inside.history),
        }
    }
}

fn make_namespace(server: &Server) {
    server.carry_out(&Request {
        user: "team".into(),
        method: "POST".into(),
        path: "/api/v1/namespaces".into(),
        content_type: "application/json".into(),
        body: Some(json!({"metadata": {"name": NAMESPACE, "labels": {"bascule.dev/environment": "staging"}}})),
        ..Request::default()
    });
}
