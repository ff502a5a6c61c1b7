//! Bounds: how many steps hostile texts and answers cost, and how much stack. What can be seen from outside is in `tests/`.

use std::time::Duration;

use super::*;

fn answer(body: &str) -> Values {
    Values::http(200, Headers::default(), Body::new(body.as_bytes()), Duration::from_millis(120))
}

fn steps(text: &str, values: &Values) -> (Result<bool, EvaluationError>, u64) {
    Expression::parse(text, values.kind()).unwrap_or_else(|error| panic!("{text}: {error}")).measured(values)
}

/// As many elements as fit into a body.
fn long_list() -> Values {
    let elements = vec!["1"; MAX_BODY / 2 - 1].join(",");
    answer(&format!("[{elements}]"))
}

#[test]
fn a_usual_condition_costs_a_handful_of_steps() {
    let (verdict, steps) = steps("status == 200 && body.contains('ok') && latency < duration('500ms')", &answer("all is ok"));
    assert_eq!(verdict, Ok(true));
    assert!(steps < 20, "{steps}");
}

#[test]
fn a_macro_over_the_longest_list_is_within_the_bound() {
    let (verdict, steps) = steps("json.all(x, x == 1)", &long_list());
    assert_eq!(verdict, Ok(true));
    assert!(steps < MAX_STEPS / 2, "{steps}");
}

#[test]
fn macros_within_each_other_end_at_the_bound() {
    let hostile = [
        "json.all(x, json.all(y, x == y))",
        "json.all(x, json.all(y, json.all(z, x + y + z > 0.0)))",
        "json.map(x, json.map(y, json.map(z, [x, y, z]))).size() > 0",
        "json.filter(x, json.exists(y, y == 2)).size() == 0",
        "json.exists_one(x, json.exists_one(y, false))",
        "json.all(x, 1/0 == 1 || json.all(y, 1/0 == 1))",
        "true || json.all(x, json.all(y, x == y)) || false",
    ];
    let values = long_list();
    for text in hostile {
        let (verdict, steps) = steps(text, &values);
        assert!(steps <= MAX_STEPS, "{text}: {steps}");
        if !text.starts_with("true") {
            assert!(verdict.unwrap_err().to_string().contains("1000000 steps"), "{text}");
        }
    }
}

#[test]
fn running_out_of_steps_is_not_outvoted() {
    let (verdict, _) = steps("json.all(x, json.all(y, x == y)) || true", &long_list());
    assert!(verdict.is_err());
}

#[test]
fn texts_are_weighed_by_their_length() {
    let body = "a".repeat(MAX_BODY);
    let list = format!("[{}]", vec!["1"; 2000].join(","));
    let hostile = [
        "[1, 2, 3].all(a, [1, 2, 3].all(b, body.contains(body)))",
        "body.matches('(a|aa)+$') && body.matches('(a?){50}(a){50}')",
        "body.matches('(.*)(.*)(.*)(.*)[^a]')",
        "[1, 2, 3, 4].all(x, body.matches('(((((((((a{2}){2}){2}){2}){2}){2}){2}){2}))$'))",
        "body + body == body + body",
        "size(body) > 0 && body < body + 'a'",
    ];
    for text in hostile {
        let (_, steps) = steps(text, &answer(&body));
        assert!((1024..=MAX_STEPS).contains(&steps), "{text}: {steps}");
    }
    let (verdict, steps) = steps(
        "json.all(x, headers['a'].matches('^(a|b|ab)*$'))",
        &Values::webhook(200, [("a", "ab".repeat(4096))].into_iter().collect(), Body::new(list.as_bytes())),
    );
    assert!(verdict.unwrap_err().to_string().contains("steps"));
    assert!(steps <= MAX_STEPS);
}

#[test]
fn texts_do_not_grow_without_end() {
    let doubled = format!("['{}']{}.size() == 1", "a".repeat(100), ".map(x, x + x)".repeat(25));
    let (verdict, _) = steps(&doubled, &answer(""));
    assert!(verdict.unwrap_err().to_string().contains("a text of"));
}

#[test]
fn what_is_kept_costs_more_than_what_is_looked_at() {
    let hostile = ["json.map(x, json.map(y, [x, y])) == []", "json.map(x, json + json) == []", "json.map(x, {'a': x}) == []"];
    for text in hostile {
        let (verdict, _) = steps(text, &long_list());
        assert!(verdict.unwrap_err().to_string().contains("steps"), "{text}");
    }
    let kept = format!("[{}].map(x, body + body + '') == []", ["1"; 40].join(", "));
    let (verdict, _) = steps(&kept, &answer(&"a".repeat(MAX_BODY)));
    assert!(verdict.unwrap_err().to_string().contains("steps"));
}

#[test]
fn lists_that_share_themselves_are_compared_within_the_bound() {
    // Each step doubles what is in it and costs the same: 2^28 elements on the way, if anybody looked at them all.
    let shared = format!("[1]{0} == [1]{0}", ".map(x, [x, x])".repeat(28));
    let (verdict, steps) = steps(&shared, &answer(""));
    assert!(verdict.unwrap_err().to_string().contains("steps"));
    assert!(steps <= MAX_STEPS);
}

#[test]
fn errors_that_are_dropped_cost_steps_too() {
    let (verdict, steps) = steps("json.exists(x, x.nothing == 1)", &long_list());
    assert!(verdict.is_err());
    assert!(steps > MAX_STEPS / 2, "{steps}");
}

/// Texts that are as deep as they can be, and much deeper, in every way there is.
fn deep(levels: usize) -> Vec<String> {
    let around = |open: &str, close: &str| format!("{}1{} == 1", open.repeat(levels), close.repeat(levels));
    vec![
        around("(", ")"),
        around("[", "]"),
        around("{'a': ", "}"),
        around("dyn(", ")"),
        around("true ? 1 : ", ""),
        around("[0][", "]"),
        around("1 || false && 1 < 1 + 1 * (", ")"),
        format!("{}true", "!".repeat(levels)),
        format!("{}json", "-".repeat(levels)),
        format!("1{} == 1", " + 1".repeat(levels)),
        format!("json{} == 1", ".a".repeat(levels)),
        format!("json{} == 1", "[0]".repeat(levels)),
        format!("true{}", " == true".repeat(levels)),
        format!("{}true{}", "[1].all(x, ".repeat(levels), ")".repeat(levels)),
        format!("[1]{} == [1]", ".map(x, [x])".repeat(levels)),
        "(".repeat(levels),
        "[".repeat(levels),
        "f(".repeat(levels),
        "!-".repeat(levels),
        "1 ? ".repeat(levels),
    ]
}

#[test]
fn depth_is_limited_in_every_direction_and_fits_a_small_stack() {
    let check = || {
        let nested = format!("{}{}", "[".repeat(120), "]".repeat(120));
        for levels in [1, 20, MAX_DEPTH, MAX_DEPTH + 1, 200, 1000] {
            for text in deep(levels) {
                if let Ok(expression) = Expression::parse(&text, Kind::Http) {
                    let _ = expression.evaluate(&answer("{}"));
                    let _ = expression.evaluate(&answer(&nested));
                    let _ = expression.facts(&answer(&nested));
                }
                assert!(levels <= MAX_DEPTH || Expression::parse(&text, Kind::Http).is_err(), "{text}");
            }
        }
    };
    // A third of what tokio gives its workers, in an unoptimised build.
    std::thread::Builder::new().stack_size(768 << 10).spawn(check).unwrap().join().unwrap();
}

#[test]
fn long_chains_of_conditions_are_not_deep() {
    let text = vec!["status == 200"; 120].join(" && ");
    assert_eq!(steps(&text, &answer("")).0, Ok(true));
    let text = vec!["status == 500"; 120].join(" || ");
    assert_eq!(steps(&text, &answer("")).0, Ok(false));
}

#[test]
fn a_text_has_a_length() {
    let long = format!("status == {}", " ".repeat(MAX_TEXT));
    let error = Expression::parse(&long, Kind::Http).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.place()), ("an expression has at most 2048 characters", None));
    // In characters, as the CRD counts.
    let umlauts = format!("body == '{}'", "ü".repeat(2030));
    assert!(Expression::parse(&umlauts, Kind::Http).is_ok());
}
