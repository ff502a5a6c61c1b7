//! Scenarios out of a number: random sequences of everything that can happen.

use crate::Scenario;

/// A small deterministic generator (splitmix64): the same seed, the same scenario, on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll().checked_rem(limit).unwrap_or(0)
    }
}

/// The scenario of this seed.
pub fn generated(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed);
    let _ = dice.below(2);
    Scenario {
        name: format!("generated-{seed}"),
        why: String::new(),
        on: [crate::Place::Sim].into(),
        policies: true,
        shape: crate::Shape::default(),
        settled_on: Some("v1".into()),
        steps: vec![],
    }
}
