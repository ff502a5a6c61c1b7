//! The bounded run of `hack/test`: each target with its corpus and some thousand inputs, the same ones every time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says so by failing")]

use bascule_fuzz::{corpus, run::run, targets};

const SEED: u64 = 1;

fn bounded(name: &str) {
    let target = targets::find(name).unwrap();
    let seeds = corpus::load(&corpus::home().join(name)).unwrap();
    assert!(!seeds.is_empty(), "{name} has a corpus");
    let report = run(target, &seeds, target.runs, SEED);
    println!("{report}");
    if let Some(failure) = &report.failure {
        let (_, command) = report.keep(&corpus::artifacts()).unwrap().unwrap();
        panic!("{}\n  seed: {:?}\n  again: {command}", failure.message, failure.from_corpus);
    }
    assert!(!report.accepted.is_empty() && !report.refused.is_empty(), "a run that sees only one side proves little: {report}");
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            bounded(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

targets!(image, duration, variables, release, status, annotations, operation, watch);

/// One object of somebody's own must not keep everybody else's from being looked after.
fn listed(object: &str) {
    let input = format!(r#"{{"list": [{object}]}}"#);
    let outcome = targets::watch::target(input.as_bytes());
    assert_eq!(outcome, bascule_fuzz::outcome::Outcome::refused("left alone"));
}

#[test]
fn a_deep_release_in_a_list_is_left_alone() {
    listed(r#"{"kind": "releases", "object": {"spec": {"workloads": [{"name": "web", "template": {"x": "deep:200"}}]}}}"#);
}

#[test]
fn objects_of_a_wrong_type_in_a_list_are_left_alone() {
    for kind in ["deployments", "replicasets", "services", "endpointslices"] {
        listed(&format!(r#"{{"kind": "{kind}", "object": {{"spec": "x", "status": 3, "endpoints": false}}}}"#));
    }
}

/// To say that there is no such Release would be a lie, and the Operation would never be acted on.
#[test]
fn an_operation_on_a_release_that_cannot_be_read_waits() {
    let operation = |release: &str| {
        format!(
            r#"{{"list": [{{"kind": "releases", "object": {{"spec": {{"workloads": 3}}}}}},
                {{"kind": "operations", "object": {{"metadata": {{"creationTimestamp": "2026-01-05T09:00:00Z"}},
                 "spec": {{"release": "{release}", "type": "Abort"}}}}}}]}}"#
        )
    };
    let answered = |writes: &std::collections::BTreeSet<String>| writes.iter().any(|path| path.contains("/operations/"));
    assert!(answered(&targets::watch::writes(operation("nobody").as_bytes())), "that one really does not exist");
    let writes = targets::watch::writes(operation("wild-0").as_bytes());
    assert!(!answered(&writes), "{writes:?}");
}
