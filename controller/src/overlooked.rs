//! Work that is due and that nobody will look at: a wake-up that was lost. There must be none, ever.
//!
//! In: the cache and the queue. Out: what is due. The resync asks before it looks at a Release anyway, and counts; the simulation asks
//! all the time. Never here: a repair, which would hide the mistake.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bascule_core::{Next, decide};

use crate::{
    queue::Key,
    shell::Shell,
    worker::{steps, until},
};

/// What should be done about this Release and will not even be looked at within `patience`.
pub(crate) fn overlooked(shell: &Shell, key: &Key, patience: Duration) -> Option<String> {
    if !shell.is_synced() || shell.queue.will_look(key, patience) {
        return None;
    }
    let now = shell.clock.now();
    let mut observed = {
        let cache = shell.cache();
        if !cache.doubts(key).is_empty() {
            return Some("a write had no answer and must be read back".to_owned());
        }
        cache.snapshot(key, now, shell.policy.look_for_service)?
    };
    // To ask a source here would be work of its own; it pushes the key when it has answered.
    shell.sources.recall(key, &mut observed)?;
    observed.samples = shell.gates.samples(key);
    let plan = catch_unwind(AssertUnwindSafe(|| decide(&observed, now, &shell.policy))).ok()?;
    match plan.next {
        // Reads alone are not due: an answer that has got old is asked for again when somebody looks, and not before.
        Next::Rest => {
            let at = plan.wake.filter(|at| !shell.queue.will_look(key, until(now, *at) + patience))?;
            Some(format!("a look at {at}"))
        }
        Next::Act(_) | Next::Record(_) => Some(steps(&plan)),
    }
}
