//! The same snapshot, the same plan: whatever order its parts come in, and whichever copy of it is asked.

use std::collections::BTreeMap;

use bascule_core::{Observed, decide};
use proptest::prelude::*;

use crate::{
    generate::half_seen,
    play::{Player, property},
    world::{Rule, World},
};

/// How a list is put in another order: each entry goes to the place that its number says.
fn shuffle<T>(list: &mut [T], mut seed: u64) {
    for index in (1..list.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(index, usize::try_from(seed >> 33).unwrap() % (index + 1));
    }
}

/// The same content; lists in another order, maps filled from the back.
fn reordered(observed: &Observed, seed: u64) -> Observed {
    fn refill<V: Clone>(map: &BTreeMap<String, V>) -> BTreeMap<String, V> {
        let mut other = BTreeMap::new();
        for (key, value) in map.iter().rev() {
            other.insert(key.clone(), value.clone());
        }
        other
    }
    let mut other = observed.clone();
    if let bascule_core::Sight::Known(sets) = &mut other.replica_sets {
        shuffle(sets, seed);
    }
    shuffle(&mut other.troubles, seed.rotate_left(7));
    // Oldest first; those of the same moment in any order.
    let mut rest = other.operations.as_mut_slice();
    while let Some(first) = rest.first() {
        let created = first.created;
        let same = rest.iter().take_while(|it| it.created == created).count();
        let (group, later) = rest.split_at_mut(same);
        shuffle(group, seed.rotate_left(13));
        rest = later;
    }
    other.services = refill(&observed.services);
    other.endpoints = refill(&observed.endpoints);
    other.strangers = refill(&observed.strangers);
    other.images = refill(&observed.images);
    other.archives = refill(&observed.archives);
    other.parameters = refill(&observed.parameters);
    if let bascule_core::Sight::Known(deployments) = &mut other.deployments {
        *deployments = refill(deployments);
    }
    other
}

fn text(world: &World, observed: &Observed) -> String {
    format!("{:?}", decide(observed, world.now, &world.policy))
}

#[test]
fn the_order_of_what_is_seen_means_nothing() {
    property("order", 25, &(any::<bool>(), half_seen(), any::<u64>()), |(policy, events, seed)| {
        let mut player = Player::new(policy, Rule::Order);
        for (index, event) in events.iter().enumerate() {
            player.happen(event);
            let world = &player.world;
            let observed = world.observed();
            let other = reordered(&observed, seed.wrapping_add(index as u64));
            prop_assert_eq!(text(world, &observed), text(world, &other));
        }
        Ok(())
    });
}

#[test]
fn the_same_snapshot_has_the_same_plan_to_the_byte() {
    property("bytes", 20, &(any::<bool>(), half_seen()), |(policy, events)| {
        let mut player = Player::new(policy, Rule::Order);
        for event in &events {
            player.happen(event);
            let world = &player.world;
            let observed = world.observed();
            let plan = text(world, &observed);
            prop_assert_eq!(&plan, &text(world, &observed));
            prop_assert_eq!(&plan, &text(world, &observed.clone()), "a copy");
            prop_assert_eq!(&plan, &text(&world.clone(), &world.clone().observed()), "the same world, looked at again");
        }
        Ok(())
    });
}
