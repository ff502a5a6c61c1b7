//! What is said of an expression that cannot be used: one line, the place, and what to write instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_expressions::{Expression, Kind, Place};

fn refused(text: &str, kind: Kind) -> String {
    let error = Expression::parse(text, kind).expect_err(text).to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn http(text: &str) -> String {
    refused(text, Kind::Http)
}

#[test]
fn an_unknown_name_is_answered_with_those_that_are_known() {
    assert_eq!(
        http("staus == 200"),
        "there is no `staus` here, only `status`, `headers`, `body`, `json` and `latency`; did you mean `status`? (at character 1)"
    );
    assert_eq!(
        http("status == 200 && response.ok"),
        "there is no `response` here, only `status`, `headers`, `body`, `json` and `latency` (at character 18)"
    );
    assert_eq!(
        refused("result < 0.01", Kind::Prometheus),
        "there is no `result` here, only `value`, `values` and `samples` (at character 1)"
    );
    assert_eq!(
        http("json.items.all(i, item > 1)"),
        "there is no `item` here, only `status`, `headers`, `body`, `json`, `latency` and `i` (at character 19)"
    );
    assert!(http("status == 200 && True").ends_with("did you mean `true`? (at character 18)"));
    assert_eq!(
        refused("status == 200", Kind::Prometheus),
        "a prometheus gate has no `status`, only `value`, `values` and `samples` (at character 1)"
    );
}

#[test]
fn an_unknown_function_is_answered_with_the_one_that_was_meant() {
    assert_eq!(http("body.contain('ok')"), "there is no function `contain`; did you mean `contains`? (at character 6)");
    assert_eq!(http("body.startswith('ok')"), "there is no function `startswith`; did you mean `startsWith`? (at character 6)");
    assert_eq!(
        http("len(body) > 0"),
        "there is no function `len`, only `size`, `int`, `double`, `string`, `bool`, `duration`, `dyn`, `matches` and `has` (at character 1)"
    );
    assert_eq!(http("contains(body, 'ok')"), "`contains` stands behind a dot: `body.contains(…)` (at character 1)");
    assert_eq!(http("status.string() == '200'"), "`string` stands before its argument: `string(…)` (at character 8)");
    assert_eq!(
        http("any(json, x, x)"),
        "there is no function `any`, only `size`, `int`, `double`, `string`, `bool`, `duration`, `dyn`, `matches` and `has` (at character 1)"
    );
    assert_eq!(http("json.items.exist(x, x)"), "there is no function `exist`; did you mean `exists`? (at character 12)");
}

#[test]
fn there_is_no_clock_and_no_chance() {
    for text in
        ["now() > 0", "timestamp() == ''", "random() < 0.5", "time.now() > 0", "latency.now()", "uuid() == ''", "rand() < 0.5"]
    {
        assert!(http(text).starts_with("there is no "), "{text}");
    }
}

#[test]
fn habits_of_other_languages_are_recognised() {
    assert_eq!(http("status = 200"), "`=` is not a comparison: write `==` (at character 8)");
    assert_eq!(http("status == 200 and body == ''"), "`and` is written `&&` (at character 15)");
    assert_eq!(http("status == 200 OR body == ''"), "`OR` is written `||` (at character 15)");
    assert_eq!(http("not (status == 200)"), "`not` is written `!` (at character 1)");
    assert_eq!(http("status == 200 & body == ''"), "`&` is no operator: write `&&` (at character 15)");
    assert_eq!(http("body == “ok”"), "a typographic quote: write ' or \" (at character 9)");
    assert_eq!(http("latency < 500ms"), "a duration is written `duration('500ms')` (at character 11)");
    assert_eq!(http("headers.content-type == 'a'"), "a name with a dash is written `headers['content-type']` (at character 1)");
    assert_eq!(
        http("headers['Content-Type'] == 'a'"),
        "names of headers are in small letters here: write 'content-type' (at character 9)"
    );
    assert_eq!(http("'X-Version' in headers"), "names of headers are in small letters here: write 'x-version' (at character 1)");
    assert_eq!(
        http(r"body.matches('\d+')"),
        r"`\d` is no escape of a string; in a pattern write `\\d`, or r'…' for the whole string (at character 15)"
    );
    assert_eq!(http("1u == status"), "`1u`: unsigned numbers are not needed here, write it without the letter (at character 1)");
}

#[test]
fn what_could_never_be_true_is_refused_when_it_is_written() {
    assert_eq!(
        http("status == '200'"),
        "`status` is an int and `'200'` a string: they are never equal; a number is written without quotes, and a text becomes one by \
         `int(…)` or `double(…)` (at character 1)"
    );
    assert_eq!(
        http("latency < 0.5"),
        "`latency` is a duration and `0.5` a double: `<` does not take these; a duration is written `duration('500ms')` (at character 1)"
    );
    assert_eq!(http("200 in ['200']"), "`200` is an int and `['200']` a list: `in` does not take these (at character 1)");
    assert_eq!(
        refused("samples.all(s, s.job == 'web')", Kind::Prometheus),
        "a sample has `labels` and `value`, and no `job` (at character 18)"
    );
}

#[test]
fn mixed_numbers_are_answered_with_how_to_write_them() {
    assert_eq!(
        refused("value * 100 < 5", Kind::Prometheus),
        "`value` is a double and `100` an int: `*` does not take these; write `100.0` (at character 1)"
    );
    assert_eq!(
        http("json.count + 1 > 3"),
        "`json.count` is a part of a JSON document and `1` an int: `+` does not take these; numbers in JSON are doubles: write `1.0` (at character 1)"
    );
    assert_eq!(
        http("json.count / size(json.items) > 3"),
        "`json.count` is a part of a JSON document and `size(json.items)` an int: `/` does not take these; numbers in JSON are doubles: \
         write `double(…)` around the int (at character 1)"
    );
}

#[test]
fn a_gate_needs_true_or_false() {
    assert_eq!(
        http("status"),
        "the expression gives an int, and a gate needs true or false: write `status == 200` (at character 1)"
    );
    assert_eq!(http("body.size()"), "the expression gives an int, and a gate needs true or false (at character 1)");
    assert_eq!(http("status && json.ok"), "`&&` needs true or false, and `status` is an int (at character 1)");
    assert_eq!(
        http("status == 200 ? 'good' : 'bad'"),
        "the expression gives a string, and a gate needs true or false (at character 1)"
    );
}

#[test]
fn a_mistake_in_the_grammar_names_its_place() {
    assert_eq!(http(""), "the expression is empty (at character 1)");
    assert_eq!(http("  # no comment"), "'#' does not belong into an expression (at character 3)");
    assert_eq!(http("status == 200 &&"), "the expression ends where a value is expected (at character 17)");
    assert_eq!(http("(status == 200"), "the expression ends where `)` is expected (at character 15)");
    assert_eq!(http("status == 200)"), "`)` where the end, or an operator is expected (at character 14)");
    assert_eq!(http("body == 'ok"), "a string that no ' ends (at character 9)");
    assert_eq!(http("status == 200; body == ''"), "`;` where the end, or an operator is expected (at character 14)");
    assert_eq!(http("status == 200 body == ''"), "`body` where the end, or an operator is expected (at character 15)");
    assert_eq!(http("body.matches('(a')"), "not a valid pattern: unclosed group (at character 14)");
    assert_eq!(
        http("body.matches(json.p)"),
        "a pattern is written as a string, so that it can be checked now and not later (at character 14)"
    );
    assert_eq!(
        http("has(json)"),
        "`has` asks for a member, as in `has(json.version)`; for a key: `'version' in json` (at character 1)"
    );
    assert_eq!(http("json.items.all(i.n, true)"), "the first argument of `all` is a name for the element (at character 16)");
}

#[test]
fn a_place_in_several_lines_has_a_line() {
    let error = Expression::parse("status == 200 &&\n  boddy.contains('ok')\n", Kind::Http).unwrap_err();
    assert_eq!(error.place(), Some(Place { line: Some(2), character: 3 }));
    assert!(error.to_string().ends_with("did you mean `body`? (at line 2, character 3)"));
}
