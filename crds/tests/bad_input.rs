//! Bad input to the API types: what the schema lets in can be read, what cannot be read is refused in words, and what is written reads
//! back the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use bascule_crds::{Duration, OperationSpec, ReleaseSpec, ReleaseStatus, Track, definitions};
use jiff::SignedDuration;
use proptest::{prelude::*, string::string_regex};
use serde_json::{Value, json};

/// The schema of a field, as the API server has it.
fn schema(file: &str, path: &[&str]) -> Value {
    let crd = definitions().into_iter().find(|(name, _)| *name == file).unwrap().1;
    let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    for name in path {
        schema = schema["properties"][*name].clone();
        assert!(!schema.is_null(), "{path:?}");
    }
    schema
}

/// Text that a field's pattern and lengths let in.
fn admitted(schema: &Value) -> impl Strategy<Value = String> + use<> {
    let pattern = schema["pattern"].as_str().unwrap().trim_start_matches('^').trim_end_matches('$').to_owned();
    let bound = |name: &str, default| schema[name].as_u64().map_or(default, |bound| usize::try_from(bound).unwrap());
    let (shortest, longest) = (bound("minLength", 0), bound("maxLength", usize::MAX));
    string_regex(&pattern).unwrap().prop_filter("length", move |text| (shortest..=longest).contains(&text.len()))
}

fn durations() -> impl Strategy<Value = String> {
    admitted(&schema("releases.yaml", &["spec", "strategy", "bake"]))
}

fn release(bake: &str) -> Value {
    json!({"workloads": [{"name": "web", "template": {}}], "strategy": {"bake": bake}})
}

#[test]
fn each_duration_of_the_spec_has_the_same_schema() {
    let schemas = ["progressDeadline", "bake", "scaleDownDelay"].map(|name| schema("releases.yaml", &["spec", "strategy", name]));
    for schema in &schemas {
        assert_eq!(schema["pattern"], schemas[0]["pattern"]);
        assert_eq!(schema["maxLength"], schemas[0]["maxLength"]);
    }
}

#[test]
fn what_would_overflow_is_refused_and_not_rounded() {
    for text in [
        "1e18h",
        "1000000000000000000h",
        "9223372036854775807ms",
        "9223372036854775808ms",
        "18446744073709551616s",
        "366d",
        "8761h",
        "-1s",
        "+1s",
        "1.5h",
        " 1s",
        "1s ",
        "1S",
        "1s\n",
        "٣s",
        "1ｓ",
        "1\u{200b}s",
        "",
    ] {
        let error = serde_json::from_value::<ReleaseSpec>(release(text)).unwrap_err().to_string();
        assert!(error.contains("is not a duration: write a number and a unit"), "{text:?}: {error}");
        assert!(error.chars().all(|c| !c.is_control()) && error.chars().count() < 250, "{error}");
    }
}

#[test]
fn a_release_of_the_wrong_shape_is_refused() {
    let spec = |field: &str, value: Value| {
        let mut spec = release("1m");
        spec[field] = value;
        serde_json::from_value::<ReleaseSpec>(spec)
    };
    assert!(spec("suspend", json!(false)).is_ok());
    for (field, value) in [
        ("suspend", json!("yes")),
        ("replicas", json!(1.5)),
        ("replicas", json!(2_147_483_648_i64)),
        ("replicas", json!("3")),
        ("artifacts", json!({})),
        ("artifacts", json!([{"image": {"ref": "r"}}])),
        ("artifacts", json!([{"name": "web", "archive": {"key": "a.zip"}}])),
        ("artifacts", json!([{"name": "web", "image": {"ref": 3}}])),
        ("artifacts", json!([{"name": "web", "image": {"ref": "r", "resolve": "Sometimes"}}])),
        ("workloads", json!(null)),
        ("workloads", json!([{"name": "web"}])),
        ("workloads", json!([null])),
        ("services", json!(["web"])),
        ("strategy", json!({"onSupersede": "replace"})),
        ("rollback", json!(3)),
        ("preview", json!(0)),
    ] {
        let shown = format!("{field}: {value}");
        assert!(spec(field, value).is_err(), "{shown}");
    }
}

#[test]
fn a_track_has_two_names_and_no_other() {
    for text in ["", "Blue", "BLUE", "blue ", "none", "red", "blue\n", "ｂlue", "blueblue"] {
        assert_eq!(Track::parse(text), None, "{text:?}");
    }
    for track in Track::BOTH {
        assert_eq!(Track::parse(track.as_str()), Some(track));
    }
}

/// Any JSON.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        durations().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field(), inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

/// Fields of all the types here, so that some of it is nearly right.
fn field() -> impl Strategy<Value = String> {
    let spec = "suspend replicas artifacts workloads services strategy rollback preview name image ref resolve template progressDeadline \
                bake scaleDownDelay onSupersede automatic release type revision by note";
    let status = "active candidate previous rejected operations conditions track since startedAt step summary observedGeneration";
    let names: Vec<String> =
        spec.split(' ').chain(status.split(' ')).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    prop::sample::select(names)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Else a Release that the API server has stored could not be read.
    #[test]
    fn a_duration_that_the_schema_lets_in_can_be_read(text in durations()) {
        let parsed = text.parse::<Duration>();
        prop_assert!(parsed.is_ok(), "{:?}", parsed);
        let duration = parsed.unwrap();
        prop_assert!(duration.get() <= SignedDuration::from_hours(365 * 24));
        prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
    }

    /// A client that reads a Release and writes it back must not be refused: what is printed is of the schema again.
    #[test]
    fn a_duration_that_the_schema_lets_in_is_printed_as_it_can_be_read(text in durations()) {
        let read: ReleaseSpec = serde_json::from_value(release(&text)).unwrap();
        let again: ReleaseSpec = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        prop_assert_eq!(again, read);
    }

    #[test]
    fn any_text_is_a_duration_or_refused_in_words(text in ".{0,60}") {
        match text.parse::<Duration>() {
            Ok(duration) => prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration)),
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.chars().all(|c| !c.is_control()) && message.chars().count() < 700, "{}", message);
            }
        }
    }

    /// Whatever is read is written and read again unchanged: the cache keeps text, and a status is compared with what was stored.
    #[test]
    fn what_can_be_read_is_written_back_the_same(value in anything()) {
        if let Ok(spec) = serde_json::from_value::<ReleaseSpec>(value.clone()) {
            let text = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<ReleaseSpec>(&text).unwrap(), spec);
        }
        if let Ok(status) = serde_json::from_value::<ReleaseStatus>(value.clone()) {
            let text = serde_json::to_string(&status).unwrap();
            prop_assert_eq!(serde_json::from_str::<ReleaseStatus>(&text).unwrap(), status);
        }
        if let Ok(operation) = serde_json::from_value::<OperationSpec>(value) {
            let text = serde_json::to_string(&operation).unwrap();
            prop_assert_eq!(serde_json::from_str::<OperationSpec>(&text).unwrap(), operation);
        }
    }

    /// A pod template is the user's own text: no key, no order of a list, no number of it is touched.
    #[test]
    fn a_template_is_kept_as_it_was_written(template in anything()) {
        let mut spec = release("1m");
        spec["workloads"][0]["template"] = template.clone();
        let read: ReleaseSpec = serde_json::from_value(spec).unwrap();
        let again: ReleaseSpec = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        prop_assert_eq!(&again.workloads[0].template, &template);
    }
}
