//! What becomes of a world in which nothing goes wrong any more: everything arrives at once and everybody does what is due.

use crate::{
    model::{Act, Setup},
    world::{Mail, World},
};

/// One length of the lease until whoever held it is given up, one answer that is still waited for, one pause, and one to spare.
const UNTIL_SOMEBODY_LEADS: usize = 7;
/// And then it stays so.
const AND_STAYS: usize = 5;

impl Setup {
    pub(crate) fn calms_down(&self, world: &World) -> bool {
        // Also the watches are prompt.
        let prompt = Self { lagging_watches: false, ..self.clone() };
        let mut world = world.clone();
        for place in 0..world.processes.len() {
            if world.processes[place].is_none() {
                world.start(place, self.times);
            }
        }
        let mut leader = None;
        for round in 0..UNTIL_SOMEBODY_LEADS + AND_STAYS {
            world = prompt.settled(world);
            let now = world.leaders().next().map(|leader| leader.name.clone());
            if leader.is_some() && now != leader {
                return false;
            }
            leader = now;
            if leader.is_none() && round >= UNTIL_SOMEBODY_LEADS {
                return false;
            }
            world.tick(&self.paces, self.times);
        }
        true
    }

    /// Until nothing more happens in this tick.
    fn settled(&self, mut world: World) -> World {
        loop {
            let places = 0..world.processes.len();
            let due = world.mail.iter().position(Mail::is_about_the_lease).map(Act::Arrive);
            let acts = due.into_iter().chain(places.flat_map(|place| [Act::Show(place), Act::Look(place), Act::Step(place)]));
            match acts.into_iter().find_map(|act| self.after(&world, &act)) {
                Some(next) => world = next,
                None => return world,
            }
            for place in 0..world.processes.len() {
                if world.processes[place].is_none() {
                    world.start(place, self.times);
                }
            }
        }
    }
}
