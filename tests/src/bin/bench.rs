//! `hack/bench one-release`: what one release costs, read from the API server's audit log, and how long the switch takes.
//!
//! In: a bed with an audit log. Out: figures; nothing here passes or fails.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool that measures"
)]

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use bascule_tests::{Bed, Behaviour, Stage, load::percentile};
use clap::Parser;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Service};
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

#[derive(Debug, Parser)]
#[command(about = "What one release costs, and how long the switch takes")]
struct Arguments {
    /// The bed; it must have been brought up with --audit.
    #[arg(long, default_value = "bench")]
    bed: String,
    /// Releases to make, one after the other.
    #[arg(long, default_value_t = 50)]
    releases: u32,
    /// How long to watch a settled Release, in seconds.
    #[arg(long, default_value_t = 300)]
    idle: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// A line of `hack/testbed audit --json`.
#[derive(Debug, Deserialize)]
struct Row {
    verb: String,
    resource: String,
    dry_run: bool,
    code: u16,
    count: u32,
}

/// When each revision's pods were ready, and when the Service was on it.
#[derive(Debug, Default)]
struct Times {
    ready: BTreeMap<String, Instant>,
    switched: BTreeMap<String, Instant>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bed = Bed::named(&arguments.bed);
    let stage = Stage::settled(&bed, "bench").await;
    let times = Arc::new(Mutex::new(Times::default()));
    let watches = [tokio::spawn(see_ready(stage.api(), times.clone())), tokio::spawn(see_switch(stage.api(), times.clone()))];

    eprintln!("{} releases of one workload and one Service, one after the other", arguments.releases);
    let since = now();
    for number in 0..arguments.releases {
        stage.release("web", &spec(&stage, &format!("r{number}"))).await;
        stage.is_settled_on(&format!("r{number}")).await;
        if (number + 1) % 10 == 0 {
            eprintln!("  {:>3} of {}", number + 1, arguments.releases);
        }
    }
    let cost = audit(&stage, &since);

    eprintln!("{} s of rest", arguments.idle);
    let rest = now();
    tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
    let idle: u32 = audit(&stage, &rest).iter().filter(|row| row.verb != "watch").map(|row| row.count).sum();
    for watch in watches {
        watch.abort();
    }

    let (ready_to_switch, seen) = latencies(&*times.lock().await);
    let per = |sum: u32| f64::from(sum) / f64::from(arguments.releases);
    let sum = |filter: &dyn Fn(&Row) -> bool| cost.iter().filter(|row| filter(row)).map(|row| row.count).sum::<u32>();
    let is_write = |row: &Row| ["create", "update", "patch", "delete"].contains(&row.verb.as_str());
    let events = sum(&|row| row.resource == "events" && is_write(row));
    // What was refused because the object had changed meanwhile wrote nothing; it is counted beside.
    let writes = sum(&|row| row.resource != "events" && is_write(row) && row.code < 400);
    let refused = sum(&|row| row.resource != "events" && is_write(row) && row.code >= 400);
    let dry_runs = sum(&|row| row.dry_run);
    let reads = sum(&|row| ["get", "list"].contains(&row.verb.as_str()));
    let (p50, p99) = (percentile(&ready_to_switch, 50), percentile(&ready_to_switch, 99));
    if arguments.json {
        println!(
            "{}",
            json!({
                "releases": arguments.releases, "writes": per(writes), "events": per(events), "reads": per(reads), "dry_runs": per(dry_runs), "refused": per(refused),
                "idle_requests": idle, "idle_seconds": arguments.idle, "ready_to_switch_ms": {"p50": p50, "p99": p99},
            })
        );
    } else {
        println!("one release, mean of {}                  measured   budget", arguments.releases);
        println!("  API writes (of which dry runs {:.1})           {:>6.2}      ≤ 8", per(dry_runs), per(writes));
        println!("  refused: the object had changed meanwhile {:>6.2}", per(refused));
        println!("  Events                                    {:>6.2}      ≤ 4", per(events));
        println!("  reads                                     {:>6.2}      ≤ 2", per(reads));
        println!("  last pod ready → Service switched, p50 {p50:>8.1} ms   ≤ 10 ms   ({seen} seen)");
        println!("  last pod ready → Service switched, p99 {p99:>8.1} ms   ≤ 25 ms");
        println!("requests in {} s of rest, without watches     {idle:>3}        0", arguments.idle);
    }
    for row in &cost {
        eprintln!(
            "  {:>7} {:<28} {:>3} {:>6.2} per release{}",
            row.verb,
            row.resource,
            row.code,
            per(row.count),
            if row.dry_run { "  (dry run)" } else { "" }
        );
    }
    stage.end().await;
    Ok(())
}

fn spec(stage: &Stage, version: &str) -> serde_json::Value {
    let mut spec = stage.spec(version, Behaviour::Ready, 2);
    spec["strategy"]["bake"] = json!("1s");
    spec["strategy"]["scaleDownDelay"] = json!("1s");
    spec
}

/// The audit log is written as requests come; a moment that the log already has.
#[allow(clippy::disallowed_methods, reason = "a tool that measures")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Requests of the controller in this namespace since then.
fn audit(stage: &Stage, since: &Timestamp) -> Vec<Row> {
    let script = bascule_tests::bed::root().join("hack/testbed");
    let arguments = ["audit", "--name", &stage.bed.name, "--user", "bascule-controller", "--since", &since.to_string(), "--json"];
    let output = Command::new(script).args(arguments).output().expect("run hack/testbed audit");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the meter prints JSON")
}

async fn see_ready(api: Api<ReplicaSet>, times: Arc<Mutex<Times>>) {
    let mut events = watcher(api, watcher::Config::default()).applied_objects().boxed();
    while let Some(event) = events.next().await {
        let Ok(set) = event else { continue };
        let revision = set.labels().get("bascule.dev/revision").cloned().unwrap_or_default();
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let available = set.status.and_then(|status| status.available_replicas).unwrap_or(0);
        if wanted > 0 && available >= wanted {
            times.lock().await.ready.entry(revision).or_insert_with(Instant::now);
        }
    }
}

async fn see_switch(api: Api<Service>, times: Arc<Mutex<Times>>) {
    let mut events = watcher(api, watcher::Config::default()).applied_objects().boxed();
    while let Some(event) = events.next().await {
        let Ok(service) = event else { continue };
        if let Some(revision) = service.annotations().get("bascule.dev/revision") {
            times.lock().await.switched.entry(revision.clone()).or_insert_with(Instant::now);
        }
    }
}

/// Both as one observer saw them, in microseconds, sorted.
fn latencies(times: &Times) -> (Vec<u64>, usize) {
    let pairs = times.switched.iter().filter_map(|(revision, switched)| Some((times.ready.get(revision)?, switched)));
    let mut micros: Vec<u64> =
        pairs.map(|(ready, switched)| u64::try_from(switched.duration_since(*ready).as_micros()).unwrap_or(0)).collect();
    micros.sort_unstable();
    let seen = micros.len();
    (micros, seen)
}
