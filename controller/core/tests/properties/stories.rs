//! Several things in a row that seldom come together by chance, told to the world.

use jiff::SignedDuration;
use serde_json::json;

use crate::{
    generate::{Measures, Moment, NEVER, Named, SLOW, Setting, Story, Then},
    play::Player,
    world::{Fault, Hand, Kind, Part, Registry, World},
};

impl Player {
    pub fn tell(&mut self, story: &Story) {
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
            story => self.prove(story),
        }
    }

    /// Stories of gates, hooks and returns.
    fn prove(&mut self, story: &Story) {
        match story {
            Story::Return { version, moment, oldest, then } => self.go_back(*version, *moment, *oldest, *then),
            Story::Prepare { version, hooks, next } => {
                self.wish.set(Setting::Hooks(*hooks));
                self.want_and_pass(*version, 0, 2);
                if *next > 0 {
                    self.want_and_pass(version + 1, 0, 3);
                }
                if *next > 1 {
                    self.want_and_pass(*version, 0, 3);
                }
                self.world.pass(60);
                self.wish.set(Setting::Hooks(0));
            }
            Story::HandOver { version, back } => {
                self.wish.set(Setting::Hooks(3));
                self.want_and_pass(*version, 0, 2);
                self.world.restart();
                self.world.freeze(Kind::Jobs, usize::from(*back));
                self.want_and_pass(version + 1, 0, 10);
                self.world.thaw(Kind::Jobs);
                self.wish.set(Setting::Hooks(0));
            }
            Story::RunAgain { version, hooks } => {
                self.wish.set(Setting::Hooks(*hooks));
                self.want_and_pass(*version, 0, 30);
                self.wish.set(Setting::Hooks(1));
                self.world.apply_spec(self.wish.spec());
                self.world.operate(&json!({"release": "web", "type": "Retry", "by": "ada"}));
                self.world.pass(30);
                self.wish.set(Setting::Hooks(0));
            }
            Story::Sweep { version, gate } => {
                self.wish.set(if *gate { Setting::Gates(4) } else { Setting::Hooks(3) });
                self.want_and_pass(*version, 0, 1);
                self.world.drop_jobs();
                self.world.pass(1);
                self.world.restart();
                self.world.pass(40);
                self.wish.set(Setting::Hooks(0));
            }
            Story::Doubt { version, late, measures } => {
                self.wish.set(Setting::Gates(2));
                if *late {
                    self.want_and_pass(*version, 0, 12);
                }
                self.gauge(if *late { "errors" } else { "load" }, *measures);
                if *late {
                    // Another gate is written beside it at the very moment.
                    self.world.now += SignedDuration::from_secs(5);
                    self.world.run_one();
                    self.wish.set(Setting::Gates(12));
                }
                self.want_and_pass(*version, 0, 25);
                self.world.gauges.clear();
            }
            Story::Rewrite { version, gates } => {
                self.wish.set(Setting::Gates(1));
                self.want_and_pass(*version, 0, 0);
                self.wish.set(Setting::Gates(*gates));
                self.want_and_pass(*version, 0, 3);
            }
            Story::Outlast { version, late } => self.outlast(*version, *late),
            Story::HoldOn { version, hooks } => {
                self.wish.set(Setting::Hooks(*hooks));
                self.wish.set(Setting::Gates(1));
                self.want_and_pass(*version, SLOW, 4);
                self.world.operate(&json!({"release": "web", "type": "Hold", "by": "ada"}));
                self.world.pass(40);
                self.world.operate(&json!({"release": "web", "type": "Resume", "by": "ada"}));
                self.world.pass(20);
                self.wish.set(Setting::Hooks(0));
            }
            Story::Many { version } => {
                self.wish.set(Setting::History(2));
                for n in 0..4 {
                    self.want_and_pass(version + n, 0, 40);
                }
            }
            _ => {}
        }
    }

    /// A person returns from a version, to the one before it or further.
    fn go_back(&mut self, version: u8, moment: Moment, oldest: bool, then: Then) {
        self.want_and_pass(version, 0, 100);
        // The version before is warm for a while after it.
        self.wish.set(Setting::Bake(if matches!(moment, Moment::Warm) { 0 } else { 30 }));
        self.want_and_pass(version + 1, 0, if matches!(moment, Moment::Warm | Moment::InTheBake) { 8 } else { 100 });
        if matches!(moment, Moment::Newer) {
            self.want_and_pass(version + 2, SLOW, 1);
        }
        if matches!(moment, Moment::Gone) {
            self.world.meddle(&Hand::DropRevisions, "web", "web");
        }
        let before = matches!(moment, Moment::Newer).then_some(Named::Version(version));
        self.roll_back(if oldest { Some(Named::Revision(0)) } else { before }, false);
        self.world.pass(3);
        match then {
            Then::Nothing => self.world.pass(60),
            Then::Again => {
                self.wish.set(Setting::Bake(31));
                self.want_and_pass(version + 1, 0, 60);
            }
            Then::Newer => self.want_and_pass(version + 3, 0, 60),
            Then::Older => self.want_and_pass(version, 0, 60),
            Then::Resume | Then::Hold => {
                let kind = if matches!(then, Then::Hold) { "Hold" } else { "Resume" };
                self.world.operate(&json!({"release": "web", "type": kind, "by": "ada"}));
                self.world.pass(60);
            }
        }
    }

    /// The time of a gate passes while nobody counts: there is no process, or the bake cannot end.
    fn outlast(&mut self, version: u8, late: bool) {
        self.wish.set(Setting::Gates(2));
        self.wish.set(Setting::Bake(30));
        self.gauge("load", if late { Measures::Good } else { Measures::Nothing });
        self.want_and_pass(version, 0, 12);
        self.world.gauges.clear();
        if late {
            self.world.process.hidden.insert(Part::ReplicaSets);
            self.world.pass(50);
        } else {
            self.world.now += SignedDuration::from_secs(40);
        }
        self.world.restart();
        self.world.pass(3);
    }

    /// The controller ends between the two Services of a switch, and no pod is left on either side.
    fn split(&mut self, version: u8) {
        self.wish.set(Setting::Services(2));
        self.wish.set(Setting::Gates(0));
        self.wish.set(Setting::Hooks(0));
        if self.world.oracle.made.insert("api".into()) && !self.world.services.contains_key("api") {
            self.world.add_service("api");
        }
        self.wish.want(version, 0, 2);
        self.world.apply_spec(self.wish.spec());
        self.point();
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
}
