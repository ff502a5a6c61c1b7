//! The places where text of other people comes in. Each is a plain function of bytes that panics when a promise is broken.
//! `libfuzzer/` has a file for each, too.

pub mod annotations;
pub mod duration;
pub mod image;
pub mod operation;
pub mod release;
pub mod status;
pub mod variables;
pub mod watch;

use crate::outcome::Outcome;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// What comes in there, for a list.
    pub about: &'static str,
    pub run: fn(&[u8]) -> Outcome,
    /// Inputs of a bounded run: some seconds in an unoptimised build.
    pub runs: usize,
}

pub const ALL: &[Target] = &[
    Target { name: "image", about: "spec.artifacts[].image.ref, and digests of registries", run: image::target, runs: 20_000 },
    Target { name: "duration", about: "durations of spec.strategy", run: duration::target, runs: 20_000 },
    Target { name: "variables", about: "$(…) in the strings of a pod template", run: variables::target, runs: 2_000 },
    Target {
        name: "release",
        about: "the spec of a Release, from the first candidate to settled",
        run: release::target,
        runs: 1_500,
    },
    Target { name: "status", about: "the status of a Release that another hand has written", run: status::target, runs: 1_500 },
    Target { name: "annotations", about: "annotations, labels and selector of a Service", run: annotations::target, runs: 800 },
    Target { name: "operation", about: "the spec of an Operation", run: operation::target, runs: 1_000 },
    Target { name: "watch", about: "objects in lists and watches, through the whole controller", run: watch::target, runs: 100 },
];

pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
