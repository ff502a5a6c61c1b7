//! Deliberate mistakes, to see whether the simulation catches them: compiled in with the feature `mutants` only, and one at a time.
//!
//! Without the feature every question is answered with a constant no, and the compiler drops it.

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The switch does not wait until all pods are ready.
    SwitchBeforeReady,
    /// A Service whose pods are not known is claimed as if there were none.
    UnknownIsEmpty,
    /// What failed is not remembered.
    ForgetRejection,
    /// A bad candidate keeps the traffic.
    NeverGoBack,
    /// The version before it is scaled down while the new one is still being watched.
    DropTheWayBack,
    /// The candidate starts on the track that has the traffic.
    StartOnTheActiveTrack,
    /// An Operation is carried out each time it is seen.
    HearTwice,
    /// A status says the time, so that it is never the same.
    RestlessStatus,
    /// A Service is moved whatever has become of it.
    NoServicePrecondition,
    /// The status is written whatever has become of the Release.
    NoStatusPrecondition,
    /// A Deployment is deleted whatever has become of it.
    NoDeletePrecondition,
    /// The time at which to look again is lost.
    DropWakeUp,
    /// What happens while a key is worked on is lost.
    DropEvent,
    /// The cache takes whatever comes last, however old.
    TrustStaleCache,
    /// Deletions are not seen.
    IgnoreDeletes,
    /// What the lists of a new process show is taken for true, and traffic moved by it.
    NeverLookTwice,
    /// The candidate is applied again at each look.
    ApplyAgain,
    /// Traffic is recorded as moved before it is.
    RecordBeforeSwitch,
    /// A Job that is gone is created again.
    RunAgain,
    /// The gates before the switch are not asked.
    SkipGates,
    /// A gate without an answer has passed.
    NoDataIsGood,
    /// What a person has returned from is not remembered.
    ForgetRollback,
    /// A pod that is ending is taken for one that has ended.
    EndingIsEnded,
    /// A hook begins although a person has said that nothing begins.
    IgnoreHold,
    /// The Job of a gate begins before the preview shows the candidate.
    JobBeforePreview,
    /// A gate that was changed keeps the answer to what it asked before.
    KeepPassed,
    /// A return goes below the floor.
    IgnoreFloor,
    /// A hook does not wait for that of another version.
    HooksSideBySide,
    /// What a ConfigMap says is taken for what it said.
    IgnoreConfigs,
}

impl Mutant {
    /// Those that must be caught.
    pub const ALL: [Self; 29] = [
        Self::SwitchBeforeReady,
        Self::UnknownIsEmpty,
        Self::ForgetRejection,
        Self::NeverGoBack,
        Self::DropTheWayBack,
        Self::StartOnTheActiveTrack,
        Self::HearTwice,
        Self::RestlessStatus,
        Self::NoServicePrecondition,
        Self::NoStatusPrecondition,
        Self::NoDeletePrecondition,
        Self::DropWakeUp,
        Self::DropEvent,
        Self::TrustStaleCache,
        Self::IgnoreDeletes,
        Self::NeverLookTwice,
        Self::ApplyAgain,
        Self::RecordBeforeSwitch,
        Self::RunAgain,
        Self::SkipGates,
        Self::NoDataIsGood,
        Self::ForgetRollback,
        Self::EndingIsEnded,
        Self::IgnoreHold,
        Self::JobBeforePreview,
        Self::KeepPassed,
        Self::IgnoreFloor,
        Self::HooksSideBySide,
        Self::IgnoreConfigs,
    ];
}

/// Whether this mistake is to be made now.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn is(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use active::{is, set};

#[cfg(feature = "mutants")]
mod active {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        // Of a thread: each simulated run has its own.
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }

    /// From now on, on this thread.
    pub fn set(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }
}
