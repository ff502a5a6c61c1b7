//! What may happen to one Release: generated as data, so that a failing history can be read, shrunk and kept.
//!
//! Out: histories of edits, operations, foreign hands, faults and partial sight. Never here: what should come of it.

use bascule_crds::ReleaseSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    proofs,
    world::{Fault, Hand, Kind, Part, Registry, spec_of},
};

/// How the pods of a version behave: part of its tag.
const PODS: [&str; 12] =
    ["", "", "", "", "--never", "--dies5", "--dies40", "--slow3", "--slow70", "--quota", "--refused", "--denied"];
pub const NEVER: u8 = 4;
pub const SLOW: u8 = 7;

#[derive(Clone, Debug)]
pub enum Event {
    /// The user asks for another version.
    Want {
        version: u8,
        pods: u8,
        replicas: i32,
    },
    Set(Setting),
    Story(Story),
    Pass(i64),
    Turn(u8),
    Operate {
        retry: bool,
        named: Option<u8>,
    },
    Accept,
    Rollback {
        to: Option<Named>,
        force: bool,
    },
    Hold,
    Resume,
    /// What a gate measures from now on.
    Gauge {
        gate: u8,
        measures: Measures,
    },
    /// So many seconds until a gate has its first answer.
    Latency(u8),
    Hand {
        hand: Hand,
        service: bool,
        worker: bool,
    },
    Restart,
    /// A new process whose watches begin with what was true some moments ago, each kind with its own.
    RestartInThePast([u8; 7]),
    Freeze(Kind),
    Thaw(Kind),
    Hide(Part),
    Reveal,
    Fault {
        after: u8,
        fault: Fault,
    },
    Registry(Registry),
    Store(StoreFault),
    /// A leader that was deposed and does not know: it sees an older state and acts on it.
    Deposed {
        back: u8,
        turns: u8,
    },
}

/// How a person names what to return to.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// That of the history, the oldest first.
    Revision(u8),
    Number(u8),
    Version(u8),
    /// What has the traffic, or is to get it.
    Candidate,
    Nonsense,
}

/// What a gate measures.
#[derive(Clone, Copy, Debug)]
pub enum Measures {
    Good,
    Bad,
    Nothing,
}

/// Where a version is when a person returns from it.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    Warm,
    Cold,
    /// Cold, and somebody has deleted what was stored of it.
    Gone,
    InTheBake,
    /// A newer one is starting.
    Newer,
}

/// What the user does after a return.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Nothing,
    /// The same spec once more.
    Again,
    /// A newer version.
    Newer,
    /// What was returned to.
    Older,
    Resume,
    Hold,
}

/// Several things in a row that seldom come together by chance.
#[derive(Clone, Debug)]
pub enum Story {
    /// A good version, and time enough for it.
    Settle { version: u8 },
    /// A version gets the traffic, and its pods die; with them those of the version before, or not.
    GoBad { version: u8, both: bool, manual: bool },
    /// A version that never gets ready is rejected, and a person asks for it again.
    Again { version: u8 },
    /// Suspended while it starts: it gets ready, and no traffic.
    Pause { version: u8 },
    /// Previews, for a while.
    Peek,
    /// A Service loses our label, and nothing can be read for a while.
    Lose,
    /// A Service loses our label while it serves somebody else.
    Occupy,
    /// Another version, while the Deployment in its place is being deleted.
    Vanish { version: u8 },
    /// Another version, and nothing can be written for a while.
    Jam { version: u8 },
    /// A person gives a version up while it starts, or in its bake.
    GiveUp { version: u8, late: bool },
    /// Another version, and a registry that says nothing or that it cannot.
    Silence { version: u8, fails: bool },
    /// The controller ends between the two Services of a switch, and no pod is left on either side.
    Split { version: u8 },
    /// A version that comes from a parameter, and something that happens to Parameter Store then.
    Follow { version: u8, fault: StoreFault },
    /// A build, an older one that comes late, and a person who accepts it or not.
    Late { version: u8, accept: bool },
    /// Whatever is broken is mended, and the user wants nothing odd.
    Mend,
    /// A worker comes with one version and goes with the next.
    Visit { version: u8 },
    /// A person returns to the version before, or to an older one.
    Return { version: u8, moment: Moment, oldest: bool, then: Then },
    /// A hook runs, and another version is wanted meanwhile, or the same once more.
    Prepare { version: u8, hooks: u8, next: u8 },
    /// While a hook runs another process begins, whose list of Jobs is older, and another version is wanted.
    HandOver { version: u8, back: u8 },
    /// A hook fails, is put right, and a person asks for another run.
    RunAgain { version: u8, hooks: u8 },
    /// Jobs are deleted while they run.
    Sweep { version: u8, gate: bool },
    /// A gate says no, or nothing, before the switch or in the bake.
    Doubt { version: u8, late: bool, measures: Measures },
    /// A gate is written anew while it is asked.
    Rewrite { version: u8, gates: u8 },
    /// A restart when the time of a gate is over, and it was well all the while.
    Outlast { version: u8, late: bool },
    /// A person holds the Release while a candidate is on its way.
    HoldOn { version: u8, hooks: u8 },
    /// Many versions, one after the other, and only a few are remembered.
    Many { version: u8 },
}

/// What the user can set beside the version.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    Suspend(bool),
    Wait(bool),
    Preview(bool),
    Automatic(bool),
    Bake(u8),
    Resolve(bool),
    Broken(bool),
    Worker(bool),
    Services(u8),
    /// Replicas for all workloads, as an autoscaler drives them.
    Shared(bool),
    /// The version comes from a parameter.
    Parameter(bool),
    /// Builds are put in order by a label.
    Ordered(bool),
    /// A row of [`proofs::gates`].
    Gates(u8),
    /// A row of [`proofs::hooks`].
    Hooks(u8),
    /// So much is remembered.
    History(u8),
    /// The oldest version that may be returned to; the last of them was never one.
    Floor(Option<u8>),
}

/// What is the matter with Parameter Store.
#[derive(Clone, Copy, Debug)]
pub enum StoreFault {
    None,
    Silent,
    Fails,
    /// Somebody deletes the parameter; who writes it next makes it anew.
    Gone,
    /// Somebody writes nonsense.
    Nonsense,
    /// It answers with what was true before the last write.
    Old,
}

/// What the user wants now.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the spec has as many")]
pub struct Wish {
    pub tag: String,
    replicas: i32,
    suspend: bool,
    wait: bool,
    preview: bool,
    automatic: bool,
    bake: u8,
    resolve: bool,
    broken: bool,
    worker: bool,
    services: u8,
    shared: bool,
    pub parameter: bool,
    ordered: bool,
    gates: u8,
    hooks: u8,
    history: u8,
    floor: Option<u8>,
}

impl Wish {
    pub fn new(tag: &str, resolve: bool) -> Self {
        Self {
            tag: tag.into(),
            replicas: 2,
            suspend: false,
            wait: false,
            preview: false,
            automatic: true,
            bake: 30,
            resolve,
            broken: false,
            worker: false,
            services: 1,
            shared: false,
            parameter: false,
            ordered: false,
            gates: 0,
            hooks: 0,
            history: 10,
            floor: None,
        }
    }

    pub fn want(&mut self, version: u8, pods: u8, replicas: i32) {
        let pods = PODS[usize::from(pods) % PODS.len()];
        self.tag = format!("v{version}{pods}");
        self.replicas = replicas;
    }

    pub fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Suspend(on) => self.suspend = on,
            Setting::Wait(on) => self.wait = on,
            Setting::Preview(on) => self.preview = on,
            Setting::Automatic(on) => self.automatic = on,
            Setting::Bake(secs) => self.bake = secs,
            Setting::Resolve(on) => self.resolve = on,
            Setting::Broken(on) => self.broken = on,
            Setting::Worker(on) => self.worker = on,
            Setting::Services(count) => self.services = count,
            Setting::Shared(on) => self.shared = on,
            Setting::Parameter(on) => self.parameter = on,
            Setting::Ordered(on) => self.ordered = on,
            Setting::Gates(row) => self.gates = row,
            Setting::Hooks(row) => self.hooks = row,
            Setting::History(kept) => self.history = kept,
            Setting::Floor(floor) => self.floor = floor,
        }
    }

    pub fn is_automatic(&self) -> bool {
        self.automatic
    }

    pub fn spec(&self) -> ReleaseSpec {
        let workload = |name: &str, image: &str| {
            let mut template = json!({
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": name, "image": image}]},
            });
            if self.resolve || self.parameter {
                template["metadata"]["annotations"] = json!({"behaviour": "$(artifacts.web.tag)"});
            }
            let mut workload = json!({"name": name, "template": template});
            if !self.shared {
                workload["replicas"] = json!(self.replicas);
            }
            workload
        };
        let image = if self.broken { "$(artifacts.wbe.image)" } else { "$(artifacts.web.image)" };
        let mut workloads = vec![workload("web", image)];
        if self.worker {
            workloads.push(workload("worker", &format!("r/worker:{}", self.tag.replace("--never", ""))));
        }
        let services: Vec<Value> =
            ["web", "api"][..usize::from(self.services)].iter().map(|name| json!({"name": name})).collect();
        let mut value = json!({
            "suspend": self.suspend,
            "artifacts": [{"name": "web", "image": self.image()}],
            "workloads": workloads,
            "services": services,
            "strategy": {
                "progressDeadline": "60s", "bake": format!("{}s", self.bake), "scaleDownDelay": "20s",
                "onSupersede": if self.wait { "Wait" } else { "Replace" },
            },
            "rollback": {"automatic": self.automatic},
            "preview": self.preview,
            "hooks": proofs::hooks(self.hooks),
            "gates": proofs::gates(self.gates),
            "history": self.history,
        });
        if let Some(floor) = self.floor {
            value["rollback"]["floor"] = json!(format!("v{floor}"));
        }
        if self.shared {
            value["replicas"] = json!(self.replicas);
        }
        spec_of(&value)
    }

    fn image(&self) -> Value {
        if self.parameter {
            let mut image = json!({"parameter": "/shop/$(env.name)/web"});
            if self.ordered {
                image["order"] = json!({"label": "build"});
            }
            return image;
        }
        json!({"ref": self.value(), "resolve": if self.resolve { "Always" } else { "Never" }})
    }

    pub fn value(&self) -> String {
        // Builds say in a label which they are.
        let tag = if self.parameter && self.ordered { self.tag.replacen('v', "b", 1) } else { self.tag.clone() };
        format!("r/web:{tag}")
    }

    /// A user who wants no more surprises.
    pub fn calm(&mut self) {
        self.suspend = false;
        self.broken = false;
        self.ordered = false;
        self.hooks = proofs::hooks_without_mistakes(self.hooks);
        self.gates = proofs::gates_without_mistakes(self.gates);
        if self.services == 0 && proofs::asks_a_service(self.gates) {
            self.gates = 0;
        }
    }
}

pub fn setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        any::<bool>().prop_map(Setting::Suspend),
        any::<bool>().prop_map(Setting::Wait),
        any::<bool>().prop_map(Setting::Preview),
        any::<bool>().prop_map(Setting::Automatic),
        prop_oneof![Just(0), Just(30)].prop_map(Setting::Bake),
        any::<bool>().prop_map(Setting::Resolve),
        any::<bool>().prop_map(Setting::Broken),
        any::<bool>().prop_map(Setting::Worker),
        (0..3u8).prop_map(Setting::Services),
        any::<bool>().prop_map(Setting::Shared),
        any::<bool>().prop_map(Setting::Parameter),
        any::<bool>().prop_map(Setting::Ordered),
        (0..proofs::GATES).prop_map(Setting::Gates),
        (0..proofs::GATES).prop_map(Setting::Gates),
        (0..proofs::HOOKS).prop_map(Setting::Hooks),
        prop::sample::select(vec![1, 2, 3, 10]).prop_map(Setting::History),
        prop::option::of(0..5u8).prop_map(Setting::Floor),
    ]
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        3 => Just(Hand::ReplaceService),
        2 => Just(Hand::ReapplyService),
        1 => Just(Hand::RemoveService),
        2 => Just(Hand::AddService),
        1 => Just(Hand::Mislabel),
        1 => Just(Hand::Misdirect),
        1 => Just(Hand::ClaimForAnother),
        1 => Just(Hand::External),
        1 => Just(Hand::NoSelector),
        1 => Just(Hand::OtherSelector),
        1 => Just(Hand::DeleteService),
        3 => (0..4u32).prop_map(Hand::Strangers),
        2 => Just(Hand::EditImage),
        2 => (0..6i32).prop_map(Hand::Scale),
        2 => Just(Hand::DeleteDeployment),
        2 => Just(Hand::DeleteIdle),
        2 => Just(Hand::DropDeployment),
        2 => Just(Hand::FinishDeletion),
        1 => Just(Hand::TakeDeployment),
        1 => Just(Hand::TakePreview),
        1 => Just(Hand::WipeStatus),
        1 => Just(Hand::RefuseCandidate),
        2 => Just(Hand::KillActive),
        2 => Just(Hand::KillCandidate),
        2 => Just(Hand::DropJobs),
        1 => Just(Hand::DropRevisions),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn part() -> impl Strategy<Value = Part> {
    let names = || prop::sample::select(vec!["web".to_owned(), "api".into(), "web-preview".into()]);
    prop_oneof![
        1 => Just(Part::Environment),
        2 => Just(Part::Deployments),
        2 => Just(Part::ReplicaSets),
        2 => Just(Part::Jobs),
        3 => names().prop_map(Part::Service),
        1 => names().prop_map(Part::Endpoints),
        1 => names().prop_map(Part::Strangers),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..4u8).prop_map(|again| Fault::Fails { again }),
        any::<bool>().prop_map(|applied| Fault::Unanswered { applied }),
        any::<bool>().prop_map(|applied| Fault::Crash { applied }),
    ]
}

fn store_fault() -> impl Strategy<Value = StoreFault> {
    use StoreFault::{Fails, Gone, None, Nonsense, Old, Silent};
    prop::sample::select(vec![None, Silent, Fails, Gone, Nonsense, Old])
}

fn want() -> impl Strategy<Value = Event> {
    (0..4u8, 0..12u8, 0..5i32).prop_map(|(version, pods, replicas)| Event::Want { version, pods, replicas })
}

fn story() -> impl Strategy<Value = Story> {
    prop_oneof![
        3 => (0..4u8).prop_map(|version| Story::Settle { version }),
        1 => (4..20u8, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(version, both, manual)| Story::GoBad { version, both, manual }),
        1 => (0..4u8).prop_map(|version| Story::Again { version }),
        1 => (0..4u8).prop_map(|version| Story::Pause { version }),
        1 => Just(Story::Peek),
        1 => Just(Story::Lose),
        1 => (4..20u8).prop_map(|version| Story::Vanish { version }),
        1 => Just(Story::Occupy),
        1 => (4..20u8).prop_map(|version| Story::Jam { version }),
        1 => (4..20u8, any::<bool>()).prop_map(|(version, late)| Story::GiveUp { version, late }),
        1 => (4..20u8, any::<bool>()).prop_map(|(version, fails)| Story::Silence { version, fails }),
        2 => (4..20u8).prop_map(|version| Story::Split { version }),
        3 => (0..4u8, store_fault()).prop_map(|(version, fault)| Story::Follow { version, fault }),
        1 => (4..20u8, any::<bool>()).prop_map(|(version, accept)| Story::Late { version, accept }),
        3 => Just(Story::Mend),
        2 => (0..4u8).prop_map(|version| Story::Visit { version }),
        9 => proof(),
    ]
}

/// Stories of gates, hooks and returns.
fn proof() -> impl Strategy<Value = Story> {
    let moment =
        prop::sample::select(vec![Moment::Warm, Moment::Cold, Moment::Cold, Moment::Gone, Moment::InTheBake, Moment::Newer]);
    let then = prop::sample::select(vec![Then::Nothing, Then::Again, Then::Newer, Then::Older, Then::Resume, Then::Hold]);
    prop_oneof![
        4 => (4..20u8, moment, any::<bool>(), then)
            .prop_map(|(version, moment, oldest, then)| Story::Return { version, moment, oldest, then }),
        2 => (4..20u8, 1..proofs::HOOKS, 0..3u8).prop_map(|(version, hooks, next)| Story::Prepare { version, hooks, next }),
        1 => (4..20u8, 0..40u8).prop_map(|(version, back)| Story::HandOver { version, back }),
        1 => (4..20u8, 1..proofs::HOOKS).prop_map(|(version, hooks)| Story::RunAgain { version, hooks }),
        1 => (4..20u8, any::<bool>()).prop_map(|(version, gate)| Story::Sweep { version, gate }),
        2 => (4..20u8, any::<bool>(), measures()).prop_map(|(version, late, measures)| Story::Doubt { version, late, measures }),
        1 => (4..20u8, 1..proofs::GATES).prop_map(|(version, gates)| Story::Rewrite { version, gates }),
        1 => (4..20u8, any::<bool>()).prop_map(|(version, late)| Story::Outlast { version, late }),
        1 => (4..20u8, 0..proofs::HOOKS).prop_map(|(version, hooks)| Story::HoldOn { version, hooks }),
        1 => (4..20u8).prop_map(|version| Story::Many { version }),
    ]
}

fn measures() -> impl Strategy<Value = Measures> {
    prop::sample::select(vec![Measures::Good, Measures::Bad, Measures::Nothing])
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![
        3 => (0..4u8).prop_map(Named::Revision),
        1 => (0..6u8).prop_map(Named::Number),
        2 => (0..20u8).prop_map(Named::Version),
        1 => Just(Named::Candidate),
        1 => Just(Named::Nonsense),
    ]
}

/// Users and people who operate, and time.
fn everyday() -> impl Strategy<Value = Event> {
    prop_oneof![
        7 => want(),
        4 => setting().prop_map(Event::Set),
        14 => story().prop_map(Event::Story),
        5 => (1..50i64).prop_map(Event::Pass),
        6 => (1..9u8).prop_map(Event::Turn),
        1 => Just(Event::Accept),
        2 => (prop::option::of(named()), prop::bool::weighted(0.2)).prop_map(|(to, force)| Event::Rollback { to, force }),
        1 => Just(Event::Hold),
        1 => Just(Event::Resume),
        2 => (any::<bool>(), prop::option::weighted(0.3, 0..4u8)).prop_map(|(retry, named)| Event::Operate { retry, named }),
    ]
}

fn foreign() -> impl Strategy<Value = Event> {
    (hand(), prop::bool::weighted(0.3), any::<bool>()).prop_map(|(hand, service, worker)| Event::Hand { hand, service, worker })
}

fn mishap() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Restart),
        3 => (0..5u8, fault()).prop_map(|(after, fault)| Event::Fault { after, fault }),
        2 => prop::sample::select(vec![Registry::Answers, Registry::Moved, Registry::Silent, Registry::Fails]).prop_map(Event::Registry),
        2 => store_fault().prop_map(Event::Store),
        2 => (0..4u8, measures()).prop_map(|(gate, measures)| Event::Gauge { gate, measures }),
        1 => (0..8u8).prop_map(Event::Latency),
    ]
}

fn blindness() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => kind().prop_map(Event::Freeze),
        2 => kind().prop_map(Event::Thaw),
        3 => part().prop_map(Event::Hide),
        2 => Just(Event::Reveal),
        1 => prop::array::uniform7(0..50u8).prop_map(Event::RestartInThePast),
        1 => (0..50u8, 1..6u8).prop_map(|(back, turns)| Event::Deposed { back, turns }),
    ]
}

/// Users, foreign hands and mishaps; the controller sees what is true.
pub fn seen() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(prop_oneof![8 => everyday(), 3 => foreign(), 2 => mishap()], 1..40)
}

/// The same, and the controller sees parts of it, late, or not at all.
pub fn half_seen() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(prop_oneof![8 => everyday(), 2 => foreign(), 2 => mishap(), 4 => blindness()], 1..40)
}
