//! The stories themselves: readable, complete, and the same data in YAML and in one line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::collections::BTreeSet;

use bascule_scenarios::{Author, Dialect, Place, Scenario, Step, parse, stories};

fn all() -> Vec<Scenario> {
    stories().unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn every_file_of_the_folder_is_compiled_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/stories");
    let mut there = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        there += parse(&text).unwrap_or_else(|error| panic!("{error:#}")).len();
    }
    assert_eq!(all().len(), there);
}

#[test]
fn yaml_and_one_line_say_the_same() {
    for story in all() {
        let line = story.to_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Scenario::from_line(&line).unwrap(), story, "{line}");
        assert_eq!(parse(&story.to_yaml().unwrap()).unwrap(), [story]);
    }
}

#[test]
fn every_story_waits_for_something_and_says_why_it_does_not_run_everywhere() {
    for story in all() {
        assert!(!story.on.is_empty(), "{}", story.name);
        assert!(story.on.len() == Place::ALL.len() || !story.why.is_empty(), "{} has no reason", story.name);
        assert!(story.on.contains(&Place::Sim) || story.why.contains("simulation"), "{}", story.name);
        assert!(story.policies || story.on == BTreeSet::from([Place::Sim]), "{}", story.name);
        assert!(
            story.script().iter().any(|step| matches!(step, Step::Until { .. } | Step::Stays { .. })),
            "{} expects nothing",
            story.name
        );
    }
}

#[test]
fn every_action_of_every_story_has_its_calls() {
    for story in all() {
        for dialect in [Dialect::Annotations, Dialect::App("registry/app".into())] {
            let mut author = Author::new(&story.shape, "shop", dialect);
            for step in story.script() {
                let Step::Do(deed) = &step else { continue };
                if deed.action.is_a_call() {
                    let calls =
                        author.calls(&deed.action).unwrap_or_else(|error| panic!("{}: {}: {error:#}", story.name, step.line()));
                    assert!(!calls.is_empty());
                }
            }
        }
    }
}

/// The images of the bed have these tags, and a real node can run no others.
#[test]
fn real_nodes_are_asked_only_for_versions_that_exist() {
    for story in all().into_iter().filter(|story| story.runs_on(Place::Real)) {
        for step in story.script() {
            if let Step::Do(deed) = step
                && let bascule_scenarios::Action::Want(want) = deed.action
            {
                assert!(["v1", "v2", "v3"].contains(&want.version.as_str()), "{}: {}", story.name, want.version);
            }
        }
    }
}

#[test]
fn every_release_of_every_story_fits_the_api() {
    for story in all() {
        let mut author = Author::new(&story.shape, "shop", Dialect::Annotations);
        for step in story.script() {
            let Step::Do(deed) = &step else { continue };
            if deed.action.is_a_call() {
                author.calls(&deed.action).unwrap();
            }
            if let Ok(release) = author.release() {
                let typed = serde_json::from_value::<bascule_crds::Release>(release);
                typed.unwrap_or_else(|error| panic!("{}: {}: {error}", story.name, step.line()));
            }
        }
    }
}
