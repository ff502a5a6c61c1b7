//! The simulated API server against a real one: the same requests, the same answers.
//!
//! In: a bed (`e2e-conf`), the model from `bascule-sim`, seeds, and the sequences in `kept/` on which the two have differed before. Out:
//! agreement, or the smallest sequence on which they differ, with the command that replays it. Never here: a repair of either.
//!
//! `BASCULE_CONFORMANCE_SEQUENCES=5000`   how many are generated (default 300, and then for at most 60 s)
//! `BASCULE_CONFORMANCE_SEED=7`           where the seeds start
//! `BASCULE_CONFORMANCE_SHRINK=20`        how many causes of differences are shrunk (default 3)
//! `BASCULE_CONFORMANCE_REPLAY='{…}'`     this sequence alone, with everything that both answer

#![allow(
    clippy::similar_names,
    clippy::struct_field_names,
    clippy::items_after_statements,
    clippy::let_and_return,
    clippy::format_push_string,
    reason = "the two sides of a comparison are named alike"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a difference is there to be read")]

mod chance;
mod compare;
mod content;
mod generate;
mod masks;
mod model;
mod normal;
mod real;
mod report;
mod schema;
mod sequence;
mod shrink;
mod side;

use std::{env, fs, path::PathBuf, time::Duration};

use bascule_tests::Bed;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    compare::Difference,
    model::Model,
    real::Real,
    report::Tally,
    sequence::Sequence,
    side::{Record, Side},
};

/// Enough to meet each pair of verbs on each kind; with a debug build on two cores within the time below.
const SEQUENCES: u64 = 300;
/// What `hack/test` gives this, unless a number is asked for.
const TIME: Duration = Duration::from_secs(60);
/// Requests of as many sequences are under way at once; the server has as many cores as the test.
const AT_ONCE: usize = 8;
/// Shrinking takes a hundred runs; the rest of what differs is most often the same.
const SHRUNK: u64 = 3;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn bed() -> Bed {
    Bed::named("e2e-conf")
}

/// One sequence on two servers. The second one settles until it looks like the first, or its time is over.
async fn compared(one: &mut impl Side, other: &mut impl Side, sequence: &Sequence) -> (Record, Record, Option<Difference>) {
    let first = side::perform(one, sequence, side::anything).await;
    let expected: Vec<Value> = first.answers.iter().map(|answer| normal::state(&first.words, &answer.body)).collect();
    let second = side::perform(other, sequence, |place, words, state| normal::state(words, state) == expected[place]).await;
    let difference = compare::first(&normal::record(sequence, &second), &normal::record(sequence, &first));
    (first, second, difference)
}

/// Where the model and the real server differ; the model goes first because it knows at once what things settle to.
async fn with_model(real: &Real, sequence: &Sequence) -> (Record, Record, Option<Difference>) {
    compared(&mut Model::new(), &mut real.clone(), sequence).await
}

fn kept() -> Vec<Sequence> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/kept");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    let read = |file: &PathBuf| serde_json::from_str(&fs::read_to_string(file).unwrap());
    files.iter().map(|file| read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).collect()
}

async fn clear(real: &Real) {
    let paths: Vec<&str> = content::KINDS.iter().map(|kind| kind.path).collect();
    real.clear(&paths).await;
}

/// The model knows the shape of the built-in kinds from a file; `BASCULE_CONFORMANCE_WRITE=1` writes it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_knows_the_kinds_of_the_real_server() {
    let mut real = Real::anywhere(&bed()).await;
    let published = schema::published(&mut real).await;
    if env::var("BASCULE_CONFORMANCE_WRITE").is_ok() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sim/src/api/builtin.json");
        fs::write(file, schema::lines(&published)).unwrap();
        return;
    }
    let known: Value = serde_json::from_str(bascule_sim::api::BUILTIN).unwrap();
    let difference = compare::first(&[published], &[known]);
    assert!(difference.is_none(), "run it with BASCULE_CONFORMANCE_WRITE=1\n{}", difference.unwrap());
}

/// What the comparison takes for noise must not hide anything, and must be all the noise there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_server_agrees_with_itself() {
    if env::var("BASCULE_CONFORMANCE_REPLAY").is_ok() {
        return;
    }
    let (one, other) = (Real::on(&bed(), "one").await, Real::on(&bed(), "other").await);
    let start = number("BASCULE_CONFORMANCE_SEED").unwrap_or(1);
    let runs = futures::stream::iter(start..start + 12).map(|seed| {
        let (mut one, mut other) = (one.clone(), other.clone());
        async move {
            let sequence = generate::sequence(seed);
            let (_, _, difference) = compared(&mut one, &mut other, &sequence).await;
            difference.map(|difference| report::differing(&sequence, &difference))
        }
    });
    let differences: Vec<String> = runs.buffer_unordered(AT_ONCE).filter_map(|difference| async { difference }).collect().await;
    clear(&one).await;
    clear(&other).await;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_agrees_with_the_real_server() {
    let real = Real::on(&bed(), "model").await;
    if let Ok(text) = env::var("BASCULE_CONFORMANCE_REPLAY") {
        let sequence: Sequence = serde_json::from_str(&text).expect("a sequence as JSON");
        let (model, real_says, difference) = with_model(&real, &sequence).await;
        clear(&real).await;
        report::replayed(&sequence, &real_says, &model);
        assert!(difference.is_none(), "{}", report::differing(&sequence, &difference.unwrap()));
        return;
    }
    let start = number("BASCULE_CONFORMANCE_SEED").unwrap_or(1);
    let asked = number("BASCULE_CONFORMANCE_SEQUENCES");
    let shrunk = number("BASCULE_CONFORMANCE_SHRINK").unwrap_or(SHRUNK);
    let until = Instant::now() + if asked.is_some() { Duration::MAX / 4 } else { TIME };
    let sequences = kept().into_iter().chain((start..start + asked.unwrap_or(SEQUENCES)).map(generate::sequence));
    let mut tally = Tally::default();
    let mut differing: Vec<(Sequence, Difference)> = Vec::new();
    let runs = futures::stream::iter(sequences.take_while(|_| Instant::now() < until))
        .map(|sequence| async {
            let (_, answers, difference) = with_model(&real, &sequence).await;
            (sequence, answers, difference)
        })
        .buffer_unordered(AT_ONCE);
    let mut runs = Box::pin(runs);
    while let Some((sequence, answers, difference)) = runs.next().await {
        tally.count(&sequence, &answers);
        differing.extend(difference.map(|difference| (sequence, difference)));
    }
    drop(runs);
    println!("{tally}");
    let mut told = Vec::new();
    for (sequence, difference) in report::causes(&differing).into_iter().take(usize::try_from(shrunk).unwrap_or_default()) {
        // Only what still differs in the same place: else each ends in the same most trivial difference.
        let cause = report::place(&sequence, &difference);
        let same = async |candidate: &Sequence| {
            let found = with_model(&real, candidate).await.2;
            found.is_some_and(|found| report::place(candidate, &found) == cause)
        };
        let small = shrink::smallest(sequence, same).await;
        if let (_, _, Some(difference)) = with_model(&real, &small).await {
            told.push(report::differing(&small, &difference));
        }
    }
    clear(&real).await;
    assert!(differing.is_empty(), "{} sequences differ; the first of them, shrunk:\n{}", differing.len(), told.join("\n"));
    tally.demand();
}
