//! Every story that can run on a bed, each in a namespace with a controller of its own, side by side.
//!
//! A harness of its own, because the tests are data: names, filters, `--list`, `--test-threads` and the last line are cargo's.
//! The bed is `e2e-scn`, or the one of `hack/testbed exec`; its kind says which stories can be played.
//!
//! `BASCULE_SEEDS=1-20` plays these generated scenarios instead, and `BASCULE_SCENARIO` the one that it holds as a line of JSON.
//! `BASCULE_SAMPLE=20` plays so many of them, taken evenly: real pods take their time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::{env, process::ExitCode};

use bascule_scenarios::{Scenario, generated, stories};
use bascule_tests::{
    Bed,
    scenario_stage::{BedStage, place},
};
use libtest_mimic::{Arguments, Failed, Trial};

/// Most of a story is waiting for pods and bakes: more at a time than there are cores.
const AT_A_TIME: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_A_TIME));
    let stories = chosen().unwrap_or_else(|error| panic!("{error:#}"));
    // To list them needs no bed.
    let bed = (!arguments.list).then(|| Bed::named("e2e-scn"));
    let played = stories.into_iter().filter(|story| bed.as_ref().is_none_or(|bed| story.runs_on(place(bed)))).collect();
    let trials = sample(played).into_iter().map(|story| trial(story, bed.clone())).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All stories, unless the environment names others.
fn chosen() -> anyhow::Result<Vec<Scenario>> {
    if let Ok(line) = env::var("BASCULE_SCENARIO") {
        return Ok(vec![Scenario::from_line(&line)?]);
    }
    let Ok(seeds) = env::var("BASCULE_SEEDS") else { return stories() };
    let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    Ok((first.parse()?..=last.parse()?).map(generated).collect())
}

/// So many of them as the environment asks for, from the beginning to the end.
fn sample(all: Vec<Scenario>) -> Vec<Scenario> {
    let wanted: usize = env::var("BASCULE_SAMPLE").ok().and_then(|text| text.parse().ok()).unwrap_or(all.len());
    let count = all.len();
    // The n-th is taken where n × wanted / count grows by one.
    let taken = |index: usize| (index * wanted) / count != ((index + 1) * wanted) / count;
    all.into_iter().enumerate().filter(|(index, _)| wanted >= count || taken(*index)).map(|(_, story)| story).collect()
}

fn trial(story: Scenario, bed: Option<Bed>) -> Trial {
    Trial::test(story.name.clone(), move || {
        let bed = bed.ok_or("there is no bed")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(BedStage::play(&bed, &story)) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failed::from(chain(&error))),
        }
    })
}

/// Every cause on lines of its own, and no back trace: it would be the same for all.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
