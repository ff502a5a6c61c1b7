//! Carries plans out as the API server and the shell would: one request for each step, preconditions checked, the first failure ends
//! the plan, and what came of it is known to the process.

use bascule_core::{
    Check, Deployment, Next, Note, Observed, Plan, Read, Record, Refusal, Service, ServicePort, Step, story::story,
};
use bascule_crds::{ReleaseStatus, Track, names};
use serde_json::Value;

use super::{Kind, Pods, Rule, World};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server says no, in words, and so many times again.
    Fails { again: u8 },
    /// No answer; it was carried out or not.
    Unanswered { applied: bool },
    /// The process ends before or after the request was carried out.
    Crash { applied: bool },
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Done,
    /// A precondition does not hold.
    Conflict,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    /// The process is no more.
    WithTheProcess,
}

impl World {
    pub(super) fn carry_out(&mut self, observed: &Observed, plan: Plan) -> bool {
        let ended = match plan.next {
            Next::Rest => {
                let mut learnt = false;
                for read in &plan.reads {
                    learnt |= self.try_to_read(read);
                }
                return learnt;
            }
            Next::Act(steps) if steps.iter().any(is_grave) && !self.is_sure(observed, &steps) => {
                self.read_anew(observed);
                return true;
            }
            Next::Act(steps) => {
                let mut ended = Ended::Well;
                for step in &steps {
                    ended = self.request(&step.target(), object(step), |world| world.step(observed, step));
                    let routed = matches!(step, Step::Route(write) if Some(&write.service) == self.fail_after_route.as_ref());
                    if ended != Ended::Well || routed {
                        break;
                    }
                }
                ended
            }
            Next::Record(status) if ends_something(observed, &status) && !self.is_sure(observed, &[]) => {
                self.read_anew(observed);
                return true;
            }
            Next::Record(status) => {
                let object = Some((Kind::Release, String::new()));
                self.request(bascule_core::STATUS, object, |world| world.record(observed, *status, &plan.notes))
            }
        };
        if ended == Ended::Well {
            self.oracle.tally.notes(&plan.notes);
            self.notes.extend(plan.notes);
        }
        true
    }

    /// A read can fail as well: then it is a trouble, and not made again before its time.
    fn try_to_read(&mut self, read: &Read) -> bool {
        if self.process.has_read(read, self.now, &self.policy) {
            return false;
        }
        if self.take_fault().is_some() {
            self.process.failed(&read.target(), &format!("could not {}: no answer", read.target()), self.now);
            return true;
        }
        self.process.troubles.remove(&read.target());
        self.read(read)
    }

    /// What happens to this request, if it is its turn.
    fn take_fault(&mut self) -> Option<Fault> {
        let (left, fault) = self.fault?;
        self.fault = left.checked_sub(1).map(|left| (left, fault));
        if self.fault.is_some() {
            return None;
        }
        self.oracle.tally.count("fault", fault);
        if let Fault::Fails { again } = fault {
            self.fault = again.checked_sub(1).map(|again| (0, Fault::Fails { again }));
        }
        Some(fault)
    }

    fn request(&mut self, target: &str, object: Option<(Kind, String)>, act: impl FnOnce(&mut Self) -> Reply) -> Ended {
        let fault = self.take_fault();
        let applied = match fault {
            None => true,
            Some(Fault::Fails { .. }) => false,
            Some(Fault::Unanswered { applied } | Fault::Crash { applied }) => applied,
        };
        let confirmed = self.process.confirmed.clone();
        let reply = if applied { act(self) } else { Reply::Done };
        match (fault, reply) {
            (Some(Fault::Crash { .. }), _) => {
                self.restart();
                return Ended::WithTheProcess;
            }
            (Some(Fault::Fails { .. }), _) => self.process.failed(target, &format!("could not write {target}: denied"), self.now),
            (Some(Fault::Unanswered { .. }), _) => {
                // The object is read before the next decision; what the write left is not known to be ours.
                self.process.confirmed = confirmed;
                self.process.failed(target, &format!("could not write {target}: no answer"), self.now);
                self.look_at(object);
            }
            (None, Reply::Conflict) => {
                // A Service that no watch shows may have changed since it was read.
                let sighted = object.as_ref().is_some_and(|(_, name)| self.process.looked.contains_key(name));
                if self.process.is_live() && !sighted {
                    self.oracle.broken(Rule::S5, || format!("{target}: the precondition is not what was seen"));
                }
                // The shell reads it when the watch does not show it soon.
                self.look_at(object);
            }
            (None, Reply::Done) => {
                self.process.troubles.remove(target);
                if let Some((kind, name)) = object {
                    self.learn(kind, &name);
                }
                return Ended::Well;
            }
        }
        Ended::Badly
    }

    /// As the shell does: once before traffic or pods move, and again where a Service carries a revision that the status does not know.
    fn is_sure(&self, observed: &Observed, steps: &[Step]) -> bool {
        let status = &observed.release.status;
        let versions = || {
            status
                .active
                .iter()
                .chain(&status.previous)
                .map(|it| &it.revision)
                .chain(status.candidate.iter().map(|it| &it.revision))
        };
        let is_strange = |step: &Step| {
            let Step::Route(write) = step else { return false };
            let service = observed.services.get(&write.service).and_then(|sight| sight.known()?.as_ref());
            let record = service.and_then(|service| service.record.as_ref());
            record.is_some_and(|it| !it.revision.is_empty() && versions().all(|known| *known != it.revision))
        };
        let version = &observed.release.resource_version;
        let strange = steps.iter().any(is_strange);
        self.process.sure.as_ref().is_some_and(|sure| !strange || sure == version)
    }

    /// One GET.
    pub(super) fn look_at(&mut self, object: Option<(Kind, String)>) {
        let Some((kind, name)) = object else { return };
        self.learn(kind, &name);
        if kind == Kind::Services {
            let found = self.services.get(&name).cloned();
            self.process.counted.remove(&name);
            self.process.looked.insert(name, (self.now, found));
        }
    }

    pub(super) fn write(&mut self, what: impl Into<String>) {
        self.writes.push(what.into());
        self.version += 1;
    }

    fn record(&mut self, observed: &Observed, status: ReleaseStatus, notes: &[Note]) -> Reply {
        if observed.release.resource_version != self.release.resource_version {
            return Reply::Conflict;
        }
        self.write("status");
        self.check_record(&status, notes);
        self.note_jobs(&status);
        self.told.extend(story(&self.release.status, &status, self.now));
        self.release.status = status;
        self.release.resource_version = self.version.to_string();
        Reply::Done
    }

    fn step(&mut self, observed: &Observed, step: &Step) -> Reply {
        self.oracle.tally.step(step);
        let before = self.before(step);
        let reply = self.land(observed, step);
        if reply == Reply::Done {
            self.check_landed(observed, step, &before);
        }
        reply
    }

    fn land(&mut self, observed: &Observed, step: &Step) -> Reply {
        match step {
            Step::Run { .. } | Step::Store { .. } | Step::Discard { .. } => self.keep(observed, step),
            Step::DryRun { revision, deployments, .. } => {
                self.write("dry-run");
                self.process.check =
                    Some(Check { revision: revision.clone(), at: self.now, refusal: self.ask(observed, deployments) });
                Reply::Done
            }
            Step::Apply { deployment, body } => self.apply(observed, deployment, body),
            Step::Scale { deployment, uid, resource_version, replicas } => {
                let version = self.version + 1;
                let Some(target) = self.deployments.get_mut(deployment) else { return Reply::Conflict };
                if target.uid != *uid || resource_version.as_ref().is_some_and(|it| *it != target.resource_version) {
                    return Reply::Conflict;
                }
                target.replicas = *replicas;
                target.generation += 1;
                target.resource_version = version.to_string();
                self.process.confirmed.insert(uid.clone(), target.generation);
                self.write(format!("scale {deployment} {replicas}"));
                Reply::Done
            }
            Step::DeleteDeployment { deployment, uid, resource_version } => {
                let Some(target) = self.deployments.get(deployment) else { return Reply::Conflict };
                if target.uid != *uid || target.resource_version != *resource_version {
                    return Reply::Conflict;
                }
                self.write(format!("delete {deployment}"));
                self.drop_deployment(deployment);
                Reply::Done
            }
            Step::Route(write) => {
                let version = self.version + 1;
                let installed = self.policy_installed;
                let Some(service) = self.services.get_mut(&write.service) else { return Reply::Conflict };
                if service.uid != write.uid || service.resource_version != write.resource_version {
                    return Reply::Conflict;
                }
                service.record = Some(Record {
                    track: write.track_name().into(),
                    revision: write.revision.clone(),
                    reason: write.reason.clone(),
                });
                service.labelled = true;
                service.claimed_by = None;
                service.resource_version = version.to_string();
                if installed {
                    service.selector.insert(names::TRACK.into(), write.track_name().into());
                }
                self.write(format!("route {} {}", write.service, write.track_name()));
                self.forget(&write.service);
                Reply::Done
            }
            Step::Select { service, uid, resource_version, track } => {
                let version = self.version + 1;
                let Some(target) = self.services.get_mut(service) else { return Reply::Conflict };
                if target.uid != *uid || target.resource_version != *resource_version {
                    return Reply::Conflict;
                }
                target.selector.insert(names::TRACK.into(), track.clone());
                target.resource_version = version.to_string();
                self.write(format!("select {service} {track}"));
                self.forget(service);
                Reply::Done
            }
            Step::Preview { service, body } => self.preview(service, body),
            Step::DeletePreview { service, uid, resource_version } => {
                let Some(target) = self.services.get(service) else { return Reply::Conflict };
                if target.uid != *uid || target.resource_version != *resource_version {
                    return Reply::Conflict;
                }
                self.write(format!("delete {service}"));
                self.services.remove(service);
                self.forget(service);
                Reply::Done
            }
            Step::Answer { operation, uid, .. } => {
                let Some(target) = self.operations.iter_mut().find(|it| it.uid == *uid) else { return Reply::Conflict };
                target.answered = true;
                self.write(format!("answer {operation}"));
                Reply::Done
            }
            Step::Prune { operation, uid, .. } => {
                self.write(format!("prune {operation}"));
                self.operations.retain(|candidate| candidate.uid != *uid);
                Reply::Done
            }
        }
    }

    /// Jobs, and what revisions are made from.
    fn keep(&mut self, observed: &Observed, step: &Step) -> Reply {
        match step {
            Step::Run { job, body } => self.create_job(observed, job, body),
            Step::Store { revision, body } => self.store_input(revision, body),
            Step::Discard { revision, name } => {
                self.write(format!("discard {revision}"));
                self.revisions.remove(name);
                self.process.discarded.insert(revision.clone());
                self.process.inputs.remove(revision);
                self.process.stored.take_if(|stored| stored == revision);
            }
            _ => {}
        }
        Reply::Done
    }

    /// What was read of this Service is no longer true.
    fn forget(&mut self, service: &str) {
        self.process.looked.remove(service);
        self.process.counted.remove(service);
    }

    /// The dry run: would the server take them all?
    fn ask(&self, observed: &Observed, bodies: &[Value]) -> Option<Refusal> {
        for body in bodies {
            let name = body["metadata"]["name"].as_str().unwrap();
            let shown = observed.deployments.known().is_some_and(|deployments| deployments.contains_key(name));
            if self.deployments.contains_key(name) && !shown {
                return Some(Refusal::Taken(format!("Deployment {name} exists")));
            }
            if Self::behaviour_of(body) == Pods::Refused {
                return Some(Refusal::Invalid("spec.workloads[web].template.spec.containers[0].image: refused".into()));
            }
        }
        None
    }

    fn apply(&mut self, observed: &Observed, name: &str, body: &Value) -> Reply {
        let label = |key: &str| body["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let revision = label(names::REVISION);
        let known = self.deployments.get(name).cloned();
        let text = |key: &str| body["metadata"][key].as_str();
        let matches = |it: &Deployment| {
            text("uid").is_none_or(|uid| uid == it.uid) && text("resourceVersion").is_none_or(|at| at == it.resource_version)
        };
        if known.as_ref().map_or(text("uid").is_some(), |it| !matches(it)) {
            return Reply::Conflict;
        }
        let candidate = observed.release.status.candidate.as_ref().filter(|candidate| candidate.revision == revision);
        let is_active = observed.release.status.active.as_ref().is_some_and(|active| active.revision == revision);
        if Self::behaviour_of(body) == Pods::Denied && candidate.is_some() && !is_active {
            self.write(format!("denied {name}"));
            self.process.check = Some(Check { revision, at: self.now, refusal: Some(Refusal::Invalid("denied".into())) });
            return Reply::Done;
        }
        self.write(format!("apply {name}"));
        let replicas = i32::try_from(body["spec"]["replicas"].as_i64().unwrap()).unwrap();
        let template = body["spec"]["template"].clone();
        let changed = self.templates.get(name) != Some(&template);
        let generation = known.as_ref().map_or(0, |deployment| deployment.generation);
        let differs = changed || known.as_ref().is_none_or(|deployment| deployment.replicas != replicas);
        let generation = if differs { generation + 1 } else { generation };
        let deployment = Deployment {
            name: name.to_owned(),
            uid: known.map_or_else(|| format!("{name}-{}", self.version), |known| known.uid),
            resource_version: self.version.to_string(),
            generation,
            owner: Some(self.release.uid.clone()),
            workload: label(names::WORKLOAD),
            track: Track::parse(&label(names::TRACK)),
            revision,
            replicas,
            deleting: false,
            confirmed: None,
        };
        self.process.confirmed.insert(deployment.uid.clone(), generation);
        self.oracle.wrote(name, &template);
        let same = |known: &Deployment| {
            !changed && Deployment { resource_version: known.resource_version.clone(), ..deployment.clone() } == *known
        };
        if !self.deployments.get(name).is_some_and(same) {
            self.deployments.insert(name.to_owned(), deployment);
        }
        self.templates.insert(name.to_owned(), template);
        Reply::Done
    }

    fn preview(&mut self, name: &str, body: &Value) -> Reply {
        self.write(format!("preview {name}"));
        let ports: Vec<ServicePort> = serde_json::from_value(body["spec"]["ports"].clone()).unwrap();
        let preview = Service {
            name: name.to_owned(),
            uid: self.services.get(name).map_or_else(|| format!("{name}-{}", self.version), |known| known.uid.clone()),
            resource_version: self.version.to_string(),
            labelled: true,
            claimed_by: None,
            preview_of: Some(body["metadata"]["labels"][names::PREVIEW_OF].as_str().unwrap().to_owned()),
            owner: Some(self.release.uid.clone()),
            record: None,
            selector: serde_json::from_value(body["spec"]["selector"].clone()).unwrap(),
            ports,
            form: bascule_core::ServiceForm::default(),
            deleting: false,
        };
        self.services.insert(name.to_owned(), preview);
        self.forget(name);
        Reply::Done
    }

    pub(super) fn drop_deployment(&mut self, name: &str) {
        self.deployments.remove(name);
        self.templates.remove(name);
        self.sets.retain(|_, set| set.owner != name);
    }
}

/// As in the shell: a status that others go by.
fn ends_something(observed: &Observed, next: &bascule_crds::ReleaseStatus) -> bool {
    let status = &observed.release.status;
    status.active != next.active || (status.candidate.is_some() && next.candidate.is_none())
}

/// It moves traffic or pods, runs something, or is about what can be returned to.
fn is_grave(step: &Step) -> bool {
    matches!(
        step,
        Step::Run { .. }
            | Step::Store { .. }
            | Step::Discard { .. }
            | Step::Apply { .. }
            | Step::Scale { .. }
            | Step::DeleteDeployment { .. }
            | Step::Route(_)
            | Step::Select { .. }
    )
}

/// What a step writes to, as the process sees it afterwards.
fn object(step: &Step) -> Option<(Kind, String)> {
    match step {
        Step::DryRun { .. } | Step::Store { .. } | Step::Discard { .. } => None,
        Step::Run { job, .. } => Some((Kind::Jobs, job.clone())),
        Step::Apply { deployment, .. } | Step::Scale { deployment, .. } | Step::DeleteDeployment { deployment, .. } => {
            Some((Kind::Deployments, deployment.clone()))
        }
        Step::Route(write) => Some((Kind::Services, write.service.clone())),
        Step::Select { service, .. } | Step::Preview { service, .. } | Step::DeletePreview { service, .. } => {
            Some((Kind::Services, service.clone()))
        }
        Step::Answer { operation, .. } | Step::Prune { operation, .. } => Some((Kind::Operations, operation.clone())),
    }
}
