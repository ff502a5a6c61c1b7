//! One run: a scenario, a seed, faults. The same three give the same history, byte for byte.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bascule_scenarios::{Scenario, play};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    api::Request,
    cluster,
    fault::{Fault, Faults, What},
    oracle::rest,
    process::Replica,
    roughly,
    server::{Asked, Sent, Server},
    stage::{NAMESPACE, SimStage},
    trouble,
};

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: Scenario,
    pub seed: u64,
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Two replicas that elect a leader; else one, and a second only by a fault.
    #[serde(default)]
    pub election: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not be; empty is good.
    pub violations: Vec<String>,
    /// Requests of the first replica, watches not counted.
    pub requests: Vec<Sent>,
    /// So many of them were sent before the story was over.
    pub told: usize,
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
            format!(
                "{:>10} {} {} {}{dry} {} {}\n",
                asked.at.as_millis(),
                asked.user,
                asked.method,
                asked.path,
                asked.code,
                asked.version
            )
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

    /// Nobody but the network and the process has trouble: the story still ends as it should.
    fn is_gentle(&self) -> bool {
        // Where a story has the process away and acts in its place, one that a fault has started again sees what it was not to see.
        let plays_the_process = roughly::acts_on_the_process(&self.scenario);
        let starts_one = |what: &What| matches!(what, What::Terminate | What::Crash | What::SecondLeader(_));
        self.faults.iter().all(|fault| fault.what.is_gentle() && !(plays_the_process && starts_one(&fault.what)))
            && !roughly::has_fate(&self.scenario)
    }

    async fn played(&self) -> Outcome {
        let server = Server::new(self.seed, Faults::new(self.faults.clone()));
        make_namespace(&server);
        server.inside().api.admission.service_track = self.scenario.policies;
        server.inside().oracle.allow(slack(&self.faults));
        let two = self.faults.iter().any(|fault| matches!(fault.what, What::SecondLeader(_)));
        server.inside().oracle.two_lead = two && !self.election;
        let hears = self.scenario.shape.parameter.is_some();
        let replica = Replica::new(&server, hears, 0, self.seed, self.election);
        let other = Replica::new(&server, hears, 1, self.seed.wrapping_add(77), self.election);
        replica.start();
        let mut tasks = JoinSet::new();
        tasks.spawn(cluster::run(server.clone(), self.seed));
        tasks.spawn(trouble::revive(server.clone(), replica.clone(), self.seed));
        if self.election {
            other.start();
            tasks.spawn(trouble::revive(server.clone(), other.clone(), self.seed + 1));
        }
        for replica in [&replica, &other] {
            tasks.spawn(trouble::look_out(server.clone(), replica.clone()));
        }
        let mut faults = JoinSet::new();
        faults.spawn(trouble::happen(server.clone(), replica.clone(), other.clone()));

        let mut stage = SimStage::new(server.clone(), replica.clone(), &self.scenario);
        let mut violations = Vec::new();
        // Where another replica takes over at once, the absence of one shows nothing; and what was made up expects nothing but rest.
        let strictly = self.faults.is_empty() && !self.election && self.scenario.why != "generated";
        let story = async {
            if strictly {
                play(&self.scenario, &mut stage).await.map(|_| ())
            } else {
                roughly::play(&self.scenario, &mut stage, self.is_gentle()).await
            }
        };
        let endless = || anyhow::anyhow!("{MOST_WRITES} writes, and no end");
        let played = bounded(&server, story).await.unwrap_or_else(|| Err(endless()));
        if let Err(error) = played {
            violations.push(format!("story: {error:#}"));
        }
        let told = server.inside().sent.get(&0).map_or(0, Vec::len);
        // A fault that is still to come would only be late.
        faults.abort_all();
        server.inside().faults.cease();
        server.inside().outside.cease();
        if !self.election {
            other.kill();
        }
        let found = bounded(&server, self.come_to_rest(&server, &replica)).await;
        violations.extend(found.unwrap_or_else(|| vec![format!("ESR: {}", endless())]));
        for replica in [&replica, &other] {
            replica.unwanted();
            replica.stop().await;
        }
        tasks.abort_all();
        let mut inside = server.inside();
        inside.oracle.end(server.elapsed());
        let mut found = std::mem::take(&mut inside.oracle.violations);
        found.append(&mut violations);
        Outcome {
            violations: found,
            requests: inside.sent.remove(&0).unwrap_or_default(),
            told,
            steps: inside.history.len(),
            virtual_time: server.elapsed(),
            injected: inside.faults.injected().clone(),
            history: std::mem::take(&mut inside.history),
        }
    }

    /// Nothing more goes wrong: it comes to rest where it should, and writes nothing any more, also over a resync and a restart.
    async fn come_to_rest(&self, server: &Arc<Server>, replica: &Arc<Replica>) -> Vec<String> {
        replica.start();
        let writes = || server.inside().oracle.writes;
        let limit = server.elapsed() + LONGEST;
        loop {
            let before = writes();
            tokio::time::sleep(QUIET).await;
            if writes() == before {
                break;
            }
            // As long as pods come and go, there is something to say.
            if is_restless(server) {
                return Vec::new();
            }
            if server.elapsed() > limit {
                return vec![format!("ESR: after {} minutes it still writes", LONGEST.as_mins())];
            }
        }
        let name = self.scenario.shape.release.clone();
        let found = {
            let inside = server.inside();
            let written = inside.outside.newest(PARAMETER).map(|parameter| parameter.value.clone());
            rest::judge(&inside.api, NAMESPACE, &name, written.as_deref())
        };
        // That rest is silent is seen in every run without faults, and in some of the others.
        if !found.is_empty() || (!self.faults.is_empty() && !self.seed.is_multiple_of(4)) {
            return found;
        }
        // That a tag has moved is told when somebody looks, and not again.
        if self.faults.iter().any(|fault| fault.what == What::Republish) {
            tokio::time::sleep(REPORTED).await;
        }
        let before = writes();
        tokio::time::sleep(RESYNCED).await;
        replica.kill();
        replica.start();
        tokio::time::sleep(QUIET).await;
        let more = writes() - before;
        if more > 0 { vec![format!("S8: {more} writes of a Release at rest, over a resync and a restart")] } else { Vec::new() }
    }
}

/// None: the controller writes without end.
async fn bounded<T>(server: &Server, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = endless(server) => None,
    }
}

/// Until the controller has written more than any story is worth.
async fn endless(server: &Server) {
    while server.inside().oracle.writes <= MOST_WRITES {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Pods that crash again and again, with traffic.
fn is_restless(server: &Server) -> bool {
    let inside = server.inside();
    let flaps = |pod: &serde_json::Value| pod["metadata"]["annotations"]["bed.bascule.dev/behaviour"] == "flapping";
    inside.api.store.all("pods").any(|pod| flaps(pod))
}

/// So long without a write is rest: longer than any pause of a story.
/// The one that generated scenarios point to.
pub const PARAMETER: &str = "/shop/staging/web/image";
const QUIET: Duration = Duration::from_secs(200);
/// Longer than the controller's resync.
const RESYNCED: Duration = Duration::from_secs(1_000);
/// What is pinned is looked at so often, at least.
const REPORTED: Duration = Duration::from_secs(20 * 60);
/// Many times as many as the longest story takes. What goes on for ever need not be watched for ever.
const MOST_WRITES: u64 = 600;
/// It must come to rest within this time.
const LONGEST: SignedDuration = SignedDuration::from_mins(40);

/// How much older than usual a decision's knowledge may be. Older lists are no excuse: before something is moved it is looked at.
fn slack(faults: &[Fault]) -> SignedDuration {
    let late = |fault: &Fault| match &fault.what {
        What::Delay(late) | What::DelayReply(late) | What::Freeze(late) | What::Partition(late) => *late,
        What::Lag { late, length, .. } => late + length,
        // The process gives up after 9 s, and comes back to it a little later.
        What::Lose | What::LoseReply => 12_000,
        _ => 0,
    };
    SignedDuration::from_millis(i64::try_from(faults.iter().map(late).sum::<u64>()).unwrap_or(0))
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
    server.carry_out(&Request {
        user: "platform".into(),
        method: "POST".into(),
        path: "/apis/bascule.dev/v1alpha1/environments".into(),
        content_type: "application/json".into(),
        body: Some(json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "staging"}, "spec": {},
        })),
        ..Request::default()
    });
    server.carry_out(&Request {
        user: "platform".into(),
        method: "POST".into(),
        path: "/api/v1/nodes".into(),
        content_type: "application/json".into(),
        body: Some(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node", "labels": {"kubernetes.io/arch": "amd64"}}, "spec": {},
        })),
        ..Request::default()
    });
}
