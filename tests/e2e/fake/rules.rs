//! What the API server refuses, with a sentence that a person can act on: every rule of the CRDs.

use bascule_tests::{Behaviour, Stage};
use serde_json::Value;

use super::bed;

/// A change to a good spec, by JSON pointer, and what the refusal says.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("no workload", "/workloads", "[]", "should have at least 1 items"),
    ("a name twice", "/services", r#"[{"name":"web"},{"name":"web"}]"#, "duplicate entries for key"),
    ("a workload name that is no DNS label", "/workloads/0/name", r#""Web_1""#, "should match"),
    (
        "a workload name that is too long",
        "/workloads/0/name",
        r#""a23456789012345678901234567890123456789012345""#,
        "may not be more than 40 bytes",
    ),
    ("an artifact name that is no DNS label", "/artifacts/0/name", r#""a.b""#, "should match"),
    ("an empty image", "/artifacts/0/image/ref", r#""""#, "at least 1 chars long"),
    ("an unknown way to resolve", "/artifacts/0/image/resolve", r#""Sometimes""#, "supported values: \"Always\", \"Never\""),
    ("a duration without a unit", "/strategy/bake", r#""30""#, "should match"),
    ("a negative duration", "/strategy/progressDeadline", r#""-5m""#, "should match"),
    ("a duration in weeks", "/strategy/scaleDownDelay", r#""1w""#, "should match"),
    ("an unknown way to supersede", "/strategy/onSupersede", r#""Maybe""#, "supported values: \"Replace\", \"Wait\""),
    ("negative replicas", "/workloads/0/replicas", "-1", "greater than or equal to 0"),
    ("replicas that nothing takes", "/replicas", "3", "remove replicas from at least one of spec.workloads"),
    ("a template that is no object", "/workloads/0/template", r#""x""#, "expected map"),
    (
        "a gate that asks nothing",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a"}]}"#,
        "exactly one of http, prometheus, job and webhook",
    ),
    (
        "a gate that asks two things",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a","http":{"service":"web"},"job":{"template":{}}}]}"#,
        "exactly one of http, prometheus, job and webhook",
    ),
    (
        "a request to nobody",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a","http":{"path":"/"}}]}"#,
        "either to a service or to a workload",
    ),
    (
        "a request to a workload without a port",
        "/gates",
        r#"{"afterSwitch":[{"name":"a","http":{"workload":"web"}}]}"#,
        "a workload has no port of its own",
    ),
    (
        "samples without a pause",
        "/gates",
        r#"{"afterSwitch":[{"name":"a","http":{"service":"web"},"interval":"10ms"}]}"#,
        "interval is at least 1s",
    ),
    (
        "a request that may take an hour",
        "/gates",
        r#"{"afterSwitch":[{"name":"a","http":{"service":"web","timeout":"1h"}}]}"#,
        "a request takes at most 1m",
    ),
    (
        "a job that is repeated",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a","job":{"template":{}},"successes":2}]}"#,
        "a job runs once",
    ),
    (
        "a token for the Environment's Prometheus",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a","prometheus":{"query":"up","expect":"value > 0.0","secret":"s"}}]}"#,
        "secret is for an address of its own",
    ),
    (
        "an address with a password in it",
        "/gates",
        r#"{"beforeSwitch":[{"name":"a","prometheus":{"query":"up","expect":"value > 0.0","address":"http://a:b@p"}}]}"#,
        "should match",
    ),
    ("a hook without a job", "/hooks", r#"{"beforeStart":[{"name":"a"}]}"#, "Required value"),
    (
        "two hooks of one name",
        "/hooks",
        r#"{"beforeStart":[{"name":"a","job":{"template":{}}},{"name":"a","job":{"template":{}}}]}"#,
        "duplicate entries for key",
    ),
    ("no history", "/history", "0", "greater than or equal to 1"),
    ("an unknown kind to restart on", "/restartOn", r#"["Pods"]"#, "supported values: \"ConfigMaps\", \"Secrets\""),
    (
        "an unknown way to make way",
        "/workloads/0/strategy",
        r#"{"type":"Rolling"}"#,
        "supported values: \"BlueGreen\", \"Recreate\"",
    ),
    (
        "a Service name that is too long",
        "/services",
        r#"[{"name":"a234567890123456789012345678901234567890123456789012345678"}]"#,
        "may not be more than 55 bytes",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_refuses_what_it_should() {
    let stage = Stage::new(&bed(), "rules").await;
    let good = stage.spec("v1", Behaviour::Ready, 2);
    stage.try_release("good", &good).await.expect("the good spec is good");
    for (what, pointer, value, expected) in REFUSED {
        let mut spec = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        spec.pointer_mut(parent).unwrap()[key] = value;
        let error = stage.try_release("bad", &spec).await.err().unwrap_or_else(|| panic!("{what} was let in")).to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_name_that_is_no_label_value_is_refused() {
    let stage = Stage::new(&bed(), "long-name").await;
    let name = "a".repeat(64);
    let error = stage.try_release(&name, &stage.spec("v1", Behaviour::Ready, 2)).await.unwrap_err().to_string();
    assert!(error.contains("at most 63 characters"), "{error}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_cannot_be_changed() {
    let stage = Stage::settled(&bed(), "immutable").await;
    let name = stage.operate("Abort", "first").await;
    let (changed, text) = stage.bed.kubectl(
        &["patch", "operation", &name, "-n", &stage.namespace, "--type=merge", "-p", r#"{"spec":{"note":"second"}}"#],
        None,
    );
    assert!(!changed && text.contains("cannot be changed"), "{text}");
    stage.end().await;
}
