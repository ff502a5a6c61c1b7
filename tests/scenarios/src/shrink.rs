//! The smallest scenario that still fails: what a person reads instead of the one that was found.
//!
//! In: a scenario and a predicate that plays it. Out: one that fails too, and none that is simpler by one of these changes does.
//! Never here: why it fails.

use bascule_crds::Duration;
use serde_json::Value;

use crate::{Action, Expect, Pods, Scenario, Shape, Step};

/// A scenario is played so often at most. One takes milliseconds in the simulation, and nobody waits for minutes.
const ATTEMPTS: usize = 2_000;

/// Leaves out steps, then makes what is left simpler, as long as it fails.
pub fn shrink(scenario: &Scenario, fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut search = Search { best: scenario.clone(), fails, attempts: ATTEMPTS };
    loop {
        let before = search.best.clone();
        search.fewer_steps();
        search.simpler_steps();
        search.simpler_shape();
        if search.best == before || search.attempts == 0 {
            return search.best;
        }
    }
}

struct Search<F> {
    best: Scenario,
    fails: F,
    attempts: usize,
}

impl<F: FnMut(&Scenario) -> bool> Search<F> {
    /// True when this one fails too: then it is the best so far.
    fn takes(&mut self, smaller: Scenario) -> bool {
        if self.attempts == 0 || smaller == self.best {
            return false;
        }
        self.attempts -= 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.best = smaller;
        }
        fails
    }

    /// Delta debugging: large chunks first, since most of what was generated has nothing to do with it.
    fn fewer_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut smaller = self.best.clone();
                let to = (from + size).min(smaller.steps.len());
                smaller.steps.drain(from..to);
                if !self.takes(smaller) {
                    from += size;
                }
            }
            size /= 2;
        }
        // The controller is ended and started again: only together they can go.
        for distance in 1..4 {
            let mut from = 0;
            while from + distance < self.best.steps.len() {
                let mut smaller = self.best.clone();
                smaller.steps.remove(from + distance);
                smaller.steps.remove(from);
                if !self.takes(smaller) {
                    from += 1;
                }
            }
        }
    }

    fn simpler_steps(&mut self) {
        for at in 0..self.best.steps.len() {
            // As soon as one is taken the next ones start from it.
            loop {
                let choices = simpler(&self.best.steps[at]);
                let taken = choices.into_iter().any(|step| {
                    let mut smaller = self.best.clone();
                    smaller.steps[at] = step;
                    self.takes(smaller)
                });
                if !taken {
                    break;
                }
            }
        }
    }

    fn simpler_shape(&mut self) {
        let plain = Shape::default();
        let changes: [fn(&mut Scenario, &Shape); 9] = [
            |scenario, _| scenario.policies = true,
            |scenario, plain| scenario.shape = plain.clone(),
            |scenario, _| scenario.shape.workloads.truncate(1),
            |scenario, _| scenario.shape.services.truncate(1),
            |scenario, plain| scenario.shape.replicas = plain.replicas,
            |scenario, plain| scenario.shape.autoscaled = plain.autoscaled,
            |scenario, plain| scenario.shape.bake = plain.bake,
            |scenario, plain| scenario.shape.scale_down_delay = plain.scale_down_delay,
            |scenario, plain| scenario.shape.progress_deadline = plain.progress_deadline,
        ];
        for change in changes {
            let mut smaller = self.best.clone();
            change(&mut smaller, &plain);
            self.takes(smaller);
        }
        for merge in fewer_keys(&self.best.shape.merge) {
            let mut smaller = self.best.clone();
            smaller.shape.merge = merge;
            self.takes(smaller);
        }
    }
}

/// The same step, simpler by one change each; what is already simple has none.
fn simpler(step: &Step) -> Vec<Step> {
    let mut choices = Vec::new();
    match step {
        Step::Stays { expect, length } if *expect == Expect::default() => {
            let millis = u32::try_from(length.get().as_millis()).unwrap_or(u32::MAX);
            // Round numbers, so that it comes to an end and a person can read it.
            for shorter in [0, 100, 1_000, 5_000].into_iter().filter(|shorter| *shorter < millis) {
                choices.push(Step::Stays { expect: expect.clone(), length: Duration::from_millis(shorter) });
            }
        }
        Step::Do(deed) => {
            for action in simpler_action(&deed.action) {
                choices.push(Step::Do(crate::Deed { action, ..deed.clone() }));
            }
        }
        Step::Stays { .. } | Step::Until { .. } | Step::Mark(_) | Step::History(_) => {}
    }
    choices.retain(|choice| choice != step);
    choices
}

fn simpler_action(action: &Action) -> Vec<Action> {
    match action {
        Action::Want(want) => {
            let with = |change: &dyn Fn(&mut crate::Want)| {
                let mut simpler = want.clone();
                change(&mut simpler);
                Action::Want(simpler)
            };
            let mut choices = vec![
                with(&|want| want.pods = Pods::Ready),
                with(&|want| want.pods_of.clear()),
                with(&|want| want.replicas = None),
                with(&|want| want.json = Value::Null),
                with(&|want| want.merge = Value::Null),
            ];
            let quicker = match &want.pods {
                Pods::ReadyAfter(_) => Some(Pods::ReadyAfter(Duration::from_secs(1))),
                Pods::Dies(_) => Some(Pods::Dies(Duration::from_secs(1))),
                Pods::TerminatesAfter(_) => Some(Pods::TerminatesAfter(Duration::from_secs(1))),
                Pods::Ready | Pods::Never | Pods::Flapping | Pods::CannotPull => None,
            };
            choices.extend(quicker.map(|pods| with(&|want| want.pods = pods.clone())));
            choices
        }
        Action::Edit(edit) => fewer_keys(&edit.merge).into_iter().map(|merge| Action::Edit(crate::Edit { merge })).collect(),
        Action::Operate(operate) => {
            vec![Action::Operate(crate::Operate { note: None, times: 1, ..operate.clone() })]
        }
        Action::KillPods(kill) => vec![
            Action::KillPods(crate::KillPods { keep: 0, ..kill.clone() }),
            Action::KillPods(crate::KillPods { deleted: false, ..kill.clone() }),
        ],
        Action::Delete(delete) => {
            vec![Action::Delete(crate::Delete { propagation: crate::Propagation::default(), ..delete.clone() })]
        }
        Action::Scale(replicas) if *replicas != 1 => vec![Action::Scale(1)],
        Action::Scale(_)
        | Action::Service(_)
        | Action::Write(_)
        | Action::Create(_)
        | Action::Measure(_)
        | Action::Controller(_) => Vec::new(),
    }
}

/// The same object with one key less, at any depth.
fn fewer_keys(value: &Value) -> Vec<Value> {
    let Value::Object(map) = value else { return Vec::new() };
    let mut choices = Vec::new();
    for (key, inner) in map {
        let mut without = map.clone();
        without.remove(key);
        choices.push(if without.is_empty() { Value::Null } else { Value::Object(without) });
        for fewer in fewer_keys(inner).into_iter().filter(|fewer| !fewer.is_null()) {
            let mut with = map.clone();
            with.insert(key.clone(), fewer);
            choices.push(Value::Object(with));
        }
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Controller, KillPods, generated};

    fn wants(scenario: &Scenario, holds: impl Fn(&crate::Want) -> bool) -> bool {
        scenario
            .steps
            .iter()
            .any(|step| matches!(step, Step::Do(deed) if matches!(&deed.action, Action::Want(want) if holds(want))))
    }

    fn kills(scenario: &Scenario) -> usize {
        let kills = |step: &&Step| matches!(step, Step::Do(deed) if matches!(deed.action, Action::KillPods(_)));
        scenario.steps.iter().filter(kills).count()
    }

    #[test]
    fn one_step_is_left_of_what_fails_for_one_step() {
        let mut tried = 0;
        for seed in 0..300 {
            let found = generated(seed);
            let dies = |scenario: &Scenario| wants(scenario, |want| matches!(want.pods, Pods::Dies(_)));
            if !dies(&found) {
                continue;
            }
            tried += 1;
            let small = shrink(&found, dies);
            assert_eq!(small.steps.len(), 1, "{:?}", small.steps);
            assert!(wants(&small, |want| want.pods == Pods::Dies(Duration::from_secs(1)) && want.pods_of.is_empty()));
            assert_eq!(small.shape, Shape::default());
            assert!(small.policies);
        }
        assert!(tried > 20, "{tried}");
    }

    #[test]
    fn the_order_of_two_things_is_kept() {
        let killed_then_wanted = |scenario: &Scenario| {
            let position = |wanted: fn(&Action) -> bool| {
                scenario.steps.iter().position(|step| matches!(step, Step::Do(deed) if wanted(&deed.action)))
            };
            let killed = position(|action| matches!(action, Action::Controller(Controller::Kill)));
            let aborted = position(|action| matches!(action, Action::Operate(_)));
            killed.zip(aborted).is_some_and(|(killed, aborted)| killed < aborted)
        };
        let mut tried = 0;
        for seed in 0..600 {
            let found = generated(seed);
            if !killed_then_wanted(&found) {
                continue;
            }
            tried += 1;
            let small = shrink(&found, killed_then_wanted);
            assert_eq!(small.steps.len(), 2, "{:?}", small.steps);
            assert!(killed_then_wanted(&small));
        }
        assert!(tried > 10, "{tried}");
    }

    #[test]
    fn what_is_needed_together_stays_together() {
        // Fails with two kills and at least ten seconds that pass: none of them can be left out.
        let fails = |scenario: &Scenario| {
            let passed: i128 = scenario
                .steps
                .iter()
                .map(|step| match step {
                    Step::Stays { expect, length } if *expect == Expect::default() => length.get().as_millis(),
                    _ => 0,
                })
                .sum();
            kills(scenario) >= 2 && passed >= 10_000
        };
        let mut tried = 0;
        for seed in 0..2_000 {
            let found = generated(seed);
            if !fails(&found) {
                continue;
            }
            tried += 1;
            let small = shrink(&found, fails);
            assert!(fails(&small));
            assert_eq!(kills(&small), 2);
            for at in 0..small.steps.len() {
                let mut smaller = small.clone();
                smaller.steps.remove(at);
                assert!(!fails(&smaller), "step {at} is not needed: {:?}", small.steps);
            }
        }
        assert!(tried > 5, "{tried}");
    }

    #[test]
    fn what_does_not_fail_is_left_as_it_is() {
        let scenario = generated(7);
        assert_eq!(shrink(&scenario, |_| false), scenario);
    }

    #[test]
    fn it_ends_also_when_everything_fails_and_does_not_play_for_ever() {
        let mut played = 0;
        let small = shrink(&generated(7), |_| {
            played += 1;
            true
        });
        assert!(small.steps.is_empty());
        assert!(played <= ATTEMPTS);
        // A predicate that changes its mind costs no more than that.
        let mut played = 0;
        let _ = shrink(&generated(8), |_| {
            played += 1;
            played % 2 == 0
        });
        assert!(played <= ATTEMPTS);
    }

    #[test]
    fn single_actions_get_simpler() {
        let mut scenario = generated(1);
        scenario.steps = vec![
            Action::KillPods(KillPods { version: "v1".into(), keep: 2, deleted: true }).into(),
            Action::Edit(crate::Edit {
                merge: serde_json::json!({"spec": {"suspend": true, "strategy": {"bake": "1s", "onSupersede": "Wait"}}}),
            })
            .into(),
        ];
        let small = shrink(&scenario, |scenario| {
            scenario.steps.iter().any(|step| step.line().contains("onSupersede")) && kills(scenario) == 1
        });
        let lines: Vec<_> = small.steps.iter().map(Step::line).collect();
        assert_eq!(
            lines,
            [r#"{"killPods":{"version":"v1"}}"#, r#"{"edit":{"merge":{"spec":{"strategy":{"onSupersede":"Wait"}}}}}"#]
        );
    }
}
