//! Feeds one target a bounded number of inputs: first the corpus as it is, then what the mutator makes of it.
//!
//! In: a target, a corpus, a seed, a number. Out: a [`Report`]; a failing input is made small and kept in a file, with the command that
//! replays it. What gives an outcome that was not seen before joins the corpus of this run.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    path::{Path, PathBuf},
    sync::Once,
};

use crate::{chance::Chance, corpus::Seed, mutate::mutate, outcome::Outcome, targets::Target};

/// Attempts to make a failing input smaller: enough for some KiB, and seconds at most.
const SHRINKING: usize = 2_000;
/// New outcomes that are remembered beside the corpus.
const POOL: usize = 400;

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub target: &'static str,
    pub inputs: usize,
    pub accepted: BTreeMap<String, usize>,
    pub refused: BTreeMap<String, usize>,
    pub failure: Option<Failure>,
}

/// An input that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    pub input: Vec<u8>,
    pub message: String,
    /// The seed file that fails as it is, if it is one.
    pub from_corpus: Option<String>,
}

/// Where something panicked, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Panicked {
    place: String,
    message: String,
}

/// What this thread has to do with panics.
#[derive(Debug)]
enum Listening {
    /// They are somebody else's.
    No,
    /// A target runs, and none was heard.
    Quiet,
    /// The first one, also when the code under test has caught it.
    Heard(Panicked),
}

thread_local! {
    static LISTENING: RefCell<Listening> = const { RefCell::new(Listening::No) };
}

/// Runs the corpus, then `runs` inputs that come from it.
pub fn run(target: &Target, corpus: &[Seed], runs: usize, seed: u64) -> Report {
    let mut report = Report { target: target.name, ..Report::default() };
    let mut known = BTreeSet::new();
    for seed in corpus {
        match try_one(target, &seed.bytes) {
            Ok(outcome) => {
                known.insert(outcome.clone());
                report.count(outcome);
            }
            Err(panicked) => {
                report.failure = Some(Failure {
                    input: seed.bytes.clone(),
                    message: panicked.to_string(),
                    from_corpus: Some(seed.name.clone()),
                });
                return report;
            }
        }
    }
    let mut pool: Vec<Vec<u8>> = corpus.iter().map(|seed| seed.bytes.clone()).collect();
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    // Each target has inputs of its own, whichever run beside it.
    let mut chance = Chance::new(target.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte))));
    for _ in 0..runs {
        let (from, other) = (chance.pick(&pool).clone(), chance.pick(&pool).clone());
        let input = mutate(&from, &other, &mut chance);
        match try_one(target, &input) {
            Ok(outcome) => {
                if pool.len() < corpus.len() + POOL && known.insert(outcome.clone()) {
                    pool.push(input);
                }
                report.count(outcome);
            }
            Err(panicked) => {
                let input = shrink(target, input, &panicked);
                report.failure = Some(Failure { input, message: panicked.to_string(), from_corpus: None });
                break;
            }
        }
    }
    report
}

/// One input, as it is.
pub fn replay(target: &Target, input: &[u8]) -> Result<Outcome, String> {
    try_one(target, input).map_err(|panicked| panicked.to_string())
}

fn try_one(target: &Target, input: &[u8]) -> Result<Outcome, Panicked> {
    listen();
    LISTENING.set(Listening::Quiet);
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    match (result, LISTENING.replace(Listening::No)) {
        (_, Listening::Heard(panicked)) => Err(panicked),
        (Ok(outcome), _) => Ok(outcome),
        (Err(_), _) => Err(Panicked { place: "unknown".into(), message: "a panic that nobody heard".into() }),
    }
}

/// Panics of a target are kept instead of printed; those of others are printed as always.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = LISTENING.with_borrow_mut(|listening| {
                if matches!(listening, Listening::Quiet) {
                    *listening = Listening::Heard(panicked(info));
                }
                !matches!(listening, Listening::No)
            });
            if !kept {
                before(info);
            }
        }));
    });
}

fn panicked(info: &PanicHookInfo<'_>) -> Panicked {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Panicked {
        place: info.location().map_or_else(|| "unknown".into(), |at| format!("{}:{}", at.file(), at.line())),
        message: message.unwrap_or("(no message)").to_owned(),
    }
}

/// The smallest input found that panics at the same place: pieces are taken away, ever smaller ones.
fn shrink(target: &Target, mut input: Vec<u8>, panicked: &Panicked) -> Vec<u8> {
    let mut left = SHRINKING;
    let mut size = input.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut at = 0;
        while at < input.len() && left > 0 {
            left -= 1;
            let mut shorter = input.clone();
            shorter.drain(at..(at + size).min(input.len()));
            if try_one(target, &shorter).is_err_and(|again| again.place == panicked.place) {
                input = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}

impl Report {
    fn count(&mut self, outcome: Outcome) {
        self.inputs += 1;
        let (counts, class) = match outcome {
            Outcome::Accepted(class) => (&mut self.accepted, class),
            Outcome::Refused(class) => (&mut self.refused, class),
        };
        *counts.entry(class).or_default() += 1;
    }

    /// Keeps the failing input in `folder` and says how to see it again.
    pub fn keep(&self, folder: &Path) -> io::Result<Option<(PathBuf, String)>> {
        let Some(failure) = &self.failure else { return Ok(None) };
        let folder = folder.join(self.target);
        fs::create_dir_all(&folder)?;
        let mut hash =
            Chance::new(failure.input.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(257).wrapping_add(u64::from(*byte))));
        let path = folder.join(format!("crash-{:016x}", hash.number()));
        fs::write(&path, &failure.input)?;
        let command = format!("cargo run -p bascule-fuzz -- --target {} --replay {}", self.target, shown(&path));
        Ok(Some((path, command)))
    }
}

/// Relative to where one stands, if it is below.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// One line: how many, what became of them, and whether a promise was broken.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
        let list = |counts: &BTreeMap<String, usize>| {
            let mut counts: Vec<_> = counts.iter().collect();
            counts.sort_by_key(|(class, count)| (std::cmp::Reverse(**count), (*class).clone()));
            counts.into_iter().map(|(class, count)| format!("{class} {count}")).collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "{:<12} {:>6} inputs  accepted {:>6} ({})  refused {:>6} ({})  panics {}",
            self.target,
            self.inputs,
            sum(&self.accepted),
            list(&self.accepted),
            sum(&self.refused),
            list(&self.refused),
            usize::from(self.failure.is_some()),
        )
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.place)
    }
}
