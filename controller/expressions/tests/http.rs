//! Conditions over the answer to a request, as people write them for http and webhook gates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::time::Duration;

use bascule_expressions::{Body, Expression, Headers, Kind, MAX_BODY, Values};

const HEALTH: &str = r#"{"status": "UP", "version": "1.22.0", "errors": 50, "total": 100, "ratio": 1, "ready": true, "note": null,
    "checks": [{"name": "db", "up": true, "ms": 12}, {"name": "queue", "up": false, "ms": 3.5}], "tags": ["blue", "eu"], "content-type": 1}"#;

fn values(status: u16, body: &str) -> Values {
    let headers: Headers =
        [("Content-Type", "application/json; charset=utf-8"), ("VARY", "a"), ("vary", "b"), ("X-Version", "v1.22.0")]
            .into_iter()
            .collect();
    Values::http(status, headers, Body::new(body.as_bytes()), Duration::from_millis(320))
}

fn holds(text: &str) -> bool {
    Expression::parse(text, Kind::Http).unwrap().evaluate(&values(200, HEALTH)).unwrap()
}

fn fails(text: &str, values: &Values) -> String {
    Expression::parse(text, values.kind()).unwrap().evaluate(values).unwrap_err().to_string()
}

#[test]
fn the_condition_of_the_handbook_holds() {
    let expression = Expression::parse("status == 200 && body.contains('ok')", Kind::Http).unwrap();
    assert_eq!(expression.evaluate(&values(200, "all is ok")), Ok(true));
    assert_eq!(expression.evaluate(&values(503, "all is ok")), Ok(false));
    assert_eq!(expression.evaluate(&values(200, "no")), Ok(false));
}

#[test]
fn the_status_is_an_int() {
    assert!(holds("status >= 200 && status < 300"));
    assert!(holds("status in [200, 204]"));
    assert!(holds("status / 100 == 2"));
}

#[test]
fn latency_is_a_duration_and_reads_well() {
    assert!(holds("latency < duration('500ms')"));
    assert!(!holds("latency < duration('0.3s')"));
    assert!(holds("latency >= duration('320ms') && latency <= duration('320ms')"));
    assert!(holds("latency.getMilliseconds() == 320 && latency.getSeconds() == 0"));
    assert!(holds("latency + duration('1s') < duration('1m')"));
}

#[test]
fn headers_have_small_names_and_all_their_values() {
    assert!(holds("headers['content-type'].startsWith('application/json')"));
    assert!(holds("headers.vary == 'a, b'"));
    assert!(holds("'x-version' in headers && !('x-other' in headers)"));
    assert!(holds("has(headers.vary) && !has(headers.nothing)"));
    assert!(holds("headers['x-version'].matches('^v[0-9]+\\\\.22\\\\.')"));
    assert!(holds(r"headers['x-version'].matches(r'^v\d+\.\d+\.\d+$')"));
    assert!(holds("headers.exists(name, name.startsWith('x-'))"));
}

#[test]
fn json_is_read_as_it_is_written() {
    assert!(holds("json.status == 'UP' && json.ready"));
    assert!(holds("json['content-type'] == 1"));
    assert!(holds("json.checks[0].name == 'db' && json.checks[1].up == false"));
    assert!(holds("json.note == null && has(json.note) && !has(json.missing)"));
    assert!(holds("json.checks.size() == 2 && size(json.tags) == 2"));
    assert!(holds("json.tags == ['blue', 'eu'] && 'eu' in json.tags && 'version' in json"));
    assert!(holds("json.checks.exists(c, c.name == 'db' && c.up) && !json.checks.all(c, c.up)"));
    assert!(holds("json.checks.filter(c, !c.up).map(c, c.name) == ['queue']"));
    assert!(holds("json.checks.exists_one(c, c.ms > 10)"));
    assert!(holds("json.checks.map(c, c.up, c.ms) == [12.0]"));
}

#[test]
fn numbers_in_json_are_doubles_so_that_no_division_cuts_off() {
    assert!(!holds("json.errors / json.total < 0.01"));
    assert!(holds("json.errors / json.total == 0.5"));
    assert!(holds("json.ratio * 2.0 == 2.0 && json.errors == 50 && json.errors > 49"));
    assert!(holds("int(json.errors) % 7 == 1 && string(json.errors) == '50'"));
    assert!(holds("json.checks[json.ratio].name == 'queue'"));
}

#[test]
fn a_body_that_is_not_json_is_an_error_only_for_those_who_ask_for_json() {
    let page = values(200, "<html>fine</html>");
    let asks = |text: &str| Expression::parse(text, Kind::Http).unwrap().evaluate(&page);
    assert_eq!(asks("status == 200 && body.contains('fine')"), Ok(true));
    assert_eq!(asks("status == 200 || json.ready"), Ok(true));
    assert_eq!(asks("status == 500 && json.ready"), Ok(false));
    assert_eq!(asks("json.ready && status == 500"), Ok(false));
    let error = fails("status == 200 && json.ready", &page);
    assert_eq!(error, "`json`: the body is not JSON: expected value at line 1 column 1 (at character 18)");
}

#[test]
fn an_empty_body_is_not_json_either() {
    assert!(fails("json == null", &values(204, "")).contains("the body is not JSON: EOF while parsing"));
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let health = values(200, HEALTH);
    assert_eq!(
        fails("json.healthy", &health),
        "`json.healthy`: there is no `healthy`, only `checks`, `content-type`, `errors`, `note`, `ratio`, `ready`, and 4 more (at character 1)"
    );
    assert_eq!(
        fails("json.checks[0].uptime > 5", &health),
        "`json.checks[0].uptime`: there is no `uptime`, only `ms`, `name` and `up` (at character 1)"
    );
    assert_eq!(fails("json.checks[2].up", &health), "`json.checks[2]`: there is no element 2 in a list of 2 (at character 1)");
    assert_eq!(
        fails("json.status.code == 1", &health),
        "`json.status.code`: there is no `code` in the string \"UP\" (at character 1)"
    );
    assert_eq!(fails("json.note.text == ''", &health), "`json.note.text`: there is no `text` in null (at character 1)");
    assert_eq!(
        fails("headers['x-build'] == '5'", &health),
        "`headers['x-build']`: the answer has no header `x-build` (at character 1)"
    );
    assert_eq!(
        fails("json.anything == 1", &values(200, "{}")),
        "`json.anything`: there is no `anything`, the object is empty (at character 1)"
    );
}

#[test]
fn what_is_not_true_or_false_says_what_it_is() {
    let health = values(200, HEALTH);
    assert_eq!(fails("json.status", &health), "`json.status`: this is the string \"UP\", and not true or false (at character 1)");
    assert_eq!(
        fails("status == 200 && json.errors", &health),
        "`json.errors`: this is the double 50, and not true or false (at character 18)"
    );
    assert_eq!(
        fails("json.version > 1", &health),
        "`json.version > 1`: `>` between the string \"1.22.0\" and the int 1 (at character 1)"
    );
}

#[test]
fn a_body_that_was_not_read_to_its_end_is_neither_this_nor_that() {
    let long = values(200, &"x".repeat(MAX_BODY + 1));
    assert_eq!(
        fails("!body.contains('error')", &long),
        "`body`: the body has more than 65536 bytes, and is not read to its end (at character 2)"
    );
    assert!(fails("json.ok", &long).contains("more than 65536 bytes"));
    assert_eq!(Expression::parse("status == 200", Kind::Http).unwrap().evaluate(&long), Ok(true));
    let longest = values(200, &"x".repeat(MAX_BODY));
    assert_eq!(Expression::parse("size(body) == 65536", Kind::Http).unwrap().evaluate(&longest), Ok(true));
}

#[test]
fn a_body_in_another_encoding_is_read_as_far_as_it_goes() {
    let latin = Values::http(200, Headers::default(), Body::new(b"gr\xfcn ok"), Duration::ZERO);
    assert_eq!(Expression::parse("body.contains('ok')", Kind::Http).unwrap().evaluate(&latin), Ok(true));
    let marked = values(200, "\u{feff}{\"ok\": true}");
    assert_eq!(Expression::parse("json.ok", Kind::Http).unwrap().evaluate(&marked), Ok(true));
}

#[test]
fn a_webhook_has_all_but_the_latency() {
    let expression =
        Expression::parse("status == 200 && json.verdict == 'pass' && headers.server == 'x'", Kind::Webhook).unwrap();
    let answer = Values::webhook(200, [("Server", "x")].into_iter().collect(), Body::new(br#"{"verdict": "pass"}"#));
    assert_eq!(expression.evaluate(&answer), Ok(true));
    let error = Expression::parse("latency < duration('1s')", Kind::Webhook).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a webhook gate has no `latency`, only `status`, `headers`, `body` and `json` (at character 1)"
    );
}

#[test]
fn an_answer_of_another_gate_is_an_error() {
    let expression = Expression::parse("status == 200", Kind::Http).unwrap();
    let error = expression.evaluate(&Values::scalar(1.0)).unwrap_err();
    assert_eq!(error.to_string(), "an expression of a http gate, and an answer of a prometheus gate");
}

#[test]
fn facts_say_what_the_condition_has_looked_at() {
    let facts = |text: &str| Expression::parse(text, Kind::Http).unwrap().facts(&values(503, HEALTH));
    assert_eq!(
        facts("status == 200 && json.checks[0].up && json.status != 'DOWN'"),
        "`status` is 503, `json.checks[0].up` is true, `json.status` is \"UP\""
    );
    assert_eq!(facts("latency < duration('100ms')"), "`latency` is 0.32s");
    assert_eq!(
        facts("headers['x-build'] == '5' || json.checks.exists(c, c.ms > status)"),
        "`headers['x-build']`: the answer has no header `x-build`, `json.checks` is a list of 2, `status` is 503"
    );
    assert_eq!(facts("1 == 1"), "");
    let long = Expression::parse("body == 'x'", Kind::Http).unwrap().facts(&values(200, &"line\n".repeat(100)));
    assert_eq!(long.chars().count(), "`body` is \"\"".len() + 60 + 12 + 1, "{long}");
    assert!(!long.contains('\n') && long.ends_with("…\""));
}

#[test]
fn expressions_are_equal_if_their_texts_are() {
    let parse = |text: &str, kind| Expression::parse(text, kind).unwrap();
    assert_eq!(parse("status == 200", Kind::Http), parse("status == 200", Kind::Http));
    assert_ne!(parse("status == 200", Kind::Http), parse("status == 200", Kind::Webhook));
    assert_ne!(parse("status == 200", Kind::Http), parse("status==200", Kind::Http));
    assert_eq!(format!("{:?}", parse("status == 200", Kind::Http)), r#"Expression("status == 200", Http)"#);
    assert_eq!(parse("status == 200", Kind::Http).to_string(), "status == 200");
}

#[test]
fn an_expression_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&Expression::parse("status == 200", Kind::Http).unwrap());
    shared(&values(200, ""));
}
