//! The command: every target, or one, for a bounded number of inputs; or one input again.
//!
//!   cargo run -p bascule-fuzz                                    every target, as `hack/test` runs it
//!   cargo run -p bascule-fuzz -- --target image --runs 1000000   one target for long
//!   cargo run -p bascule-fuzz -- --target image --replay FILE    one input again, with its panic
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use bascule_fuzz::{
    corpus,
    run::{replay, run},
    targets::{self, Target},
};
use clap::Parser;

/// Feeds bad input to everything that reads text of others.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Inputs for each target, after its corpus; default: what takes some seconds in all
    #[arg(long)]
    runs: Option<usize>,
    /// The same seed makes the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder with one folder of inputs for each target
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Run this input once and say what became of it
    #[arg(long, requires = "target")]
    replay: Option<PathBuf>,
    /// List the targets
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen: Vec<&Target> = match &arguments.target {
        None => targets::ALL.iter().collect(),
        Some(name) => vec![targets::find(name).with_context(|| format!("there is no target {name}; --list shows them"))?],
    };
    if arguments.list {
        for target in chosen {
            println!("{:<12} {}", target.name, target.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(path), Some(target)) = (&arguments.replay, chosen.first()) {
        let input = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        return Ok(match replay(target, &input) {
            Ok(outcome) => {
                println!("{}: {outcome:?}", target.name);
                ExitCode::SUCCESS
            }
            Err(panicked) => {
                println!("{}: {panicked}", target.name);
                ExitCode::FAILURE
            }
        });
    }
    let folder = arguments.corpus.unwrap_or_else(corpus::home);
    let mut failed = 0;
    for target in &chosen {
        let seeds = folder.join(target.name);
        let seeds = corpus::load(&seeds).with_context(|| format!("read the corpus {}", seeds.display()))?;
        let report = run(target, &seeds, arguments.runs.unwrap_or(target.runs), arguments.seed);
        println!("{report}");
        if let Some(failure) = &report.failure {
            failed += 1;
            println!("  {}", failure.message);
            if let Some((_, command)) = report.keep(&corpus::artifacts()).context("keep the failing input")? {
                println!("  again: {command}");
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out", chosen.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
