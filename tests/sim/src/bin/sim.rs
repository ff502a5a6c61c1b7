//! `sim`: plays runs.

use bascule_sim::run::Run;

fn main() {
    let only = std::env::args().nth(1);
    if std::env::var("BASCULE_LOG").is_ok() {
        bascule_controller::telemetry::start(bascule_controller::config::LogFormat::Text);
    }
    for story in bascule_scenarios::stories().unwrap_or_default() {
        if only.as_ref().is_some_and(|only| *only != story.name) {
            continue;
        }
        let run = Run { scenario: story.clone(), seed: 1, faults: Vec::new() };
        let outcome = run.play();
        println!("{}: {} requests, {} steps, {:?}", story.name, outcome.requests, outcome.steps, outcome.virtual_time);
        if only.is_some() {
            println!("{}", outcome.text());
        }
        for violation in outcome.violations {
            println!("  {violation}");
        }
    }
}
