//! Queries of real dashboards and alerts, and mistakes that people make in them.
//!
//! The verdicts on all of them are those of promtool 2.42 and of the parser of Prometheus 3.16; what only the newer ones take stands apart,
//! and `holt_winters` is what only the older ones take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_expressions::{MAX_QUERY, Place, check_query};

const GOOD: &[&str] = &[
    "up",
    "1",
    "time() - 5",
    r#"sum(rate(http_requests_total{job="web",code=~"5.."}[5m])) / sum(rate(http_requests_total{job="web"}[5m]))"#,
    r#"sum by (code) (rate(http_requests_total{job="web"}[1m]))"#,
    "sum(rate(http_requests_total[5m])) by (job, instance)",
    "sum without (instance) (rate(http_requests_total[5m])) or vector(0)",
    r#"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{handler!="/metrics"}[5m])))"#,
    "histogram_quantile(0.9, sum(rate(request_duration_bucket[10m])) by (job, le)) > 0.5",
    "max_over_time(deriv(rate(distance_covered_total[5s])[30s:5s])[10m:])",
    "rate(http_requests_total[5m] offset 1w)",
    "http_requests_total offset -5m",
    r#"sum(http_requests_total{method="GET"} offset 5m)"#,
    "http_requests_total @ 1609746000",
    "rate(http_requests_total[5m] @ end() offset 5m)",
    "rate(http_requests_total[5m] offset 5m @ start())",
    "(node_memory_MemTotal_bytes - node_memory_MemFree_bytes) / node_memory_MemTotal_bytes * 100 > 90",
    r#"label_replace(up{job="api-server",service="a:c"}, "foo", "$1", "service", "(.*):.*")"#,
    r#"label_join(up, "foo", ",", "src1", "src2", "src3")"#,
    r#"method_code:http_errors:rate5m{code="500"} / ignoring(code) method:http_requests:rate5m"#,
    "method_code:http_errors:rate5m / ignoring(code) group_left method:http_requests:rate5m",
    r#"kube_pod_info * on (namespace, pod) group_left(node) kube_pod_labels{label_app="web"}"#,
    "a * on (x) group_right() b",
    r#"sum(kube_pod_status_ready{condition="true"}) == bool 3"#,
    "1 > bool 0",
    "up == 0 and on (instance) (time() - node_boot_time_seconds > 600)",
    r#"absent(up{job="web"}) or up{job="web"} == 0 unless on (job) maintenance"#,
    "topk(5, sum by (pod) (container_memory_working_set_bytes))",
    "bottomk by (app) (3, cpu)",
    r#"count_values("version", build_version)"#,
    "quantile(0.95, request_duration_seconds)",
    r#"predict_linear(node_filesystem_free_bytes{job="node"}[1h], 4 * 3600) < 0"#,
    r#"increase(errors_total{path!~"/health|/ready"}[1h30m])"#,
    "avg_over_time((rate(a[1m]) > 0)[1h:1m])",
    "clamp_max(sum(up) / 3, 1) > bool 0.5 or vector(1)",
    "sum(rate(errors_total[5m])) # all of them\n  / # of\n sum(rate(requests_total[5m]))",
    "-sum(x) ^ 2 % 3",
    "x * NaN or vector(NaN)",
    r#"{__name__=~"job:.*", env="prod"}"#,
    r#"{job=~".+"}"#,
    "SUM(up) BY (job)",
    "sum",
    r#"count{offset="x"} + by"#,
    "round(x, 0.1) + on() group_left() y",
    "day_of_week() == 5 and hour() > 16",
    r#"foo{a="b",}"#,
    r#"path{p=~"/items/{id}/.*"}"#,
    r#"path{p=~"[^/]+\\.js", q='it\'s', r=~`\d+`}"#,
    "holt_winters(x[5m], 0.5, 0.5)",
    "0x1F + 1e3 + .5 + 5. + Inf",
];

/// With the version that was the first to take them, some behind a feature flag.
const NEWER: &[&str] = &[
    r#"{"http.server.requests", "service.name"="web"}"#,                // 3.0
    r#"sum by ("service.name") (x)"#,                                   // 3.0
    "rate(x[300])",                                                     // 3.0
    "x offset 300",                                                     // 3.0
    "1_000_000 * x",                                                    // 2.5x
    "limitk(5, x) + limit_ratio(0.1, x)",                               // 2.54
    r#"sort_by_label(x, "pod")"#,                                       // 2.4x
    "double_exponential_smoothing(x[5m], 0.5, 0.5)",                    // 3.0
    r#"info(rate(http_requests_total[5m]), {k8s_cluster_name=~".*"})"#, // 3.0
    "histogram_avg(x) + mad_over_time(y[5m])",                          // 2.5x
    "rate(x[5m * 2]) + rate(x[max_of(step(), 1m)])",                    // 3.4
    "rate(x[5m] anchored) + rate(x[5m] smoothed)",                      // 3.7
    "a + on (x) fill_left(0) fill_right(1) b",                          // 3.10
    "ts_of_max_over_time(x[1h]) + first_over_time(x[1h])",              // 3.5
];

#[test]
fn what_prometheus_takes_is_taken() {
    for query in GOOD.iter().chain(NEWER) {
        assert_eq!(check_query(query), Ok(()), "{query}");
    }
}

#[test]
fn what_prometheus_refuses_is_refused_with_the_place_and_a_way_out() {
    let bad = [
        ("", "the query is empty (at character 1)"),
        ("sum(rate(x[5m])", "the query ends where `)` or `,` is expected (at character 16)"),
        ("sum(rate(x[5m])))", "`)` where the end, or an operator is expected (at character 17)"),
        ("rate(x)", "`rate` takes a range vector here, and `x` is an instant vector: write `x[5m]` (at character 6)"),
        (
            "rate(sum(x))",
            "`rate` takes a range vector here, and `sum(x)` is an instant vector: a subquery is one, `sum(x)[5m:]` (at character 6)",
        ),
        (
            "sum(x[5m])",
            "`sum` takes an instant vector here, and `x[5m]` is a range vector: wrap it, as in `rate(x[5m])` (at character 5)",
        ),
        ("rte(x[5m])", "there is no function `rte`; did you mean `rate`? (at character 1)"),
        ("summ(x)", "there is no function `summ`; did you mean `sum`? (at character 1)"),
        ("x{a=b}", "`b` where a value in quotes is expected (at character 5)"),
        ("x{a==\"b\"}", "labels are compared by `=` (at character 4)"),
        ("x{a=\"b\"", "the query ends where `,` or `}` is expected (at character 8)"),
        ("x{a=\"b\" c=\"d\"}", "`c` where `,` or `}` is expected (at character 9)"),
        ("x{a=~\"(b\"}", "not a valid pattern: a `(` that nothing closes (at character 6)"),
        ("x{a=~\"*.b\"}", "not a valid pattern: nothing before `*` to repeat (at character 6)"),
        (r#"x{a=~"\d"}"#, r"`\d` is no escape; in a pattern write `\\d`, or put it between backquotes (at character 7)"),
        ("{}", "a selector needs a metric, or a label that is not empty: this one selects everything (at character 1)"),
        ("{a=~\".*\"}", "a selector needs a metric, or a label that is not empty: this one selects everything (at character 1)"),
        ("x{__name__=\"y\"}", "the metric is named twice, before the braces and within (at character 3)"),
        ("x = 5", "`=` compares labels only: write `==` (at character 3)"),
        ("x >", "the query ends where a metric, a function or a number is expected (at character 4)"),
        ("1 == 1", "between two numbers write `== bool` (at character 3)"),
        ("x + bool y", "`bool` stands behind comparisons only (at character 5)"),
        ("1 and x", "`and` needs an instant vector on both sides (at character 3)"),
        ("x and on (a) group_left() y", "`group_left` knows no groups (at character 14)"),
        ("x + on (a) group_left(a) y", "the label `a` is both in `on` and in the group (at character 12)"),
        ("x[5m] offset 1h offset 2h", "`offset` is there twice (at character 17)"),
        (
            "rate(x[5m]) offset 1h",
            "`offset` stands right behind a selector or a subquery, and `rate(x[5m])` is not that (at character 1)",
        ),
        ("rate(x offset 1h [5m])", "a range stands before `offset` and `@`: `x[5m] offset 1h` (at character 18)"),
        ("sum(x)[5m]", "a range is for selectors; of anything else it is a subquery: `[5m:]` (at character 7)"),
        ("rate(x[5mm])", "`5mm` is neither a number nor a duration like `5m` or `1h30m` (at character 8)"),
        ("rate(x[30m1h])", "`30m1h`: the units of a duration go from large to small, each once (at character 8)"),
        ("rate(x[])", "`]` where a duration like `5m` is expected (at character 8)"),
        ("rate(x[0s])", "a duration of more than nothing is needed (at character 8)"),
        (
            "rate(x[$__rate_interval])",
            "`$` begins no name; variables of Grafana are not known here, and others must be replaced before (at character 8)",
        ),
        (
            "histogram_quantile(sum(rate(x[5m])), 0.9)",
            "`histogram_quantile` takes a number here, and `sum(rate(x[5m]))` is an instant vector: write `scalar(sum(rate(x[5m])))` (at character 20)",
        ),
        ("topk(x)", "`topk` takes a number and an instant vector, and here are 1 arguments (at character 1)"),
        ("label_replace(x, \"a\")", "`label_replace` takes 5 arguments, and here are 2 (at character 1)"),
        ("sum by job (x)", "`job` where labels in parentheses is expected (at character 8)"),
        ("http.requests", "a name with other characters than letters, digits and `_` is quoted: {\"http…\"} (at character 5)"),
        ("x && y", "`&` is no operator: write `and` (at character 3)"),
        ("!x", "`!` is followed by `=` or `~`; there is no `not`, see `unless` and `absent(…)` (at character 1)"),
        ("x;", "`;` does not end a query: nothing does (at character 2)"),
        ("'text' + x", "`'text'` beside an operator is a text (at character 1)"),
        ("-x[5m]", "a sign before `x[5m]`, which is a range vector (at character 1)"),
    ];
    for (query, words) in bad {
        assert_eq!(check_query(query).expect_err(query).to_string(), words, "{query}");
    }
}

#[test]
fn what_a_gate_cannot_use_is_refused_although_prometheus_takes_it() {
    assert_eq!(
        check_query("http_requests_total[5m]").unwrap_err().to_string(),
        "the query gives a range vector, and a gate needs a number or an instant vector: use a function such as `rate(…)` (at character 1)"
    );
    assert!(check_query("'text'").is_err());
}

#[test]
fn a_function_that_is_not_known_may_be_newer() {
    let unknown = check_query("sum(seasonal_forecast(x[1d]))").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no function `seasonal_forecast`; it may be one of a newer Prometheus (at character 5)"
    );
    assert!(unknown.may_be_newer());
    assert!(!check_query("rate(x)").unwrap_err().may_be_newer());
}

#[test]
fn a_place_in_several_lines_has_a_line() {
    let error = check_query("sum(\n  rate(x)\n)").unwrap_err();
    assert_eq!(error.place(), Some(Place { line: Some(2), character: 8 }));
}

#[test]
fn a_query_has_a_length_and_a_depth() {
    assert!(check_query(&format!("x{}", " ".repeat(MAX_QUERY))).unwrap_err().to_string().contains("8192 characters"));
    let hostile = |levels: usize| {
        [
            format!("{}1{}", "(".repeat(levels), ")".repeat(levels)),
            format!("{}x{}", "abs(".repeat(levels), ")".repeat(levels)),
            format!("{}x{}", "sum by (a) (".repeat(levels), ")".repeat(levels)),
            format!("x{}", "^x".repeat(levels)),
            format!("x{}", " or x and x == x + x * x ^ (x".repeat(levels)),
            format!("rate(x[{}5m{}])", "(".repeat(levels), ")".repeat(levels)),
            format!("rate(x[5m{}])", "^2".repeat(levels)),
            format!("rate(x[{}5m])", "-".repeat(levels)),
        ]
    };
    // A third of what tokio gives its workers, in an unoptimised build.
    let check = move || {
        for query in hostile(10).iter().take(4) {
            assert_eq!(check_query(query), Ok(()), "{query}");
        }
        for query in [20, 50, 64, 100, 300].into_iter().flat_map(hostile) {
            let _ = check_query(&query);
        }
        for query in hostile(200) {
            assert!(check_query(&query).is_err(), "{query}");
        }
        assert_eq!(check_query(&format!("x{}", "+x".repeat(4000))), Ok(()));
        assert_eq!(check_query(&format!("{}x", "-".repeat(8000))), Ok(()));
    };
    std::thread::Builder::new().stack_size(768 << 10).spawn(check).unwrap().join().unwrap();
}
