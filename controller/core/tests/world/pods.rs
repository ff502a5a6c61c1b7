//! The Deployment controller, the ReplicaSet controller and the kubelet, in one move.

use bascule_core::ReplicaSet;
use bascule_crds::names;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::World;

/// How the pods of an image behave; part of its tag, so that a revision carries it along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    Ready,
    Never,
    /// Ready this many seconds after they were made.
    Slow(i64),
    /// Ready, and dead this many seconds later.
    Dies(i64),
    /// No pod is made: a quota, in the words of the API server.
    Quota,
    /// The API server refuses the template.
    Refused,
    /// The dry run is taken, the real thing is not.
    Denied,
}

impl Pods {
    pub fn of(template: &Value) -> Self {
        let annotated = template["metadata"]["annotations"]["behaviour"].as_str();
        let text = annotated.or_else(|| template["spec"]["containers"][0]["image"].as_str()).unwrap_or_default();
        let Some((_, tail)) = text.rsplit_once("--") else { return Self::Ready };
        let secs = |prefix: &str| tail.strip_prefix(prefix).and_then(|secs| secs.parse().ok());
        match tail {
            "never" => Self::Never,
            "refused" => Self::Refused,
            "denied" => Self::Denied,
            "quota" => Self::Quota,
            _ => secs("dies").map(Self::Dies).or_else(|| secs("slow").map(Self::Slow)).unwrap_or(Self::Ready),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    pub view: ReplicaSet,
    pub(super) owner: String,
    behaviour: Pods,
    made_at: Option<Timestamp>,
    /// Pods that were told to end and have not, and when the last one has.
    pub ending: i32,
    ends_at: Option<Timestamp>,
}

impl World {
    pub fn pods_move(&mut self) {
        for (name, deployment) in self.deployments.clone() {
            let template = &self.templates[&name];
            let label = |key: &str| template["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
            let set_name = format!("{name}-{:x}", hash(&template.to_string()));
            let set = self.sets.entry(set_name.clone()).or_insert_with(|| Set {
                view: ReplicaSet {
                    name: set_name.clone(),
                    workload: deployment.workload.clone(),
                    track: deployment.track,
                    revision: label(names::REVISION),
                    wanted: 0,
                    replicas: 0,
                    available: 0,
                    observed: true,
                    failure: None,
                },
                owner: name.clone(),
                behaviour: Pods::of(template),
                made_at: None,
                ending: 0,
                ends_at: None,
            });
            set.view.wanted = deployment.replicas;
            let replicas = if set.behaviour == Pods::Quota { 0 } else { deployment.replicas };
            set.becomes(replicas, self.now + self.pods_end_in);
            let dead = self.killed.contains(&set.view.revision);
            set.settle(self.now, dead);
            let new_is_ready = set.view.available >= deployment.replicas;
            for other in self.sets.values_mut().filter(|other| other.owner == name && other.view.name != set_name) {
                // maxUnavailable 0: pods that serve stay until their successors do; pods that do not may go at once.
                if new_is_ready || other.view.available == 0 {
                    other.view.wanted = 0;
                    other.becomes(0, self.now + self.pods_end_in);
                }
                let dead = self.killed.contains(&other.view.revision);
                other.settle(self.now, dead);
            }
        }
        self.jobs_move();
        self.prove();
        self.remember();
    }

    /// The next moment in which a pod becomes ready or dies by itself.
    pub fn next_change(&self) -> Option<Timestamp> {
        self.sets.values().flat_map(|set| [set.turns_at(), set.ends_at]).flatten().filter(|at| *at > self.now).min()
    }
}

impl Set {
    /// Fewer pods: those that are too many are ending until then.
    fn becomes(&mut self, replicas: i32, ends_at: Timestamp) {
        let ending = self.view.replicas - replicas;
        if ending > 0 {
            self.ending += ending;
            self.ends_at = Some(ends_at);
        }
        self.view.replicas = replicas;
    }

    fn settle(&mut self, now: Timestamp, dead: bool) {
        self.view.failure = None;
        if self.ends_at.is_some_and(|end| now >= end) {
            self.ending = 0;
            self.ends_at = None;
        }
        if self.view.wanted == 0 {
            self.made_at = None;
            self.view.available = 0;
            return;
        }
        self.made_at.get_or_insert(now);
        let past = self.turns_at().is_some_and(|at| now >= at);
        let serves = match self.behaviour {
            Pods::Ready | Pods::Refused | Pods::Denied => true,
            Pods::Never => false,
            Pods::Slow(_) => past,
            Pods::Dies(_) => !past,
            Pods::Quota => {
                self.view.failure = Some(format!("{}: exceeded quota", self.view.name));
                false
            }
        };
        self.view.available = if serves && !dead { self.view.wanted } else { 0 };
    }

    fn turns_at(&self) -> Option<Timestamp> {
        match (self.behaviour, self.made_at) {
            (Pods::Dies(secs) | Pods::Slow(secs), Some(since)) => Some(since + SignedDuration::from_secs(secs)),
            _ => None,
        }
    }
}

fn hash(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}
