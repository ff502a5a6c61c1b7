//! What stories as data cannot say, on a real API server with fake pods: registries, rights, rules of the API server, other tools.
//!
//! Each has a namespace and a controller of its own, so that all run side by side. The rest is in `tests/scenarios`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod fake {
    mod configs;
    mod images;
    mod operations;
    mod rules;
    mod services;
    mod traces;

    /// The bed that `hack/test` brings up for these.
    pub(crate) fn bed() -> bascule_tests::Bed {
        bascule_tests::Bed::named("e2e-fake")
    }
}
