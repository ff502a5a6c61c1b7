//! The tasks of one process: they can be waited for, and they end with it.
//!
//! Whoever drops [`Tasks`] ends them all, without another step of any: that is how a simulation lets a process crash.

use std::future::Future;

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

#[derive(Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    dropped: CancellationToken,
    _guard: DropGuard,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let dropped = CancellationToken::new();
        Self { tracker: TaskTracker::new(), _guard: dropped.clone().drop_guard(), dropped }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let dropped = self.dropped.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = dropped.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Until all have ended by themselves.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_takes_no_further_step() {
        let steps = Arc::new(Mutex::new(0));
        let tasks = Tasks::new();
        let counted = steps.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                *counted.lock().unwrap() += 1;
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        drop(tasks);
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        assert_eq!(*steps.lock().unwrap(), 2);
    }
}
