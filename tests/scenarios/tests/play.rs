//! The runner and the expectations, on a stage made of a few objects whose clock is a number.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::{future::Future, pin::pin, task::Poll};

use bascule_scenarios::{Action, Author, Call, Dialect, Expect, History, Kind, Scenario, Sight, Stage, parse, play, words};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A Release that gets ready at a moment, and a server that refuses one Service.
struct Toy {
    author: Author,
    now: Timestamp,
    ready_at: Timestamp,
    done: Vec<String>,
}

impl Toy {
    fn new(scenario: &Scenario, ready_after: i64) -> Self {
        let author = Author::new(&scenario.shape, "shop", Dialect::Annotations);
        let now = Timestamp::UNIX_EPOCH;
        Self { author, now, ready_at: now + SignedDuration::from_secs(ready_after), done: Vec::new() }
    }

    fn release(&self) -> Value {
        let ready = if self.now >= self.ready_at { "True" } else { "False" };
        json!({
            "metadata": {"name": "web", "generation": 2, "resourceVersion": "7"},
            "status": {
                "observedGeneration": 2,
                "active": {"version": "v1", "track": "blue", "revision": "abc", "workloads": [{"name": "web"}]},
                "rejected": [{"version": "v0", "reason": "Aborted", "message": "Abort by ada: errors"}],
                "conditions": [{"type": "Ready", "status": ready, "reason": "Settled", "message": "v1 is active on blue"}],
            },
        })
    }
}

impl Stage for Toy {
    async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        for call in self.author.calls(action)? {
            anyhow::ensure!(!call.path.ends_with("/forbidden"), "services \"forbidden\" is forbidden: by policy");
            self.done.push(format!("{} {} {}", call.method, call.target(), call.body.unwrap_or_default()));
        }
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<Sight> {
        let mut sight = self.author.sight();
        sight.add(&Kind::named("Release")?, [self.release()]);
        let service = json!({"metadata": {"name": "web", "resourceVersion": self.now.as_second().to_string()},
            "spec": {"selector": {"app": "web", "bascule.dev/track": "blue"}}});
        sight.add(&Kind::named("Service")?, [service]);
        let deployment = json!({"metadata": {"name": "web-blue", "generation": 3, "resourceVersion": self.now.as_second().to_string()},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "r.example/web:v1"}]}}}, "status": {"availableReplicas": 1}});
        sight.add(&Kind::named("Deployment")?, [deployment]);
        Ok(sight)
    }

    async fn pause(&mut self) {
        self.now += SignedDuration::from_secs(1);
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

/// The toy never waits, so its futures are ready at once.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the toy does not wait"),
    }
}

fn told(steps: &str, ready_after: i64) -> (Result<String, String>, Vec<String>) {
    let scenario =
        parse(&format!("name: a-story\nshape: {{made: []}}\nsteps:\n{steps}")).unwrap_or_else(|e| panic!("{e:#}")).remove(0);
    let mut toy = Toy::new(&scenario, ready_after);
    let outcome = now_or_never(play(&scenario, &mut toy));
    (outcome.map(|report| report.to_string()).map_err(|error| format!("{error:#}")), toy.done)
}

fn holds(expect: &str) -> Result<(), String> {
    told(&format!("- stays: {expect}\n  for: 0s"), 0).0.map(|_| ())
}

#[test]
fn it_waits_and_reports_when_each_step_was_done() {
    let (report, _) = told("- until: {ready: true}\n- stays: {active: v1}\n  for: 5s", 10);
    let report = report.unwrap();
    assert!(report.contains("   10000 ms  {\"until\":{\"ready\":true}}"), "{report}");
    assert!(report.contains("   15000 ms  {\"for\":\"5s\",\"stays\":{\"active\":\"v1\"}}"), "{report}");
}

#[test]
fn what_does_not_come_in_time_is_told_with_all_that_is_seen() {
    let (report, _) = told("- want: {version: v1}\n- until: {ready: true, candidate: v2}\n  within: 20s", 30);
    let error = report.unwrap_err();
    for part in [
        "a-story: step 2 failed",
        "not within 20s",
        "- Ready: expected True, seen False",
        "- candidate: expected v2, seen none",
        "{\"want\":{\"version\":\"v1\"}}",
        "Release web: active v1 on blue, candidate none",
        "Deployment web-blue: 1 of 2 available, r.example/web:v1",
    ] {
        assert!(error.contains(part), "{part:?} is missing:\n{error}");
    }
}

#[test]
fn what_does_not_stay_is_told_with_the_moment() {
    let (report, _) = told("- stays: {ready: false}\n  for: 30s", 12);
    let error = report.unwrap_err();
    assert!(
        error.contains("it did not stay so for 30s, after 12000 ms") && error.contains("Ready: expected False, seen True"),
        "{error}"
    );
}

#[test]
fn the_server_may_have_to_refuse() {
    let allowed = told("- service: {name: forbidden}", 0).0.unwrap_err();
    assert!(allowed.contains("by policy"), "{allowed}");
    told("- {service: {name: forbidden}, refused: by policy}", 0).0.unwrap();
    let other = told("- {service: {name: forbidden}, refused: by law}", 0).0.unwrap_err();
    assert!(other.contains("it must be refused with \"by law\""), "{other}");
    let let_in = told("- {service: {name: web}, refused: by policy}", 0).0.unwrap_err();
    assert!(let_in.contains("it was let in"), "{let_in}");
    told("- {service: {name: forbidden}, maybe: true}", 0).0.unwrap();
}

#[test]
fn unchanged_means_since_the_mark() {
    let story = "- mark: here\n- until: {ready: true}\n- stays: {unchanged: [Release/web, Deployment/web-blue]}\n  for: 0s";
    told(story, 3).0.unwrap();
    let error = told(&story.replace("Deployment/web-blue", "Service/web"), 3).0.unwrap_err();
    assert!(error.contains("Service/web was to stay at \"0\", it is \"3\""), "{error}");
}

#[test]
fn revisions_of_the_status_stand_in_texts() {
    let (outcome, done) =
        told("- write: {kind: Service, name: web, merge: {metadata: {annotations: {r: $(active.revision)}}}}", 0);
    outcome.unwrap();
    assert_eq!(
        done,
        [r#"PATCH /api/v1/namespaces/shop/services/web?fieldManager=somebody {"metadata":{"annotations":{"r":"abc"}}}"#]
    );
    let error = told("- write: {kind: Service, name: web, merge: {r: $(candidate.revision)}}", 0).0.unwrap_err();
    assert!(error.contains("status has no candidate"), "{error}");
}

#[test]
fn each_expectation_can_hold_and_can_fail() {
    for (good, bad) in [
        ("{active: v1}", "{active: v2}"),
        ("{track: blue}", "{track: green}"),
        ("{previous: none}", "{previous: v1}"),
        ("{ready: true}", "{ready: false}"),
        ("{reason: Settled}", "{reason: Rejected}"),
        ("{message: on blue}", "{message: on green}"),
        ("{conditions: {Ready: True Settled}}", "{conditions: {Ready: True Other}}"),
        ("{rejected: {v0: Aborted}}", "{rejected: {}}"),
        ("{rejectedSays: {v0: errors}}", "{rejectedSays: {v1: errors}}"),
        ("{selected: {web: blue}}", "{selected: {web: green}}"),
        ("{preview: {web: none}}", "{preview: {web: blue}}"),
        ("{replicas: {web-blue: 2, web-green: 0}}", "{replicas: {web-blue: 1}}"),
        ("{available: {web-blue: 1}}", "{available: {web-blue: 2}}"),
        ("{image: {web-blue: ':v1'}}", "{image: {web-blue: ':v2'}}"),
        ("{answered: true, operations: 0}", "{operations: 1}"),
        ("{exists: [Service/web]}", "{exists: [Service/api]}"),
        ("{gone: [Service/api]}", "{gone: [Service/web]}"),
        ("{fields: {Service/web/spec/selector/bascule.dev~1track: blue}}", "{fields: {Service/web/spec/type: x}}"),
        ("{settled: v1}", "{settled: v2}"),
        ("{rests: true}", "{notes: [Settled]}"),
        ("{}", "{step: Baking}"),
        ("{}", "{outcome: Done}"),
        ("{}", "{answer: nothing}"),
        ("{}", "{candidateSays: nothing}"),
        ("{}", "{statusReplicas: 1}"),
    ] {
        holds(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        assert!(holds(bad).is_err(), "{bad} holds");
    }
}

#[test]
fn a_slip_of_the_pen_is_told_with_its_place() {
    for (story, part) in [
        ("- until: {actve: v1}", "unknown field `actve`"),
        ("- wnat: {version: v1}", "wnat"),
        ("- {until: {active: v1}, for: 3s}", "a step has nothing called for"),
        ("- want: {version: v1, pods: sleepy}", "sleepy"),
        ("- stays: {}\n  for: 3 seconds", "is not a duration"),
        ("- service: {name: web}\n  want: {version: v1}", "service, want"),
    ] {
        let error = format!("{:#}", parse(&format!("name: slip\nsteps:\n{story}")).unwrap_err());
        assert!(error.contains("(slip)") && error.contains(part), "{story}: {error}");
    }
}

fn write(method: &'static str, path: &str, content_type: &'static str, body: Value) -> Call {
    Call { method, path: path.into(), query: [].into(), content_type, body: Some(body) }
}

#[test]
fn writes_have_short_names() {
    let apply = "application/apply-patch+yaml";
    let merge = "application/merge-patch+json";
    let deployments = "/apis/apps/v1/namespaces/shop/deployments/web-green";
    let service = "/api/v1/namespaces/shop/services/web";
    let mut dry_run = write("PATCH", deployments, apply, json!({}));
    dry_run.query.insert("dryRun".into(), "All".into());
    let route = json!({"metadata": {"annotations": {"bascule.dev/track": "green"}}});
    let preview = json!({"metadata": {"labels": {"bascule.dev/preview-of": "web"}}});
    for (call, expected) in [
        (dry_run, "dry-run web-green"),
        (write("PATCH", deployments, apply, json!({})), "apply web-green"),
        (write("PATCH", deployments, merge, json!({"spec": {"replicas": 0}})), "scale web-green 0"),
        (write("DELETE", deployments, "", Value::Null), "delete web-green"),
        (write("PATCH", service, apply, route), "route web green"),
        (write("PATCH", service, merge, json!({"spec": {"selector": {"bascule.dev/track": "blue"}}})), "select web blue"),
        (write("PATCH", "/api/v1/namespaces/shop/services/web-preview", apply, preview), "preview web-preview"),
        (write("PATCH", "/apis/bascule.dev/v1alpha1/namespaces/shop/releases/web/status", apply, json!({})), "status"),
        (
            write("PATCH", "/apis/bascule.dev/v1alpha1/namespaces/shop/operations/op-001/status", apply, json!({})),
            "answer op-001",
        ),
        (write("DELETE", "/apis/bascule.dev/v1alpha1/namespaces/shop/operations/op-001", "", Value::Null), "prune op-001"),
        (write("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", "", json!({"reason": "Settled"})), "event Settled"),
    ] {
        assert_eq!(words(&call).as_deref(), Some(expected));
    }
    assert_eq!(words(&write("GET", service, "", Value::Null)), None);
}

#[test]
fn a_history_is_counted_ordered_and_compared() {
    let writes: Vec<_> = ["dry-run web-green", "status", "event Started", "apply web-green", "route web green", "status"]
        .map(str::to_owned)
        .into();
    let unmet = |text: &str| serde_yaml_ng::from_str::<History>(text).unwrap().unmet(&writes);
    for good in [
        "{writes: {atMost: 5}, events: {atMost: 1}}",
        "{writes: {atLeast: 5}}",
        "{order: [status, apply, route web green, status]}",
        "{exactly: [dry-run, status, apply, route, status]}",
        "{never: [scale, route web blue]}",
    ] {
        assert_eq!(unmet(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "{writes: {atMost: 4}}",
        "{events: {atMost: 0}}",
        "{writes: {atLeast: 6}}",
        "{order: [route, apply]}",
        "{exactly: [dry-run, status]}",
        "{never: [route]}",
    ] {
        assert!(unmet(bad).last().is_some_and(|told| told.starts_with("the writes were: ")), "{bad}");
    }
}

#[test]
fn a_release_that_is_gone_has_no_expectations_left_but_that() {
    let sight = Sight::new("web");
    assert_eq!(Expect { rests: Some(true), ..Expect::default() }.unmet(&sight), Vec::<String>::new());
    assert!(!Expect { ready: Some(true), ..Expect::default() }.unmet(&sight).is_empty());
}
