//! The controller is killed, cut off and refused at single requests, on a real API server with real pods under load: whatever happens,
//! no user's request is lost, the Release comes to the same end, and traffic takes the same way.
//!
//! Runs inside the bed's network: `hack/testbed exec --name e2e-crash -- cargo test -p bascule-tests --test crash -- --nocapture`.
//! `BASCULE_CRASH_SAMPLE` is how many runs with faults there are at least, however long they take, `BASCULE_CRASH_SEED` chooses them,
//! `BASCULE_CRASH_PARALLEL` says how many at a time, and `BASCULE_CRASH` is one of them, as a failing one prints it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod crash {
    pub(crate) mod gate;
    pub(crate) mod run;
    pub(crate) mod sample;
    pub(crate) mod sight;
    pub(crate) mod story;
}

use std::{collections::BTreeMap, env, sync::Arc, time::Duration};

use bascule_tests::{
    Bed,
    proxy::{Class, Fault},
};
use crash::{
    run::{Report, run},
    sample::{Dice, Try, sample},
    story::{STORIES, Story},
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// In `hack/test`: about three minutes on two cores that have nothing else to do.
const SAMPLE: usize = 84;
/// And on busy ones no random run begins after this time, so that all of it stays below five minutes.
const LONG_ENOUGH: Duration = Duration::from_secs(220);
const SEED: u64 = 4;
/// Most of a run is waiting for pods and bakes.
const PARALLEL: usize = 6;

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().map_or(default, |text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_at_whatever_request_users_notice_nothing() {
    let bed = Bed::named("e2e-crash");
    let began = Instant::now();
    let parallel = number("BASCULE_CRASH_PARALLEL", PARALLEL);
    let only = env::var("BASCULE_CRASH").ok().map(|text| parse(&text));
    let stories: Vec<_> = STORIES.iter().filter(|story| only.as_ref().is_none_or(|it| it.story.name == story.name)).collect();

    println!("without faults");
    let calm = stories.iter().map(|story| Try { story, faults: Vec::new() }).collect();
    let calm = all(&bed, calm, &Arc::default(), parallel, |_| true).await;
    let failures: Vec<_> = calm.iter().filter_map(|(_, outcome)| outcome.as_ref().err()).cloned().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let calm: Vec<(&'static Story, Report)> =
        calm.into_iter().filter_map(|(tried, outcome)| Some((tried.story, outcome.ok()?))).collect();
    let learned: Vec<_> = calm.iter().map(|(story, report)| (*story, report.journal.clone())).collect();
    let expected = Arc::new(calm.into_iter().map(|(story, report)| (story.name, report)).collect::<BTreeMap<_, _>>());

    let outcomes = if let Some(only) = only {
        all(&bed, vec![only], &expected, parallel, |_| true).await
    } else {
        let (wanted, seed) = (number("BASCULE_CRASH_SAMPLE", SAMPLE), number("BASCULE_CRASH_SEED", SEED));
        let (tries, always) = sample(&learned, wanted, &mut Dice(seed));
        println!("{} runs with faults (BASCULE_CRASH_SEED={seed}), {parallel} at a time", tries.len());
        let limited = env::var_os("BASCULE_CRASH_SAMPLE").is_none();
        all(&bed, tries, &expected, parallel, |place| place < always || !limited || began.elapsed() < LONG_ENOUGH).await
    };
    summarise(&outcomes);
    let failed: Vec<_> = outcomes.iter().filter_map(|(tried, outcome)| Some((tried, outcome.as_ref().err()?.as_str()))).collect();
    let (why, commands): (Vec<_>, Vec<_>) = failed.iter().map(|(tried, why)| (*why, again(tried))).unzip();
    assert!(
        failed.is_empty(),
        "{}\n\n{} of {} runs failed; again:\n{}",
        why.join("\n\n"),
        failed.len(),
        outcomes.len(),
        commands.join("\n")
    );
    // A write of a Service that is never reached would be a hole in the one place that matters most.
    let missed: Vec<_> =
        outcomes.iter().filter(|(tried, outcome)| is_missed(tried, outcome)).map(|(tried, _)| name(tried)).collect();
    assert!(missed.is_empty(), "never came to the write of a Service that was to fail: {missed:#?}");
}

type Outcome = (Try, Result<Report, String>);

/// Runs them, so many at a time, each in a namespace of its own, as far as there is time for more.
async fn all(
    bed: &Bed,
    tries: Vec<Try>,
    expected: &Arc<BTreeMap<&'static str, Report>>,
    parallel: usize,
    has_time: impl Fn(usize) -> bool,
) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(parallel));
    let mut runs = JoinSet::new();
    let count = tries.len();
    for (place, tried) in tries.into_iter().enumerate() {
        let permit = places.clone().acquire_owned().await.expect("never closed");
        if !has_time(place) {
            println!("  this machine is slow: {} of {count} runs are left out", count - place);
            break;
        }
        let (bed, expected) = (bed.clone(), expected.clone());
        runs.spawn(async move {
            let _permit = permit;
            let outcome = run(&bed, tried.story, &tried.faults, expected.get(tried.story.name)).await;
            let said = match &outcome {
                Ok(report) => format!(
                    "ok     {:4.1} s  {:3} requests, {:5} of users{}",
                    report.took.as_secs_f64(),
                    report.journal.iter().filter(|entry| entry.class == Class::Request).count(),
                    report.sent,
                    hit(report)
                ),
                Err(why) => format!("FAILED {}", why.lines().next().unwrap_or_default()),
            };
            println!("  {:<58} {said}", name(&tried));
            let outcome = outcome.map_err(|why| format!("{}: {why}", name(&tried)));
            (place, (tried, outcome))
        });
    }
    // In their own order, not in that of their ends: the sample is drawn from it.
    let outcomes: BTreeMap<_, _> = runs.join_all().await.into_iter().collect();
    outcomes.into_values().collect()
}

fn name(tried: &Try) -> String {
    let faults: Vec<_> = tried.faults.iter().map(ToString::to_string).collect();
    format!("{} {}", tried.story.name, faults.join(" "))
}

/// What the faults met.
fn hit(report: &Report) -> String {
    let met: Vec<_> =
        report.journal.iter().filter(|entry| entry.fault.is_some()).map(|it| format!("{} {}", it.method, it.path)).collect();
    if met.is_empty() { String::new() } else { format!("   at {}", met.join(" and ")) }
}

/// The command that does it once more.
fn again(tried: &Try) -> String {
    let faults = serde_json::to_string(&tried.faults).unwrap_or_default();
    format!(
        "hack/testbed exec --name e2e-crash -- env BASCULE_CRASH='{} {faults}' cargo test -p bascule-tests --test crash -- --nocapture",
        tried.story.name
    )
}

/// `release [{"at":7,"what":{"Kill":"AfterCommit"}}]`; one fault needs no brackets.
fn parse(text: &str) -> Try {
    let (story, faults) = text.split_once(' ').unwrap_or((text, "[]"));
    let story = STORIES.iter().find(|known| known.name == story).unwrap_or_else(|| panic!("there is no story {story}"));
    let faults: Vec<Fault> =
        serde_json::from_str(faults).or_else(|_| serde_json::from_str(faults).map(|fault| vec![fault])).expect("faults");
    Try { story, faults }
}

fn is_missed(tried: &Try, outcome: &Result<Report, String>) -> bool {
    let Ok(report) = outcome else { return false };
    let meant = tried.faults.iter().any(|fault| fault.of == Class::Service);
    meant && !report.journal.iter().any(|entry| entry.service.is_some() && entry.fault.is_some())
}

fn summarise(outcomes: &[Outcome]) {
    let reports: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
    let entries: Vec<_> = reports.iter().flat_map(|report| &report.journal).collect();
    let mut kinds = BTreeMap::<String, usize>::new();
    for what in entries.iter().filter_map(|entry| entry.fault) {
        *kinds.entry(what.name()).or_default() += 1;
    }
    println!("faults that happened");
    for (kind, count) in &kinds {
        println!("  {kind:<58} {count:4}");
    }
    let meant: usize = outcomes.iter().map(|(tried, _)| tried.faults.len()).sum();
    println!(
        "total: {} runs, {} failed; {} of {meant} faults came to pass, {} of them at a write of a Service; {} times killed; {} requests of users",
        outcomes.len(),
        outcomes.len() - reports.len(),
        kinds.values().sum::<usize>(),
        entries.iter().filter(|entry| entry.fault.is_some() && entry.service.is_some()).count(),
        reports.iter().map(|report| report.kills).sum::<u64>(),
        reports.iter().map(|report| report.sent).sum::<u64>(),
    );
}
