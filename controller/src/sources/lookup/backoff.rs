//! How long to wait after a failed lookup.
//!
//! In: how many failures in a row, what the registry asked for, a random fraction. Out: a pause.
//! Never here: a clock, a random number of its own.

use std::time::Duration;

/// Long enough that a registry in a restart is not hammered, short enough that nobody notices one lost packet.
const FIRST: Duration = Duration::from_secs(2);
/// A tag that is pushed late, or a pull secret that is repaired, is seen after two minutes at the latest.
const LONGEST: Duration = Duration::from_secs(120);
/// A registry may ask for more than our own longest pause, but a broken header must not put an image to sleep for a day.
const LONGEST_ON_REQUEST: Duration = Duration::from_secs(600);

/// `fraction` is from 0 to 1 and shortens our own pause by up to a quarter, so that what failed together does not return
/// together. It lengthens what the registry asked for, by a tenth at most: coming early there would be a fault.
pub(super) fn pause(failures: u32, on_request: Option<Duration>, fraction: f64) -> Duration {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    let doublings = failures.saturating_sub(1).min(16);
    let own = FIRST.saturating_mul(1 << doublings).min(LONGEST).mul_f64(1.0 - fraction / 4.0);
    match on_request {
        None => own,
        Some(asked) => own.max(asked.min(LONGEST_ON_REQUEST).mul_f64(1.0 + fraction / 10.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn own(failures: u32, fraction: f64) -> Duration {
        pause(failures, None, fraction)
    }

    #[test]
    fn pauses_double_from_two_seconds_to_two_minutes() {
        let pauses: Vec<_> = (1..=8).map(|failures| own(failures, 0.0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(own(u32::MAX, 0.0), 120 * SECOND);
    }

    #[test]
    fn chance_shortens_a_pause_by_up_to_a_quarter() {
        assert_eq!(own(1, 1.0), Duration::from_millis(1500));
        assert_eq!(own(9, 1.0), 90 * SECOND);
        assert_eq!(own(1, f64::NAN), 2 * SECOND);
    }

    #[test]
    fn what_the_registry_asks_for_is_kept_and_never_undercut() {
        assert_eq!(pause(1, Some(30 * SECOND), 0.0), 30 * SECOND);
        assert_eq!(pause(1, Some(30 * SECOND), 1.0), 33 * SECOND);
        assert_eq!(pause(7, Some(30 * SECOND), 0.0), 120 * SECOND);
        assert_eq!(pause(1, Some(86_400 * SECOND), 0.0), 600 * SECOND);
    }
}
