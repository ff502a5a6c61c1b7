//! The shortest cluster that plans can be carried out in: the server takes everything that is well formed, pods are ready at once, a
//! read is answered truly. It is for following one decision by the next, not for proving that they are right.
//!
//! In: a spec of any shape. Out: where the Release comes to rest. It panics when a plan is not repeatable, breaks a precondition, loses
//! something on its way through JSON, or never rests.

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Answer, Check, Claim, Deployment, Ended, Endpoints, Job, JobState, Next, Observed, OperationView, Plan, PodReport, Policy,
    Read, Record, Refusal, ReleaseView, ReplicaSet, Service, ServicePort, ServiceWrite, Sight, Step, WayBack, config, decide,
    gate::{Probe, Samples, Verdict},
    input::Input,
};
use bascule_crds::{ConditionStatus, ConditionType, ReleaseSpec, ReleaseStatus, Track, names};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::outcome::assert_calm;

/// Decisions in a row without time passing: a release with sixteen workloads and Services needs some dozen.
const TURNS: usize = 80;

#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) now: Timestamp,
    pub(crate) release: ReleaseView,
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) operations: Vec<OperationView>,
    /// Pods do not get ready.
    pub(crate) never_ready: bool,
    /// The last bodies that the server was asked about.
    pub(crate) asked: Vec<Value>,
    /// Outcomes and messages of answered Operations.
    pub(crate) answers: Vec<(String, String)>,
    check: Option<Check>,
    pods: Option<PodReport>,
    looked: BTreeSet<String>,
    /// Jobs succeed at once, and every gate is told that all is well.
    jobs: BTreeMap<String, Job>,
    samples: Vec<Samples>,
    revisions: BTreeMap<String, Value>,
    read: ReadOnce,
    version: u64,
}

/// What was read, and nothing tells when it changes.
#[derive(Clone, Debug, Default)]
struct ReadOnce {
    inputs: BTreeMap<String, Option<Input>>,
    volumes: BTreeMap<String, Option<Vec<String>>>,
    ended: BTreeMap<String, Ended>,
    way_back: Option<WayBack>,
    stored: Option<String>,
    discarded: BTreeSet<String>,
}

impl Walk {
    pub(crate) fn new(spec: ReleaseSpec) -> Self {
        let mut walk = Self {
            now: "2026-01-05T10:00:00Z".parse().expect("a time"),
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
            replica_sets: Vec::new(),
            services: BTreeMap::new(),
            operations: Vec::new(),
            never_ready: false,
            asked: Vec::new(),
            answers: Vec::new(),
            check: None,
            pods: None,
            looked: BTreeSet::new(),
            jobs: BTreeMap::new(),
            samples: Vec::new(),
            revisions: BTreeMap::new(),
            read: ReadOnce::default(),
            version: 1,
        };
        let named: Vec<String> = walk.release.spec.services.iter().map(|service| service.name.clone()).collect();
        for name in named {
            walk.add_service(&name);
        }
        walk
    }

    fn add_service(&mut self, name: &str) {
        let service = Service {
            name: name.into(),
            uid: format!("{name}-uid"),
            resource_version: self.next_version(),
            labelled: false,
            claimed_by: None,
            preview_of: None,
            owner: None,
            record: None,
            selector: [(names::RELEASE.to_owned(), self.release.name.clone())].into(),
            ports: vec![ServicePort { name: None, port: 80, target_port: None, protocol: None, app_protocol: None }],
            form: bascule_core::ServiceForm::default(),
            deleting: false,
        };
        self.services.insert(name.into(), service);
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Another spec; generation and version follow.
    pub(crate) fn want(&mut self, spec: ReleaseSpec) {
        self.release.spec = spec;
        self.release.generation += 1;
        self.release.resource_version = self.next_version();
    }

    pub(crate) fn observed(&self) -> Observed {
        let spec = &self.release.spec;
        let mut services = BTreeMap::new();
        for reference in &spec.services {
            services.insert(reference.name.clone(), Sight::Unknown("not looked for yet".into()));
            if spec.preview {
                services.insert(names::preview(&reference.name), Sight::Unknown("not looked for yet".into()));
            }
        }
        for name in &self.looked {
            services.insert(name.clone(), Sight::Known(self.services.get(name).cloned()));
        }
        for service in self.services.values().filter(|service| service.labelled) {
            services.insert(service.name.clone(), Sight::Known(Some(service.clone())));
        }
        let mut observed = Observed {
            release: self.release.clone(),
            environment: Sight::Known(Claim::Of { name: "staging".into(), spec: Box::default() }),
            parameters: BTreeMap::new(),
            images: BTreeMap::new(),
            archives: BTreeMap::new(),
            architectures: Sight::Unknown("not seen".into()),
            configs: BTreeMap::new(),
            jobs: Sight::Known(self.jobs.clone()),
            absent: BTreeSet::new(),
            words: BTreeMap::new(),
            samples: self.samples.clone(),
            inputs: self.read.inputs.clone(),
            stored: self.read.stored.clone(),
            discarded: self.read.discarded.clone(),
            way_back: self.read.way_back.clone(),
            since: self.now,
            volumes: self.read.volumes.clone(),
            ended: self.read.ended.clone(),
            deployments: Sight::Known(self.deployments.clone()),
            replica_sets: Sight::Known(self.replica_sets.clone()),
            endpoints: services.keys().map(|name| (name.clone(), Sight::Known(Endpoints::default()))).collect(),
            strangers: services.keys().map(|name| (name.clone(), Sight::Known(0))).collect(),
            services,
            operations: self.operations.clone(),
            check: self.check.clone(),
            pods: self.pods.clone(),
            troubles: Vec::new(),
        };
        let known = |name| (name, Answer::Known(Some("1".to_owned())));
        observed.configs = config::names(&observed).into_iter().map(known).collect();
        observed
    }

    /// Decides until there is nothing to do now, and says when to look again.
    pub(crate) fn run(&mut self) -> Option<Timestamp> {
        for _ in 0..TURNS {
            let (plan, learned) = self.turn();
            if plan.next == Next::Rest && !learned {
                return plan.wake;
            }
        }
        panic!("the plan never rests; status: {}", serde_json::to_string(&self.release.status).unwrap_or_default());
    }

    /// Lets time pass to each moment at which the plan wants to look again, at most `times`.
    pub(crate) fn live(&mut self, times: usize) {
        for _ in 0..times {
            match self.run() {
                Some(at) if at > self.now => self.now = at,
                _ => return,
            }
        }
        self.run();
    }

    /// One decision, carried out, and whether a read has told something new.
    fn turn(&mut self) -> (Plan, bool) {
        let (observed, policy) = (self.observed(), Policy::default());
        let plan = decide(&observed, self.now, &policy);
        assert_eq!(plan, decide(&observed, self.now, &policy), "the same snapshot has the same plan");
        for note in &plan.notes {
            assert!(!note.message.is_empty());
        }
        let learned = plan.reads.iter().filter(|read| self.read(read)).count() > 0;
        let samples: Vec<_> = plan.probes.iter().map(|probe| well(probe, self.now)).collect();
        let learned = learned || samples != self.samples;
        self.samples = samples;
        match plan.next.clone() {
            Next::Rest => {}
            Next::Act(steps) => steps.into_iter().for_each(|step| self.act(step)),
            Next::Record(status) => self.record(*status),
        }
        (plan, learned)
    }

    fn read(&mut self, read: &Read) -> bool {
        match read {
            Read::Service(name) => self.looked.insert(name.clone()),
            Read::Strangers { .. } | Read::Job { .. } | Read::Words { .. } => false,
            Read::Input { revision, name } => {
                let input = self.revisions.get(name).and_then(|data| serde_json::from_value(data.clone()).ok());
                self.read.inputs.insert(revision.clone(), input).is_none()
            }
            Read::WayBack { revision, .. } => {
                let seen = WayBack { revision: revision.clone(), at: self.now, missing: Vec::new(), unseen: Vec::new() };
                self.read.way_back.replace(seen.clone()) != Some(seen)
            }
            Read::Ends { workload } => {
                let deployments = self.deployments.values().filter(|it| it.workload == *workload);
                let generations = deployments.map(|it| (it.name.clone(), it.generation)).collect();
                let ended = Ended { at: self.now, generations, left: None };
                self.read.ended.insert(workload.clone(), ended.clone()) != Some(ended)
            }
            Read::Volume { claim } => self.read.volumes.insert(claim.clone(), Some(vec!["ReadWriteMany".into()])).is_none(),
            Read::Pods { revision, .. } => {
                let reasons = vec!["container web: exit code 1".to_owned()];
                let report = PodReport { revision: revision.clone(), at: self.now, reasons };
                self.pods.replace(report.clone()) != Some(report)
            }
        }
    }

    /// Through JSON and back: what the API server keeps is what was decided.
    fn record(&mut self, status: ReleaseStatus) {
        let text = serde_json::to_string(&status).expect("a status can be written");
        let read: ReleaseStatus = serde_json::from_str(&text).expect("a status can be read");
        assert_eq!(read, status, "a status that is written reads back the same");
        assert_ne!(status, self.release.status, "a status that says the same is not written");
        for condition in &status.conditions {
            let said = condition.status == ConditionStatus::True && condition.kind != ConditionType::Available;
            assert!(!said || !condition.reason.is_empty(), "{condition:?}");
        }
        self.release.status = status;
        self.release.resource_version = self.next_version();
    }

    fn act(&mut self, step: Step) {
        assert!(!step.target().is_empty());
        match step {
            Step::DryRun { revision, deployments, jobs } => {
                let refusal = deployments.iter().chain(&jobs).find_map(refused);
                self.asked = deployments;
                self.check = Some(Check { revision, at: self.now, refusal });
            }
            Step::Run { job, body } => {
                let view = Job {
                    name: job.clone(),
                    uid: format!("{job}-uid"),
                    owner: Some(self.release.uid.clone()),
                    is_hook: text(&body, "/metadata/labels/bascule.dev~1job") == "hook",
                    created: self.now,
                    state: JobState::Succeeded,
                };
                assert!(self.jobs.insert(job.clone(), view).is_none(), "{job} runs twice");
            }
            Step::Store { revision, body } => {
                self.revisions.insert(text(&body, "/metadata/name"), body["data"].clone());
                self.read.stored = Some(revision);
            }
            Step::Discard { revision, name } => {
                self.revisions.remove(&name);
                self.read.discarded.insert(revision);
            }
            Step::Apply { deployment, body } => self.apply(&deployment, &body),
            Step::Scale { deployment, uid, resource_version, replicas } => {
                let (version, names_repeat) = (self.next_version(), self.names_repeat());
                let known = self.deployments.get_mut(&deployment).expect("only what is there is scaled");
                assert_eq!(known.uid, uid);
                if resource_version.is_some_and(|version| version != known.resource_version) {
                    assert!(names_repeat, "{deployment} is scaled twice in one plan");
                    return;
                }
                known.replicas = replicas;
                known.generation += 1;
                known.confirmed = Some(known.generation);
                known.resource_version = version;
                self.pods_follow(&deployment);
            }
            Step::DeleteDeployment { deployment, uid, .. } => {
                let known = self.deployments.remove(&deployment).expect("only what is there is deleted");
                assert_eq!(known.uid, uid);
                self.replica_sets.retain(|set| !set.name.starts_with(&format!("{deployment}-")));
            }
            Step::Route(write) => self.route(&write),
            Step::Select { service, uid, resource_version, track } => {
                let version = self.next_version();
                let known = self.services.get_mut(&service).expect("only what is there is moved");
                assert_eq!((&known.uid, &known.resource_version), (&uid, &resource_version));
                known.selector.insert(names::TRACK.into(), track);
                known.resource_version = version;
            }
            Step::Preview { service, body } => self.preview(&service, &body),
            Step::DeletePreview { service, uid, .. } => {
                let known = self.services.remove(&service).expect("only what is there is deleted");
                assert_eq!(known.uid, uid);
            }
            Step::Answer { operation, uid, outcome, message, .. } => {
                let known = self.operations.iter_mut().find(|known| known.name == operation).expect("an Operation that exists");
                assert_eq!((&known.uid, known.answered), (&uid, false), "answered once");
                known.answered = true;
                self.answers.push((format!("{outcome:?}"), message));
            }
            Step::Prune { operation, .. } => self.operations.retain(|known| known.name != operation),
        }
    }

    fn apply(&mut self, name: &str, body: &Value) {
        if let Some(refusal) = refused(body) {
            let revision = text(body, "/metadata/labels/bascule.dev~1revision");
            self.check = Some(Check { revision, at: self.now, refusal: Some(refusal) });
            return;
        }
        let known = self.deployments.get(name);
        if let Some(uid) = body.pointer("/metadata/uid").and_then(Value::as_str) {
            assert_eq!(known.map(|known| known.uid.as_str()), Some(uid), "the precondition holds");
        }
        let generation = known.map_or(0, |known| known.generation) + 1;
        let deployment = Deployment {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
            resource_version: self.next_version(),
            generation,
            owner: Some(self.release.uid.clone()),
            workload: text(body, "/metadata/labels/bascule.dev~1workload"),
            track: Track::parse(&text(body, "/metadata/labels/bascule.dev~1track")),
            revision: text(body, "/metadata/labels/bascule.dev~1revision"),
            replicas: body.pointer("/spec/replicas").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or(1),
            deleting: false,
            confirmed: Some(generation),
        };
        assert!(deployment.track.is_some() && !deployment.revision.is_empty(), "{body}");
        self.deployments.insert(name.to_owned(), deployment);
        self.pods_follow(name);
    }

    fn pods_follow(&mut self, deployment: &str) {
        let Some(deployment) = self.deployments.get(deployment) else { return };
        self.replica_sets.retain(|set| set.workload != deployment.workload || set.track != deployment.track);
        self.replica_sets.push(ReplicaSet {
            name: format!("{}-{}", deployment.name, deployment.revision),
            workload: deployment.workload.clone(),
            track: deployment.track,
            revision: deployment.revision.clone(),
            wanted: deployment.replicas,
            replicas: deployment.replicas,
            available: if self.never_ready { 0 } else { deployment.replicas },
            observed: true,
            failure: None,
        });
    }

    fn route(&mut self, write: &ServiceWrite) {
        let version = self.next_version();
        let body = write.body(&self.release.namespace);
        let service = self.services.get_mut(&write.service).expect("only what is there is moved");
        assert_eq!((&service.uid, &service.resource_version), (&write.uid, &write.resource_version), "the precondition holds");
        // Only to where a version of the status is, or to nowhere.
        let status = &self.release.status;
        let versions = status.active.iter().chain(&status.previous).map(|version| (version.track, version.revision.as_str()));
        let candidate = status.candidate.iter().map(|candidate| (candidate.track, candidate.revision.as_str()));
        let mut places = versions.chain(candidate);
        let there = write.track.is_none_or(|track| places.any(|place| place == (track, write.revision.as_str())));
        assert!(there, "traffic is sent where no version of ours is: {write:?}");
        let annotation = |key: &str| text(&body, &format!("/metadata/annotations/{}", key.replace('/', "~1")));
        service.record = Some(Record {
            track: annotation(names::TRACK),
            revision: annotation(names::REVISION),
            reason: annotation(names::REASON),
        });
        service.selector.insert(names::TRACK.into(), write.track_name().into());
        service.labelled = true;
        service.claimed_by = Some(write.release.clone());
        service.resource_version = version;
    }

    fn preview(&mut self, name: &str, body: &Value) {
        if !self.services.contains_key(name) {
            self.add_service(name);
        }
        let (version, owner) = (self.next_version(), self.release.uid.clone());
        let selector = serde_json::from_value(body["spec"]["selector"].clone()).expect("a selector is text");
        let ports = serde_json::from_value(body["spec"]["ports"].clone()).expect("ports read back");
        let of = text(body, "/metadata/labels/bascule.dev~1preview-of");
        if let Some(service) = self.services.get_mut(name) {
            (service.selector, service.ports, service.resource_version) = (selector, ports, version);
            (service.labelled, service.preview_of, service.owner) = (true, Some(of), Some(owner));
            service.claimed_by = Some(self.release.name.clone());
        }
    }

    /// What the Release says about itself in one word, once it has said something.
    pub(crate) fn reason(&self) -> String {
        self.release.status.condition(ConditionType::Ready).map_or_else(|| "Waiting".into(), |ready| ready.reason.clone())
    }

    /// The sentence with it, checked to be one.
    pub(crate) fn message(&self) -> String {
        let message = self.release.status.condition(ConditionType::Ready).map(|ready| ready.message.clone()).unwrap_or_default();
        if !message.is_empty() && self.has_names_of_the_schema() {
            assert_calm(&message);
        }
        message
    }

    /// Two workloads of one name are two plans for one Deployment; the schema lets in none.
    fn names_repeat(&self) -> bool {
        let names: Vec<&str> = self.release.spec.workloads.iter().map(|workload| workload.name.as_str()).collect();
        names.iter().collect::<BTreeSet<_>>().len() < names.len()
    }

    /// Names are printed as they are, so that of them only what the API server lets in can be promised.
    fn has_names_of_the_schema(&self) -> bool {
        let spec = &self.release.spec;
        let artifacts = spec.artifacts.iter().map(|artifact| &artifact.name);
        let services = spec.services.iter().map(|service| &service.name);
        let mut names = artifacts.chain(services).chain(spec.workloads.iter().map(|workload| &workload.name));
        names.all(|name| (1..=55).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    }

    pub(crate) fn candidate_revision(&self) -> String {
        self.release.status.candidate.as_ref().map(|candidate| candidate.revision.clone()).unwrap_or_default()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.release.status.condition(ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True)
    }

    pub(crate) fn pass(&mut self, secs: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(secs)).expect("a test does not last that long");
    }
}

fn text(body: &Value, pointer: &str) -> String {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What every API server refuses about a Deployment, in few words.
/// As many good samples as anybody can ask for.
fn well(probe: &Probe, at: Timestamp) -> Samples {
    Samples { id: probe.id.clone(), passes: u32::MAX, failures: 0, last: Verdict::Pass, at, began: at, good: Some(at) }
}

fn refused(body: &Value) -> Option<Refusal> {
    let invalid = |why: &str| Some(Refusal::Invalid(format!("spec.{why}")));
    if body["spec"]["replicas"].as_i64().is_none_or(|replicas| replicas < 0) {
        return invalid("replicas: must be greater than or equal to 0");
    }
    let template = &body["spec"]["template"];
    let labels = template["metadata"]["labels"].as_object();
    if labels.is_none_or(|labels| labels.values().any(|value| !value.is_string())) {
        return invalid("template.metadata.labels: must be text");
    }
    if template["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        return invalid("template.spec.containers: Required value");
    }
    None
}
