//! What happens to a Release in each run: where it starts, what a user does, and what it comes to.
//!
//! In: nothing. Out: data. Times are short; where a story ends by itself, the bake may be long.

use serde_json::{Value, json};

/// What a user wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) version: &'static str,
    pub(crate) replicas: i32,
    pub(crate) pods: Pods,
    pub(crate) progress_deadline: &'static str,
    pub(crate) bake: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pods {
    Ready,
    Never,
    /// Ready when the test says so (a readiness gate), so that one of them can go bad while the other goes on serving.
    Gated,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Want(Want),
    UntilStarted,
    UntilBaking,
    Abort,
    /// One pod of this version gets unready for good.
    OneGoesBad(&'static str),
}

/// What it comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) active: &'static str,
    pub(crate) replicas: i32,
    pub(crate) rejected: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) services: &'static [&'static str],
    /// Settled before the faults begin. None: the faults begin with the controller.
    pub(crate) start: Option<Want>,
    pub(crate) acts: &'static [Act],
    pub(crate) end: End,
    /// Where each Service points, one after the other, and no oftener: the team's own selector, no track, and then tracks.
    pub(crate) ways: &'static [&'static str],
    /// Versions that may answer users.
    pub(crate) answers: &'static [&'static str],
}

const V1: Want = Want { version: "v1", replicas: 2, pods: Pods::Ready, progress_deadline: "180s", bake: "1s" };
const V2: Want = Want { version: "v2", bake: "2s", ..V1 };
/// Longer than a reply that is held, a restart and a slow machine: the story ends it.
const WATCHED: Want = Want { bake: "60s", ..V2 };

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "first",
        services: &["web"],
        start: None,
        acts: &[Act::Want(V1)],
        end: End { active: "v1", replicas: 2, rejected: None },
        ways: &["", "none", "blue"],
        answers: &["v1"],
    },
    Story {
        name: "release",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(V2)],
        end: End { active: "v2", replicas: 2, rejected: None },
        ways: &["", "none", "blue", "green"],
        answers: &["v1", "v2"],
    },
    Story {
        name: "two-services",
        services: &["web", "web-internal"],
        start: Some(V1),
        acts: &[Act::Want(V2)],
        end: End { active: "v2", replicas: 2, rejected: None },
        ways: &["", "none", "blue", "green"],
        answers: &["v1", "v2"],
    },
    Story {
        name: "never-ready",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(Want { pods: Pods::Never, progress_deadline: "3s", ..V2 })],
        end: End { active: "v1", replicas: 2, rejected: Some("v2") },
        ways: &["", "none", "blue"],
        answers: &["v1"],
    },
    Story {
        name: "goes-bad",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(Want { pods: Pods::Gated, ..WATCHED }), Act::UntilBaking, Act::OneGoesBad("v2")],
        end: End { active: "v1", replicas: 2, rejected: Some("v2") },
        ways: &["", "none", "blue", "green", "blue"],
        answers: &["v1", "v2"],
    },
    Story {
        name: "abort-before",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(Want { pods: Pods::Never, ..V2 }), Act::UntilStarted, Act::Abort],
        end: End { active: "v1", replicas: 2, rejected: Some("v2") },
        ways: &["", "none", "blue"],
        answers: &["v1"],
    },
    Story {
        name: "abort-in-bake",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(WATCHED), Act::UntilBaking, Act::Abort],
        end: End { active: "v1", replicas: 2, rejected: Some("v2") },
        ways: &["", "none", "blue", "green", "blue"],
        answers: &["v1", "v2"],
    },
    Story {
        name: "back-by-spec",
        services: &["web"],
        start: Some(V1),
        acts: &[Act::Want(WATCHED), Act::UntilBaking, Act::Want(Want { bake: "60s", ..V1 })],
        end: End { active: "v1", replicas: 2, rejected: None },
        ways: &["", "none", "blue", "green", "blue"],
        answers: &["v1", "v2"],
    },
    Story {
        name: "scale-down",
        services: &["web"],
        start: Some(Want { replicas: 3, ..V1 }),
        acts: &[Act::Want(V1)],
        end: End { active: "v1", replicas: 2, rejected: None },
        ways: &["", "none", "blue"],
        answers: &["v1"],
    },
];

/// The condition of the readiness gate.
pub(crate) const GATE: &str = "bed.bascule.dev/well";

impl Want {
    pub(crate) fn spec(&self, services: &[&str], registry: &str) -> Value {
        let environment = match self.pods {
            Pods::Never => json!([{"name": "READY_AFTER", "value": "never"}]),
            Pods::Ready | Pods::Gated => json!([]),
        };
        let mut pod = json!({"terminationGracePeriodSeconds": 15, "containers": [{
            "name": "web", "image": "$(artifacts.web.image)", "env": environment, "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}]});
        if self.pods == Pods::Gated {
            pod["readinessGates"] = json!([{"conditionType": GATE}]);
        }
        let services: Vec<_> = services.iter().map(|name| json!({"name": name})).collect();
        json!({
            "artifacts": [{"name": "web", "image": {"ref": format!("{registry}/example/app:{}", self.version)}}],
            "workloads": [{"name": "web", "replicas": self.replicas,
                "template": {"metadata": {"labels": {"app": "web", "version": self.version}}, "spec": pod}}],
            "services": services,
            "strategy": {"progressDeadline": self.progress_deadline, "bake": self.bake, "scaleDownDelay": "1s"},
        })
    }
}
