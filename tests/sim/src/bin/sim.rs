//! `hack/sim`: plays many runs of the whole controller in virtual time, and says what must not be.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]
#![allow(clippy::struct_excessive_bools, reason = "its flags")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use bascule_sim::{
    campaign::{self, Tally},
    run::{Outcome, Run},
};
use clap::Parser;
use serde_json::json;

// A run is made of small pieces of JSON.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays the whole controller in a deterministic simulation, under faults, and judges what the API server saw.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// So many sampled runs: stories and generated scenarios, each with no fault, one, two or a few.
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// What is sampled.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Every story without a fault, twice: the same history, byte for byte.
    #[arg(long)]
    stories: bool,
    /// Every crash point of every story, or of the one named by --story.
    #[arg(long)]
    crashes: bool,
    /// The runs that have failed once.
    #[arg(long)]
    kept: bool,
    /// Only this story.
    #[arg(long)]
    story: Option<String>,
    /// One run, as a failure prints it: JSON, or a file with it.
    #[arg(long, value_name = "RUN")]
    replay: Option<String>,
    /// The history of the run that is replayed.
    #[arg(long)]
    history: bool,
    /// Make what fails as small as possible.
    #[arg(long)]
    shrink: bool,
    /// One object on the last line.
    #[arg(long)]
    json: bool,
    /// Makes deliberate mistakes in the controller, one after the other, and plays up to --runs runs until one catches it.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutants: bool,
}

/// Of the sampled runs those whose seed is a multiple of this are played a second time, to compare the histories.
const PLAYED_TWICE: u64 = 20;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if std::env::var("BASCULE_LOG").is_ok() {
        bascule_controller::telemetry::start(bascule_controller::config::LogFormat::Text);
    }
    match start(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(replay) = &arguments.replay {
        let text = if replay.trim_start().starts_with('{') { replay.clone() } else { std::fs::read_to_string(replay)? };
        return Ok(one(&serde_json::from_str(&text).context("read the run")?, arguments));
    }
    let mut stories = campaign::stories()?;
    #[cfg(feature = "mutants")]
    if arguments.mutants {
        return Ok(mutants(arguments, &stories, &campaign::kept()?));
    }
    if let Some(name) = &arguments.story {
        stories.retain(|story| story.name == *name);
        anyhow::ensure!(!stories.is_empty(), "there is no story {name}");
    }
    let begin = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let runs: Vec<Run> = if arguments.kept {
        campaign::kept()?
    } else if arguments.crashes {
        stories.iter().flat_map(|story| campaign::crashes(story, arguments.seed)).collect()
    } else if arguments.stories {
        stories
            .iter()
            .map(|story| Run { scenario: story.clone(), seed: arguments.seed, faults: Vec::new(), election: false })
            .collect()
    } else {
        Vec::new()
    };
    let count = if runs.is_empty() { arguments.runs } else { runs.len() as u64 };
    let given = |number: u64| usize::try_from(number).ok().and_then(|number| runs.get(number)).cloned();
    let run = |number| given(number).unwrap_or_else(|| campaign::sampled(arguments.seed, number, &stories));
    let said = AtomicU64::new(0);
    let differ = AtomicU64::new(0);
    let told = |run: &Run, outcome: &Outcome| {
        let twice =
            arguments.stories || arguments.kept || run.seed.is_multiple_of(PLAYED_TWICE) || !outcome.violations.is_empty();
        if twice && run.play().text() != outcome.text() {
            differ.fetch_add(1, Ordering::Relaxed);
            println!("{} has another history the second time:\n  {} --history\n", run.scenario.name, replay(run));
        }
        if !outcome.violations.is_empty() && said.fetch_add(1, Ordering::Relaxed) < 10 {
            tell(run, outcome, arguments);
        }
    };
    let tally = campaign::play(count, arguments.threads, run, told);
    let spent = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(begin);
    let differ = differ.into_inner();
    report(&tally, differ, spent.as_secs_f64(), arguments);
    Ok(tally.failed.is_empty() && differ == 0)
}

/// A line for each mistake; true when all are caught.
#[cfg(feature = "mutants")]
fn mutants(arguments: &Arguments, stories: &[bascule_scenarios::Scenario], kept: &[Run]) -> bool {
    let tell = |hunt: &campaign::Hunt| {
        let name = format!("{:?}", hunt.mutant);
        match &hunt.caught {
            _ if arguments.json => {}
            Some((runs, first)) => {
                println!("{name:<24} caught after {runs:>4} runs: {}", first.chars().take(150).collect::<String>());
            }
            None => println!("{name:<24} SURVIVED {} runs", arguments.runs),
        }
    };
    let hunts = campaign::hunts(arguments.seed, arguments.runs, arguments.threads, stories, kept, tell);
    let survivors: Vec<String> = hunts.iter().filter(|it| it.caught.is_none()).map(|it| format!("{:?}", it.mutant)).collect();
    if arguments.json {
        let caught = hunts.len() - survivors.len();
        println!("{}", json!({"mutants": hunts.len(), "caught": caught, "survivors": survivors}));
        return survivors.is_empty();
    }
    println!("{} mutants, {} caught, {} survived", hunts.len(), hunts.len() - survivors.len(), survivors.len());
    survivors.is_empty()
}

fn one(run: &Run, arguments: &Arguments) -> bool {
    let outcome = run.play();
    if arguments.history {
        print!("{}", outcome.text());
    }
    println!("{}: {} requests of the controller, {} of all", run.scenario.name, outcome.requests.len(), outcome.steps);
    for violation in &outcome.violations {
        println!("  {}", violation.replace('\n', "\n  "));
    }
    if arguments.shrink && !outcome.violations.is_empty() {
        let small = campaign::smallest(run);
        println!("smallest:\n  {}", replay(&small));
    }
    outcome.violations.is_empty()
}

/// The command that plays it again, as a shell takes it.
fn replay(run: &Run) -> String {
    format!("hack/sim --replay '{}'", serde_json::to_string(run).unwrap_or_default().replace('\'', "'\\''"))
}

fn tell(run: &Run, outcome: &Outcome, arguments: &Arguments) {
    let small = if arguments.shrink { campaign::smallest(run) } else { run.clone() };
    let violations: Vec<String> =
        outcome.violations.iter().map(|violation| format!("  {}", violation.replace('\n', "\n  "))).collect();
    let faults = serde_json::to_string(&small.faults).unwrap_or_default();
    println!(
        "{} with seed {} and {faults}:\n{}\n  to see it again: {}\n",
        small.scenario.name,
        small.seed,
        violations.join("\n"),
        replay(&small),
    );
}

fn report(tally: &Tally, differ: u64, secs: f64, arguments: &Arguments) {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = tally.runs as f64 / secs.max(0.001);
    if arguments.json {
        let faults: BTreeMap<_, _> = tally.faults.iter().collect();
        let object = json!({
            "runs": tally.runs, "steps": tally.steps, "violations": tally.failed.len(), "differing": differ, "virtual_hours": tally.virtual_hours(),
            "faults": faults, "runs_per_second": (rate * 10.0).round() / 10.0,
        });
        println!("{object}");
        return;
    }
    println!("runs               {:>10}", tally.runs);
    println!("steps              {:>10}   requests that were carried out", tally.steps);
    println!("virtual hours      {:>10}", tally.virtual_hours());
    println!("runs per second    {rate:>10.1}   on {} threads", arguments.threads);
    println!("differing          {differ:>10}   histories that were another the second time");
    println!("violations         {:>10}", tally.failed.len());
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (run, _) in &tally.failed {
        *by_name.entry(&run.scenario.name).or_default() += 1;
    }
    for (name, count) in by_name {
        println!("  {name:<70} {count:>6}");
    }
    println!("faults");
    for (name, count) in &tally.faults {
        println!("  {name:<32} {count:>8}");
    }
}
