//! Where a scenario is played: the simulation, or a bed.
//!
//! In: actions. Out: what there is, as raw objects. A stage judges nothing; [`crate::Expect`] does, the same for all.

use std::future::Future;

use jiff::Timestamp;

use crate::{Action, History, Sight};

/// A namespace with its controller. [`crate::Author`] says which API calls an action is, so that all stages mean the same.
pub trait Stage {
    /// Does it. What the server refuses is an error that says so in the server's words.
    fn act(&mut self, action: &Action) -> impl Future<Output = anyhow::Result<()>>;

    /// All objects of the scenario's namespace of the kinds in [`Sight::KINDS`].
    fn look(&mut self) -> impl Future<Output = anyhow::Result<Sight>>;

    /// Until something may have changed: virtual time in the simulation, a short poll on a bed.
    fn pause(&mut self) -> impl Future<Output = ()>;

    fn now(&self) -> Timestamp;

    /// Remembers this place in the history.
    fn mark(&mut self, _name: &str) {}

    /// What of it does not hold in the history, as sentences. A stage without a history has nothing to say.
    fn recall(&mut self, _history: &History) -> impl Future<Output = anyhow::Result<Vec<String>>> {
        std::future::ready(Ok(Vec::new()))
    }
}
