//! Many runs: sampled ones from a seed, every crash point of every story, and what is left of one that failed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use bascule_scenarios::{Place, Scenario, generated, shrink};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    chance::Chance,
    fault::{Fault, What, When},
    outside::{Part, Trouble},
    roughly,
    run::{Outcome, PARAMETER, Run},
    server::Sent,
};

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub runs: u64,
    pub steps: u64,
    pub virtual_time: SignedDuration,
    pub faults: BTreeMap<&'static str, u64>,
    pub failed: Vec<(Run, Vec<String>)>,
}

impl Tally {
    fn add(&mut self, run: Run, outcome: Outcome) {
        self.runs += 1;
        self.steps += outcome.steps as u64;
        self.virtual_time = self.virtual_time.saturating_add(outcome.virtual_time);
        for (name, count) in outcome.injected {
            *self.faults.entry(name).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failed.push((run, outcome.violations));
        }
    }

    pub fn virtual_hours(&self) -> i64 {
        self.virtual_time.as_hours()
    }
}

/// Requests of a release and a bit more: where a fault hits.
const REQUESTS: u64 = 60;
const MILLIS: u64 = 30_000;

/// The run of this number: a story or a generated scenario, with no fault, one, two or a few.
pub fn sampled(seed: u64, number: u64, stories: &[Scenario]) -> Run {
    let mut chance = Chance::part(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), "campaign");
    let story = chance.pick(stories).filter(|_| chance.clone().once_in(2)).cloned();
    let mut scenario = story.unwrap_or_else(|| generated(chance.draw()));
    let pointed = scenario.why == "generated" && chance.once_in(3);
    if pointed {
        scenario.shape.parameter = Some(PARAMETER.to_owned());
        if chance.once_in(2) {
            scenario.shape.merge = looked_up();
        }
    }
    let count = match chance.below(10) {
        0 => 0,
        1..=3 => 1,
        4..=8 => 2,
        _ => chance.between(3, 6),
    };
    let faults: Vec<Fault> = (0..count)
        .map(|_| {
            let what = match chance.below(16) {
                0 if pointed => What::Republish,
                1..=7 if pointed => {
                    let part = chance.pick(&Part::ALL).copied().unwrap_or(Part::Parameters);
                    let trouble = chance.pick(&Trouble::ALL).copied().unwrap_or(Trouble::Unreachable);
                    What::Outside { part, trouble, length: chance.between(1, 90) * 1_000 }
                }
                _ => What::sample(&mut chance),
            };
            let when = if what.is_of_a_request() {
                When::Request(chance.between(1, REQUESTS))
            } else {
                When::Millis(chance.between(0, MILLIS))
            };
            Fault { when, what }
        })
        .collect();
    // A story in which the process is away is about one process.
    // Two that write at once are only meant for as long as an election lets them.
    let two = faults.iter().any(|fault| matches!(fault.what, What::SecondLeader(_)));
    let election = (two || chance.once_in(5)) && !roughly::acts_on_the_process(&scenario);
    Run { scenario, seed: chance.draw() % 1_000_000, faults, election }
}

/// The image is pinned by its digest, and an archive is released beside it.
fn looked_up() -> serde_json::Value {
    let web = json!({"name": "web", "image": {"parameter": PARAMETER}});
    let site = json!({"name": "site", "archive": {"key": "site.zip", "bucket": "shop-staging"}});
    json!({"spec": {"artifacts": [web, site]}})
}

/// Those that can be played here.
pub fn stories() -> anyhow::Result<Vec<Scenario>> {
    Ok(bascule_scenarios::stories()?.into_iter().filter(|story| story.runs_on(Place::Sim)).collect())
}

/// Where runs are kept that have failed once: one file each, written by hand from what `sim` printed.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kept");

/// They must not fail again.
pub fn kept() -> anyhow::Result<Vec<Run>> {
    let mut files: Vec<_> =
        std::fs::read_dir(KEPT)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file)?;
        serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))
    };
    files.iter().map(read).collect()
}

/// Plays `count` runs on so many threads; `run` says which is which.
pub fn play(count: u64, threads: usize, run: impl Fn(u64) -> Run + Sync, told: impl Fn(&Run, &Outcome) + Sync) -> Tally {
    let next = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let run = run(number);
                    let outcome = run.play();
                    told(&run, &outcome);
                    tally.lock().unwrap_or_else(PoisonError::into_inner).add(run, outcome);
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Every crash point of a story: before, after the commit and after the reply of each request that a run without faults makes. Each of them
/// twice: the next process is shown how things are, and how they were two seconds before.
///
/// What reads leaves nothing behind, and its process takes what it has read with it: wherever in it the crash is, the next one finds the same.
/// So it has one point, and what writes has three.
pub fn crashes(story: &Scenario, seed: u64) -> Vec<Run> {
    let calm = Run { scenario: story.clone(), seed, faults: Vec::new(), election: false };
    let outcome = calm.play();
    let points = |(index, sent): (usize, &Sent)| {
        let all = [What::CrashBefore, What::CrashAfterCommit, What::CrashAfterReply];
        let most = if *sent == Sent::Read { 1 } else { all.len() };
        all.into_iter().take(most).map(move |what| Fault { when: When::Request(index as u64 + 1), what })
    };
    // After the lists of the first process, and for all of the next one.
    let older = Fault { when: When::Millis(60), what: What::StaleLists { age: 2_000, lists: 7 } };
    let shown = |fault: Fault| [vec![fault.clone()], vec![fault, older.clone()]];
    let requests = outcome.requests.iter().take(outcome.told).enumerate();
    requests.flat_map(points).flat_map(shown).map(|faults| Run { faults, ..calm.clone() }).collect()
}

/// What became of one deliberate mistake.
#[cfg(feature = "mutants")]
#[derive(Debug)]
pub struct Hunt {
    pub mutant: bascule_core::mutant::Mutant,
    /// The run that caught it and what it said first; None: it survived them all.
    pub caught: Option<(u64, String)>,
}

/// Makes the mistake, and plays runs until one catches it: what has failed once, then stories and sampled runs by turns.
#[cfg(feature = "mutants")]
pub fn hunt(mutant: bascule_core::mutant::Mutant, seed: u64, most: u64, stories: &[Scenario], kept: &[Run]) -> Hunt {
    bascule_core::mutant::set(Some(mutant));
    let mut caught = None;
    for number in 0..most {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let run = kept.get(index).cloned().unwrap_or_else(|| {
            let index = index - kept.len();
            // A story without a fault shows most mistakes; the others need bad luck.
            let story = stories.get(index / 2).filter(|_| index.is_multiple_of(2));
            let calm =
                |story: &Scenario| Run { scenario: story.clone(), seed: seed + number, faults: Vec::new(), election: false };
            story.map_or_else(|| sampled(seed, number, stories), calm)
        });
        let outcome = run.play();
        let Some(first) = outcome.violations.first() else { continue };
        // What fails without the mistake as well has not caught it.
        bascule_core::mutant::set(None);
        let as_ever = !run.play().violations.is_empty();
        bascule_core::mutant::set(Some(mutant));
        if !as_ever {
            let first = first.lines().next().unwrap_or_default();
            caught = Some((number + 1, format!("{first} ({})", run.scenario.name)));
            break;
        }
    }
    bascule_core::mutant::set(None);
    Hunt { mutant, caught }
}

/// All mistakes, on so many threads; each is told when it is over.
#[cfg(feature = "mutants")]
pub fn hunts(seed: u64, most: u64, threads: usize, stories: &[Scenario], kept: &[Run], tell: impl Fn(&Hunt) + Sync) -> Vec<Hunt> {
    let all = bascule_core::mutant::Mutant::ALL;
    let next = AtomicU64::new(0);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = usize::try_from(number).ok().and_then(|index| all.get(index)) else { return };
                    let hunt = hunt(*mutant, seed, most, stories, kept);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    tell(&hunt);
                    found.insert(number, hunt);
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// The smallest run that still fails.
pub fn smallest(run: &Run) -> Run {
    // For the same reason: what else is wrong with another one is another matter.
    let reason =
        |run: &Run| run.play().violations.first().map(|first| first.split_whitespace().next().unwrap_or_default().to_owned());
    let known = reason(run);
    let fails = |run: &Run| reason(run) == known;
    let mut best = run.clone();
    for index in (0..best.faults.len()).rev() {
        let mut fewer = best.clone();
        fewer.faults.remove(index);
        if fails(&fewer) {
            best = fewer;
        }
    }
    let scenario = shrink(&best.scenario, |scenario| fails(&Run { scenario: scenario.clone(), ..best.clone() }));
    Run { scenario, ..best }
}
