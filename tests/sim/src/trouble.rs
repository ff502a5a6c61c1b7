//! Makes the faults of a plan happen: those that have a time, and what becomes of a process that was killed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    api::{Kind, Request},
    chance::Chance,
    fault::What,
    process::Replica,
    server::Server,
    stage::NAMESPACE,
};

/// So often it is asked; no multiple of what the controller waits for.
const LOOK_OUT: Duration = Duration::from_millis(1_913);

/// Asks the controller all the time whether it has lost a wake-up: it is told once of each.
pub async fn look_out(server: Arc<Server>, replica: Arc<Replica>) {
    let mut known = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_OUT).await;
        for due in replica.overlooked() {
            let at = server.elapsed();
            if known.insert(due.clone()) {
                server.inside().oracle.overlooked(&due, at);
            }
        }
    }
}

/// Starts a process again that was killed, as a Deployment of the controller would.
pub async fn revive(server: Arc<Server>, replica: Arc<Replica>, seed: u64) {
    let mut chance = Chance::part(seed, "revive");
    loop {
        let Some(life) = replica.life() else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        life.until_dead().await;
        let pause = Duration::from_millis(chance.between(20, 1_500));
        server.inside().oracle.hinder_until(server.elapsed() + SignedDuration::try_from(pause).unwrap_or_default());
        tokio::time::sleep(pause).await;
        if replica.is_wanted() {
            replica.start();
        }
    }
}

/// Lets each fault happen at its time.
pub async fn happen(server: Arc<Server>, replica: Arc<Replica>, other: Arc<Replica>) {
    let timed = server.inside().faults.timed();
    let start = tokio::time::Instant::now();
    for (at, what) in timed {
        tokio::time::sleep_until(start + Duration::from_millis(at)).await;
        server.inside().faults.count(&what);
        one(&server, &replica, &other, what).await;
    }
}

fn millis(millis: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

async fn one(server: &Arc<Server>, replica: &Arc<Replica>, other: &Arc<Replica>, what: What) {
    let now = server.elapsed();
    let now_millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let life = replica.life();
    match what {
        What::Crash => replica.kill(),
        What::Terminate => {
            replica.stop().await;
            replica.start();
        }
        What::Lag { kind, late, length } => {
            let mut inside = server.inside();
            inside.faults.lag(&kind, late, now_millis + length);
            inside.oracle.hinder_until(now + millis(late + length));
        }
        What::CutWatches => {
            if let Some(life) = life {
                life.cut();
            }
        }
        What::Compact => {
            let mut inside = server.inside();
            let version = inside.api.store.version();
            inside.api.store.compact(version);
            drop(inside);
            if let Some(life) = life {
                life.cut();
            }
        }
        What::Outside { part, trouble, length } => server.inside().outside.upset(part, trouble, now_millis + length),
        What::Republish => server.inside().outside.republish(),
        What::StaleLists { age, lists } => server.inside().faults.stale(age, lists),
        What::ClockJump(by) => replica.jump(by),
        What::SecondLeader(length) => {
            other.start();
            tokio::time::sleep(Duration::from_millis(length)).await;
            other.kill();
        }
        What::Freeze(length) => {
            if let Some(life) = life {
                server.inside().oracle.hinder_until(now + millis(length));
                life.freeze(Duration::from_millis(length));
            }
        }
        What::Partition(length) => {
            let mut inside = server.inside();
            inside.faults.part_until(now_millis + length);
            inside.oracle.hinder_until(now + millis(length) + SignedDuration::from_secs(20));
            drop(inside);
            if let Some(life) = life {
                life.cut();
            }
        }
        hand => {
            for request in by_hand(server, &hand) {
                server.carry_out(&request);
            }
        }
    }
}

/// What somebody else writes.
fn by_hand(server: &Server, what: &What) -> Vec<Request> {
    let inside = server.inside();
    let store = &inside.api.store;
    let of = |full: &'static str, label: &str, value: &str| -> Vec<Value> {
        let here = store.all(full).filter(|object| object["metadata"]["namespace"] == NAMESPACE);
        here.filter(|object| object["metadata"]["labels"][label] == value).map(|object| (**object).clone()).collect()
    };
    let services = || -> Vec<Value> {
        let here = store.all("services").filter(|object| object["metadata"]["namespace"] == NAMESPACE);
        let team = here.filter(|object| object["metadata"]["labels"].get("bascule.dev/preview-of").is_none());
        team.map(|object| (**object).clone()).collect()
    };
    let track = || {
        services()
            .iter()
            .find_map(|it| it["metadata"]["annotations"]["bascule.dev/track"].as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let serving = || of("apps/deployments", "bascule.dev/track", &track());
    match what {
        What::KillPods { track } => of("pods", "bascule.dev/track", track).iter().map(|pod| delete("pods", pod)).collect(),
        What::ForeignDeployment { replicas } => {
            let body = json!({"metadata": {"labels": {"somebody": "was-here"}}, "spec": {"replicas": replicas}});
            serving().iter().map(|it| patch("apps/deployments", it, body.clone())).collect()
        }
        What::ForeignTemplate => {
            let body = json!({"spec": {"template": {"metadata": {"annotations": {"somebody": "was-here"}}, "spec": {"terminationGracePeriodSeconds": 7}}}});
            serving().iter().map(|it| patch("apps/deployments", it, body.clone())).collect()
        }
        What::ForeignService => services()
            .iter()
            .map(|service| {
                let mut plain = service.clone();
                if let Some(meta) = plain["metadata"].as_object_mut() {
                    for field in ["annotations", "labels", "managedFields", "resourceVersion", "uid"] {
                        meta.remove(field);
                    }
                }
                plain["spec"]["selector"].as_object_mut().map(|selector| selector.remove("bascule.dev/track"));
                Request { method: "PUT".into(), body: Some(plain), ..request("services", service) }
            })
            .collect(),
        What::ForeignTrack => {
            let other = if track() == "blue" { "green" } else { "blue" };
            let body = json!({"metadata": {"annotations": {"bascule.dev/track": other}}});
            services().iter().take(1).map(|service| patch("services", service, body.clone())).collect()
        }
        What::DeleteDeployment { track } => {
            of("apps/deployments", "bascule.dev/track", track).iter().map(|it| delete("apps/deployments", it)).collect()
        }
        What::DeletePreview => {
            let all = store.all("services").filter(|it| it["metadata"]["labels"].get("bascule.dev/preview-of").is_some());
            all.map(|it| delete("services", it)).collect()
        }
        What::TidyJobs => store.all("batch/jobs").filter(|job| has_ended(job)).map(|job| delete("batch/jobs", job)).collect(),
        What::DeleteJobs => store.all("batch/jobs").map(|job| delete("batch/jobs", job)).collect(),
        What::FailJobs => {
            let status = json!({"status": {"conditions": [
                {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "Pod was on a node that is gone"},
            ]}});
            let running = store.all("batch/jobs").filter(|job| !has_ended(job));
            let fail = |job| Request {
                path: format!("{}/status", request("batch/jobs", job).path),
                ..patch("batch/jobs", job, status.clone())
            };
            running.map(|job| fail(job)).collect()
        }
        What::WipeStatus => store
            .all("bascule.dev/releases")
            .map(|release| Request {
                path: format!("{}/status", request("bascule.dev/releases", release).path),
                ..patch("bascule.dev/releases", release, json!({"status": null}))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn has_ended(job: &Value) -> bool {
    job["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty())
}

fn request(full: &str, object: &Value) -> Request {
    let text = |field: &str| object["metadata"][field].as_str();
    let path = Kind::named(full).map(|kind| kind.path(text("namespace"), text("name"))).unwrap_or_default();
    Request { user: "somebody".into(), path, content_type: "application/json".into(), ..Request::default() }
}

fn delete(full: &str, object: &Value) -> Request {
    Request { method: "DELETE".into(), ..request(full, object) }
}

fn patch(full: &str, object: &Value, body: Value) -> Request {
    Request {
        method: "PATCH".into(),
        content_type: "application/merge-patch+json".into(),
        body: Some(body),
        ..request(full, object)
    }
}
