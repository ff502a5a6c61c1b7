//! One request for each step. Server-side apply with one field manager; what moves traffic or ends pods names the object's uid and
//! resourceVersion, so that a write that was decided on an older sight never lands.

use std::{fmt::Debug, sync::Arc};

use bascule_core::{
    Check, Observed, Refusal, ServiceWrite, Step,
    mutant::{self, Mutant},
};
use bascule_crds::{ReleaseStatus, names};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::{Fault, OWNED, one_line};
use crate::{
    cache::Object,
    lease::Term,
    queue::Key,
    shell::Shell,
    watch::{
        kept::{SlimOperation, SlimRelease},
        kinds::{SlimDeployment, SlimJob, SlimRevision, SlimService},
    },
};

/// For people: what was attempted, on which object.
pub(crate) fn describe(step: &Step) -> String {
    match step {
        Step::DryRun { .. } => "check the Deployments with the API server".into(),
        Step::Run { job, .. } => format!("create Job {job}"),
        Step::Store { revision, .. } => format!("store what {revision} is made from"),
        Step::Discard { name, .. } => format!("delete ControllerRevision {name}"),
        Step::Apply { deployment, .. } => format!("apply Deployment {deployment}"),
        Step::Scale { deployment, replicas, .. } => format!("scale Deployment {deployment} to {replicas}"),
        Step::DeleteDeployment { deployment, .. } => format!("delete Deployment {deployment}"),
        Step::Route(write) => format!("point Service {} to {}", write.service, write.track_name()),
        Step::Select { service, track, .. } => format!("select track {track} in Service {service}"),
        Step::Preview { service, .. } => format!("apply Service {service}"),
        Step::DeletePreview { service, .. } => format!("delete Service {service}"),
        Step::Answer { operation, .. } => format!("answer Operation {operation}"),
        Step::Prune { operation, .. } => format!("delete Operation {operation}"),
    }
}

/// What it writes to; None where nothing in the cache could be wrong about it.
pub(super) fn object(step: &Step) -> Option<Object> {
    match step {
        Step::Apply { deployment, .. } | Step::Scale { deployment, .. } | Step::DeleteDeployment { deployment, .. } => {
            Some(Object::Deployment(deployment.clone()))
        }
        Step::Route(write) => Some(Object::Service(write.service.clone())),
        Step::Select { service, .. } | Step::Preview { service, .. } | Step::DeletePreview { service, .. } => {
            Some(Object::Service(service.clone()))
        }
        Step::Run { job, .. } => Some(Object::Job(job.clone())),
        // What stands under the name of a revision is what it is made from, whoever has put it there.
        Step::DryRun { .. } | Step::Store { .. } | Step::Discard { .. } | Step::Answer { .. } | Step::Prune { .. } => None,
    }
}

pub(super) async fn step(shell: &Arc<Shell>, term: Term, key: &Key, observed: &Observed, step: Step) -> Result<(), Fault> {
    let writer = Writer { shell, term, key };
    match step {
        Step::DryRun { revision, deployments, jobs } => writer.dry_run(observed, revision, deployments, jobs).await,
        Step::Run { job, body } => writer.run(&job, &body).await,
        Step::Store { revision, body } => writer.store(observed, &revision, &body).await,
        Step::Discard { revision, name } => writer.discard(observed, &revision, &name).await,
        Step::Apply { deployment, body } => writer.apply(observed, &deployment, &body).await,
        Step::Scale { deployment, uid, resource_version, replicas } => {
            let mut body = json!({"metadata": {"uid": uid}, "spec": {"replicas": replicas}});
            if let Some(version) = resource_version {
                body["metadata"]["resourceVersion"] = json!(version);
            }
            let reply =
                writer.patch::<SlimDeployment>(&deployment, Patch::Merge(&body), Object::Deployment(deployment.clone())).await?;
            // One generation more is this write. Two: another hand came in between, without a precondition to keep it out; and where
            // another hand's edit was in it before, it still is.
            let alone = stood(observed, &deployment)
                .is_some_and(|before| (before..=before.saturating_add(1)).contains(&reply.view().generation));
            shell.cache().show_deployment(&reply, alone);
            Ok(())
        }
        Step::DeleteDeployment { deployment, uid, resource_version } => {
            writer.delete::<SlimDeployment>(&deployment, &uid, Some(resource_version)).await?;
            shell.cache().drop_deployment(&key.namespace, &deployment);
            Ok(())
        }
        Step::Route(write) => writer.route(&write).await,
        Step::Select { service, uid, resource_version, track } => {
            let body = json!({
                "metadata": {"uid": uid, "resourceVersion": resource_version},
                "spec": {"selector": {names::TRACK: track}},
            });
            writer.service(&service, Patch::Merge(&body)).await
        }
        Step::Preview { service, body } => writer.service(&service, Patch::Apply(&body)).await,
        Step::DeletePreview { service, uid, resource_version } => {
            writer.delete::<SlimService>(&service, &uid, Some(resource_version)).await?;
            shell.cache().drop_service(key, &service);
            Ok(())
        }
        Step::Answer { operation, uid, resource_version, outcome, message, at } => {
            let status = json!({"outcome": outcome, "message": message, "at": at});
            answer(shell, term, key, (&operation, &uid, &resource_version), status).await
        }
        Step::Prune { operation, uid, resource_version } => prune(shell, term, key, (&operation, &uid, &resource_version)).await,
    }
}

/// An object as it was seen: name, uid and resourceVersion.
type As<'a> = (&'a str, &'a str, &'a str);

/// Writes the outcome of an Operation; also of one whose Release does not exist. The resourceVersion is the precondition: for the
/// status of a custom resource the uid alone is none.
pub(crate) async fn answer(
    shell: &Arc<Shell>,
    term: Term,
    key: &Key,
    (operation, uid, version): As<'_>,
    status: Value,
) -> Result<(), Fault> {
    let api: Api<SlimOperation> = Api::namespaced(shell.client.clone(), &key.namespace);
    let body = json!({
        "apiVersion": "bascule.dev/v1alpha1", "kind": "Operation",
        "metadata": {"name": operation, "namespace": key.namespace, "uid": uid, "resourceVersion": version}, "status": status,
    });
    let reply = shell.gate.send(term, api.patch_status(operation, &parameters(true), &Patch::Apply(&body))).await;
    let reply = heeded(shell, reply).await?;
    shell.cache().show_operation(&reply);
    Ok(())
}

/// Deletes an answered Operation; also of a Release that does not exist.
pub(crate) async fn prune(shell: &Arc<Shell>, term: Term, key: &Key, (operation, uid, version): As<'_>) -> Result<(), Fault> {
    Writer { shell, term, key }.delete::<SlimOperation>(operation, uid, Some(version.to_owned())).await?;
    shell.cache().operations.drop(&(key.namespace.clone(), operation.to_owned()));
    Ok(())
}

/// The generation at which this Deployment was as our last write left it, in this process or before; None when another hand has
/// edited it since.
fn stood(observed: &Observed, name: &str) -> Option<i64> {
    let deployment = observed.deployments.known()?.get(name)?;
    let status = &observed.release.status;
    let versions = status.active.iter().chain(&status.previous).map(|version| (version.track, &version.workloads));
    let candidate = status.candidate.iter().map(|candidate| (candidate.track, &candidate.workloads));
    let mut records =
        versions.chain(candidate).filter(|(track, _)| deployment.track == Some(*track)).flat_map(|(_, records)| records);
    let stands = deployment.confirmed == Some(deployment.generation)
        || records.any(|record| record.name == deployment.workload && record.generation == Some(deployment.generation));
    stands.then_some(deployment.generation)
}

/// The status of the Release, on the condition that nothing has changed it since the decision.
pub(super) async fn status(
    shell: &Arc<Shell>,
    term: Term,
    key: &Key,
    observed: &Observed,
    status: &ReleaseStatus,
) -> Result<(), Fault> {
    let api: Api<SlimRelease> = Api::namespaced(shell.client.clone(), &key.namespace);
    let release = &observed.release;
    let body = json!({
        "apiVersion": "bascule.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": release.uid, "resourceVersion": release.resource_version},
        "status": status,
    });
    let mut body = body;
    if let Some(metadata) = body["metadata"].as_object_mut().filter(|_| mutant::is(Mutant::NoStatusPrecondition)) {
        metadata.remove("resourceVersion");
    }
    let reply = shell.gate.send(term, api.patch_status(&key.name, &parameters(true), &Patch::Apply(&body))).await;
    let reply = heeded(shell, reply).await;
    let reply = doubtful(shell, key, reply, Object::Release(key.name.clone()))?;
    shell.cache().show_release(&reply);
    Ok(())
}

struct Writer<'a> {
    shell: &'a Arc<Shell>,
    /// In which this was decided.
    term: Term,
    key: &'a Key,
}

impl Writer<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.shell.client.clone(), &self.key.namespace)
    }

    async fn patch<K>(&self, name: &str, patch: Patch<&Value>, object: Object) -> Result<K, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        // Force takes fields back from others, in an object that we know: its uid is in the body. A body without one is to create it, and
        // there is no precondition for that; but without force an object of another owner, which came in the meantime, is a conflict of
        // fields and stays as it is. That costs no request: a POST would leave us two sets of fields, and a GET a gap before the write.
        let known = matches!(patch, Patch::Apply(body) if body["metadata"]["uid"].is_string());
        let reply = self.shell.gate.send(self.term, self.api::<K>().patch(name, &parameters(known), &patch)).await;
        let reply = heeded(self.shell, reply).await;
        doubtful(self.shell, self.key, reply, object)
    }

    async fn apply(&self, observed: &Observed, name: &str, body: &Value) -> Result<(), Fault> {
        let reply = self.patch::<SlimDeployment>(name, Patch::Apply(body), Object::Deployment(name.to_owned())).await;
        match reply {
            Ok(reply) => {
                self.shell.cache().show_deployment(&reply, true);
                Ok(())
            }
            // The dry run said yes and the real thing no: an admission policy, or who has that name, has changed in between.
            Err(Fault::Refused { code, message }) if code == OWNED || is_candidate(observed, body) => {
                let revision = body["metadata"]["labels"][names::REVISION].as_str().unwrap_or_default().to_owned();
                let refusal = if code == OWNED { self.taken(body) } else { Refusal::Invalid(readable(&message, body)) };
                self.shell.cache().checked(self.key, Check { revision, at: self.shell.clock.now(), refusal: Some(refusal) });
                // Nothing was put right, so nothing of that kind may be told.
                if is_candidate(observed, body) { Ok(()) } else { Err(Fault::Behind) }
            }
            Err(fault) => Err(fault),
        }
    }

    async fn route(&self, write: &ServiceWrite) -> Result<(), Fault> {
        let body = write.body(&self.key.namespace);
        self.service(&write.service, Patch::Apply(&body)).await
    }

    async fn service(&self, name: &str, patch: Patch<&Value>) -> Result<(), Fault> {
        let reply = self.patch::<SlimService>(name, patch, Object::Service(name.to_owned())).await;
        if matches!(reply, Err(Fault::Behind)) {
            // It may have lost our label, and then no watch will tell.
            self.shell.cache().forget_service(self.key, name);
        }
        self.shell.cache().show_service(self.key, reply?);
        Ok(())
    }

    async fn delete<K>(&self, name: &str, uid: &str, resource_version: Option<String>) -> Result<(), Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let mut parameters = DeleteParams::background();
        if !mutant::is(Mutant::NoDeletePrecondition) {
            parameters.preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version });
        }
        let reply = self.shell.gate.send(self.term, self.api::<K>().delete(name, &parameters)).await;
        heeded(self.shell, reply).await.map(|_| ())
    }

    /// A Deployment that the watch does not show is somebody else's, unless it says that it is ours: then the watch is behind.
    async fn is_a_strangers(&self, observed: &Observed, deployment: &str) -> Result<bool, Fault> {
        let found = self.api::<SlimDeployment>().get_opt(deployment).await.map_err(Fault::of);
        let Some(found) = heeded(self.shell, found).await? else { return Ok(false) };
        if found.view().owner.as_ref() != Some(&observed.release.uid) {
            return Ok(true);
        }
        self.shell.cache().show_deployment(&found, false);
        Err(Fault::Behind)
    }

    /// Creates a Job. One of that name that is there already is the very same: its name says which attempt it is.
    async fn run(&self, name: &str, body: &Value) -> Result<(), Fault> {
        match self.create::<SlimJob>(body, false).await {
            Ok(job) => {
                self.shell.cache().saw_job(self.key, name, Some(&job));
                Ok(())
            }
            Err(Fault::Behind) => {
                let found = self.api::<SlimJob>().get_opt(name).await.map_err(Fault::of);
                let found = heeded(self.shell, found).await?;
                self.shell.cache().saw_job(self.key, name, found.as_ref());
                Ok(())
            }
            Err(fault) => doubtful(self.shell, self.key, Err(fault), Object::Job(name.to_owned())),
        }
    }

    /// Creates the ControllerRevision. Nobody can change one, so what is there already under our Release is the same.
    async fn store(&self, observed: &Observed, revision: &str, body: &Value) -> Result<(), Fault> {
        match self.create::<SlimRevision>(body, false).await {
            Ok(_) => {}
            Err(Fault::Behind) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let found = self.api::<SlimRevision>().get_opt(name).await.map_err(Fault::of);
                let found = heeded(self.shell, found).await?;
                // Of a Release of the same name that is gone: Kubernetes removes it.
                if !found.is_some_and(|found| found.is_of(&observed.release.uid)) {
                    return Err(Fault::Other(format!("ControllerRevision {name} exists and is not of this Release")));
                }
            }
            Err(fault) => return Err(fault),
        }
        self.shell.cache().stored(self.key, revision);
        Ok(())
    }

    /// What is deleted was read right before, and is ours.
    async fn discard(&self, observed: &Observed, revision: &str, name: &str) -> Result<(), Fault> {
        let found = self.api::<SlimRevision>().get_opt(name).await.map_err(Fault::of);
        let found = heeded(self.shell, found).await?.filter(|found| found.is_of(&observed.release.uid));
        if let Some(found) = found {
            let uid = found.metadata.uid.clone().unwrap_or_default();
            match self.delete::<SlimRevision>(name, &uid, found.metadata.resource_version.clone()).await {
                // Somebody else was faster.
                Ok(()) | Err(Fault::Behind) => {}
                Err(fault) => return Err(fault),
            }
        }
        self.shell.cache().discarded(self.key, revision);
        Ok(())
    }

    /// POST: unlike an apply it never changes what is there.
    async fn create<K>(&self, body: &Value, dry_run: bool) -> Result<K, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let resource = ApiResource::erase::<K>(&K::DynamicType::default());
        let api: Api<DynamicObject> = Api::namespaced_with(self.shell.client.clone(), &self.key.namespace, &resource);
        let parameters = PostParams { dry_run, field_manager: Some(names::FIELD_MANAGER.to_owned()) };
        let object: DynamicObject = serde_json::from_value(body.clone()).map_err(|error| Fault::Other(error.to_string()))?;
        let reply = self.shell.gate.send(self.term, api.create(&parameters, &object)).await;
        let reply = heeded(self.shell, reply).await?;
        let reply = serde_json::to_value(reply).and_then(serde_json::from_value);
        reply.map_err(|error| Fault::Other(error.to_string()))
    }

    fn taken(&self, body: &Value) -> Refusal {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let workload = body["metadata"]["labels"][names::WORKLOAD].as_str().unwrap_or_default();
        Refusal::Taken(format!(
            "Deployment {name} exists in namespace {} and is not managed by this Release: delete it, or rename workload {workload}",
            self.key.namespace
        ))
    }

    /// Asks the server about every Deployment of a revision before any of them exists.
    async fn dry_run(
        &self,
        observed: &Observed,
        revision: String,
        deployments: Vec<Value>,
        jobs: Vec<Value>,
    ) -> Result<(), Fault> {
        let mut refusal = None;
        for body in &jobs {
            match self.create::<SlimJob>(body, true).await {
                Ok(_) | Err(Fault::Behind) => {}
                Err(Fault::Refused { message, .. }) => {
                    refusal = Some(Refusal::Invalid(readable_job(&message, body)));
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        let deployments = if refusal.is_some() { Vec::new() } else { deployments };
        for body in &deployments {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let mut parameters = parameters(true);
            parameters.dry_run = true;
            let reply =
                self.shell.gate.send(self.term, self.api::<SlimDeployment>().patch(name, &parameters, &Patch::Apply(body))).await;
            let known = observed.deployments.known().is_some_and(|deployments| deployments.contains_key(name));
            match heeded(self.shell, reply).await {
                Ok(reply) => {
                    // A resourceVersion means that it exists; one that our label-filtered watch does not show is not ours.
                    let exists = reply.metadata.resource_version.as_deref().is_some_and(|version| !version.is_empty());
                    if exists && !known && self.is_a_strangers(observed, name).await? {
                        refusal = Some(self.taken(body));
                    }
                }
                // What is refused may be the change of somebody else's Deployment.
                Err(Fault::Refused { .. }) if !known && self.is_a_strangers(observed, name).await? => {
                    refusal = Some(self.taken(body));
                }
                Err(Fault::Refused { message, .. }) => refusal = Some(Refusal::Invalid(readable(&message, body))),
                Err(fault) => return Err(fault),
            }
            if refusal.is_some() {
                break;
            }
        }
        self.shell.cache().checked(self.key, Check { revision, at: self.shell.clock.now(), refusal });
        Ok(())
    }
}

/// The body is for a candidate without traffic: it can be given up. What has traffic is tried again instead.
fn is_candidate(observed: &Observed, body: &Value) -> bool {
    let status = &observed.release.status;
    let revision = body["metadata"]["labels"][names::REVISION].as_str();
    let is_active = status.active.as_ref().is_some_and(|active| Some(active.revision.as_str()) == revision);
    !is_active && status.candidate.as_ref().is_some_and(|candidate| Some(candidate.revision.as_str()) == revision)
}

fn parameters(force: bool) -> PatchParams {
    let parameters = PatchParams::apply(names::FIELD_MANAGER);
    if force { parameters.force() } else { parameters }
}

/// 429 is for everybody.
async fn heeded<T>(shell: &Shell, reply: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(Fault::Throttled(pause)) = &reply {
        shell.gate.close_for(*pause).await;
    }
    reply
}

/// A write that had no answer may have happened: the object must be read before the next decision.
fn doubtful<T>(shell: &Shell, key: &Key, reply: Result<T, Fault>, object: Object) -> Result<T, Fault> {
    if matches!(reply, Err(Fault::Unanswered(_) | Fault::Other(_))) {
        shell.cache().doubt(key, object);
    }
    reply
}

/// The server speaks of the Deployment; the user wrote a workload.
fn readable(message: &str, body: &Value) -> String {
    let workload = body["metadata"]["labels"][names::WORKLOAD].as_str().unwrap_or_default();
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let shorter = message.replace(&format!("Deployment.apps \"{name}\" is invalid: "), "");
    // `failed to create typed patch object (shop/web-blue; apps/v1, Kind=Deployment): .spec.template…`: only what follows is for people.
    let shorter = match shorter.split_once("Kind=Deployment): ") {
        Some((head, rest)) if head.starts_with("failed to ") => rest.to_owned(),
        _ => shorter,
    };
    let path = format!("spec.workloads[{workload}].template.");
    // Typed errors write `.spec.template.spec…`.
    one_line(&shorter.trim_start_matches('.').replace(" .spec.template.", " spec.template.").replace("spec.template.", &path))
}

/// The same for a Job: it carries the field that it comes from.
fn readable_job(message: &str, body: &Value) -> String {
    let field = body["metadata"]["annotations"][names::FIELD].as_str().unwrap_or_default();
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let shorter = message.replace(&format!("Job.batch \"{name}\" is invalid: "), "");
    let shorter = match shorter.split_once(": ") {
        Some((head, rest)) if head.starts_with("Job in version") => rest.to_owned(),
        _ => shorter,
    };
    one_line(&shorter.replace("spec.template.", &format!("{field}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field_as_the_user_wrote_it() {
        let body = json!({"metadata": {"name": "web-green", "labels": {"bascule.dev/workload": "web"}}});
        let message = "Deployment.apps \"web-green\" is invalid: spec.template.spec.containers[0].image: Required value";
        assert_eq!(readable(message, &body), "spec.workloads[web].template.spec.containers[0].image: Required value");
        let message = "failed to create typed patch object (shop/web-green; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"web\"].imagee: field not declared in schema";
        assert_eq!(
            readable(message, &body),
            "spec.workloads[web].template.spec.containers[name=\"web\"].imagee: field not declared in schema"
        );
    }
}
