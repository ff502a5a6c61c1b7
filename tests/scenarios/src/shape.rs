//! The shape of a Release at the start of a scenario: small and quick, unless the story says otherwise.
//!
//! In: what a story sets. Out: names and numbers for [`crate::Author`], who writes the manifests.

use bascule_crds::Duration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One workload `web` with two replicas behind one Service `web`, and times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shape {
    /// Name of the Release.
    pub release: String,
    pub workloads: Vec<WorkloadShape>,
    /// Of each workload that has none of its own.
    pub replicas: i32,
    /// The workloads have no replicas of their own, and the Release none either: an autoscaler sets them.
    #[serde(skip_serializing_if = "crate::scenario::is_default")]
    pub autoscaled: bool,
    /// Services that the Release names.
    pub services: Vec<String>,
    /// Services that the team has made at the start; the same, if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Vec<String>>,
    pub bake: Duration,
    pub scale_down_delay: Duration,
    pub progress_deadline: Duration,
    /// The version comes from this parameter, which the team writes; in the simulation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// A merge patch on the whole Release.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub merge: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadShape {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}

impl WorkloadShape {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), replicas: None }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            release: "web".into(),
            workloads: vec![WorkloadShape::named("web")],
            replicas: 2,
            autoscaled: false,
            services: vec!["web".into()],
            made: None,
            bake: Duration::from_secs(5),
            scale_down_delay: Duration::from_secs(5),
            progress_deadline: Duration::from_secs(60),
            parameter: None,
            merge: Value::Null,
        }
    }
}

impl Shape {
    pub fn team_services(&self) -> Vec<String> {
        self.made.as_ref().unwrap_or(&self.services).clone()
    }
}
