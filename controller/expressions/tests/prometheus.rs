//! Conditions over the result of a query.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_expressions::{Expression, Kind, MAX_SAMPLES, Sample, Values};

fn sample(pod: &str, value: f64) -> Sample {
    Sample { labels: [("pod".to_owned(), pod.to_owned()), ("job".to_owned(), "web".to_owned())].into(), value }
}

fn pods() -> Values {
    Values::vector([sample("a", 0.001), sample("b", 0.5)])
}

fn evaluated(text: &str, values: &Values) -> Result<bool, String> {
    Expression::parse(text, Kind::Prometheus).unwrap().evaluate(values).map_err(|error| error.to_string())
}

#[test]
fn a_number_is_compared_with_what_people_write() {
    assert_eq!(evaluated("value < 0.01", &Values::scalar(0.001)), Ok(true));
    assert_eq!(evaluated("value < 1", &Values::scalar(0.001)), Ok(true));
    assert_eq!(evaluated("value == 0", &Values::scalar(0.0)), Ok(true));
    assert_eq!(evaluated("value >= 99.9 && value <= 100", &Values::scalar(99.95)), Ok(true));
    assert_eq!(evaluated("value * 100.0 < 5", &Values::scalar(0.049)), Ok(true));
}

#[test]
fn the_only_element_of_a_vector_is_the_value() {
    assert_eq!(evaluated("value < 0.01", &Values::vector([sample("a", 0.001)])), Ok(true));
    assert_eq!(evaluated("values == [0.25] && samples[0].labels.pod == 'a'", &Values::vector([sample("a", 0.25)])), Ok(true));
}

#[test]
fn several_elements_are_asked_for_by_values_and_samples() {
    assert_eq!(evaluated("values.all(v, v < 1)", &pods()), Ok(true));
    assert_eq!(evaluated("values.exists(v, v > 0.4) && values.size() == 2", &pods()), Ok(true));
    assert_eq!(evaluated("samples.all(s, s.labels.job == 'web' && s.value < 1)", &pods()), Ok(true));
    assert_eq!(evaluated("samples.filter(s, s.labels['pod'] == 'b')[0].value == 0.5", &pods()), Ok(true));
    assert_eq!(evaluated("samples.map(s, s['value']) == values", &pods()), Ok(true));
    assert_eq!(evaluated("samples.all(s, !has(s.labels.zone))", &pods()), Ok(true));
}

#[test]
fn no_element_is_not_zero() {
    let nothing = Values::vector([]);
    assert_eq!(
        evaluated("value < 0.01", &nothing).unwrap_err(),
        "`value`: the query has no result; if that means zero, add `or vector(0)` to the query (at character 1)"
    );
    assert_eq!(evaluated("values.size() == 0 || value < 0.01", &nothing), Ok(true));
}

#[test]
fn several_elements_are_not_one_value() {
    assert_eq!(
        evaluated("value < 0.01", &pods()).unwrap_err(),
        "`value`: the query gives 2 series, and `value` is for one: use `values`, or `sum(…)` in the query (at character 1)"
    );
}

#[test]
fn nan_is_neither_good_nor_bad() {
    let nan = Values::scalar(f64::NAN);
    assert_eq!(
        evaluated("value < 0.01", &nan).unwrap_err(),
        "`value < 0.01`: NaN is neither less nor greater than any number (0/0?) (at character 1)"
    );
    assert_eq!(evaluated("value != value || value < 0.01", &nan), Ok(true));
    assert_eq!(evaluated("value == 0", &nan), Ok(false));
    assert_eq!(evaluated("value > 5", &Values::scalar(f64::INFINITY)), Ok(true));
}

#[test]
fn more_elements_than_anybody_looks_at_are_an_error() {
    let many = |count: usize| Values::vector((0..count).map(|number| sample(&number.to_string(), 0.0)));
    assert_eq!(evaluated("values.all(v, v == 0)", &many(MAX_SAMPLES)), Ok(true));
    assert_eq!(
        evaluated("samples.all(s, s.value == 0)", &many(MAX_SAMPLES + 1)).unwrap_err(),
        "`samples`: the query gives 1001 series, and 1000 is the most: use `topk(…)` or `sum(…)` in the query (at character 1)"
    );
    assert!(evaluated("value == 0", &many(5000)).unwrap_err().contains("gives 5000 series"));
}

#[test]
fn facts_show_the_value() {
    let expression = Expression::parse("value < 0.01", Kind::Prometheus).unwrap();
    assert_eq!(expression.facts(&Values::scalar(0.25)), "`value` is 0.25");
    assert_eq!(expression.facts(&Values::scalar(f64::NAN)), "`value` is NaN");
}
