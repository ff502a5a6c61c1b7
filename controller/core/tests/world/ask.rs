//! What tests ask of the world.

use bascule_crds::{ConditionStatus, ConditionType, Step as Stage, Track};

use super::World;

impl World {
    pub fn active(&self) -> Option<(&str, Track)> {
        self.release.status.active.as_ref().map(|active| (active.version.as_str(), active.track))
    }

    pub fn candidate(&self) -> Option<(&str, Stage)> {
        self.release.status.candidate.as_ref().map(|candidate| (candidate.version.as_str(), candidate.step))
    }

    pub fn ready(&self) -> (bool, &str, &str) {
        let condition = self.release.status.condition(ConditionType::Ready).expect("there is a Ready condition");
        (condition.status == ConditionStatus::True, &condition.reason, &condition.message)
    }

    pub fn selected(&self, service: &str) -> Option<&str> {
        self.services[service].selected()
    }

    pub fn template(&self, deployment: &str) -> Option<&serde_json::Value> {
        self.templates.get(deployment)
    }

    pub fn replicas(&self, deployment: &str) -> i32 {
        self.deployments.get(deployment).map_or(0, |deployment| deployment.replicas)
    }
}
