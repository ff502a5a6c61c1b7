//! How fast one account and region may be asked: a token bucket that all of its questions share, and pauses after failures.
//!
//! Never here: who asks, and what.

use std::time::Duration;

use tokio::time::Instant;

/// Of the 40 requests a second that AWS grants to a whole account, people and pipelines included.
const A_SECOND: u32 = 5;
/// So many may go at once after a rest.
const BURST: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Pace {
    /// When the bucket is full again.
    full_at: Instant,
}

/// How long one identity is to be left alone after failures: another one's success is no reason to ask it sooner.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes the next token, and says when it may be used.
    pub(super) fn take(&mut self, now: Instant) -> Instant {
        let token = Duration::from_secs(1) / A_SECOND;
        let at = self.full_at.checked_sub(token * (BURST - 1)).map_or(now, |at| at.max(now));
        self.full_at = self.full_at.max(now) + token;
        at
    }

    /// Takes one only when there are more: for what can be done without.
    pub(super) fn take_spare(&mut self, now: Instant) -> bool {
        let token = Duration::from_secs(1) / A_SECOND;
        let spare = self.full_at.saturating_duration_since(now) < token * (BURST - 2);
        if spare {
            self.take(now);
        }
        spare
    }
}

impl Patience {
    pub(super) fn went_well(&mut self) {
        self.failures = 0;
    }

    /// How long to leave it alone. `fraction` is from 0 to 1: half of the pause is chance, so that clients do not come in step.
    pub(super) fn failed(&mut self, fraction: f64) -> Duration {
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(0.5 + fraction / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_five_a_second() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let at: Vec<_> = (0..10).map(|_| (pace.take(now) - now).as_millis()).collect();
        assert_eq!(at, [0, 0, 0, 0, 0, 200, 400, 600, 800, 1000]);
        let later = now + Duration::from_secs(60);
        assert!(!pace.take_spare(now));
        assert_eq!(pace.take(later), later);
        let spare = (0..5).filter(|_| pace.take_spare(later)).count();
        assert_eq!((spare, pace.take(later)), (2, later), "two are left to what must be asked");
    }

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew() {
        let mut pace = Patience::default();
        let pauses: Vec<_> = (0..8).map(|_| pace.failed(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.went_well();
        assert_eq!(pace.failed(0.0), Duration::from_millis(500));
    }
}
