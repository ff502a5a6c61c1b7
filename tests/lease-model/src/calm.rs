//! What becomes of a world in which nothing goes wrong any more: everything arrives at once and everybody does what is due.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::{Act, Setup},
    world::{Mail, World},
};

/// Until a lease that nobody renews has run out, an answer that will not come is not waited for any more, a pause is over; and one to spare.
const UNTIL_SOMEBODY_LEADS: usize = 7;
/// And then it stays so.
const AND_STAYS: usize = 5;

/// How many ticks it takes from a world on until one leads and stays, where that is known: many worlds become the same one within a tick.
#[derive(Clone, Debug, Default)]
pub struct Calmed(Arc<Mutex<HashMap<u64, usize>>>);

impl Calmed {
    fn known(&self, key: u64) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn learn(&self, key: u64, ticks: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, ticks);
    }
}

impl Setup {
    pub(crate) fn calms_down(&self, world: &World) -> bool {
        // Also the watches are prompt.
        let prompt = Self { lagging_watches: false, ..self.clone() };
        prompt.ticks_until_calm(prompt.settled(world.clone()), UNTIL_SOMEBODY_LEADS).is_some()
    }

    fn ticks_until_calm(&self, world: World, at_most: usize) -> Option<usize> {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let key = hasher.finish();
        if let Some(ticks) = self.calmed.known(key) {
            return (ticks <= at_most).then_some(ticks);
        }
        // One that leads already may still lose it to a renewal that was lost before.
        let ticks = if world.leaders().count() == 1 && self.stays(&world) {
            0
        } else {
            self.ticks_until_calm(self.later(world), at_most.checked_sub(1)?)? + 1
        };
        self.calmed.learn(key, ticks);
        Some(ticks)
    }

    fn stays(&self, world: &World) -> bool {
        let leader = |world: &World| world.leaders().next().map(|leader| leader.name.clone());
        let (mut now, before) = (world.clone(), leader(world));
        (0..AND_STAYS).all(|_| {
            now = self.later(now.clone());
            leader(&now) == before && now.leaders().count() == 1
        })
    }

    fn later(&self, mut world: World) -> World {
        world.tick(&self.paces, self.times);
        self.settled(world.named())
    }

    /// Until nothing more happens in this tick.
    fn settled(&self, mut world: World) -> World {
        loop {
            for place in 0..world.processes.len() {
                if world.processes[place].is_none() {
                    world.start(place, self.times);
                }
            }
            let places = 0..world.processes.len();
            let due = world.mail.iter().position(Mail::is_about_the_lease).map(Act::Arrive);
            let acts = due.into_iter().chain(places.flat_map(|place| [Act::Show(place), Act::Look(place), Act::Step(place)]));
            match acts.into_iter().find_map(|act| self.after(&world, &act)) {
                Some(next) => world = next,
                None => return world,
            }
        }
    }
}
