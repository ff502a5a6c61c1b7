//! Two real controllers and one Lease, with the rights of the chart: who is told to end hands over, who is killed is replaced, and a
//! release that was under way goes on.
//!
//! Prints how long it took. What must hold is only that it happens: a busy machine is no mistake of the election.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stderr, reason = "the times are part of the result")]

use std::{
    thread,
    time::{Duration, Instant},
};

use bascule_tests::{Bed, Behaviour, Controller, Stage, stage};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

const NAMESPACE: &str = "bascule-system";
const ELECTED: [&str; 2] = ["--leader-elect=true", "--lease-namespace=bascule-system"];
/// Five seconds are the budget; this is for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);
/// Often enough for a figure that is not chance.
const ROUNDS: usize = 5;

fn leads(controller: &Controller) -> bool {
    controller.get("/metrics").is_some_and(|text| text.lines().any(|line| line == "bascule_is_leader 1"))
}

fn is_ready(controller: &Controller) -> bool {
    controller.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// How long until it leads, from now on.
#[allow(clippy::disallowed_methods, reason = "what is measured is the time of this machine")]
fn until_it_leads(controller: &Controller) -> Duration {
    let start = Instant::now();
    while !leads(controller) {
        assert!(start.elapsed() < PATIENCE, "nobody has taken over within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// Ends the leader, whichever it is, and says when the other leads; and starts it again.
async fn end(one: &mut Controller, other: &mut Controller, how: impl FnOnce(&mut Controller)) -> Duration {
    // On a machine that is too busy leadership may have changed hands before.
    let (leader, standby) = if leads(one) { (one, other) } else { (other, one) };
    tokio::task::block_in_place(|| until_it_leads(leader));
    assert!(!leads(standby) && is_ready(standby), "a standby is ready");
    let taken = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let taken = scope.spawn(|| until_it_leads(standby));
            how(leader);
            taken.join().expect("the other takes over")
        })
    });
    leader.run().await;
    taken
}

/// The middle of a release is where it matters who leads.
async fn starts(stage: &Stage, version: &str) {
    release(stage, version, Behaviour::ReadyAfter(1)).await;
    stage.until("it has started", |status| status.candidate.is_some()).await;
}

async fn release(stage: &Stage, version: &str, behaviour: Behaviour) {
    let mut spec = stage.spec(version, behaviour, 2);
    // That a busy machine takes its time is not what this is about.
    spec["strategy"]["progressDeadline"] = "120s".into();
    stage.release("web", &spec).await;
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
    eprintln!(
        "{what}: min {} ms, median {} ms, max {} ms ({} times)",
        ms(times.first()),
        ms(times.get(times.len() / 2)),
        ms(times.last()),
        times.len()
    );
}

async fn holder(stage: &Stage) -> (String, i32) {
    let spec = Api::<Lease>::namespaced(stage.client.0.clone(), NAMESPACE).get("bascule-controller").await.unwrap().spec.unwrap();
    (spec.holder_identity.unwrap_or_default(), spec.lease_transitions.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_and_one_lease() {
    let bed = Bed::named("e2e-lease");
    let mut stage = Stage::with_arguments(&bed, "handover", &ELECTED).await;
    tokio::task::block_in_place(|| until_it_leads(&stage.controller));
    // Its log is a file of its own.
    let mut second = bed.clone();
    second.name.push_str("-second");
    let mut standby = Controller::start(&second, &stage.namespace, &ELECTED).await;

    stage.service("web").await;
    release(&stage, "v1", Behaviour::Ready).await;
    stage.is_settled_on("v1").await;

    let (mut handed_over, mut taken_over) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // SIGTERM, in the middle of a release: the standby holds the Lease, and finishes it.
        let before = holder(&stage).await;
        let version = format!("t{round}");
        starts(&stage, &version).await;
        let stop = |leader: &mut Controller| assert_eq!(leader.stop(), Some(0), "a clean end");
        handed_over.push(end(&mut stage.controller, &mut standby, stop).await);
        let after = holder(&stage).await;
        assert!(after.0 != before.0 && !after.0.is_empty() && after.1 > before.1, "{before:?} then {after:?}");
        stage.is_settled_on(&version).await;

        // SIGKILL: the same, a lease later.
        let version = format!("k{round}");
        starts(&stage, &version).await;
        taken_over.push(end(&mut stage.controller, &mut standby, Controller::kill).await);
        stage.is_settled_on(&version).await;
    }
    let status = stage.status("web").await;
    assert!(status.rejected.is_empty() && stage::is_ready(&status), "{status:?}");
    report("hand-over (SIGTERM until the standby leads)", handed_over);
    report("take-over (SIGKILL until the standby leads)", taken_over);
    standby.kill();
    stage.end().await;
}
