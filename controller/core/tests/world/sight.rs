//! From what is true to what the controller sees: each watch may show an older state, but never one that is older than a reply.

use std::{collections::BTreeMap, rc::Rc};

use bascule_core::{
    Answer, Archive, Claim, Deployment, Ended, Endpoints, Image, Job, Observed, OperationView, Parameter, PodReport, Read,
    ReleaseView, ReplicaSet, Service, Sight, WayBack,
    sources::{self, ARTIFACT_MISSING, ArchiveQuestion, ImageQuestion, ParameterName, ParameterQuestion, Parameters, Wish},
};
use bascule_crds::{ArchiveRecord, names};
use jiff::Timestamp;

use super::{Kind, Part, Pods, Set, World};

/// Everything that a watch could show, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub release: ReleaseView,
    pub deployments: BTreeMap<String, Deployment>,
    pub sets: Vec<ReplicaSet>,
    pub services: BTreeMap<String, Service>,
    pub endpoints: BTreeMap<String, Endpoints>,
    pub operations: Vec<OperationView>,
    pub jobs: BTreeMap<String, Job>,
}

/// What the registry says about tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registry {
    #[default]
    Answers,
    /// Another build under every tag.
    Moved,
    /// No tag is there any more.
    Gone,
    Silent,
    Fails,
}

/// What Parameter Store says.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub values: BTreeMap<String, Parameter>,
    /// It does not answer: not yet, or with a failure.
    pub fails: Option<bool>,
    /// What was true before the last write.
    before: BTreeMap<String, Parameter>,
    /// What is true, while it answers with what was before.
    after: BTreeMap<String, Parameter>,
    /// No two writes are made at the same time.
    writes: i64,
}

impl Store {
    /// Somebody writes the parameter.
    pub fn put(&mut self, name: &str, value: &str, at: Timestamp) {
        self.catch_up();
        self.writes += 1;
        let version = self.values.get(name).map_or(1, |it| it.version + 1);
        let modified_at = Some(at + jiff::SignedDuration::from_millis(self.writes));
        let parameter = Parameter { value: value.to_owned(), version, secure: false, modified_at, modified_by: None };
        if let Some(before) = self.values.insert(name.to_owned(), parameter) {
            self.before.insert(name.to_owned(), before);
        }
    }

    /// It answers with what was true before the last write.
    pub fn go_back(&mut self, name: &str) {
        if let (Some(before), Some(now)) = (self.before.get(name), self.values.get(name)) {
            self.after.insert(name.to_owned(), now.clone());
            self.values.insert(name.to_owned(), before.clone());
        }
    }

    /// Somebody deletes everything.
    pub fn forget(&mut self) {
        self.values.clear();
        self.before.clear();
        self.after.clear();
    }

    pub fn catch_up(&mut self) {
        self.values.append(&mut self.after);
    }
}

const HIDDEN: &str = "not read yet";

impl World {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            release: self.release.clone(),
            deployments: self.deployments.clone(),
            sets: self.sets.values().map(|set| set.view.clone()).collect(),
            services: self.services.clone(),
            endpoints: self.services.values().map(|it| (it.name.clone(), self.endpoints(it))).collect(),
            operations: self.operations.clone(),
            jobs: self.jobs.iter().map(|(name, job)| (name.clone(), job.view.clone())).collect(),
        }
    }

    /// Keeps what is true now, for those who will see it late.
    pub(super) fn remember(&mut self) {
        if self.remembers {
            self.history.push(Rc::new(self.snapshot()));
        }
    }

    /// The process has this object as it is now.
    pub(super) fn learn(&mut self, kind: Kind, name: &str) {
        if self.remembers {
            self.remember();
            self.process.learnt.insert((kind, name.to_owned()), self.history.len() - 1);
        }
    }

    /// This watch stands still from now on, or shows what was true `back` moments ago; only a new process goes back.
    pub fn freeze(&mut self, kind: Kind, back: usize) {
        if self.remembers {
            self.remember();
            let at = self.history.len().saturating_sub(1 + back);
            self.process.frozen.entry(kind).or_insert(at);
        }
    }

    pub fn thaw(&mut self, kind: Kind) {
        self.process.frozen.remove(&kind);
        self.process.learnt.retain(|(of, _), _| *of != kind);
    }

    /// Reads everything about the Release once: what the watches of a new process show may be from an older time.
    pub(super) fn read_anew(&mut self, observed: &Observed) {
        self.remember();
        self.learn(Kind::Release, "");
        for name in observed.services.keys() {
            self.look_at(Some((Kind::Services, name.clone())));
        }
        for kind in [Kind::Deployments, Kind::ReplicaSets] {
            if let Some(at) = self.process.frozen.get_mut(&kind) {
                *at = self.history.len() - 1;
            }
        }
        self.process.sure = Some(self.release.resource_version.clone());
    }

    /// What the watches show.
    fn shown(&self) -> Snapshot {
        let mut shown = self.snapshot();
        for (kind, at) in &self.process.frozen {
            let old = &self.history[*at];
            match kind {
                Kind::Release => shown.release = old.release.clone(),
                Kind::Deployments => shown.deployments.clone_from(&old.deployments),
                Kind::ReplicaSets => shown.sets.clone_from(&old.sets),
                Kind::Services => shown.services.clone_from(&old.services),
                Kind::Endpoints => shown.endpoints.clone_from(&old.endpoints),
                Kind::Operations => shown.operations.clone_from(&old.operations),
                Kind::Jobs => shown.jobs.clone_from(&old.jobs),
            }
            for ((_, name), learnt) in self.process.learnt.iter().filter(|((of, _), learnt)| of == kind && *learnt > at) {
                let reply = &self.history[*learnt];
                match kind {
                    Kind::Release => shown.release = reply.release.clone(),
                    Kind::Deployments => put(&mut shown.deployments, name, reply.deployments.get(name)),
                    Kind::Services => put(&mut shown.services, name, reply.services.get(name)),
                    Kind::Operations => {
                        let reply = reply.operations.iter().find(|operation| operation.name == *name);
                        match (shown.operations.iter_mut().find(|operation| operation.name == *name), reply) {
                            (Some(old), Some(reply)) => old.clone_from(reply),
                            (Some(_), None) => shown.operations.retain(|operation| operation.name != *name),
                            (None, _) => {}
                        }
                    }
                    Kind::Jobs => put(&mut shown.jobs, name, reply.jobs.get(name)),
                    Kind::ReplicaSets | Kind::Endpoints => {}
                }
            }
        }
        shown
    }

    pub fn observed(&self) -> Observed {
        let shown = self.shown();
        let process = &self.process;
        let hidden = |part: Part| process.hidden.contains(&part);
        let mut services: BTreeMap<String, Sight<Option<Service>>> = BTreeMap::new();
        let spec = &shown.release.spec;
        // The watch shows what carries the label, of whichever Release.
        let watched = |name: &str| shown.services.get(name).filter(|it| it.labelled || it.claimed_by.is_some());
        let see = |name: &str| match (watched(name), process.looked.get(name)) {
            _ if hidden(Part::Service(name.to_owned())) => Sight::Unknown(HIDDEN.into()),
            (Some(service), _) => Sight::Known(Some(service.clone())),
            (None, Some((at, found))) if *at + self.policy.look_for_service > self.now => Sight::Known(found.clone()),
            _ => Sight::Unknown("not looked for yet".into()),
        };
        for reference in &spec.services {
            services.insert(reference.name.clone(), see(&reference.name));
            if spec.preview {
                let preview = names::preview(&reference.name);
                services.insert(preview.clone(), see(&preview));
            }
        }
        for service in shown.services.values().filter(|service| service.labelled) {
            // Only the watch shows these: they are seen, or not known of.
            services.entry(service.name.clone()).or_insert_with(|| Sight::Known(Some(service.clone())));
        }
        let endpoints = services.keys().map(|name| {
            let seen = shown.endpoints.get(name).filter(|_| watched(name).is_some() && !hidden(Part::Endpoints(name.clone())));
            (name.clone(), seen.map_or_else(|| Sight::Unknown(HIDDEN.into()), |it| Sight::Known(it.clone())))
        });
        let endpoints = endpoints.collect();
        let fresh = process.counted.iter().filter(|(_, (at, _))| *at + self.policy.look_for_service > self.now);
        let strangers = fresh.map(|(name, (_, count))| {
            let sight = if hidden(Part::Strangers(name.clone())) { Sight::Unknown(HIDDEN.into()) } else { Sight::Known(*count) };
            (name.clone(), sight)
        });
        let mut deployments = shown.deployments;
        for deployment in deployments.values_mut() {
            deployment.confirmed = process.confirmed.get(&deployment.uid).copied();
        }
        let claim = unless(hidden(Part::Environment), self.claim.clone());
        let parameters = self.parameters(&shown.release, &claim);
        let mut observed = Observed {
            images: self.images(&shown.release, &claim, &parameters),
            archives: self.archives(&shown.release, &claim, &parameters),
            architectures: self.nodes.clone(),
            parameters,
            environment: claim,
            release: shown.release,
            deployments: unless(hidden(Part::Deployments), deployments),
            replica_sets: unless(hidden(Part::ReplicaSets), shown.sets),
            services,
            endpoints,
            strangers: strangers.collect(),
            operations: shown.operations,
            jobs: unless(hidden(Part::Jobs), shown.jobs),
            absent: process.absent.clone(),
            volumes: process.volumes.clone(),
            ended: process.ended.clone(),
            way_back: process.way_back.clone(),
            since: super::start(),
            words: process.words.clone(),
            samples: self.samples(),
            inputs: process.inputs.clone(),
            stored: process.stored.clone(),
            discarded: process.discarded.clone(),
            check: process.check.clone(),
            pods: process.pods.clone(),
            configs: BTreeMap::new(),
            troubles: process.troubles_at(self.now),
        };
        let answer = |name: &bascule_core::config::ConfigName| {
            if self.configs_fail {
                return Answer::Failed { reason: "Denied", message: format!("{name} may not be read") };
            }
            Answer::Known(self.configs.get(&name.to_string()).cloned())
        };
        observed.configs = bascule_core::config::names(&observed).into_iter().map(|name| (name.clone(), answer(&name))).collect();
        observed
    }

    /// What Parameter Store says about the parameters that are pointed to.
    fn parameters(&self, release: &ReleaseView, claim: &Sight<Claim>) -> Parameters {
        let answer = |name: &ParameterName| match self.store.fails {
            None => Answer::Known(self.store.values.get(name.base()).cloned()),
            Some(true) => Answer::Pending,
            Some(false) => Answer::Failed { reason: "Unreachable", message: format!("parameter {name}: no answer") },
        };
        let by_whom = |question: &ParameterQuestion| match answer(&question.name) {
            Answer::Known(Some(parameter)) if question.followed != Some(parameter.version) => {
                Answer::Known(Some(Parameter { modified_by: Some("ci".into()), ..parameter }))
            }
            answer => answer,
        };
        sources::parameters(release, claim).iter().map(|(artifact, asked)| (artifact.clone(), by_whom(asked))).collect()
    }

    /// Answers of the registry about what is not pinned yet.
    fn images(&self, release: &ReleaseView, claim: &Sight<Claim>, parameters: &Parameters) -> BTreeMap<String, Answer<Image>> {
        let answer = |question: &ImageQuestion| {
            let reference = &question.reference;
            let tag = reference.tag().unwrap();
            let build = match self.registry {
                Registry::Answers => 1,
                Registry::Moved => 2,
                Registry::Silent => return Answer::Pending,
                Registry::Gone => {
                    return Answer::Failed { reason: ARTIFACT_MISSING, message: format!("{reference} does not exist") };
                }
                Registry::Fails => {
                    return Answer::Failed { reason: "ArtifactUnresolved", message: "the registry does not answer".into() };
                }
            };
            let of_tag =
                format!("sha256:{:0>64}", format!("{:x}{build}", tag.bytes().fold(7_u64, |sum, it| sum * 31 + u64::from(it))));
            let digest = reference.digest().map_or(of_tag, ToString::to_string);
            // Builds are called `b7`, and say so in a label.
            let build_of = |build: &str| ("build".to_owned(), build.split("--").next().unwrap_or_default().to_owned());
            let says = (Wish::About..=Wish::Order).contains(&question.wish);
            let traced = self.build_trace.clone().filter(|_| says).map(|text| (names::TRACEPARENT_LABEL.to_owned(), text));
            let label = tag.strip_prefix('b').filter(|_| (Wish::About..=Wish::Order).contains(&question.wish)).map(build_of);
            Answer::Known(Image {
                reference: reference.clone(),
                tag: Some(tag.to_owned()),
                digest,
                labels: label.into_iter().chain(traced.clone()).collect(),
                platforms: self.platforms.clone(),
            })
        };
        let open = sources::questions(release, claim, parameters).images;
        open.iter().map(|(artifact, question)| (artifact.clone(), answer(question))).collect()
    }

    /// Answers of S3. A bucket whose name says so keeps no versions.
    fn archives(
        &self,
        release: &ReleaseView,
        claim: &Sight<Claim>,
        parameters: &Parameters,
    ) -> BTreeMap<String, Answer<Archive>> {
        let answer = |question: &ArchiveQuestion| match self.registry {
            Registry::Silent => Answer::Pending,
            Registry::Fails => Answer::Failed { reason: "Unreachable", message: "S3 does not answer".into() },
            _ => match self.objects.get(&question.key) {
                None => Answer::Failed { reason: ARTIFACT_MISSING, message: format!("{} is not there", question.key) },
                Some(writes) => Answer::Known(Archive {
                    record: ArchiveRecord {
                        bucket: question.bucket.clone(),
                        key: question.key.clone(),
                        version_id: (!question.bucket.contains("flat")).then(|| format!("v{writes}")),
                        etag: Some(format!("e{writes}")),
                        sha256: Some(format!("{writes:064x}")),
                        size: 7,
                    },
                    metadata: question.key.split_once("build-").map(|(_, n)| ("build".into(), n.into())).into_iter().collect(),
                }),
            },
        };
        let open = sources::questions(release, claim, parameters).archives;
        open.iter().map(|(artifact, question)| (artifact.clone(), answer(question))).collect()
    }

    /// Pods that a Service sends to: all workloads' pods in this world carry `app=web`.
    pub fn endpoints(&self, service: &Service) -> Endpoints {
        let selects = |set: &&Set| service.selected().is_none_or(|track| set.view.track.is_some_and(|its| its.as_str() == track));
        let pods =
            self.sets.values().filter(selects).flat_map(|set| (0..set.view.available).map(|n| format!("{}-p{n}", set.view.name)));
        Endpoints { ready: pods.collect() }
    }

    /// True: something was learnt.
    pub(super) fn read(&mut self, read: &Read) -> bool {
        let target = read.target();
        if self.unreadable.contains(&target) {
            let retry_at = self.now + jiff::SignedDuration::from_secs(5);
            self.process.trouble(&target, &format!("{target} cannot be read: denied"), retry_at);
            return true;
        }
        match read {
            Read::Service(name) => {
                let found = self.services.get(name).cloned();
                if found.as_ref().is_some_and(|found| found.labelled) {
                    self.learn(Kind::Services, name);
                }
                self.process.looked.insert(name.clone(), (self.now, found));
            }
            Read::Strangers { service, .. } => {
                let count = self.strangers.get(service).copied().unwrap_or(0);
                self.process.counted.insert(service.clone(), (self.now, count));
            }
            Read::Pods { revision, .. } => {
                let crashing = |set: &&Set| set.view.revision == *revision && set.view.available < set.view.replicas;
                let reasons = self.sets.values().filter(crashing).take(3).map(|set| format!("pod {}-p0: crashed", set.view.name));
                self.process.pods = Some(PodReport { revision: revision.clone(), at: self.now, reasons: reasons.collect() });
            }
            Read::WayBack { revision, name } => {
                let gone = (!self.revisions.contains_key(name)).then(|| format!("{name} is gone"));
                let missing = gone.into_iter().chain(self.lacks.clone()).collect();
                let seen = WayBack { revision: revision.clone(), at: self.now, missing, unseen: self.not_shown.clone() };
                self.process.way_back = Some(seen);
            }
            Read::Ends { workload } => {
                let of = self.sets.values().filter(|set| set.view.workload == *workload);
                let mut left = of.filter(|set| set.view.replicas > 0 || set.view.wanted > 0 || set.ending > 0);
                let left = left.next().map(|set| format!("pod {}-p0 is ending", set.view.name));
                let deployments = self.deployments.values().filter(|it| it.workload == *workload);
                let generations = deployments.map(|it| (it.name.clone(), it.generation)).collect();
                self.process.ended.insert(workload.clone(), Ended { at: self.now, generations, left });
            }
            Read::Volume { claim } => {
                self.process.volumes.insert(claim.clone(), self.volumes.get(claim).cloned());
            }
            Read::Job { job } => {
                self.learn(Kind::Jobs, job);
                if !self.jobs.contains_key(job) {
                    self.process.absent.insert(job.clone());
                }
            }
            Read::Words { job } => {
                let words = self.jobs.get(job).map_or("", |_| "exit code 1: table users is locked");
                self.process.words.insert(job.clone(), words.to_owned());
            }
            Read::Input { revision, name } => self.read_input(revision, name),
        }
        true
    }

    /// The server's answer to a body, before it is taken.
    pub(super) fn behaviour_of(body: &serde_json::Value) -> Pods {
        Pods::of(&body["spec"]["template"])
    }
}

fn put<T: Clone>(map: &mut BTreeMap<String, T>, name: &str, value: Option<&T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value.clone()),
        None => map.remove(name),
    };
}

fn unless<T>(hidden: bool, value: T) -> Sight<T> {
    if hidden { Sight::Unknown(HIDDEN.into()) } else { Sight::Known(value) }
}
