//! How a Release stands, in the few words that are counted and alerted on.
//!
//! In: its spec and status. Out: a state, conditions, and times. Kept beside each Release in the cache, so that a scrape parses nothing.

use bascule_core::{later, was_rejected};
use bascule_crds::{
    Candidate, ConditionStatus, ConditionType, GateState, HookState, RejectReason, Rejection, ReleaseSpec, ReleaseStatus, Step,
};
use jiff::{SignedDuration, Timestamp};

/// What is counted of one Release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) has_candidate: bool,
    pub(crate) conditions: Box<[(ConditionType, ConditionStatus, Box<str>)]>,
    /// When `Ready` changed last.
    pub(crate) ready_changed: Option<Timestamp>,
    /// When the present step of a candidate must have come to an end.
    pub(crate) deadline: Option<Timestamp>,
    /// When the version that settled last was given the traffic.
    pub(crate) success: Option<Timestamp>,
    pub(crate) rejection: Option<Rejected>,
}

/// The rejection that matters at present: of the version that users are on, else of the one that is wanted, else the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) at: Timestamp,
    pub(crate) reason: RejectReason,
    pub(crate) traffic: Traffic,
}

/// Whether users know a version that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// They are on it, for want of a better one.
    Has,
    Had,
    Never,
}

impl Traffic {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Has => "has",
            Self::Had => "had",
            Self::Never => "never",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nobody has looked at it yet.
    New,
    /// Something is to be done, and cannot be begun at the moment.
    Waiting,
    Preparing,
    Starting,
    Verifying,
    Switching,
    Baking,
    Settled,
    /// A person has stopped it.
    Paused,
    /// What is wanted has failed.
    Rejected,
    /// A person has returned to another version.
    RolledBack,
    /// No further without a person or another input.
    Stalled,
    /// It exists, and this version of the controller cannot read it.
    Unreadable,
}

impl State {
    pub(crate) const ALL: [Self; 13] = [
        Self::New,
        Self::Waiting,
        Self::Preparing,
        Self::Starting,
        Self::Verifying,
        Self::Switching,
        Self::Baking,
        Self::Settled,
        Self::Paused,
        Self::Rejected,
        Self::RolledBack,
        Self::Stalled,
        Self::Unreadable,
    ];
}

/// What a scrape shows of conditions: the other two are in the state.
const SHOWN: [ConditionType; 4] =
    [ConditionType::Ready, ConditionType::Available, ConditionType::SourcesFresh, ConditionType::RollbackReady];

impl Standing {
    pub(crate) fn of(spec: &ReleaseSpec, status: &ReleaseStatus) -> Self {
        let state = state(spec, status);
        let shown = status.conditions.iter().filter(|condition| SHOWN.contains(&condition.kind));
        Self {
            state,
            has_candidate: status.candidate.is_some(),
            conditions: shown.map(|it| (it.kind, it.status, it.reason.as_str().into())).collect(),
            ready_changed: status.condition(ConditionType::Ready).map(|ready| ready.last_transition_time),
            deadline: status.candidate.as_ref().filter(|_| state != State::Paused).map(|it| deadline(spec, status, it)),
            success: status.history.last().map(|released| released.at),
            rejection: rejection(status),
        }
    }

    pub(crate) fn unreadable() -> Self {
        Self {
            state: State::Unreadable,
            has_candidate: false,
            conditions: Box::default(),
            ready_changed: None,
            deadline: None,
            success: None,
            rejection: None,
        }
    }
}

fn state(spec: &ReleaseSpec, status: &ReleaseStatus) -> State {
    let is = |kind, value| status.condition(kind).filter(|it| it.status == value).map(|it| it.reason.as_str());
    let Some(ready) = status.condition(ConditionType::Ready) else { return State::New };
    if ready.status == ConditionStatus::True {
        return State::Settled;
    }
    if ["Suspended", "Held"].contains(&ready.reason.as_str()) {
        return State::Paused;
    }
    // Who holds it knows that it has failed, and is at it.
    let is_held = spec.suspend || status.hold.as_ref().is_some_and(|hold| hold.revision.is_none());
    match (is(ConditionType::Stalled, ConditionStatus::True), &status.candidate) {
        // Whatever it would wait for besides: until the switch nothing goes on.
        (_, None) if is_held => State::Paused,
        (None, Some(candidate)) if is_held && candidate.step < Step::Switching => State::Paused,
        (Some("Rejected"), _) => State::Rejected,
        (Some("RolledBack"), _) => State::RolledBack,
        (Some(_), _) => State::Stalled,
        (None, Some(candidate)) => match candidate.step {
            Step::Preparing => State::Preparing,
            Step::Starting => State::Starting,
            Step::Verifying => State::Verifying,
            Step::Switching => State::Switching,
            Step::Baking => State::Baking,
        },
        (None, None) => State::Waiting,
    }
}

fn rejection(status: &ReleaseStatus) -> Option<Rejected> {
    let of_active = status.active.as_ref().and_then(|active| status.rejection(&active.revision));
    if let Some(it) = of_active {
        return Some(Rejected { at: it.at, reason: it.reason, traffic: Traffic::Has });
    }
    let stalled = status.condition(ConditionType::Stalled).filter(|it| it.status == ConditionStatus::True);
    let is_wanted = |it: &&Rejection| stalled.is_some_and(|stalled| stalled.message == was_rejected(it));
    let newest = || status.rejected.iter().max_by_key(|rejection| rejection.at);
    let it = status.rejected.iter().filter(is_wanted).max_by_key(|it| it.at).or_else(newest)?;
    Some(Rejected { at: it.at, reason: it.reason, traffic: if it.had_traffic { Traffic::Had } else { Traffic::Never } })
}

/// The controller itself ends each step by then, one way or the other; later than that something is wrong with more than a version.
fn deadline(spec: &ReleaseSpec, status: &ReleaseStatus, candidate: &Candidate) -> Timestamp {
    let own = match (candidate.step, candidate.switched_at) {
        (Step::Preparing, _) => {
            // Whoever waits for the hook of another version has that one's time as well.
            let running = status.hooks.iter().filter(|hook| hook.state == HookState::Running).map(|hook| hook.at).max();
            let hooks = &spec.hooks.before_start;
            hooks.iter().fold(running.unwrap_or(candidate.started_at), |at, hook| later(at, hook.timeout.get()))
        }
        (_, Some(switched)) => later(switched, spec.strategy.bake.get()),
        (_, None) => later(candidate.prepared_at.unwrap_or(candidate.started_at), spec.strategy.progress_deadline.get()),
    };
    let asked = spec.gates.before_switch.iter().chain(&spec.gates.after_switch);
    let timeout =
        |name: &str| asked.clone().find(|gate| gate.name == name).map_or(SignedDuration::ZERO, |gate| gate.timeout.get());
    let gates = candidate.gates.iter().filter(|gate| gate.state == GateState::Running);
    gates.map(|gate| later(gate.since, timeout(&gate.name))).fold(own, Timestamp::max)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn standing(spec: &Value, status: &Value) -> Standing {
        let mut whole = json!({"workloads": [{"name": "web", "template": {"spec": {"containers": []}}}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Standing::of(&serde_json::from_value(whole).unwrap(), &serde_json::from_value(status.clone()).unwrap())
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-05T10:00:00Z"})
    }

    fn candidate(step: &str, more: &Value) -> Value {
        let mut candidate = json!({"revision": "r2", "version": "v2", "track": "green", "step": step, "summary": "",
            "startedAt": "2026-01-05T10:00:00Z"});
        candidate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        candidate
    }

    fn at(text: &str) -> Option<Timestamp> {
        format!("2026-01-05T{text}Z").parse().ok()
    }

    #[test]
    fn one_that_nobody_has_looked_at_is_new() {
        assert_eq!(standing(&json!({}), &json!({})).state, State::New);
    }

    #[test]
    fn a_person_who_stops_it_is_no_deadline_missed() {
        let status = |ready| json!({"conditions": [ready], "candidate": candidate("Verifying", &json!({"preparedAt": "2026-01-05T10:00:00Z"}))});
        let held = standing(&json!({}), &status(condition("Ready", "False", "Held")));
        assert_eq!((held.state, held.deadline), (State::Paused, None));
        assert!(held.has_candidate, "a new leader looks at it first");
        let going = standing(&json!({}), &status(condition("Ready", "False", "Progressing")));
        assert_eq!((going.state, going.deadline), (State::Verifying, at("10:10:00")));
    }

    #[test]
    fn what_a_paused_one_would_wait_for_is_nobodys_business_until_users_are_in_it() {
        let waits = condition("Ready", "False", "ServiceMissing");
        let of = |step: Option<&str>, suspend: bool| {
            let mut status = json!({"conditions": [waits]});
            if let Some(step) = step {
                status["candidate"] = candidate(step, &json!({"preparedAt": "2026-01-05T10:00:00Z"}));
            }
            let it = standing(&json!({"suspend": suspend}), &status);
            (it.state, it.deadline.is_some())
        };
        assert_eq!([of(None, false), of(None, true)], [(State::Waiting, false), (State::Paused, false)]);
        assert_eq!([of(Some("Starting"), false), of(Some("Starting"), true)], [(State::Starting, true), (State::Paused, false)]);
        assert_eq!(of(Some("Baking"), true), (State::Baking, true));
    }

    #[test]
    fn each_step_has_its_own_deadline() {
        let spec = json!({
            "hooks": {"beforeStart": [{"name": "migrate", "timeout": "5m", "job": {"template": {}}}]},
            "gates": {"beforeSwitch": [{"name": "accept", "timeout": "20m", "job": {"template": {}}}]},
            "strategy": {"progressDeadline": "3m", "bake": "7m"},
        });
        let of = |step: &str, more: &Value, hooks: &Value| {
            let ready = condition("Ready", "False", "Progressing");
            standing(&spec, &json!({"conditions": [ready], "candidate": candidate(step, more), "hooks": hooks})).deadline
        };
        let hook = json!([{"revision": "r2", "name": "migrate", "state": "Running", "at": "2026-01-05T10:01:00Z", "run": 1}]);
        assert_eq!(of("Preparing", &json!({}), &hook), at("10:06:00"));
        let prepared = json!({"preparedAt": "2026-01-05T10:02:00Z"});
        assert_eq!(of("Starting", &prepared, &json!([])), at("10:05:00"));
        let gate = json!([{"stage": "BeforeSwitch", "name": "accept", "state": "Running", "since": "2026-01-05T10:03:00Z"}]);
        let gated = json!({"preparedAt": "2026-01-05T10:02:00Z", "gates": gate});
        assert_eq!(of("Verifying", &gated, &json!([])), at("10:23:00"), "the gate has longer than the pods");
        assert_eq!(of("Baking", &json!({"switchedAt": "2026-01-05T10:30:00Z"}), &json!([])), at("10:37:00"));
    }

    #[test]
    fn what_is_wanted_and_failed_is_told_from_wrong_input_and_from_a_rollback() {
        for (reason, state) in [("Rejected", State::Rejected), ("RolledBack", State::RolledBack), ("GateInvalid", State::Stalled)]
        {
            let conditions = [condition("Ready", "False", reason), condition("Stalled", "True", reason)];
            assert_eq!(standing(&json!({}), &json!({"conditions": conditions})).state, state);
        }
    }

    #[test]
    fn one_that_failed_and_is_held_by_a_person_is_paused() {
        let conditions = [condition("Ready", "False", "Rejected"), condition("Stalled", "True", "Rejected")];
        let hold = json!({"at": "2026-01-05T10:00:00Z", "by": "ada"});
        assert_eq!(standing(&json!({}), &json!({"conditions": conditions, "hold": hold})).state, State::Paused);
        assert_eq!(standing(&json!({"suspend": true}), &json!({"conditions": conditions})).state, State::Paused);
    }

    #[test]
    fn the_rejection_that_matters_is_of_what_users_are_on_else_of_what_is_wanted_else_the_newest() {
        let rejected = |revision: &str, version: &str, reason: &str, at: &str, had_traffic: bool| {
            json!({"revision": revision, "version": version, "reason": reason, "message": "m", "at": format!("2026-01-05T{at}Z"),
                "hadTraffic": had_traffic})
        };
        let all = json!([
            rejected("a", "v1", "BakeFailed", "10:00:00", true),
            rejected("b", "v2", "GateFailed", "11:00:00", false),
            rejected("c", "v3", "Aborted", "12:00:00", true),
        ]);
        let of = |more: Value| {
            let mut status = json!({"rejected": all});
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let it = standing(&json!({}), &status).rejection.unwrap();
            (it.reason, it.traffic)
        };
        let says = |message: &str| {
            let mut stalled = condition("Stalled", "True", "Rejected");
            stalled["message"] = json!(message);
            json!({"conditions": [condition("Ready", "False", "Rejected"), stalled]})
        };
        assert_eq!(of(json!({})), (RejectReason::Aborted, Traffic::Had), "the newest");
        assert_eq!(of(says("v1 was rejected (BakeFailed): m")), (RejectReason::BakeFailed, Traffic::Had), "wanted once more");
        assert_eq!(of(says("v2 was rejected (GateFailed): m")), (RejectReason::GateFailed, Traffic::Never));
        let mut bad = says("v2 was rejected (GateFailed): m");
        bad["active"] = json!({"revision": "a", "version": "v1", "track": "blue", "since": "2026-01-05T09:00:00Z"});
        assert_eq!(of(bad), (RejectReason::BakeFailed, Traffic::Has), "users are on it, whatever came after");
    }
}
