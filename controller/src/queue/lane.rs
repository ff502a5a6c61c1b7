//! How urgent something is.

use std::time::Duration;

/// From the most to the least urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Pods with traffic may be dying.
    Rollback,
    /// Pods, Services, timers: a release is on its way.
    Switch,
    /// A person or a tool changed what is wanted.
    Spec,
    /// A registry has answered.
    Parameter,
    /// Nothing happened; only to be sure.
    Resync,
}

/// What has waited this long is as urgent as the lane above: a storm of switches must not starve a new Release.
const AGEING: Duration = Duration::from_millis(500);

impl Lane {
    pub(crate) const ALL: [Self; 5] = [Self::Rollback, Self::Switch, Self::Spec, Self::Parameter, Self::Resync];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Switch => "switch",
            Self::Spec => "spec",
            Self::Parameter => "parameter",
            Self::Resync => "resync",
        }
    }

    /// Lower is sooner.
    pub(crate) fn rank(self, waited: Duration) -> u128 {
        let base = match self {
            Self::Rollback => 0,
            Self::Switch => 1,
            Self::Spec => 2,
            Self::Parameter => 3,
            Self::Resync => 4,
        };
        (base * AGEING.as_millis()).saturating_sub(waited.as_millis())
    }
}
