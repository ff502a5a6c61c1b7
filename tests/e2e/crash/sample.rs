//! Which faults are tried: always all around each write of a Service, and then a random sample of everything.
//!
//! In: a seed, and what the runs without faults have asked of the API server. Out: stories with their faults, the same for the same
//! seed and the same requests. Never here: a run.

use bascule_tests::proxy::{Class, Cut, Entry, Fault, Moment, What};

use crate::crash::story::Story;

/// Longer than the controller waits for an answer.
const NO_ANSWER: u64 = 10_000;
/// Longer than a restart, until the next process has read everything.
const AFTER_THE_RESTART: u64 = 700;

/// Longer than all that follows on the first reply, when every watch is in time.
const LAG: u64 = 3_000;

const MOMENTS: [Moment; 3] = [Moment::BeforeCommit, Moment::AfterCommit, Moment::AfterReply];
/// A held reply costs ten seconds and so is there once.
const ANY: [What; 16] = [
    What::Kill(Moment::BeforeCommit),
    What::Kill(Moment::AfterCommit),
    What::Kill(Moment::AfterReply),
    What::Kill(Moment::LateCommit(AFTER_THE_RESTART)),
    What::Drop,
    What::Delay(400),
    What::Delay(1_500),
    What::Answer(409),
    What::Answer(429),
    What::Answer(500),
    What::Answer(503),
    What::Cut(Cut::BeforeReply),
    What::Cut(Cut::InReply),
    What::Hold(NO_ANSWER),
    What::CutWatches,
    What::Lag(LAG),
];
/// What can happen to a watch: when one is cut, the next begins.
const WATCHES: [What; 5] =
    [What::Drop, What::Answer(500), What::Cut(Cut::BeforeReply), What::Cut(Cut::InReply), What::Answer(429)];
/// The kinds that the controller watches.
const KINDS: u64 = 7;

#[derive(Clone, Debug)]
pub(crate) struct Try {
    pub(crate) story: &'static Story,
    pub(crate) faults: Vec<Fault>,
}

/// Numbers from a seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(usize::try_from(self.below(of.len() as u64)).unwrap_or_default()).copied()
    }
}

/// All that must be tried, then random ones until there are `wanted`; and how many must be.
pub(crate) fn sample(learned: &[(&'static Story, Vec<Entry>)], wanted: usize, dice: &mut Dice) -> (Vec<Try>, usize) {
    let mut tries: Vec<Try> = learned.iter().flat_map(|(story, journal)| around_each_move(story, journal, dice)).collect();
    let always = tries.len();
    let places: Vec<_> = learned.iter().collect();
    while tries.len() < wanted.max(always) {
        let Some((story, journal)) = dice.one(&places) else { break };
        tries.push(Try { story, faults: anything(story, journal, dice) });
    }
    (tries, always)
}

/// The switch, and the requests right before and after it.
fn around_each_move(story: &'static Story, journal: &[Entry], dice: &mut Dice) -> Vec<Try> {
    let mut tries = Vec::new();
    let mut add = |of: Class, at: u64, what: What| tries.push(Try { story, faults: vec![Fault { of, at, what }] });
    let last = numbers(journal);
    for (entry, write) in journal.iter().filter_map(|entry| Some((entry, entry.service?))) {
        for moment in MOMENTS {
            add(Class::Service, write, What::Kill(moment));
        }
        if let Some(what) =
            dice.one(&[What::Kill(Moment::LateCommit(AFTER_THE_RESTART)), What::Cut(Cut::BeforeReply), What::Drop])
        {
            add(Class::Service, write, what);
        }
        for at in [entry.number.saturating_sub(1), entry.number + 1] {
            let is_a_move =
                journal.iter().any(|entry| entry.class == Class::Request && entry.number == at && entry.service.is_some());
            if let (true, Some(moment)) = ((1..=last).contains(&at) && !is_a_move, dice.one(&MOMENTS)) {
                add(Class::Request, at, What::Kill(moment));
            }
        }
    }
    tries
}

/// One fault at any request; now and then a second one, or something about the watches.
fn anything(story: &Story, journal: &[Entry], dice: &mut Dice) -> Vec<Fault> {
    let at = 1 + dice.below(numbers(journal));
    let fault = |of: Class, at: u64, what: Option<What>| what.map(|what| Fault { of, at, what });
    let first = fault(Class::Request, at, dice.one(&ANY));
    let second = match dice.below(8) {
        0 | 1 => {
            let at = at + 1 + dice.below(3);
            fault(Class::Request, at, dice.one(&ANY))
        }
        // Nobody waits for an Event.
        2 => {
            let at = 1 + dice.below(2);
            fault(Class::Event, at, dice.one(&[What::Drop, What::Answer(500), What::Hold(NO_ANSWER)]))
        }
        // Watches begin with the process: with the first one, or with the one after a crash.
        3 => {
            let of = dice.one(&[Class::List, Class::Watch]).unwrap_or_default();
            let at = 1 + dice.below(KINDS);
            fault(of, at, dice.one(&WATCHES))
        }
        _ => None,
    };
    let needs_a_crash =
        second.as_ref().is_some_and(|fault| [Class::List, Class::Watch].contains(&fault.of)) && story.start.is_some();
    let first = if needs_a_crash { fault(Class::Request, at, dice.one(&MOMENTS).map(What::Kill)) } else { first };
    first.into_iter().chain(second).collect()
}

/// The number of the last request.
fn numbers(journal: &[Entry]) -> u64 {
    journal.iter().filter(|entry| entry.class == Class::Request).map(|entry| entry.number).max().unwrap_or(1)
}
