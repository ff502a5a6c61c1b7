//! What can happen in a world, and what must hold in each.

use std::time::Duration;

use stateright::{Model, Property};

use crate::{
    calm::Calmed,
    election::{Next, Record, Times, Version},
    world::{Checks, Glimpse, Mail, NOW, Pace, ReplyKey, SentKey, Service, World},
};

/// How a world begins and how much may go wrong in it.
#[derive(Clone, Debug)]
pub struct Setup {
    pub times: Times,
    pub checks: Checks,
    /// One for each process.
    pub paces: Vec<Pace>,
    /// Requests and replies about the Lease that each process has on its way; one more, and the oldest is lost. 0: they are served at once, or
    /// lost at once.
    pub on_their_way: usize,
    /// How often a process crashes or resigns, all together.
    pub ends: u32,
    /// How often somebody deletes the Lease.
    pub deletes: u32,
    /// With a Service to switch.
    pub switches: bool,
    /// What a watch shows may be late.
    pub lagging_watches: bool,
    /// Also ask of every state whether a leader comes when the faults cease.
    pub liveness: bool,
    /// Answers to that which are known.
    pub calmed: Calmed,
}

impl Setup {
    /// The relations of production in the fewest ticks: renewed each tick, given up after two, run out after three.
    pub fn new(processes: usize) -> Self {
        let ticks = Duration::from_secs;
        Self {
            times: Times { duration: ticks(3), renew: ticks(1), give_up: ticks(2), answer: ticks(1), retry: ticks(1) },
            checks: Checks { lease: true, switch: true },
            paces: vec![Pace(1, 1); processes],
            on_their_way: 0,
            ends: 1,
            deletes: 0,
            switches: true,
            lagging_watches: false,
            liveness: false,
            calmed: Calmed::default(),
        }
    }
}

/// Safety of the election.
pub const TWO: &str = "never do two believe that they lead";
/// Safety of the traffic.
pub const LATE: &str = "no late write lands after the new leader has moved traffic";
/// Liveness.
pub const CALM: &str = "when the faults cease, somebody leads and stays";

/// One thing that can happen next. Whatever happens later instead, or never, is another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Time passes for everybody. A process that did nothing before was paused, or slow.
    Tick,
    /// The process does what its election says.
    Step(usize),
    /// And what it sends is lost, before it is served or after. Only where nothing stays on its way.
    StepInVain(usize, bool),
    /// Mail arrives: a request at the server, or an answer at the process.
    Arrive(usize),
    /// The watch takes up the Lease as it is now, for this process.
    Look(usize),
    /// And shows it.
    Show(usize),
    /// The leader decides to move traffic, and asks its own clock whether it still leads. Then the write is on its way.
    Decide(usize),
    Crash(usize),
    Resign(usize),
    Restart(usize),
    Delete,
}

impl Setup {
    /// None: that cannot happen here, or changes nothing.
    pub(crate) fn after(&self, before: &World, act: &Act) -> Option<World> {
        if self.is_idle(before, act) {
            return None;
        }
        let mut world = before.clone();
        match act {
            Act::Tick => world.tick(&self.paces, self.times),
            Act::Step(place) => self.step(&mut world, *place)?,
            Act::StepInVain(place, served) => {
                let process = world.processes[*place].as_mut()?;
                let Next::Send(sent) = process.election.next(NOW) else { return None };
                let name = process.name.clone();
                if *served {
                    world.serve(&name, &sent.request, self.times, self.checks);
                }
            }
            Act::Arrive(index) => self.arrive(&mut world, *index)?,
            Act::Look(place) => {
                world.processes[*place].as_ref()?;
                world.sights[*place] = Some(Glimpse(world.lease.clone()));
                if !self.lagging_watches {
                    show(&mut world, *place)?;
                }
            }
            Act::Show(place) => show(&mut world, *place)?,
            Act::Decide(place) => {
                let term = world.processes[*place].as_ref().filter(|process| process.election.leads(NOW))?.term?;
                let on = world.service.version;
                world.mail.push(Mail::Switch { from: *place, on, term });
            }
            Act::Crash(place) => {
                world.ends_left = world.ends_left.checked_sub(1)?;
                world.end(*place);
            }
            Act::Resign(place) => {
                world.ends_left = world.ends_left.checked_sub(1)?;
                let process = world.processes[*place].as_mut()?;
                process.resigned = true;
                process.election.resign();
            }
            Act::Restart(place) => world.start(*place, self.times),
            Act::Delete => {
                world.deletes_left = world.deletes_left.checked_sub(1)?;
                world.lease = None;
            }
        }
        world.count_terms();
        let world = world.named();
        (world != *before).then_some(world)
    }

    /// Changes nothing, found out without making a world for it.
    fn is_idle(&self, world: &World, act: &Act) -> bool {
        let of = |place: usize| world.processes[place].as_ref().map(|process| &process.election);
        match act {
            Act::Step(place) | Act::StepInVain(place, _) => {
                of(*place).is_none_or(|election| matches!(election.clone().next(NOW), Next::Wait(_)))
            }
            Act::Look(place) if !self.lagging_watches => {
                of(*place).is_none_or(|election| world.lease.as_ref().is_some_and(|lease| election.seen() == Some(lease)))
            }
            _ => false,
        }
    }

    fn step(&self, world: &mut World, place: usize) -> Option<()> {
        let process = world.processes[place].as_mut()?;
        match process.election.next(NOW) {
            Next::Send(sent) => {
                let name = process.name.clone();
                if self.on_their_way == 0 {
                    let reply = world.serve(&name, &sent.request, self.times, self.checks);
                    world.processes[place].as_mut()?.election.replied(&sent, reply, NOW);
                    return Some(());
                }
                let mine = |mail: &Mail| mail.owner() == place && mail.is_about_the_lease();
                if world.mail.iter().filter(|mail| mine(mail)).count() >= self.on_their_way {
                    let age = |mail: &Mail| match mail {
                        Mail::Ask { sent, .. } | Mail::Answer { sent, .. } => sent.0.at,
                        Mail::Switch { .. } => NOW,
                    };
                    let oldest = (0..world.mail.len())
                        .filter(|index| mine(&world.mail[*index]))
                        .min_by_key(|index| age(&world.mail[*index]))?;
                    world.mail.remove(oldest);
                }
                world.mail.push(Mail::Ask { from: place, name, sent: SentKey(sent) });
            }
            Next::Wait(_) => return None,
            Next::Done => world.end(place),
        }
        Some(())
    }

    fn arrive(&self, world: &mut World, index: usize) -> Option<()> {
        match world.mail.remove(index) {
            Mail::Ask { from, name, sent } => {
                let reply = world.serve(&name, &sent.0.request, self.times, self.checks);
                if world.processes[from].as_ref().is_some_and(|process| process.name == name) {
                    world.mail.push(Mail::Answer { to: from, name, sent, reply: ReplyKey(reply) });
                }
            }
            Mail::Answer { to, sent, reply, .. } => {
                world.processes[to].as_mut()?.election.replied(&sent.0, reply.0, NOW);
            }
            Mail::Switch { on, term, .. } => world.land(on, term, self.checks),
        }
        Some(())
    }
}

fn show(world: &mut World, place: usize) -> Option<()> {
    let sight = world.sights[place].take()?;
    let process = world.processes[place].as_mut()?;
    match sight.0 {
        Some(record) => process.election.shown(record, NOW),
        None => process.election.gone(None, NOW),
    }
    Some(())
}

impl Model for Setup {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let places = self.paces.len();
        let lease = Record {
            uid: "u0".into(),
            version: Version("1".into()),
            holder: String::new(),
            duration: None,
            renewed: String::new(),
            transitions: 0,
        };
        let mut world = World {
            processes: vec![None; places],
            starts: vec![0; places],
            lease: Some(lease),
            leases: 0,
            service: Service { version: 1, term: 1 },
            mail: Vec::new(),
            sights: vec![None; places],
            ends_left: self.ends,
            deletes_left: self.deletes,
            odd: false,
            late_write: false,
        };
        (0..places).for_each(|place| world.start(place, self.times));
        vec![world.named()]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        acts.push(Act::Tick);
        for (place, process) in world.processes.iter().enumerate() {
            let Some(process) = process else {
                acts.push(Act::Restart(place));
                continue;
            };
            acts.push(Act::Step(place));
            if self.on_their_way == 0 {
                acts.extend([false, true].map(|served| Act::StepInVain(place, served)));
            }
            acts.push(Act::Look(place));
            if world.sights[place].is_some() {
                acts.push(Act::Show(place));
            }
            let switching = |mail: &Mail| matches!(mail, Mail::Switch { from, .. } if *from == place);
            if self.switches && process.election.leads(NOW) && !world.mail.iter().any(switching) {
                acts.push(Act::Decide(place));
            }
            // Who ends first is called a: where all clocks run alike, that is no restriction.
            if world.ends_left > 0 && (place == 0 || world.ends_left < self.ends || self.paces[0] != self.paces[place]) {
                acts.push(Act::Crash(place));
                if !process.resigned {
                    acts.push(Act::Resign(place));
                }
            }
        }
        acts.extend((0..world.mail.len()).map(Act::Arrive));
        if world.deletes_left > 0 && world.lease.is_some() {
            acts.push(Act::Delete);
        }
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        self.after(world, &act)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(TWO, |_: &Self, world: &World| world.leaders().count() <= 1),
            Property::always(LATE, |_: &Self, world: &World| !world.late_write),
        ];
        if self.liveness {
            properties.push(Property::always(CALM, |setup: &Self, world: &World| setup.calms_down(world)));
        }
        // A check that never comes to where it matters would hold as well.
        if self.switches {
            properties.push(Property::sometimes(
                "a late write is on its way when the new leader has moved traffic",
                |_, world: &World| world.has_a_late_write_on_its_way(),
            ));
        }
        if self.ends > 0 {
            properties.push(Property::sometimes("one that was started again leads", |_, world: &World| {
                world.leaders().any(|leader| !leader.name.ends_with('0'))
            }));
            properties.push(Property::sometimes("the other leads when the first has ended", |_, world: &World| {
                world.leaders().any(|leader| leader.name == "b0") && world.ends_left < 1
            }));
        }
        properties
    }
}
