//! From steps to requests: one for each, with its precondition, and the reply into the cache.
//!
//! In: a plan. Out: requests to the API server; only this room writes to it. Never here: a decision, a repetition. What fails is
//! remembered with the time of the next attempt, and decided about anew. A write without an answer leaves a doubt, which is
//! cleared by a read before anything else is decided.
//!
//! Who may write is decided by leadership, and asked at the last moment: [`Gate::send`] is the only way to the API server for what
//! changes anything, and looks at the clock right before the request goes out. That is no fence. A request that was sent in time may
//! still wait for a connection, or be on its way when another replica leads. So what is not answered when the term ends is given up
//! (an unsent one is never sent), and its object is read again; and what has left all the same is stopped where it arrives: a write that moves
//! traffic or ends pods names the uid and resourceVersion that it was decided on, and the new leader's first write changes those.

mod fault;
mod read;
mod way_back;
mod write;

use std::{future::Future, sync::Arc, time::Duration};

use bascule_core::{
    Next, Observed, Plan, Read, Step,
    mutant::{self, Mutant},
};
use bascule_crds::ReleaseStatus;
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::{
    cache::{Object, Patience},
    lease::{Leadership, Term},
    queue::Key,
    shell::Shell,
    worker::on_its_way,
};
use fault::Fault;
pub(crate) use write::{answer, describe, prune};

/// Requests at the same time: enough to keep an API server busy, few enough not to be its storm.
const WRITES_AT_ONCE: usize = 32;

/// So long after a decision its write may still go out.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// What a plan came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Something was done or learnt: decide again.
    Acted,
    /// There was nothing to do.
    Nothing,
    /// The cluster is newer than the cache: decide again when it is here.
    Behind(Option<Object>),
    /// It failed; when to try again is remembered, and the next decision leaves it out until then.
    Failed,
    /// Nothing was sent: this replica does not lead any more. Whoever leads decides again.
    Deposed,
}

/// Lets writes pass: so many at a time, none while the API server asks for silence, and only those of the leader.
#[derive(Debug)]
pub(crate) struct Gate {
    leadership: Leadership,
    places: Semaphore,
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    pub(crate) fn new(leadership: Leadership) -> Self {
        Self { leadership, places: Semaphore::new(WRITES_AT_ONCE), closed_until: Mutex::new(None) }
    }

    /// Sends what was decided in `term`, if it still is that term at the moment of sending.
    async fn send<T>(&self, term: Term, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Fault> {
        let asked = Instant::now();
        let _place = self.pass().await;
        if !self.leadership.holds(term) {
            return Err(Fault::Deposed);
        }
        // Whoever has waited long goes by old news.
        if asked.elapsed() > GOOD_FOR {
            return Err(Fault::Aged);
        }
        // A future does nothing before it is asked: the request is made from here on.
        tokio::select! {
            biased;
            reply = request => reply.map_err(Fault::of),
            () = self.leadership.over(term) => Err(Fault::Unanswered("leadership ended before the answer came".to_owned())),
        }
    }

    async fn pass(&self) -> Option<SemaphorePermit<'_>> {
        loop {
            let place = self.places.acquire().await.ok();
            let until = *self.closed_until.lock().await;
            match until {
                Some(end) if end > Instant::now() => {
                    drop(place);
                    tokio::time::sleep_until(end).await;
                }
                _ => return place,
            }
        }
    }

    /// 429: nobody writes for that long.
    async fn close_for(&self, pause: Duration) {
        let mut until = self.closed_until.lock().await;
        *until = (*until).max(Some(Instant::now() + pause));
    }
}

/// Carries the plan out, up to the first failure. Reads only when there is nothing to write: traffic that goes back does not wait
/// for them, and the next decision asks again.
pub(crate) async fn execute(shell: &Arc<Shell>, term: Term, key: &Key, observed: &Observed, plan: Plan) -> Done {
    let done = match plan.next {
        Next::Rest => return look(shell, key, observed, &plan.reads).await,
        Next::Record(status) if ends_something(observed, &status) && !is_sure(shell, key, observed, &[]) => {
            return look_anew(shell, key, observed).await;
        }
        Next::Record(status) => {
            let outcome = write::status(shell, term, key, observed, &status).await;
            if outcome.is_ok() {
                shell.tell_story(key, &observed.release, &status);
            }
            let object = Some(Object::Release(key.name.clone()));
            settle(shell, key, bascule_core::STATUS, "write the status of the Release", object, outcome)
        }
        Next::Act(steps) if steps.iter().any(is_grave) && !is_sure(shell, key, observed, &steps) => {
            return look_anew(shell, key, observed).await;
        }
        Next::Act(steps) => {
            let mut done = Done::Acted;
            for step in steps {
                let (target, what, object) = (step.target(), write::describe(&step), write::object(&step));
                let outcome = write::step(shell, term, key, observed, step).await;
                done = settle(shell, key, &target, &what, object, outcome);
                if done != Done::Acted {
                    break;
                }
            }
            done
        }
    };
    if done == Done::Acted {
        for note in plan.notes {
            let (revision, step) = on_its_way(&observed.release.status);
            tracing::info!(release = %key, revision, step, note = ?note.kind, "{}", note.message);
            shell.events.tell(&observed.release, note);
        }
    }
    done
}

/// Decided on what lists have shown. Once, before traffic or pods move: is it still so?
async fn look_anew(shell: &Arc<Shell>, key: &Key, observed: &Observed) -> Done {
    match read::anew(shell, key, observed).await {
        Ok(()) => Done::Acted,
        Err(fault) => {
            remember(shell, key, "read/anew", "look at everything before something is moved", &fault);
            Done::Failed
        }
    }
}

/// A status that others go by: another version is the active one, or nobody watches the candidate any more.
fn ends_something(observed: &Observed, next: &ReleaseStatus) -> bool {
    let status = &observed.release.status;
    status.active != next.active || (status.candidate.is_some() && next.candidate.is_none())
}

/// What is about to be moved was looked at. A Service whose record names a revision that the status does not know was moved by another
/// process of ours, and it is the Release that is old: then it must be this very version that was read.
fn is_sure(shell: &Shell, key: &Key, observed: &Observed, steps: &[Step]) -> bool {
    let status = &observed.release.status;
    let known = |revision: &str| {
        let versions = status.active.iter().chain(&status.previous).map(|version| version.revision.as_str());
        versions.chain(status.candidate.iter().map(|candidate| candidate.revision.as_str())).any(|it| it == revision)
    };
    let is_strange = |step: &Step| {
        let Step::Route(write) = step else { return false };
        let service = observed.services.get(&write.service).and_then(|sight| sight.known()?.as_ref());
        service.and_then(|service| service.record.as_ref()).is_some_and(|it| !it.revision.is_empty() && !known(&it.revision))
    };
    if mutant::is(Mutant::NeverLookTwice) {
        return true;
    }
    let cache = shell.cache();
    let now = Instant::now();
    if steps.iter().any(is_strange) {
        cache.is_sure_of(key, &observed.release.resource_version, now)
    } else {
        cache.is_sure(key, now)
    }
}

/// It moves traffic or pods, or starts something.
fn is_grave(step: &Step) -> bool {
    match step {
        // A Job runs once, so what it is decided by is looked at as well.
        Step::Run { .. }
        | Step::Apply { .. }
        | Step::Scale { .. }
        | Step::DeleteDeployment { .. }
        | Step::Route(_)
        | Step::Select { .. } => true,
        Step::DryRun { .. }
        | Step::Store { .. }
        | Step::Discard { .. }
        | Step::Preview { .. }
        | Step::DeletePreview { .. }
        | Step::Answer { .. }
        | Step::Prune { .. } => false,
    }
}

async fn look(shell: &Arc<Shell>, key: &Key, observed: &Observed, reads: &[Read]) -> Done {
    let mut done = Done::Nothing;
    for read in reads {
        let target = read.target();
        match read::read(shell, key, observed, read).await {
            Ok(new) => {
                shell.cache().succeeded(key, &target);
                if new && done == Done::Nothing {
                    done = Done::Acted;
                }
            }
            Err(fault) => {
                remember(shell, key, &target, &format!("look at {}", target.trim_start_matches("read/")), &fault);
                // The plan's wake-up does not know of the next attempt yet.
                done = Done::Failed;
            }
        }
    }
    done
}

fn settle(shell: &Shell, key: &Key, target: &str, what: &str, object: Option<Object>, outcome: Result<(), Fault>) -> Done {
    let fault = match outcome {
        Ok(()) => {
            shell.cache().succeeded(key, target);
            return Done::Acted;
        }
        Err(fault) => fault,
    };
    match fault {
        Fault::Behind | Fault::Aged | Fault::Deposed => shell.metrics.failed(fault.category()),
        _ => remember(shell, key, target, what, &fault),
    }
    match fault {
        Fault::Behind => Done::Behind(object),
        Fault::Aged => Done::Behind(None),
        // Nothing has happened, so there is nothing to remember.
        Fault::Deposed => Done::Deposed,
        _ => Done::Failed,
    }
}

fn remember(shell: &Shell, key: &Key, target: &str, what: &str, fault: &Fault) {
    let message = fault::one_line(&format!("could not {what}: {fault}"));
    tracing::warn!(release = %key, target, category = fault.category(), "{message}");
    shell.metrics.failed(fault.category());
    let patience = if matches!(fault, Fault::Throttled(_)) { Patience::Throttled } else { Patience::Once };
    shell.cache().failed(key, target, message, patience, shell.clock.now());
}

/// Reads what a write without an answer has left in doubt. False: it could not be read either.
pub(crate) async fn clear_doubts(shell: &Arc<Shell>, key: &Key) -> bool {
    let doubts = shell.cache().doubts(key);
    for object in doubts {
        if let Err(fault) = read::object(shell, key, &object).await {
            tracing::warn!(release = %key, ?object, "a write had no answer, and reading back failed: {fault}");
            return false;
        }
        shell.cache().certain(key, &object);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn gate() -> (Gate, Leadership, Term) {
        let leadership = Leadership::contended();
        let turn = leadership.set(Some(Instant::now() + Duration::from_secs(2)));
        leadership.tell(turn.gained);
        (Gate::new(leadership.clone()), leadership, turn.gained.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_leader_writes() {
        let (gate, _, term) = gate();
        assert_eq!(gate.send(term, async { Ok(7) }).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_long_before_the_gate_opened_is_decided_again() {
        let leadership = Leadership::sole();
        let gate = Gate::new(leadership.clone());
        let term = leadership.gained().await;
        gate.close_for(Duration::from_secs(3)).await;
        assert!(matches!(gate.send(term, async { Ok(()) }).await, Err(Fault::Aged)));
        assert!(gate.send(term, async { Ok(()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_in_a_term_that_is_over_is_not_sent() {
        let (gate, leadership, term) = gate();
        let sent = AtomicBool::new(false);
        let request = || async {
            sent.store(true, Ordering::Relaxed);
            Ok(())
        };
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(gate.send(term, request()).await, Err(Fault::Deposed)), "the clock is enough");
        // Leader again, in another term: the old decision does not count in it.
        let turn = leadership.set(Some(Instant::now() + Duration::from_secs(2)));
        leadership.tell(turn.gained);
        assert!(matches!(gate.send(term, request()).await, Err(Fault::Deposed)));
        assert!(!sent.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waited_at_the_gate_is_asked_again() {
        let (gate, _, term) = gate();
        gate.close_for(Duration::from_secs(3)).await;
        assert!(matches!(gate.send(term, async { Ok(()) }).await, Err(Fault::Deposed)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_answer_when_the_term_ends_is_in_doubt() {
        let (gate, leadership, term) = gate();
        let send = gate.send(term, futures::future::pending::<Result<(), kube::Error>>());
        let end = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            leadership.set(None);
            leadership.tell(None);
        };
        let (reply, ()) = tokio::join!(send, end);
        assert!(matches!(reply, Err(Fault::Unanswered(_))));
    }
}
