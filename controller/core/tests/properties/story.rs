//! What is told to those who count: every candidate begins once and ends once, and nothing takes less than no time.

use bascule_core::story::Happening;
use proptest::prelude::*;

use crate::{
    generate::{half_seen, seen},
    play::{Player, property},
    world::Rule,
};

/// Candidates that have begun and not ended; None when one ends that had not begun.
fn open(told: &[Happening]) -> Option<usize> {
    told.iter().try_fold(0_usize, |open, happening| match happening {
        Happening::Began => Some(open + 1),
        Happening::Ended(_) => open.checked_sub(1),
        _ => Some(open),
    })
}

fn took_no_time(told: &[Happening]) -> Option<&Happening> {
    told.iter().find(|happening| match happening {
        Happening::Passed { took, .. } | Happening::Restored { took, .. } | Happening::Arrived { lead: took } => {
            took.is_negative()
        }
        Happening::Began | Happening::Gated { .. } | Happening::Ended(_) => false,
    })
}

#[test]
fn every_candidate_begins_once_and_ends_once() {
    for (name, strategy) in [("story, all seen", seen().boxed()), ("story, half seen", half_seen().boxed())] {
        property(name, 20, &(any::<bool>(), strategy), |(policy, events)| {
            let mut player = Player::new(policy, Rule::Rests);
            for event in &events {
                player.happen(event);
                let (world, is_open) = (&player.world, usize::from(player.world.release.status.candidate.is_some()));
                prop_assert_eq!(open(&world.told), Some(is_open), "{:?}", &world.told);
                prop_assert_eq!(took_no_time(&world.told), None);
            }
            Ok(())
        });
    }
}
