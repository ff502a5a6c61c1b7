//! A small cluster in memory that carries out plans: Deployments with their ReplicaSets, Services, pods that behave as told.
//!
//! In: what a user, a foreign hand or a fault does. Out: what came of it. It checks the safety invariants at every step, so that each
//! scenario and each property is a test of all of them. What is true and what the controller sees are two things: `process` holds what
//! it knows, and its sight of each kind may lag or be missing. Never here: a decision.

mod ask;
mod checks;
mod gating;
mod hands;
mod jobs;
mod judge;
mod people;
mod pods;
mod process;
mod sight;
mod steps;
pub mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bascule_core::{
    Claim, Deployment, Next, Note, Observed, OperationView, Plan, Policy, ReleaseView, Service, ServicePort, decide,
    story::Happening,
};
use bascule_crds::{ReleaseSpec, ReleaseStatus};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub use checks::Rule;
#[allow(unused_imports, reason = "the stories call hands by name")]
pub use hands::Hand;
pub use pods::{Pods, Set};
pub use process::{Kind, Part, Process};
pub use sight::{Registry, Snapshot, Store};
pub use steps::Fault;

#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    // What is true.
    pub release: ReleaseView,
    pub deployments: BTreeMap<String, Deployment>,
    templates: BTreeMap<String, Value>,
    pub sets: BTreeMap<String, Set>,
    pub services: BTreeMap<String, Service>,
    pub operations: Vec<OperationView>,
    /// Ready endpoints behind a Service that are not ours.
    pub strangers: BTreeMap<String, u32>,
    pub registry: Registry,
    /// What images are built for; empty: nobody says.
    pub platforms: BTreeSet<String>,
    pub jobs: BTreeMap<String, jobs::Running>,
    /// Access modes of PersistentVolumeClaims.
    pub volumes: BTreeMap<String, Vec<String>>,
    /// Hashes of ConfigMaps and Secrets, by `ConfigMap name`.
    pub configs: BTreeMap<String, String>,
    /// Nobody can read them.
    pub configs_fail: bool,
    /// ControllerRevisions, by name.
    pub revisions: BTreeMap<String, Value>,
    /// What gates measure, by their name; without an entry all is well.
    pub gauges: BTreeMap<String, bascule_core::gate::Verdict>,
    /// What the version to return to lacks, and what of it nobody may look at.
    pub lacks: Vec<String>,
    pub not_shown: Vec<String>,
    /// Reads that fail, by their target.
    pub unreadable: BTreeSet<String>,
    /// So long a pod takes to end.
    pub pods_end_in: SignedDuration,
    /// So long a gate's first answer takes.
    pub latency: SignedDuration,
    /// Objects in S3 by key, and how often each was written.
    pub objects: BTreeMap<String, u64>,
    /// What images say of the trace of their build.
    pub build_trace: Option<String>,
    pub nodes: bascule_core::Sight<BTreeSet<String>>,
    pub store: Store,
    /// What the namespace says of its environment.
    pub claim: Claim,
    /// The admission policy that puts the track into the selector.
    pub policy_installed: bool,
    /// Pods of these revisions are dead from now on.
    pub killed: BTreeSet<String>,

    /// What the controller knows.
    pub process: Process,
    /// The process ends right after it has moved this Service.
    pub fail_after_route: Option<String>,
    /// What happens to a request: after so many that go well.
    pub fault: Option<(u8, Fault)>,

    // What has happened.
    pub writes: Vec<String>,
    pub notes: Vec<Note>,
    /// What the written statuses tell to those who count.
    pub told: Vec<Happening>,
    /// Whether old states are kept, so that a sight can lag.
    pub remembers: bool,
    history: Vec<Rc<Snapshot>>,
    version: u64,
    pub policy: Policy,
    pub oracle: checks::Oracle,
}

pub fn start() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

pub fn spec(tag: &str, replicas: i32) -> ReleaseSpec {
    spec_of(&json!({
        "artifacts": [{"name": "web", "image": {"ref": format!("r/web:{tag}"), "resolve": "Never"}}],
        "workloads": [{"name": "web", "replicas": replicas, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "$(artifacts.web.image)"}]}}}],
        "services": [{"name": "web"}],
        "strategy": {"progressDeadline": "60s", "bake": "30s", "scaleDownDelay": "30s"}
    }))
}

pub fn spec_of(value: &Value) -> ReleaseSpec {
    serde_json::from_value(value.clone()).unwrap()
}

impl World {
    pub fn new(spec: ReleaseSpec) -> Self {
        let mut world = Self {
            now: start(),
            release: ReleaseView {
                name: "web".into(),
                namespace: "shop".into(),
                uid: "release-uid".into(),
                resource_version: "1".into(),
                generation: 1,
                deleting: false,
                spec,
                status: ReleaseStatus::default(),
            },
            deployments: BTreeMap::new(),
            templates: BTreeMap::new(),
            sets: BTreeMap::new(),
            services: BTreeMap::new(),
            operations: Vec::new(),
            strangers: BTreeMap::new(),
            registry: Registry::default(),
            platforms: BTreeSet::new(),
            jobs: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            configs_fail: false,
            revisions: BTreeMap::new(),
            gauges: BTreeMap::new(),
            lacks: Vec::new(),
            not_shown: Vec::new(),
            unreadable: BTreeSet::new(),
            pods_end_in: SignedDuration::ZERO,
            latency: SignedDuration::ZERO,
            objects: BTreeMap::new(),
            build_trace: None,
            nodes: bascule_core::Sight::Known(BTreeSet::from(["amd64".to_owned()])),
            store: Store::default(),
            claim: Claim::Of { name: "staging".into(), spec: Box::default() },
            policy_installed: true,
            killed: BTreeSet::new(),
            process: Process::default(),
            fail_after_route: None,
            fault: None,
            writes: Vec::new(),
            notes: Vec::new(),
            told: Vec::new(),
            remembers: false,
            history: Vec::new(),
            version: 1,
            policy: Policy::default(),
            oracle: checks::Oracle::default(),
        };
        for service in world.release.spec.services.clone() {
            world.add_service(&service.name);
        }
        world
    }

    /// Another object, or another state of one.
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub fn add_service(&mut self, name: &str) {
        let service = Service {
            name: name.into(),
            uid: format!("{name}-uid"),
            resource_version: self.next_version(),
            labelled: false,
            claimed_by: None,
            preview_of: None,
            owner: None,
            record: None,
            selector: [("app".to_owned(), "web".to_owned())].into(),
            ports: vec![ServicePort { name: None, port: 80, target_port: None, protocol: None, app_protocol: None }],
            form: bascule_core::ServiceForm::default(),
            deleting: false,
        };
        self.services.insert(name.into(), service);
    }

    /// Decides and carries out until nothing is to be done at this moment.
    pub fn run(&mut self) {
        for _ in 0..60 {
            self.pods_move();
            if !self.turn() {
                return;
            }
        }
        let last = &self.writes[self.writes.len().saturating_sub(12)..];
        self.oracle.broken(Rule::Rests, || format!("the plan never rests: {last:#?}"));
    }

    /// Pods move once, then one decision is carried out.
    pub fn run_one(&mut self) -> bool {
        self.pods_move();
        self.turn()
    }

    /// One decision. True when it did something.
    pub fn turn(&mut self) -> bool {
        self.remember();
        let observed = self.observed();
        let plan = self.decide(&observed);
        self.judge(&observed, &plan);
        self.oracle.tally.decision(&observed, &plan);
        let answered = self.sample(&plan.probes);
        self.carry_out(&observed, plan) || answered
    }

    fn decide(&self, observed: &Observed) -> Plan {
        decide(observed, self.now, &self.policy)
    }

    pub fn plan(&self) -> Plan {
        self.decide(&self.observed())
    }

    /// Runs, and lets time pass from one wake-up to the next, for `secs` seconds.
    pub fn pass(&mut self, secs: i64) {
        let end = self.now + SignedDuration::from_secs(secs);
        loop {
            self.run();
            let next = [self.plan().wake, self.next_change(), self.next_job_change(), self.next_sample()]
                .into_iter()
                .flatten()
                .filter(|at| *at > self.now)
                .min();
            match next {
                Some(at) if at <= end => self.now = at,
                _ => break,
            }
        }
        self.now = end;
        self.run();
    }

    /// It rests: nothing to write, and nothing to read that was not read a moment ago.
    pub fn rests(&self, plan: &Plan) -> bool {
        plan.next == Next::Rest && plan.reads.iter().all(|read| self.process.has_read(read, self.now, &self.policy))
    }
}
