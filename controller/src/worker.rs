//! Takes a key, asks the core, has it carried out, until there is nothing to do at this moment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bascule_core::{
    Next, Plan, decide, later,
    mutant::{self, Mutant},
};
use bascule_crds::ReleaseStatus;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    execute::{self, Done},
    lease::Term,
    queue::{Key, Outcome},
    shell::Shell,
};

/// A release needs ten; a plan that never rests is a mistake of ours and must not eat the API server.
const ROUNDS: usize = 50;
/// The event that brings the cache up to date is usually here within milliseconds.
const BEHIND: Duration = Duration::from_millis(20);
/// A watch that has shown nothing after so many attempts (120 ms) is not merely slow: one read tells.
const LOOK_WHEN_BEHIND: u32 = 3;
/// Then somebody else writes all the time; it is better to come back later.
const AT_MOST_BEHIND: u32 = 8;
/// A Release that is created together with an Operation on it may be seen a moment later.
const ORPHAN_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// The answer that there is no such Release is kept that long for whoever asked.
const ORPHAN_KEPT: SignedDuration = SignedDuration::from_hours(1);

pub(crate) async fn run(shell: Arc<Shell>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = shell.until_synced() => {}
    }
    loop {
        let term = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            term = shell.leadership.gained() => term,
        };
        loop {
            let key = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = shell.leadership.over(term) => break,
                key = shell.queue.next() => key,
            };
            // A panic is a mistake of ours about one Release: it must not take the worker and its key with it.
            let began = Instant::now();
            let considered = AssertUnwindSafe(consider(&shell, term, &key, &stop)).catch_unwind().await;
            let outcome = considered.unwrap_or_else(|_| {
                tracing::error!(release = %key, "a plan panicked while it was carried out; this Release is tried again");
                shell.metrics.decided("panicked");
                Outcome::Failed
            });
            shell.metrics.reconciled(began.elapsed());
            // An event may come between the decision and this line. The others are let in here, so that one thread shows it too.
            tokio::task::yield_now().await;
            shell.queue.done(&key, outcome);
        }
    }
}

async fn consider(shell: &Arc<Shell>, term: Term, key: &Key, stop: &CancellationToken) -> Outcome {
    let mut behind: u32 = 0;
    for _ in 0..ROUNDS {
        // What the last round has left in doubt is read before anything else is decided.
        if !execute::clear_doubts(shell, key).await {
            return Outcome::Failed;
        }
        // Whoever leads next begins with every key.
        if stop.is_cancelled() || !shell.leadership.holds(term) {
            return Outcome::Rest(None);
        }
        let now = shell.clock.now();
        let snapshot = shell.cache().snapshot(key, now, shell.policy.look_for_service);
        let Some(mut observed) = snapshot else { return orphans(shell, term, key).await };
        shell.sources.answer(key, &mut observed);
        observed.samples = shell.gates.samples(key);
        // A decision that panics is a mistake of ours about one Release; the others go on.
        let began = Instant::now();
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&observed, now, &shell.policy)));
        shell.metrics.took_to_decide(began.elapsed());
        let Ok(plan) = decided else {
            tracing::error!(release = %key, "the decision panicked; this Release is left as it is and tried again");
            shell.metrics.decided("panicked");
            return Outcome::Failed;
        };
        shell.gates.want(key, plan.probes.clone());
        let wake = plan.wake;
        let action = action(&plan);
        shell.metrics.decided(action);
        let (revision, at) = on_its_way(&observed.release.status);
        match action {
            "rest" => tracing::debug!(release = %key, ?wake, "rests"),
            // Changes nothing, and one that waits looks every five seconds, for ever: it would cover what others say.
            "read" => tracing::debug!(release = %key, revision, step = at, action, steps = %steps(&plan), "decided"),
            _ => tracing::info!(release = %key, revision, step = at, action, steps = %steps(&plan), "decided"),
        }
        match execute::execute(shell, term, key, &observed, plan).await {
            Done::Acted | Done::Failed => {}
            Done::Deposed => return Outcome::Rest(None),
            Done::Nothing if mutant::is(Mutant::DropWakeUp) => return Outcome::Rest(None),
            Done::Nothing => return Outcome::Rest(wake.map(|at| until(now, at))),
            Done::Behind(object) => {
                behind += 1;
                if behind > AT_MOST_BEHIND {
                    return Outcome::Failed;
                }
                tokio::time::sleep(BEHIND * behind).await;
                if let Some(object) = object.filter(|_| behind > LOOK_WHEN_BEHIND) {
                    // The watch is stuck, or the object is gone: look instead of waiting for ever.
                    shell.cache().doubt(key, object);
                }
            }
        }
    }
    tracing::error!(release = %key, "still something to do after {ROUNDS} rounds");
    Outcome::Failed
}

pub(crate) fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// For the log: the revision that is on its way and where it is, else the active one.
pub(crate) fn on_its_way(status: &ReleaseStatus) -> (Option<&str>, Option<&'static str>) {
    match &status.candidate {
        Some(candidate) => (Some(&candidate.revision), Some(candidate.step.as_str())),
        None => (status.active.as_ref().map(|active| active.revision.as_str()), None),
    }
}

fn action(plan: &Plan) -> &'static str {
    match &plan.next {
        Next::Rest if plan.reads.is_empty() => "rest",
        Next::Rest => "read",
        Next::Act(_) => "act",
        Next::Record(_) => "record",
    }
}

/// For the log: what the plan does, in a few words.
pub(crate) fn steps(plan: &Plan) -> String {
    match &plan.next {
        Next::Rest => plan.reads.iter().map(bascule_core::Read::target).collect::<Vec<_>>().join(", "),
        Next::Act(steps) => steps.iter().map(execute::describe).collect::<Vec<_>>().join(", "),
        Next::Record(status) => match &status.candidate {
            Some(candidate) => format!("status: {}", candidate.summary),
            None => format!("status: active {}", status.active.as_ref().map_or("none", |active| &active.version)),
        },
    }
}

/// There is no such Release: what remains of it in memory goes, and those who ask something of it are told.
async fn orphans(shell: &Arc<Shell>, term: Term, key: &Key) -> Outcome {
    let asked: Vec<_> = {
        let mut cache = shell.cache();
        // One that cannot be read is there all the same: to refuse what is asked of it would be a lie.
        if !cache.releases.synced() || cache.is_unreadable(key) {
            return Outcome::Rest(None);
        }
        cache.forget(key);
        cache.operations.of_release(&key.namespace, &key.name).map(|(_, operation)| operation.clone()).collect()
    };
    shell.sources.forget(key);
    shell.gates.forget(key);
    let now = shell.clock.now();
    let mut wake: Option<Timestamp> = None;
    let (mut answered, unanswered): (Vec<_>, Vec<_>) = asked.into_iter().partition(|operation| operation.answered);
    for operation in unanswered {
        let due = later(operation.created, ORPHAN_AFTER);
        if now < due {
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
            continue;
        }
        let message = format!("there is no Release {} in namespace {}", key.name, key.namespace);
        let status = json!({"outcome": "Refused", "message": message, "at": now});
        let seen = (operation.name.as_str(), operation.uid.as_str(), operation.resource_version.as_str());
        if let Err(fault) = execute::answer(shell, term, key, seen, status).await {
            tracing::warn!(release = %key, operation = operation.name, "could not answer: {fault}");
            return Outcome::Failed;
        }
        // The answer that is in the cache now brings it back here, when it is time to delete it.
        let due = now + ORPHAN_KEPT;
        wake = Some(wake.map_or(due, |wake| wake.min(due)));
    }
    // Nobody else will ever delete them.
    answered.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let surplus = answered.len().saturating_sub(shell.policy.keep_operations);
    for (index, operation) in answered.iter().enumerate() {
        let due = later(operation.created, ORPHAN_KEPT);
        if index >= surplus && now < due {
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
            continue;
        }
        let seen = (operation.name.as_str(), operation.uid.as_str(), operation.resource_version.as_str());
        if let Err(fault) = execute::prune(shell, term, key, seen).await {
            tracing::warn!(release = %key, operation = operation.name, "could not delete an old Operation: {fault}");
            return Outcome::Failed;
        }
    }
    Outcome::Rest(wake.map(|at| until(now, at)))
}
