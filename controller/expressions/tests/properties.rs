//! Whatever is written and whatever is answered: an answer or one line of words, the same each time, and no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::time::Duration;

use bascule_expressions::{Body, Expression, Headers, Kind, Sample, Values, check_query};
use proptest::prelude::*;

/// Pieces that make a text likely to get far.
const PIECES: &[&str] = &[
    "status",
    "headers",
    "body",
    "json",
    "latency",
    "value",
    "values",
    "samples",
    "x",
    "true",
    "false",
    "null",
    "0",
    "1",
    "-1",
    "200",
    "9223372036854775807",
    "1.5",
    "1e308",
    "0x7f",
    "'a'",
    "\"ok\"",
    "r'\\d+'",
    "'''x'''",
    "''",
    "'\\u00e9'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    ".",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    " in ",
    ".all(x, ",
    ".exists(x, ",
    ".exists_one(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".size()",
    "size(",
    "int(",
    "double(",
    "string(",
    "bool(",
    "duration(",
    "dyn(",
    "has(json.a)",
    ".contains(",
    ".startsWith(",
    ".endsWith(",
    ".matches('a*')",
    ".getSeconds()",
    ".a",
    ".b",
    "[0]",
    "['a']",
    "duration('1s')",
    " ",
    "\n",
    "// c\n",
    "1u",
    "b''",
    "=",
    "\u{e9}",
    "\u{0}",
    "'",
    "\"",
    "\\",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat()),
        ".{0,80}",
        nested(),
    ]
}

/// Grammatical texts, most of which pass the check.
fn nested() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "status",
        "body",
        "json",
        "json.a",
        "json.b",
        "json.l",
        "latency",
        "headers",
        "headers.a",
        "true",
        "false",
        "null",
        "1",
        "0",
        "2.5",
        "-1",
        "9223372036854775807",
        "'a'",
        "''",
        "[]",
        "[1, 2]",
        "['a']",
        "{}",
        "{'a': 1}",
        "dyn(1)",
        "dyn('a')",
        "dyn([1])",
        "dyn(null)",
        "duration('1s')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 48, 3, |inner| {
        let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||", "in"]);
        let function = prop::sample::select(vec!["size", "int", "double", "string", "bool", "duration", "dyn", "!", "-"]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            2 => (function, inner.clone()).prop_map(|(function, of)| format!("{function}({of})")),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(of, method, with)| format!("{of}.{method}({with})")),
            2 => (inner.clone(), each, inner.clone()).prop_map(|(of, each, body)| format!("{of}.{each}(x, {body})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(of, index)| format!("{of}[{index}]")),
            1 => inner.clone().prop_map(|of| format!("dyn({of}).a")),
            1 => inner.prop_map(|of| format!("[{of}, dyn(x), {of}]").replace("dyn(x)", "dyn(0)")),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(
            br#"{"a": 1, "b": "x", "l": [1, null, {"a": true}], "big": 1e308, "neg": -5, "long": 12345678901234567890}"#.to_vec()
        ),
        Just(b"[]".to_vec()),
        Just(b"not json".to_vec()),
        Just([b'['; 200].to_vec()),
        prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn values() -> impl Strategy<Value = Values> {
    let headers =
        || prop::collection::vec(("[A-Za-z-]{0,8}", ".{0,12}"), 0..4).prop_map(|pairs| pairs.into_iter().collect::<Headers>());
    prop_oneof![
        (any::<u16>(), headers(), body(), any::<u64>()).prop_map(|(status, headers, body, nanos)| Values::http(
            status,
            headers,
            Body::new(&body),
            Duration::from_nanos(nanos)
        )),
        (any::<u16>(), headers(), body()).prop_map(|(status, headers, body)| Values::webhook(status, headers, Body::new(&body))),
        any::<f64>().prop_map(Values::scalar),
        prop::collection::vec((".{0,8}", any::<f64>()), 0..4).prop_map(|samples| {
            Values::vector(samples.into_iter().map(|(label, value)| Sample { labels: [("a".to_owned(), label)].into(), value }))
        }),
    ]
}

/// One line, not empty, and not longer than a status can show.
fn is_a_line(words: &str) -> bool {
    !words.is_empty() && !words.chars().any(char::is_control) && words.chars().count() < 1024
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_text_is_an_expression_or_a_line_that_says_why_not(text in text()) {
        for kind in [Kind::Http, Kind::Webhook, Kind::Prometheus] {
            let first = Expression::parse(&text, kind);
            prop_assert_eq!(&first, &Expression::parse(&text, kind));
            if let Err(error) = first {
                prop_assert!(is_a_line(&error.to_string()), "{}", error);
            }
        }
    }

    #[test]
    fn every_answer_gives_a_verdict_or_a_line_that_says_why_not(text in text(), values in values()) {
        if let Ok(expression) = Expression::parse(&text, values.kind()) {
            let verdict = expression.evaluate(&values);
            prop_assert_eq!(&verdict, &expression.clone().evaluate(&values));
            if let Err(error) = verdict {
                prop_assert!(is_a_line(&error.to_string()), "{}", error);
            }
            let facts = expression.facts(&values);
            prop_assert!(facts.is_empty() || is_a_line(&facts), "{}", facts);
        }
    }

    #[test]
    fn every_query_is_taken_or_answered_with_a_line(text in query()) {
        if let Err(error) = check_query(&text) {
            prop_assert!(is_a_line(&error.to_string()), "{}", error);
        }
    }
}

fn query() -> impl Strategy<Value = String> {
    let pieces: &[&str] = &[
        "x",
        "http_requests_total",
        "job:x:rate5m",
        "sum",
        "rate",
        "topk",
        "count_values",
        "histogram_quantile",
        "label_replace",
        "info",
        "time",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "[5m]",
        "[5m:1m]",
        "[5m:]",
        "{a=\"b\"}",
        "{a=~\"b.*\"}",
        "{\"x.y\"}",
        "a=",
        "=~",
        "!~",
        "!=",
        "==",
        " offset 5m",
        " @ start()",
        " @ 5",
        " by (a) ",
        " without (a) ",
        " on (a) ",
        " ignoring (a) ",
        " group_left(b) ",
        " bool ",
        " and ",
        " or ",
        " unless ",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "<",
        ">=",
        "atan2",
        "1",
        "0.5",
        "5m",
        "1h30m",
        "NaN",
        "Inf",
        "0x1f",
        "1_000",
        "\"a\"",
        "'b'",
        "`c`",
        "\"\\x41\"",
        ",",
        ":",
        " ",
        "\n",
        "# c\n",
        "\u{e9}",
        "$x",
        "\"",
        "\\",
        "step()",
        " anchored",
        " smoothed",
        " fill(0) ",
        "(((((",
    ];
    let pieces = pieces.to_vec();
    prop_oneof![prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat()), ".{0,80}"]
}
