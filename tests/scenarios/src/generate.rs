//! Scenarios out of a number: random sequences of everything that teams, people, foreign hands and fate can do.
//!
//! In: a seed. Out: a scenario whose input stays as it is in the end, so that it must come to rest.
//! Never here: randomness of another source, or anything that depends on where it is played.

use std::collections::BTreeMap;

use bascule_crds::{Duration, OperationType};
use serde_json::{Value, json};

use crate::{
    Action, Controller, Deed, Delete, Edit, Expect, Hand, How, KillPods, Measure, Operate, Place, Pods, Propagation, Says,
    Scenario, Shape, Step, TeamService, Want, WorkloadShape, Write,
};

/// A small deterministic generator (splitmix64): the same seed, the same scenario, on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll().checked_rem(limit).unwrap_or(0)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these; the first where there is no other.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        &all[index]
    }

    fn between(&mut self, least: i32, most: i32) -> i32 {
        let width = u64::try_from(most - least + 1).unwrap_or(1);
        least + i32::try_from(self.below(width)).unwrap_or(0)
    }

    fn secs(&mut self, all: &[u32]) -> Duration {
        Duration::from_secs(*self.one_of(all))
    }
}

/// Steps between the beginning and the end; more than that only repeats what was there.
const STEPS: (i32, i32) = (3, 14);
/// All Services that a generated Release may name. The first is the workload's own.
const SERVICES: [&str; 3] = ["web", "api", "admin"];
/// The deadline, a bake, a delay and what is looked for once a minute, some of them more than once.
const REST_WITHIN: Duration = Duration::from_secs(900);
const REST_FOR: Duration = Duration::from_secs(30);

/// The scenario of this seed.
pub fn generated(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed);
    let policies = !dice.once_in(8);
    let shape = shape(&mut dice);
    let settled_on = (!dice.once_in(4)).then(|| "v1".to_owned());
    let versions = settled_on.iter().cloned().collect();
    let mut tale = Tale { dice, exists: settled_on.is_some(), gated: false, shape, versions, steps: Vec::new() };
    for _ in 0..tale.dice.between(STEPS.0, STEPS.1) {
        tale.go_on();
    }
    tale.end();
    let gated = tale.gated;
    Scenario {
        name: format!("generated-{seed}"),
        why: "generated".into(),
        // A real node has no images for versions that were made up, and fake pods answer no gate.
        on: if policies && !gated { [Place::Sim, Place::Fake].into() } else { [Place::Sim].into() },
        policies,
        shape: tale.shape,
        settled_on,
        steps: tale.steps,
    }
}

fn shape(dice: &mut Dice) -> Shape {
    let workloads = ["web", "worker", "extra"];
    let workloads = workloads[..usize::try_from(*dice.one_of(&[1, 1, 1, 2, 2, 3])).unwrap_or(1)].iter();
    let services = SERVICES[..usize::try_from(*dice.one_of(&[0, 1, 1, 1, 2, 2, 3])).unwrap_or(1)].iter();
    let mut merge = json!({});
    for (chance, change) in [
        (4, json!({"spec": {"preview": true}})),
        (4, json!({"spec": {"strategy": {"onSupersede": "Wait"}}})),
        (8, json!({"spec": {"rollback": {"automatic": false}}})),
    ] {
        if dice.once_in(chance) {
            crate::author::merge_into(&mut merge, &change, true);
        }
    }
    Shape {
        workloads: workloads.map(|name| WorkloadShape::named(name)).collect(),
        replicas: dice.between(1, 4),
        autoscaled: dice.once_in(5),
        services: services.map(|name| (*name).to_owned()).collect(),
        bake: dice.secs(&[1, 2, 5, 10, 30]),
        scale_down_delay: dice.secs(&[1, 2, 5, 20, 60]),
        progress_deadline: dice.secs(&[4, 8, 20, 60]),
        merge: if merge == json!({}) { Value::Null } else { merge },
        ..Shape::default()
    }
}

/// A scenario that is being made up.
struct Tale {
    dice: Dice,
    shape: Shape,
    /// Wanted so far; the last one is wanted now.
    versions: Vec<String>,
    /// Whether there is a Release, as far as one can tell.
    exists: bool,
    /// Some gate is asked, or told what to say.
    gated: bool,
    steps: Vec<Step>,
}

impl Tale {
    fn go_on(&mut self) {
        if !self.exists || self.versions.is_empty() {
            return self.want();
        }
        match self.dice.below(100) {
            0..30 => self.want(),
            30..37 => self.edit(),
            37..44 => self.prove(),
            44..48 => self.scale(),
            48..60 => self.operate(),
            60..70 => self.fate(),
            70..78 => self.hand_on_a_service(),
            78..85 => self.hand_on_a_deployment(),
            85..91 => self.delete(),
            _ => self.process(),
        }
        if !self.dice.once_in(4) {
            // From "at once" to "after everything is over".
            let millis = [0, 20, 300, 1_000, 2_500, 6_000, 12_000, 40_000];
            let length = Duration::from_millis(*self.dice.one_of(&millis));
            self.steps.push(Step::Stays { expect: Expect::default(), length });
        }
    }

    fn act(&mut self, action: Action) {
        self.steps.push(action.into());
    }

    /// What may find nothing there.
    fn try_to(&mut self, action: Action) {
        self.steps.push(Step::Do(Deed { action, refused: None, maybe: true }));
    }

    fn want(&mut self) {
        let again = !self.versions.is_empty() && self.dice.once_in(4);
        let version = if again {
            self.dice.one_of(&self.versions).clone()
        } else {
            let newest = self.versions.iter().filter_map(|version| version[1..].parse::<u32>().ok()).max();
            format!("v{}", newest.unwrap_or(0) + 1)
        };
        // Settled versions behave well, so that to want one again is to go back.
        let pods = if again { Pods::Ready } else { self.pods() };
        let mut pods_of = BTreeMap::new();
        if self.shape.workloads.len() > 1 && self.dice.once_in(3) {
            let workload = self.dice.one_of(&self.shape.workloads).name.clone();
            pods_of.insert(workload, self.pods());
        }
        let dropped = self.shape.workloads.len() > 1 && self.dice.once_in(6);
        let json = if dropped { json!([{"op": "remove", "path": "/spec/workloads/1"}]) } else { Value::Null };
        let replicas = (!self.shape.autoscaled && self.dice.once_in(5)).then(|| self.dice.between(0, 5));
        self.versions.retain(|known| *known != version);
        self.versions.push(version.clone());
        self.exists = true;
        self.act(Action::Want(Want { version, replicas, pods, pods_of, merge: Value::Null, json }));
    }

    fn pods(&mut self) -> Pods {
        match self.dice.below(16) {
            0..7 => Pods::Ready,
            7..9 => Pods::Never,
            9 => Pods::Flapping,
            10 => Pods::CannotPull,
            11..13 => Pods::ReadyAfter(self.dice.secs(&[1, 3, 7, 30])),
            13..15 => Pods::Dies(self.dice.secs(&[1, 3, 8, 25])),
            _ => Pods::TerminatesAfter(self.dice.secs(&[2, 10])),
        }
    }

    fn edit(&mut self) {
        let spec = match self.dice.below(8) {
            0 | 1 => json!({"suspend": true}),
            2 => json!({"suspend": false}),
            3 => {
                let (bake, deadline) = (self.dice.secs(&[1, 4, 15]), self.dice.secs(&[5, 15, 45]));
                json!({"strategy": {"bake": bake.to_string(), "progressDeadline": deadline.to_string()}})
            }
            4 => json!({"strategy": {"onSupersede": self.dice.one_of(&["Replace", "Wait"])}}),
            5 => json!({"preview": self.dice.once_in(2)}),
            6 => json!({"rollback": {"automatic": !self.dice.once_in(2)}}),
            _ => {
                let count = usize::try_from(self.dice.below(4)).unwrap_or(0);
                let names: Vec<_> = SERVICES[..count].iter().map(|name| json!({"name": name})).collect();
                json!({"services": names})
            }
        };
        self.act(Action::Edit(Edit { merge: json!({"spec": spec}) }));
    }

    /// Gates and hooks come and go, and gates say what they measure.
    fn prove(&mut self) {
        let spec = match self.dice.below(10) {
            0..3 => {
                self.gated = true;
                let gate = (*self.dice.one_of(&["smoke", "errors"])).to_owned();
                let says = *self.dice.one_of(&[Says::Good, Says::Bad, Says::Nothing]);
                return self.act(Action::Measure(Measure { gate, says }));
            }
            3..5 => {
                self.gated = true;
                let webhook = json!({"name": "smoke", "interval": "1s", "successes": 2, "timeout": "15s", "webhook": {"url": "http://judge.shop.svc/"}});
                json!({"gates": {"beforeSwitch": [webhook]}})
            }
            5 => {
                self.gated = true;
                let webhook =
                    json!({"name": "errors", "interval": "2s", "timeout": "20s", "webhook": {"url": "http://judge.shop.svc/"}});
                json!({"gates": {"afterSwitch": [webhook]}})
            }
            6 => json!({"gates": {"beforeSwitch": [{"name": "accept", "timeout": "20s", "job": self.job()}]}}),
            7..9 => json!({"hooks": {"beforeStart": [{"name": "migrate", "timeout": "20s", "job": self.job()}]}}),
            _ => json!({"gates": null, "hooks": null}),
        };
        self.act(Action::Edit(Edit { merge: json!({"spec": spec}) }));
    }

    fn job(&mut self) -> Value {
        let annotations = match self.dice.below(5) {
            0 => json!({"bed.bascule.dev/behaviour": "fails"}),
            1 => json!({"bed.bascule.dev/behaviour": "never-ready"}),
            2 => json!({"bed.bascule.dev/ready-after": self.dice.secs(&[1, 4, 9]).to_string()}),
            _ => json!({}),
        };
        json!({"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "main", "image": "r.example/job:v1"}]}}})
    }

    fn scale(&mut self) {
        // Where every workload has its own replicas the server refuses: nothing would take them.
        let replicas = self.dice.between(0, 6);
        if self.shape.autoscaled { self.try_to(Action::Scale(replicas)) } else { self.want() }
    }

    fn operate(&mut self) {
        use OperationType::{Abort, Hold, Resume, Retry, Rollback};
        let kind = *self.dice.one_of(&[Abort, Abort, Retry, Retry, Rollback, Rollback, Hold, Resume]);
        let note = self.dice.once_in(2).then(|| "generated".to_owned());
        let far = kind == Rollback && self.dice.once_in(2);
        let revision = far.then(|| (*self.dice.one_of(&["1", "2", "v1", "v2"])).to_owned());
        self.act(Action::Operate(Operate { note, revision, ..Operate::new(kind) }));
    }

    fn fate(&mut self) {
        let version = self.dice.one_of(&self.versions).clone();
        let keep = usize::try_from(self.dice.below(3)).unwrap_or(0);
        let deleted = self.dice.once_in(2);
        self.act(Action::KillPods(KillPods { version, keep, deleted }));
    }

    fn hand_on_a_service(&mut self) {
        let name = (*self.dice.one_of(&SERVICES)).to_owned();
        let track = *self.dice.one_of(&["blue", "green", "none"]);
        let annotation = |value: Value| json!({"metadata": {"annotations": {"bascule.dev/track": value}}});
        let how = match self.dice.below(6) {
            0 => return self.act(Action::Service(TeamService { name, hand: Hand::Apply, selector: None })),
            1 | 2 => return self.try_to(Action::Service(TeamService { name, hand: Hand::Replace, selector: None })),
            3 => How::Merge(annotation(track.into())),
            4 => How::Merge(annotation(Value::Null)),
            _ => How::Merge(json!({"spec": {"selector": {"bascule.dev/track": track}}})),
        };
        self.write("Service", name, how);
    }

    fn hand_on_a_deployment(&mut self) {
        let name = self.deployment();
        let container = name.rsplit_once('-').map_or("web", |(workload, _)| workload).to_owned();
        let template = |template: Value| How::Strategic(json!({"spec": {"template": template}}));
        let how = match self.dice.below(4) {
            0 => template(json!({"spec": {"containers": [{"name": container, "image": "hacked"}]}})),
            1 => template(json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}})),
            _ => How::Merge(json!({"spec": {"replicas": self.dice.between(0, 7)}})),
        };
        self.write("Deployment", name, how);
    }

    fn write(&mut self, kind: &str, name: String, how: How) {
        self.try_to(Action::Write(Write { kind: kind.into(), name, subresource: None, manager: None, force: false, how }));
    }

    fn deployment(&mut self) -> String {
        let workload = self.dice.one_of(&self.shape.workloads).name.clone();
        format!("{workload}-{}", self.dice.one_of(&["blue", "green"]))
    }

    fn delete(&mut self) {
        let (kind, name) = match self.dice.below(6) {
            0 | 1 => ("Service", (*self.dice.one_of(&SERVICES)).to_owned()),
            2 | 3 => ("Deployment", self.deployment()),
            4 => ("Service", format!("{}-preview", self.dice.one_of(&SERVICES))),
            _ => {
                self.exists = false;
                ("Release", self.shape.release.clone())
            }
        };
        let propagation = if self.dice.once_in(3) { Propagation::Foreground } else { Propagation::Background };
        self.try_to(Action::Delete(Delete { kind: kind.into(), name, propagation }));
    }

    fn process(&mut self) {
        let end = *self.dice.one_of(&[Controller::Kill, Controller::Kill, Controller::Stop]);
        self.act(Action::Controller(end));
        // Things happen while it is away.
        if self.dice.once_in(2) {
            match self.dice.below(4) {
                0 => self.want(),
                1 => self.hand_on_a_service(),
                2 => self.hand_on_a_deployment(),
                _ => self.fate(),
            }
        }
        self.act(Action::Controller(Controller::Start));
    }

    /// From here on the input stays: everything that a Release needs is there, and nothing is held back by a person.
    fn end(&mut self) {
        for name in SERVICES {
            self.act(Action::Service(TeamService { name: name.to_owned(), hand: Hand::Apply, selector: None }));
        }
        if !self.exists || self.dice.once_in(2) {
            self.want();
        }
        if self.gated {
            for gate in ["smoke", "errors"] {
                self.act(Action::Measure(Measure { gate: gate.to_owned(), says: Says::Good }));
            }
        }
        self.act(Action::Edit(Edit { merge: json!({"spec": {"suspend": false, "rollback": {"automatic": true}}}) }));
        self.act(Action::Operate(Operate::new(OperationType::Resume)));
        let rests = Expect { rests: Some(true), ..Expect::default() };
        self.steps.push(Step::Until { expect: rests.clone(), within: REST_WITHIN });
        self.steps.push(Step::Stays { expect: rests, length: REST_FOR });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Author, Dialect};

    #[test]
    fn a_seed_is_a_scenario() {
        for seed in 0..200 {
            assert_eq!(generated(seed), generated(seed));
        }
        assert_ne!(generated(1).steps, generated(2).steps);
        // Kept as text by whoever found a failure: it must not change under their feet without notice.
        let mut dice = Dice::new(42);
        assert_eq!([dice.roll(), dice.roll()], [13_679_457_532_755_275_413, 2_949_826_092_126_892_291]);
    }

    #[test]
    fn every_generated_scenario_can_be_written_down_and_played() {
        for seed in 0..500 {
            let scenario = generated(seed);
            assert_eq!(Scenario::from_line(&scenario.to_line().unwrap()).unwrap(), scenario);
            let mut author = Author::new(&scenario.shape, "shop", Dialect::Annotations);
            for step in scenario.script() {
                let Step::Do(deed) = &step else { continue };
                if deed.action.is_a_call() {
                    author.calls(&deed.action).unwrap_or_else(|error| panic!("{seed}: {}: {error:#}", step.line()));
                }
            }
            serde_json::from_value::<bascule_crds::Release>(author.release().unwrap()).unwrap();
        }
    }

    #[test]
    fn everything_that_can_happen_is_generated() {
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            for step in generated(seed).steps {
                let Step::Do(deed) = step else { continue };
                let text = serde_json::to_value(&deed.action).unwrap();
                let word = text.as_object().unwrap().keys().next().unwrap().clone();
                let detail = match &deed.action {
                    Action::Want(want) => format!("{:?}", want.pods).split('(').next().unwrap_or_default().to_owned(),
                    Action::Edit(edit) => edit.merge["spec"].as_object().unwrap().keys().next().unwrap().clone(),
                    Action::Operate(operate) => format!("{:?}", operate.kind),
                    Action::Measure(measure) => format!("{:?}", measure.says),
                    Action::Write(write) => write.kind.clone(),
                    Action::Delete(delete) if delete.name.ends_with("-preview") => "preview".into(),
                    Action::Delete(delete) => delete.kind.clone(),
                    Action::Service(service) => format!("{:?}", service.hand),
                    Action::Controller(controller) => format!("{controller:?}"),
                    _ => String::new(),
                };
                seen.insert(format!("{word} {detail}").trim_end().to_owned());
            }
        }
        let expected = [
            "want Ready",
            "want Never",
            "want Flapping",
            "want CannotPull",
            "want ReadyAfter",
            "want Dies",
            "want TerminatesAfter",
            "edit suspend",
            "edit strategy",
            "edit preview",
            "edit rollback",
            "edit services",
            "scale",
            "operate Abort",
            "operate Retry",
            "operate Rollback",
            "operate Hold",
            "operate Resume",
            "edit gates",
            "edit hooks",
            "measure Good",
            "measure Bad",
            "measure Nothing",
            "killPods",
            "write Service",
            "write Deployment",
            "service Apply",
            "service Replace",
            "delete Service",
            "delete Deployment",
            "delete preview",
            "delete Release",
            "controller Kill",
            "controller Stop",
            "controller Start",
        ];
        for what in expected {
            assert!(seen.contains(what), "{what} is never generated: {seen:?}");
        }
    }

    #[test]
    fn the_end_waits_for_rest_with_a_controller_that_runs() {
        for seed in 0..200 {
            let steps = generated(seed).steps;
            assert!(matches!(&steps[steps.len() - 1], Step::Stays { expect, .. } if expect.rests == Some(true)));
            let last = steps.iter().rev().find_map(|step| match step {
                Step::Do(Deed { action: Action::Controller(controller), .. }) => Some(*controller),
                _ => None,
            });
            assert!(last.is_none_or(|last| last == Controller::Start), "{seed}");
        }
    }
}
