//! Plays a generated history in a world, and runs properties over many of them: always the same ones, unless asked for others.
//!
//! `BASCULE_CASES=20` plays twenty times as many, `BASCULE_SEED=7` others.

use std::env;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use serde_json::json;

use crate::{
    generate::{Event, NEVER, SLOW, Setting, StoreFault, Story, Wish},
    world::{Fault, Hand, Kind, Process, Registry, Rule, World},
};

#[derive(Clone, Debug)]
pub struct Player {
    pub world: World,
    pub wish: Wish,
    /// What the user has written to the parameter last; empty when it is to be written again.
    pointed: String,
}

/// As the Release names it.
const PARAMETER: &str = "/shop/staging/web";

impl Player {
    /// `only`: the rule that counts.
    pub fn new(policy_installed: bool, only: Rule) -> Self {
        let wish = Wish::new("v0", policy_installed);
        let mut world = World::new(wish.spec());
        world.policy_installed = policy_installed;
        world.remembers = true;
        // Few, so that what is kept in bounded number reaches its bound.
        world.policy.keep_operations = 2;
        world.policy.keep_rejections = 3;
        world.oracle.only = Some(only);
        Self { world, wish, pointed: String::new() }
    }

    pub fn play(&mut self, events: &[Event]) -> &mut Self {
        for event in events {
            self.happen(event);
        }
        self
    }

    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Story(story) => self.tell(story),
            Event::Want { version, pods, replicas } => self.wish.want(*version, *pods, *replicas),
            Event::Set(setting) => self.wish.set(*setting),
            other => self.befall(other),
        }
        self.world.apply_spec(self.wish.spec());
        self.point();
        // A Service that the user names is made with it.
        for service in self.wish.spec().services {
            let is_new = self.world.oracle.made.insert(service.name.clone());
            if is_new && !self.world.services.contains_key(&service.name) {
                self.world.add_service(&service.name);
            }
        }
    }

    fn upset(&mut self, fault: StoreFault) {
        let (store, now) = (&mut self.world.store, self.world.now);
        store.fails = None;
        match fault {
            StoreFault::None => {}
            StoreFault::Silent => store.fails = Some(true),
            StoreFault::Fails => store.fails = Some(false),
            StoreFault::Gone => {
                store.forget();
                self.pointed = String::new();
            }
            StoreFault::Nonsense => {
                store.put(PARAMETER, "no image", now);
                self.pointed = String::new();
            }
            StoreFault::Old => store.go_back(PARAMETER),
        }
    }

    /// The user writes the parameter, when it says something else.
    fn point(&mut self) {
        let value = self.wish.value();
        if self.wish.parameter && self.wish.value() != self.pointed {
            self.world.store.put(PARAMETER, &value, self.world.now);
            self.pointed = value;
        }
    }

    /// What happens to the world, whatever the user wants.
    fn befall(&mut self, event: &Event) {
        let world = &mut self.world;
        match event {
            Event::Story(_) | Event::Want { .. } | Event::Set(_) => {}
            Event::Pass(secs) => world.pass(*secs),
            Event::Turn(count) => {
                for _ in 0..*count {
                    world.run_one();
                }
            }
            Event::Operate { retry, named } => {
                let status = &world.release.status;
                let revisions =
                    status.rejected.iter().map(|it| &it.revision).chain(status.candidate.iter().map(|it| &it.revision));
                let mut spec = json!({"release": "web", "type": if *retry { "Retry" } else { "Abort" }, "by": "ada"});
                if let Some(revision) = named.and_then(|named| revisions.into_iter().nth(named.into())) {
                    spec["revision"] = json!(revision);
                }
                world.operate(&spec);
            }
            Event::Accept => world.operate(&json!({"release": "web", "type": "Accept", "by": "ada"})),
            Event::Hand { hand, service, worker } => {
                world.meddle(hand, if *service { "api" } else { "web" }, if *worker { "worker" } else { "web" });
            }
            Event::Restart => world.restart(),
            Event::RestartInThePast(back) => {
                world.restart();
                for (kind, back) in Kind::ALL.into_iter().zip(back) {
                    world.freeze(kind, usize::from(*back));
                }
            }
            Event::Freeze(kind) => world.freeze(*kind, 0),
            Event::Thaw(kind) => world.thaw(*kind),
            Event::Hide(part) => {
                world.process.hidden.insert(part.clone());
            }
            Event::Reveal => world.process.hidden.clear(),
            Event::Fault { after, fault } => world.fault = Some((*after, *fault)),
            Event::Registry(registry) => world.registry = *registry,
            Event::Store(fault) => self.upset(*fault),
            Event::Deposed { back, turns } => {
                let confirmed = world.process.confirmed.clone();
                let leader = std::mem::replace(&mut world.process, Process { confirmed, ..Process::default() });
                for kind in Kind::ALL {
                    world.freeze(kind, usize::from(*back));
                }
                for _ in 0..*turns {
                    world.run_one();
                }
                world.process = leader;
            }
        }
    }

    fn tell(&mut self, story: &Story) {
        let world = &mut self.world;
        match story {
            Story::Settle { version } => self.want_and_pass(*version, 0, 100),
            Story::GoBad { version, both, manual } => {
                self.wish.set(Setting::Automatic(!manual));
                self.want_and_pass(*version, 0, 2);
                self.world.meddle(&Hand::KillCandidate, "web", "web");
                if *both {
                    self.world.meddle(&Hand::KillPrevious, "web", "web");
                }
                self.world.pass(3);
            }
            Story::Again { version } => {
                self.want_and_pass(*version, NEVER, 70);
                self.world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"}));
                self.world.pass(1);
            }
            Story::Pause { version } => {
                self.want_and_pass(*version, SLOW, 1);
                self.wish.set(Setting::Suspend(true));
                self.want_and_pass(*version, SLOW, 10);
                self.wish.set(Setting::Suspend(false));
            }
            Story::Peek => {
                for on in [true, false] {
                    self.wish.set(Setting::Preview(on));
                    self.world.apply_spec(self.wish.spec());
                    self.world.pass(5);
                }
            }
            Story::Lose => {
                world.meddle(&Hand::ReplaceService, "web", "web");
                world.fault = Some((0, Fault::Fails { again: 5 }));
                world.pass(8);
            }
            Story::Occupy => {
                world.meddle(&Hand::Strangers(2), "web", "web");
                world.meddle(&Hand::ReplaceService, "web", "web");
                world.pass(3);
            }
            Story::Vanish { version } => {
                world.meddle(&Hand::DeleteIdle, "web", "web");
                self.want_and_pass(*version, 0, 3);
                self.world.meddle(&Hand::FinishDeletion, "web", "web");
            }
            Story::Jam { version } => {
                world.fault = Some((2, Fault::Fails { again: 5 }));
                self.want_and_pass(*version, 0, 12);
            }
            Story::GiveUp { version, late } => {
                self.want_and_pass(*version, if *late { 0 } else { SLOW }, 1);
                self.world.operate(&json!({"release": "web", "type": "Abort", "by": "ada"}));
                self.world.pass(1);
            }
            Story::Silence { version, fails } => {
                self.wish.set(Setting::Resolve(true));
                world.registry = if *fails { Registry::Fails } else { Registry::Silent };
                self.want_and_pass(*version, 0, 3);
                self.world.registry = Registry::Answers;
            }
            Story::Split { version } => self.split(*version),
            Story::Follow { version, fault } => {
                self.wish.set(Setting::Parameter(true));
                self.want_and_pass(*version, 0, 100);
                self.upset(*fault);
                self.world.pass(20);
            }
            Story::Late { version, accept } => {
                self.wish.set(Setting::Parameter(true));
                self.wish.set(Setting::Ordered(true));
                self.want_and_pass(*version, 0, 100);
                self.want_and_pass(version - 1, 0, 5);
                if *accept {
                    self.world.operate(&json!({"release": "web", "type": "Accept", "by": "ada"}));
                }
                self.world.pass(60);
            }
            Story::Mend => self.calm(),
            Story::Visit { version } => {
                for (on, version) in [(true, *version), (false, version + 1), (false, version + 2)] {
                    self.wish.set(Setting::Worker(on));
                    self.want_and_pass(version % 4, 0, 100);
                }
            }
        }
    }

    /// The controller ends between the two Services of a switch, and no pod is left on either side.
    fn split(&mut self, version: u8) {
        self.wish.set(Setting::Services(2));
        self.want_and_pass(version, 0, 0);
        self.world.fail_after_route = Some("api".into());
        let is_moved = |world: &World| {
            let candidate = world.release.status.candidate.as_ref();
            let selected = world.services.get("api").and_then(|service| service.selected());
            candidate.is_some_and(|it| selected == Some(it.track.as_str()))
        };
        for _ in 0..30 {
            if !is_moved(&self.world) {
                self.world.run_one();
            }
        }
        self.world.fail_after_route = None;
        for hand in [Hand::KillActive, Hand::KillCandidate] {
            self.world.meddle(&hand, "web", "web");
        }
        self.world.pass(3);
    }

    fn want_and_pass(&mut self, version: u8, pods: u8, secs: i64) {
        self.wish.want(version, pods, 2);
        self.world.apply_spec(self.wish.spec());
        self.point();
        self.world.pass(secs);
    }

    /// Faults and foreign hands cease, everything is seen, and the input stays.
    pub fn calm(&mut self) {
        let world = &mut self.world;
        for kind in Kind::ALL {
            world.thaw(kind);
        }
        world.process.hidden.clear();
        world.fault = None;
        world.registry = Registry::Answers;
        world.store.fails = None;
        world.store.catch_up();
        world.let_go();
        world.revive();
        self.wish.calm();
        self.world.apply_spec(self.wish.spec());
        self.point();
    }
}

/// Runs a property over as many generated values as told; the same ones each time.
pub fn property<S: Strategy>(name: &str, cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let number = |key: &str| env::var(key).ok().and_then(|text| text.parse().ok());
    let (times, seed): (u32, u32) = (number("BASCULE_CASES").unwrap_or(1), number("BASCULE_SEED").unwrap_or(0));
    let mut bytes = [0; 32];
    for (index, byte) in name.bytes().chain(seed.to_le_bytes()).enumerate() {
        bytes[index % 32] = (bytes[index % 32] ^ byte).rotate_left(3);
    }
    let config = Config { cases: cases * times, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    if let Err(error) = runner.run(strategy, test) {
        panic!("{name}: {error}");
    }
}

/// No write and no decision of a history breaks the rule.
pub fn holds(rule: Rule, policy_installed: bool, events: &[Event]) -> Result<(), TestCaseError> {
    let mut player = Player::new(policy_installed, rule);
    player.play(events);
    let failures = &player.world.oracle.failures;
    prop_assert!(failures.is_empty(), "{}\nafter: {:#?}", failures[0], player.world.writes);
    Ok(())
}
