//! The fast path: an event in the queue makes a parameter be read now. The interval here is a minute, so what happens sooner came by it.

use bascule_tests::stage;
use serde_json::json;
use tokio::time::Instant;

use crate::Place;

fn event(name: &str) -> String {
    json!({
        "version": "0", "id": "00000000-0000-0000-0000-000000000000", "detail-type": "Parameter Store Change", "source": "aws.ssm",
        "account": "123456789012", "time": "2026-11-21T10:00:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:ssm:us-east-1:123456789012:parameter{name}")],
        "detail": {"operation": "Update", "name": name, "type": "String", "description": ""},
    })
    .to_string()
}

/// The controller listens to a queue of its own, and reads parameters once in a minute.
async fn place(name: &str) -> (Place, String) {
    let emulator = bascule_tests::aws::Emulator::of_bed();
    let queue = emulator.queue(&format!("{name}-{}", std::process::id())).await;
    let place = Place::with_arguments(name, json!({}), &["--event-queue", &queue]).await;
    place.put("shop/web:v0").await;
    place.release().await;
    place.stage.is_settled_on("v0").await;
    let slow = json!({"region": "us-east-1", "endpoint": place.line.url(), "pollInterval": "60s"});
    place.environment(json!({"aws": slow})).await;
    // The next round of the old interval is over.
    let asked = place.line.count("GetParameters");
    place.stage.eventually("it was asked", || async { (place.line.count("GetParameters") > asked).then_some(()) }).await;
    (place, queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_starts_a_candidate_at_once() {
    let (place, queue) = place("aws-event").await;
    let mut took = Vec::new();
    for build in 1..=7 {
        let began = Instant::now();
        place.put(&format!("shop/web:v{build}")).await;
        place.emulator.send(&queue, &event(&place.parameter())).await;
        let version = format!("v{build}");
        let has_begun = |it: &bascule_crds::ReleaseStatus| {
            stage::is_active(it, &version) || it.candidate.as_ref().is_some_and(|candidate| candidate.version == version)
        };
        place.stage.until("a candidate", has_begun).await;
        took.push(began.elapsed().as_millis());
        place.stage.is_settled_on(&version).await;
    }
    took.sort_unstable();
    println!(
        "put-parameter to candidate, with the queue: min {} ms, median {} ms, max {} ms (7 times)",
        took[0], took[3], took[6]
    );
    // The interval is a minute: seven releases within it did not come by polling.
    assert!(took.iter().sum::<u128>() < 40_000, "{took:?}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_twice_or_late_or_make_no_sense_do_no_harm() {
    let (place, queue) = place("aws-junk").await;
    let writes = || async { place.stage.status("web").await };
    let before = writes().await;
    for body in
        ["", "no JSON", "{}", r#"{"Service": "Amazon S3", "Event": "s3:TestEvent"}"#, &event("/somebody/elses"), &event("")]
    {
        if !body.is_empty() {
            place.emulator.send(&queue, body).await;
        }
    }
    for _ in 0..20 {
        place.emulator.send(&queue, &event(&place.parameter())).await;
    }
    let emulator = place.emulator.clone();
    place.stage.eventually("the queue is empty", || async { (emulator.waiting(&queue).await == 0).then_some(()) }).await;
    assert_eq!(writes().await, before, "nothing has changed, so nothing was written");
    place.put("shop/web:v1").await;
    for _ in 0..3 {
        place.emulator.send(&queue, &event(&place.parameter())).await;
    }
    place.stage.is_settled_on("v1").await;
    let metrics = place.stage.controller.get("/metrics").unwrap();
    assert!(metrics.contains(r#"bascule_hints_total{kind="ignored"} 4"#), "{metrics}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_queue_parameters_are_read_all_the_same() {
    let queue = "http://127.0.0.1:9/000000000000/nobody";
    let place = Place::with_arguments("aws-no-queue", json!({}), &["--event-queue", queue]).await;
    place.put("shop/web:v1").await;
    place.release().await;
    place.stage.is_settled_on("v1").await;
    place.put("shop/web:v2").await;
    place.stage.is_settled_on("v2").await;
    place.end().await;
}
