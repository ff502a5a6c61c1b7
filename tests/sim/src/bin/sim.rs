//! `sim`: plays runs.

use bascule_sim::run::Run;

fn main() {
    for story in bascule_scenarios::stories().unwrap_or_default() {
        let run = Run { scenario: story.clone(), seed: 1, faults: Vec::new() };
        let outcome = run.play();
        println!("{}: {} requests, {} steps, {:?}", story.name, outcome.requests, outcome.steps, outcome.virtual_time);
        for violation in outcome.violations {
            println!("  {violation}");
        }
    }
}
