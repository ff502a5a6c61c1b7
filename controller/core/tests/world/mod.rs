//! A small cluster in memory that carries out plans: Deployments with their ReplicaSets, Services, pods that behave as told.
//!
//! It checks the safety invariants at every step, so that each scenario and each property is a test of all of them.

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Check, Deployment, Endpoints, Next, Note, Observed, OperationView, Plan, Policy, Read, Record, Refusal, ReleaseView,
    ReplicaSet, Service, ServicePort, Sight, Step, Trouble, decide,
};
use bascule_crds::{Operation, ReleaseSpec, ReleaseStatus, Step as Stage, Track, names};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// How the pods of an image behave; part of its tag, so that a revision carries it along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    Ready,
    Never,
    /// Ready, and dead this many seconds later.
    Dies(i64),
    /// The API server refuses the template.
    Refused,
}

impl Pods {
    fn of(image: &str) -> Self {
        match image.rsplit_once("--").map(|(_, tail)| tail) {
            Some("never") => Self::Never,
            Some("refused") => Self::Refused,
            Some(tail) => tail.strip_prefix("dies").and_then(|secs| secs.parse().ok()).map_or(Self::Ready, Self::Dies),
            None => Self::Ready,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Set {
    pub view: ReplicaSet,
    owner: String,
    image: String,
    ready_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub release: ReleaseView,
    pub deployments: BTreeMap<String, Deployment>,
    templates: BTreeMap<String, Value>,
    pub sets: BTreeMap<String, Set>,
    pub services: BTreeMap<String, Service>,
    pub operations: Vec<OperationView>,
    pub strangers: BTreeMap<String, u32>,
    pub troubles: Vec<Trouble>,
    check: Option<Check>,
    looked: BTreeSet<String>,
    /// The admission policy that puts the track into the selector.
    pub policy_installed: bool,
    /// The process ends right after it has moved this Service.
    pub fail_after_route: Option<String>,
    pub writes: Vec<String>,
    pub notes: Vec<Note>,
    version: u64,
    policy: Policy,
    /// Revisions that were once fully ready, for S1.
    proved: Vec<String>,
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
            troubles: Vec::new(),
            check: None,
            looked: BTreeSet::new(),
            policy_installed: true,
            fail_after_route: None,
            writes: Vec::new(),
            notes: Vec::new(),
            version: 1,
            policy: Policy::default(),
            proved: Vec::new(),
        };
        for service in world.release.spec.services.clone() {
            world.add_service(&service.name);
        }
        world
    }

    pub fn add_service(&mut self, name: &str) {
        self.version += 1;
        let service = Service {
            name: name.into(),
            uid: format!("{name}-uid"),
            resource_version: self.version.to_string(),
            labelled: false,
            claimed_by: None,
            preview_of: None,
            owner: None,
            record: None,
            selector: [("app".to_owned(), "web".to_owned())].into(),
            ports: vec![ServicePort { name: None, port: 80, target_port: None, protocol: None, app_protocol: None }],
            external: false,
            deleting: false,
        };
        self.services.insert(name.into(), service);
    }

    /// The user applies another spec.
    pub fn apply_spec(&mut self, spec: ReleaseSpec) {
        if self.release.spec != spec {
            self.release.spec = spec;
            self.release.generation += 1;
        }
    }

    pub fn operate(&mut self, operation: &Value) {
        self.version += 1;
        let name = format!("op-{}", self.version);
        let spec = serde_json::from_value::<Operation>(
            json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name}, "spec": operation}),
        )
        .unwrap()
        .spec;
        self.operations.push(OperationView { uid: format!("{name}-uid"), name, created: self.now, spec, answered: false });
    }

    /// The process is killed and started again: what was only in memory is gone.
    pub fn restart(&mut self) {
        for deployment in self.deployments.values_mut() {
            deployment.confirmed = None;
        }
        self.check = None;
        self.looked.clear();
        self.strangers.clear();
    }

    pub fn observed(&self) -> Observed {
        let mut services: BTreeMap<String, Sight<Option<Service>>> = BTreeMap::new();
        let spec = &self.release.spec;
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
        let endpoints =
            self.services.values().map(|service| (service.name.clone(), Sight::Known(self.endpoints(service)))).collect();
        Observed {
            release: self.release.clone(),
            environment: Sight::Known(Some("staging".into())),
            artifacts: BTreeMap::new(),
            deployments: Sight::Known(self.deployments.clone()),
            replica_sets: Sight::Known(self.sets.values().map(|set| set.view.clone()).collect()),
            services,
            endpoints,
            strangers: self.strangers.iter().map(|(name, count)| (name.clone(), Sight::Known(*count))).collect(),
            operations: self.operations.clone(),
            check: self.check.clone(),
            pods: None,
            troubles: self.troubles.clone(),
        }
    }

    /// Pods that a Service sends to: all workloads' pods in this world carry `app=web`.
    pub fn endpoints(&self, service: &Service) -> Endpoints {
        let selects = |set: &&Set| service.selected().is_none_or(|track| set.view.track.is_some_and(|its| its.as_str() == track));
        let pods =
            self.sets.values().filter(selects).flat_map(|set| (0..set.view.available).map(|n| format!("{}-p{n}", set.view.name)));
        Endpoints { ready: pods.collect() }
    }

    /// Decides and carries out until nothing is to be done at this moment.
    pub fn run(&mut self) {
        for _ in 0..60 {
            self.pods_move();
            if !self.turn() {
                return;
            }
        }
        panic!("the plan never rests: {:#?}", &self.writes[self.writes.len().saturating_sub(12)..]);
    }

    /// One decision. True when it did something.
    pub fn turn(&mut self) -> bool {
        let plan = self.plan();
        let mut acted = false;
        for read in &plan.reads {
            acted |= self.read(read);
        }
        acted |= plan.next != Next::Rest;
        self.carry_out(plan);
        acted
    }

    pub fn plan(&self) -> Plan {
        let observed = self.observed();
        let plan = decide(&observed, self.now, &self.policy);
        assert_eq!(plan, decide(&observed, self.now, &self.policy), "the same snapshot has the same plan");
        plan
    }

    /// Runs, and lets time pass from one wake-up to the next, for `secs` seconds.
    pub fn pass(&mut self, secs: i64) {
        let end = self.now + SignedDuration::from_secs(secs);
        loop {
            self.run();
            let next = [self.plan().wake, self.next_death()].into_iter().flatten().filter(|at| *at > self.now).min();
            match next {
                Some(at) if at <= end => self.now = at,
                _ => break,
            }
        }
        self.now = end;
        self.run();
    }

    fn next_death(&self) -> Option<Timestamp> {
        self.sets.values().filter_map(death).min().filter(|at| *at > self.now)
    }

    fn read(&mut self, read: &Read) -> bool {
        match read {
            Read::Service(name) => self.looked.insert(name.clone()),
            Read::Strangers { service, .. } => {
                let fresh = !self.strangers.contains_key(service);
                self.strangers.entry(service.clone()).or_insert(0);
                fresh
            }
            Read::Pods { .. } => false,
        }
    }

    fn carry_out(&mut self, plan: Plan) {
        match plan.next {
            Next::Rest => {}
            Next::Act(steps) => {
                for step in steps {
                    let routed = matches!(&step, Step::Route(write) if Some(&write.service) == self.fail_after_route.as_ref());
                    self.step(step);
                    self.check_traffic();
                    if routed {
                        return;
                    }
                }
                self.notes.extend(plan.notes);
            }
            Next::Record(status) => {
                self.write("status");
                self.check_record(&status);
                self.release.status = *status;
                self.version += 1;
                self.release.resource_version = self.version.to_string();
                self.notes.extend(plan.notes);
            }
        }
    }

    fn write(&mut self, what: impl Into<String>) {
        self.writes.push(what.into());
        self.version += 1;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::DryRun { revision, deployments } => {
                self.write("dry-run");
                let image = |body: &Value| {
                    body["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
                };
                let refused = deployments.iter().any(|body| Pods::of(&image(body)) == Pods::Refused);
                let refusal =
                    refused.then(|| Refusal::Invalid("spec.workloads[web].template.spec.containers[0].image: refused".into()));
                self.check = Some(Check { revision, at: self.now, refusal });
            }
            Step::Apply { deployment, body } => self.apply(&deployment, &body),
            Step::Scale { deployment, uid, resource_version, replicas } => {
                self.write(format!("scale {deployment} {replicas}"));
                let target = self.deployments.get_mut(&deployment).expect("exists");
                assert_eq!(target.uid, uid);
                assert!(
                    replicas > target.replicas || resource_version.as_ref() == Some(&target.resource_version),
                    "S5: fewer needs a precondition"
                );
                target.replicas = replicas;
                target.generation += 1;
                target.confirmed = Some(target.generation);
                self.check_kept(&deployment, replicas);
            }
            Step::DeleteDeployment { deployment, .. } => {
                self.write(format!("delete {deployment}"));
                self.deployments.remove(&deployment);
                self.sets.retain(|_, set| set.owner != deployment);
            }
            Step::Route(write) => {
                self.write(format!("route {} {}", write.service, write.track_name()));
                let version = self.version.to_string();
                let service = self.services.get_mut(&write.service).expect("exists");
                assert_eq!(service.resource_version, write.resource_version, "S5");
                service.record = Some(Record {
                    track: write.track_name().into(),
                    revision: write.revision.clone(),
                    reason: write.reason.clone(),
                });
                service.labelled = true;
                service.resource_version = version;
                if self.policy_installed {
                    service.selector.insert(names::TRACK.into(), write.track_name().into());
                }
            }
            Step::Select { service, resource_version, track, .. } => {
                self.write(format!("select {service} {track}"));
                let version = self.version.to_string();
                let target = self.services.get_mut(&service).expect("exists");
                assert_eq!(target.resource_version, resource_version, "S5");
                target.selector.insert(names::TRACK.into(), track);
                target.resource_version = version;
            }
            Step::Preview { service, body } => {
                self.write(format!("preview {service}"));
                let selector = serde_json::from_value(body["spec"]["selector"].clone()).unwrap();
                let of = body["metadata"]["labels"][names::PREVIEW_OF].as_str().unwrap().to_owned();
                let preview = Service {
                    name: service.clone(),
                    uid: format!("{service}-uid"),
                    resource_version: self.version.to_string(),
                    labelled: true,
                    claimed_by: None,
                    preview_of: Some(of),
                    owner: Some(self.release.uid.clone()),
                    record: None,
                    selector,
                    ports: vec![ServicePort { name: None, port: 80, target_port: None, protocol: None, app_protocol: None }],
                    external: false,
                    deleting: false,
                };
                self.services.insert(service, preview);
            }
            Step::DeletePreview { service, .. } => {
                self.write(format!("delete {service}"));
                self.services.remove(&service);
            }
            Step::Answer { operation, .. } => {
                self.write(format!("answer {operation}"));
                self.operations.iter_mut().find(|candidate| candidate.name == operation).expect("exists").answered = true;
            }
            Step::Prune { operation, .. } => {
                self.write(format!("prune {operation}"));
                self.operations.retain(|candidate| candidate.name != operation);
            }
        }
    }

    fn apply(&mut self, name: &str, body: &Value) {
        self.write(format!("apply {name}"));
        let label = |key: &str| body["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let replicas = i32::try_from(body["spec"]["replicas"].as_i64().unwrap()).unwrap();
        let template = body["spec"]["template"].clone();
        let revision = label(names::REVISION);
        if let Some(active) = self.release.status.active.as_ref().filter(|active| name.ends_with(active.track.as_str())) {
            assert_eq!(active.revision, revision, "S3: the active track keeps its revision");
        }
        let changed = self.templates.get(name) != Some(&template);
        let known = self.deployments.get(name).cloned();
        let generation = known.as_ref().map_or(0, |deployment| deployment.generation);
        let differs = changed || known.as_ref().is_none_or(|deployment| deployment.replicas != replicas);
        let generation = if differs { generation + 1 } else { generation };
        let deployment = Deployment {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
            resource_version: self.version.to_string(),
            generation,
            owner: Some(self.release.uid.clone()),
            workload: label(names::WORKLOAD),
            track: Track::parse(&label(names::TRACK)),
            revision,
            replicas,
            deleting: false,
            confirmed: Some(generation),
        };
        self.deployments.insert(name.to_owned(), deployment);
        self.templates.insert(name.to_owned(), template);
    }

    /// Another hand changes the image of a Deployment.
    pub fn edit_by_hand(&mut self, name: &str, image: &str) {
        let template = self.templates.get_mut(name).expect("exists");
        template["spec"]["containers"][0]["image"] = json!(image);
        self.touch(name);
    }

    pub fn scale_by_hand(&mut self, name: &str, replicas: i32) {
        self.deployments.get_mut(name).expect("exists").replicas = replicas;
        self.touch(name);
    }

    /// A Deployment of somebody else.
    pub fn add_foreign(&mut self, deployment: Deployment) {
        self.templates.insert(deployment.name.clone(), json!({"spec": {"containers": [{"image": "other"}]}}));
        self.deployments.insert(deployment.name.clone(), deployment);
    }

    /// Pods move once, then one decision is carried out.
    pub fn run_one(&mut self) -> bool {
        self.pods_move();
        self.turn()
    }

    fn touch(&mut self, name: &str) {
        self.version += 1;
        let deployment = self.deployments.get_mut(name).expect("exists");
        deployment.generation += 1;
        deployment.resource_version = self.version.to_string();
    }

    /// `kubectl replace` of the team's own manifest: our annotations, label and the track are gone.
    pub fn replace_service(&mut self, name: &str) {
        self.add_service(name);
        self.looked.remove(name);
        self.strangers.remove(name);
    }

    /// An admission policy has changed: the next apply of the candidate is refused.
    pub fn refuse_candidate(&mut self) {
        let revision = self.release.status.candidate.as_ref().expect("a candidate").revision.clone();
        self.check = Some(Check { revision, at: self.now, refusal: Some(Refusal::Invalid("denied".into())) });
    }

    pub fn remove_service(&mut self, name: &str) {
        self.services.remove(name);
    }

    /// A tool that leaves annotations alone but brings its own selector, where no policy stands in its way.
    pub fn reapply_service(&mut self, name: &str) {
        self.version += 1;
        let version = self.version.to_string();
        let installed = self.policy_installed;
        let service = self.services.get_mut(name).expect("exists");
        if !installed {
            service.selector.remove(names::TRACK);
            service.resource_version = version;
        }
    }

    /// The Deployment controller, the ReplicaSet controller and the kubelet.
    fn pods_move(&mut self) {
        for (name, deployment) in self.deployments.clone() {
            let template = self.templates[&name].clone();
            let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
            let set_name = format!("{name}-{:x}", hash(&template.to_string()));
            let now = self.now;
            let set = self.sets.entry(set_name.clone()).or_insert_with(|| Set {
                view: ReplicaSet {
                    name: set_name.clone(),
                    workload: deployment.workload.clone(),
                    track: deployment.track,
                    revision: deployment.revision.clone(),
                    wanted: 0,
                    replicas: 0,
                    available: 0,
                    observed: true,
                    failure: None,
                },
                owner: name.clone(),
                image,
                ready_since: None,
            });
            set.view.wanted = deployment.replicas;
            set.view.replicas = deployment.replicas;
            settle_pods(set, now);
            let new_is_ready = set.view.available >= deployment.replicas;
            for other in self.sets.values_mut().filter(|other| other.owner == name && other.view.name != set_name) {
                // maxUnavailable 0: pods that serve stay until their successors do; pods that do not may go at once.
                if new_is_ready || other.view.available == 0 {
                    other.view.wanted = 0;
                    other.view.replicas = 0;
                }
                settle_pods(other, now);
            }
        }
        for set in self.sets.values() {
            if set.view.wanted > 0 && set.view.available >= set.view.wanted && !self.proved.contains(&set.view.revision) {
                self.proved.push(set.view.revision.clone());
            }
        }
    }

    /// S1: a Service that points to a track points to a revision that was fully ready there.
    fn check_traffic(&self) {
        for service in self.services.values().filter(|service| service.preview_of.is_none()) {
            let Some(record) = service.record.as_ref().filter(|record| record.track != names::NO_TRACK) else { continue };
            assert!(self.proved.contains(&record.revision), "S1: {} was never fully ready", record.revision);
        }
    }

    /// S6: what is rejected does not come back by itself; S2: no rejection while traffic is still on it and there is a way back.
    fn check_record(&self, next: &ReleaseStatus) {
        if let Some(candidate) = next.candidate.as_ref().filter(|candidate| candidate.step == Stage::Starting) {
            let began = self.release.status.candidate.as_ref().is_none_or(|stored| stored.revision != candidate.revision);
            assert!(!began || next.rejection(&candidate.revision).is_none(), "S6: {} was rejected", candidate.revision);
        }
        if let Some(active) = &next.active {
            for service in self.services.values().filter(|service| service.preview_of.is_none() && service.labelled) {
                let record = service.record.as_ref().expect("a claimed Service has a record");
                // In the middle of a switch some are on the candidate already.
                let switching = next
                    .candidate
                    .as_ref()
                    .is_some_and(|candidate| candidate.step != Stage::Baking && candidate.revision == record.revision);
                if switching {
                    continue;
                }
                assert_eq!(
                    (record.track.as_str(), &record.revision),
                    (active.track.as_str(), &active.revision),
                    "status says where traffic is"
                );
            }
        }
    }

    /// S3, S4: nothing that a Service points to is scaled to nothing, and no way back during the bake.
    fn check_kept(&self, deployment: &str, replicas: i32) {
        if replicas > 0 {
            return;
        }
        let track = self.deployments[deployment].track.unwrap();
        let pointed =
            self.services.values().any(|service| service.preview_of.is_none() && service.selected() == Some(track.as_str()));
        let wanted_none = self.release.spec.replicas == Some(0)
            || self.release.spec.workloads.iter().any(|workload| workload.replicas == Some(0));
        assert!(!pointed || wanted_none, "S4: {deployment} has the traffic");
        let baking = self.release.status.candidate.as_ref().is_some_and(|candidate| candidate.step == Stage::Baking);
        assert!(
            !baking || wanted_none || self.release.status.previous.as_ref().is_none_or(|previous| previous.track != track),
            "S3: the way back is kept"
        );
    }

    // What tests ask.

    pub fn active(&self) -> Option<(&str, Track)> {
        self.release.status.active.as_ref().map(|active| (active.version.as_str(), active.track))
    }

    pub fn candidate(&self) -> Option<(&str, Stage)> {
        self.release.status.candidate.as_ref().map(|candidate| (candidate.version.as_str(), candidate.step))
    }

    pub fn ready(&self) -> (bool, &str, &str) {
        let condition = self.release.status.condition(bascule_crds::ConditionType::Ready).expect("there is a Ready condition");
        (condition.status == bascule_crds::ConditionStatus::True, &condition.reason, &condition.message)
    }

    pub fn selected(&self, service: &str) -> Option<&str> {
        self.services[service].selected()
    }

    pub fn replicas(&self, deployment: &str) -> i32 {
        self.deployments.get(deployment).map_or(0, |deployment| deployment.replicas)
    }
}

fn settle_pods(set: &mut Set, now: Timestamp) {
    if set.view.wanted == 0 {
        set.ready_since = None;
        set.view.available = 0;
        return;
    }
    let behaviour = Pods::of(&set.image);
    if behaviour != Pods::Never {
        set.ready_since.get_or_insert(now);
    }
    let dead = death(set).is_some_and(|at| now >= at);
    set.view.available = if behaviour == Pods::Never || dead { 0 } else { set.view.wanted };
}

fn death(set: &Set) -> Option<Timestamp> {
    match (Pods::of(&set.image), set.ready_since) {
        (Pods::Dies(secs), Some(since)) => Some(since + SignedDuration::from_secs(secs)),
        _ => None,
    }
}

fn hash(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}
