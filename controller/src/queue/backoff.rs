//! Longer and longer pauses after failures, with jitter from a seed, so that a run can be replayed.

use std::time::Duration;

/// A first retry that a person does not notice.
const FIRST: Duration = Duration::from_millis(50);
/// An API server that is back is used again within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after so many failures in a row: doubling, and up to a quarter less by chance, so that a thousand keys that failed
/// together do not come back together.
pub(crate) fn pause(failures: u32, random: &mut Random) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST);
    doubled.saturating_sub(doubled / 400 * random.below(100))
}

/// The pause of a watch: it ends after some seconds, because nothing is moved by what it does not show.
pub(crate) fn watch_pause(failures: u32, random: &mut Random) -> Duration {
    /// 3.2 s.
    const DOUBLED: u32 = 7;
    pause(failures.min(DOUBLED), random)
}

/// Small, fast, and the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from(mixed % u64::from(bound.max(1))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_no_further() {
        let mut random = Random::new(1);
        let pauses: Vec<_> = (1..30).map(|failures| pause(failures, &mut random)).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST * 3 / 4);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[28] >= LONGEST * 3 / 4);
    }

    #[test]
    fn a_watch_is_begun_again_within_seconds_and_not_at_once_for_ever() {
        let mut random = Random::new(1);
        let pauses: Vec<_> = (1..30).map(|failures| watch_pause(failures, &mut random)).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses[10..].iter().all(|pause| (Duration::from_secs(2)..Duration::from_secs(4)).contains(pause)), "{pauses:?}");
    }
}
