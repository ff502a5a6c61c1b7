//! What docs/security.md claims, each claim tried from the side of whoever would break it: a tenant with his own namespace, a pipeline that may
//! write parameters, an endpoint that a gate asks, a node. `hack/testbed up --name e2e-fake --aws`, then
//! `hack/testbed exec --name e2e-fake -- cargo test -p bascule-tests --test security`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod security {
    mod around;
    mod canary;
    mod ear;
    mod endpoints;
    mod limits;
    mod names;
    mod page;
    mod parameters;
    mod policies;
    mod rights;
    mod scope;
    mod values;

    /// The bed that `hack/test` brings up for these.
    pub(crate) fn bed() -> bascule_tests::Bed {
        bascule_tests::Bed::named("e2e-fake")
    }
}
