//! What others do: the user, another controller, an administrator, a fault of the cluster.

use bascule_core::{Check, Deployment, OperationView, Refusal, ServiceForm};
use bascule_crds::{Operation, ReleaseSpec, ReleaseStatus, Track, names};
use serde_json::{Value, json};

use super::World;

/// What a foreign hand does, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// `kubectl replace` of the team's own manifest.
    ReplaceService,
    /// A tool that brings its own selector.
    ReapplyService,
    RemoveService,
    AddService,
    /// Our annotation says another track.
    Mislabel,
    /// The selector says another track, the annotation does not.
    Misdirect,
    ClaimForAnother,
    External,
    NoSelector,
    OtherSelector,
    DeleteService,
    Strangers(u32),
    EditImage,
    Scale(i32),
    DeleteDeployment,
    /// The Deployment on the other track is being deleted.
    DeleteIdle,
    /// Deleted, and gone at once.
    DropDeployment,
    FinishDeletion,
    TakeDeployment,
    TakePreview,
    WipeStatus,
    RefuseCandidate,
    KillActive,
    KillCandidate,
    KillPrevious,
    /// All Jobs are deleted, those that run too.
    DropJobs,
    /// What was stored of the history is gone.
    DropRevisions,
}

impl World {
    /// The user applies another spec.
    pub fn apply_spec(&mut self, spec: ReleaseSpec) {
        if self.release.spec != spec {
            self.release.spec = spec;
            self.release.generation += 1;
            self.release.resource_version = self.next_version();
        }
    }

    pub fn operate(&mut self, operation: &Value) {
        let version = self.next_version();
        // Those of one moment are heard by name.
        let name = format!("op-{version:0>6}");
        let spec = serde_json::from_value::<Operation>(
            json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name}, "spec": operation}),
        )
        .unwrap()
        .spec;
        self.operations.push(OperationView {
            uid: format!("{name}-uid"),
            resource_version: version,
            name,
            created: self.now,
            spec,
            answered: false,
        });
    }

    /// The process is killed and started again: what was only in memory is gone.
    pub fn restart(&mut self) {
        self.process = super::Process::default();
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

    fn touch(&mut self, name: &str) {
        let version = self.next_version();
        let deployment = self.deployments.get_mut(name).expect("exists");
        deployment.generation += 1;
        deployment.resource_version = version;
    }

    /// `kubectl replace` of the team's own manifest: our annotations, label and the track are gone.
    pub fn replace_service(&mut self, name: &str) {
        self.add_service(name);
        self.process.looked.remove(name);
        self.process.counted.remove(name);
    }

    /// An admission policy has changed: the next apply of the candidate is refused.
    pub fn refuse_candidate(&mut self) {
        let revision = self.release.status.candidate.as_ref().expect("a candidate").revision.clone();
        self.process.check = Some(Check { revision, at: self.now, refusal: Some(Refusal::Invalid("denied".into())) });
    }

    pub fn remove_service(&mut self, name: &str) {
        self.services.remove(name);
        // The watch tells of it.
        self.process.looked.remove(name);
    }

    /// A tool that leaves annotations alone but brings its own selector, where no policy stands in its way.
    pub fn reapply_service(&mut self, name: &str) {
        if !self.policy_installed {
            self.change_service(name, |service| {
                service.selector.remove(names::TRACK);
            });
        }
    }

    fn change_service(&mut self, name: &str, change: impl FnOnce(&mut bascule_core::Service)) {
        let version = self.next_version();
        if let Some(service) = self.services.get_mut(name) {
            change(service);
            service.resource_version = version;
        }
    }

    pub fn meddle(&mut self, hand: &Hand, service: &str, workload: &str) {
        let track = self.release.status.active.as_ref().map(|active| active.track);
        let active = track.map(|track| track.deployment(workload)).filter(|name| self.deployments.contains_key(name));
        match (hand, active) {
            (Hand::ReplaceService, _) if self.services.contains_key(service) => self.replace_service(service),
            (Hand::ReapplyService, _) => self.reapply_service(service),
            (Hand::RemoveService, _) => self.remove_service(service),
            (Hand::AddService, _) if !self.services.contains_key(service) => self.add_service(service),
            (Hand::Mislabel, _) => self.change_service(service, |it| {
                if let Some(record) = &mut it.record {
                    record.track = if record.track == "blue" { "green" } else { "blue" }.into();
                }
            }),
            (Hand::Misdirect, _) => self.change_service(service, |it| {
                let other = if it.selected() == Some("blue") { "green" } else { "blue" };
                it.selector.insert(names::TRACK.into(), other.into());
            }),
            (Hand::ClaimForAnother, _) => self.change_service(service, |it| {
                it.labelled = false;
                it.claimed_by = Some("other".into());
            }),
            (Hand::External, _) => self.change_service(service, |it| it.form = ServiceForm::External),
            (Hand::NoSelector, _) => self.change_service(service, |it| it.selector.clear()),
            (Hand::OtherSelector, _) => self.change_service(service, |it| {
                it.selector.insert("app".into(), "other".into());
            }),
            (Hand::DeleteService, _) => self.change_service(service, |it| it.deleting = true),
            (Hand::Strangers(count), _) => {
                self.strangers.insert(service.into(), *count);
            }
            (Hand::EditImage, Some(name)) => self.edit_by_hand(&name, "r/web:hack"),
            (Hand::Scale(replicas), Some(name)) => self.scale_by_hand(&name, *replicas),
            (Hand::DeleteDeployment, Some(name)) => {
                self.deployments.get_mut(&name).unwrap().deleting = true;
                self.touch(&name);
            }
            (Hand::DeleteIdle, _) => {
                let name = track.unwrap_or(Track::Blue).other().deployment(workload);
                if let Some(it) = self.deployments.get_mut(&name) {
                    it.deleting = true;
                    self.touch(&name);
                }
            }
            (Hand::DropDeployment, Some(name)) => self.drop_deployment(&name),
            (Hand::FinishDeletion, _) => self.finish_deletions(),
            (Hand::TakeDeployment, _) => self.take_deployment(workload),
            (Hand::TakePreview, _) => {
                let name = names::preview(service);
                if !self.services.contains_key(&name) {
                    self.add_service(&name);
                }
            }
            (Hand::WipeStatus, _) => {
                self.release.status = ReleaseStatus::default();
                self.oracle.forget();
                self.release.resource_version = self.next_version();
            }
            (Hand::RefuseCandidate, _) if self.release.status.candidate.is_some() => self.refuse_candidate(),
            (Hand::KillActive, _) => self.killed.extend(self.release.status.active.iter().map(|it| it.revision.clone())),
            (Hand::KillCandidate, _) => self.killed.extend(self.release.status.candidate.iter().map(|it| it.revision.clone())),
            (Hand::KillPrevious, _) => self.killed.extend(self.release.status.previous.iter().map(|it| it.revision.clone())),
            (Hand::DropJobs, _) => self.drop_jobs(),
            (Hand::DropRevisions, _) => self.drop_revisions(),
            _ => {}
        }
    }

    /// Finalizers and the garbage collector are done.
    pub fn finish_deletions(&mut self) {
        self.services.retain(|_, service| !service.deleting);
        let gone: Vec<_> = self.deployments.values().filter(|it| it.deleting).map(|it| it.name.clone()).collect();
        for name in gone {
            self.drop_deployment(&name);
        }
    }

    /// Somebody else's Deployment stands where the next candidate's would.
    fn take_deployment(&mut self, workload: &str) {
        let track = self.release.status.active.as_ref().map_or(Track::Blue, |active| active.track.other());
        let name = track.deployment(workload);
        if !self.deployments.contains_key(&name) {
            let version = self.next_version();
            self.add_foreign(Deployment {
                uid: format!("{name}-{version}"),
                name,
                resource_version: version,
                generation: 1,
                owner: None,
                workload: workload.into(),
                track: Some(track),
                revision: "other".into(),
                replicas: 1,
                deleting: false,
                confirmed: None,
            });
        }
    }

    /// Whoever took what is not his lets go of it, and all is as a user would leave it.
    pub fn let_go(&mut self) {
        self.finish_deletions();
        let foreign: Vec<_> = self.deployments.values().filter(|it| it.owner.is_none()).map(|it| it.name.clone()).collect();
        for name in foreign {
            self.drop_deployment(&name);
        }
        self.strangers.clear();
        self.services.retain(|name, service| !name.ends_with("-preview") || service.owner.is_some());
        for name in self.release.spec.services.clone().into_iter().map(|it| it.name) {
            let usable = |it: &bascule_core::Service| {
                it.form != ServiceForm::External
                    && it.claimed_by.is_none()
                    && it.base_selector().get("app").is_some_and(|app| app == "web")
            };
            if !self.services.get(&name).is_some_and(usable) {
                self.add_service(&name);
            }
        }
        // What no longer carries our label is nobody's; what carries it sends to pods of ours.
        let selects = |it: &bascule_core::Service| {
            it.form != ServiceForm::External && it.base_selector().get("app").is_some_and(|app| app == "web")
        };
        self.services.retain(|_, it| it.claimed_by.is_none() && (!it.labelled || selects(it)));
    }

    /// Pods that were killed come up again.
    pub fn revive(&mut self) {
        self.killed.clear();
    }
}
