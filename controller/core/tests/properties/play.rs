//! Plays a generated history in a world, and runs properties over many of them: always the same ones, unless asked for others.
//!
//! `BASCULE_CASES=20` plays twenty times as many, `BASCULE_SEED=7` others.

use std::env;

use bascule_core::gate::Verdict;
use jiff::SignedDuration;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use serde_json::json;

use crate::{
    generate::{Event, Measures, Named, StoreFault, Wish},
    proofs,
    world::{Kind, Process, Registry, Rule, World},
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

    pub fn upset(&mut self, fault: StoreFault) {
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
    pub fn point(&mut self) {
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
            Event::Rollback { to, force } => self.roll_back(*to, *force),
            Event::Hold => world.operate(&json!({"release": "web", "type": "Hold", "by": "ada"})),
            Event::Resume => world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"})),
            Event::Gauge { gate, measures } => self.gauge(proofs::measured(*gate), *measures),
            Event::Latency(secs) => world.latency = SignedDuration::from_secs(i64::from(*secs)),
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

    /// A person asks to return.
    pub fn roll_back(&mut self, to: Option<Named>, force: bool) {
        let status = &self.world.release.status;
        let revision = |it: Option<&String>| it.cloned();
        let named = to.and_then(|to| match to {
            Named::Revision(place) => revision(status.history.get(usize::from(place)).map(|it| &it.revision)),
            Named::Number(number) => Some(number.to_string()),
            Named::Version(version) => Some(format!("v{version}")),
            Named::Candidate => {
                let candidate = status.candidate.as_ref().map(|it| &it.revision);
                revision(candidate.or(status.active.as_ref().map(|it| &it.revision)))
            }
            Named::Nonsense => Some("no version at all".into()),
        });
        let mut spec = json!({"release": "web", "type": "Rollback", "by": "ada"});
        if let Some(named) = named {
            spec["revision"] = json!(named);
        }
        if force {
            spec["force"] = json!(true);
            spec["note"] = json!("it can read what is there");
        }
        self.world.operate(&spec);
    }

    pub fn gauge(&mut self, gate: &str, measures: Measures) {
        let verdict = match measures {
            Measures::Good => Verdict::Pass,
            Measures::Bad => Verdict::Fail("value 0.31".into()),
            Measures::Nothing => Verdict::Unknown("no data".into()),
        };
        self.world.gauges.insert(gate.into(), verdict);
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
        world.gauges.clear();
        world.latency = SignedDuration::ZERO;
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
