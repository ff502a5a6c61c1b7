//! Bad input to the core: whatever stands in a spec, a status or on a Service, a decision is made, the same one each time, and what is
//! wrong is said in one sentence that names the field.
//!
//! The schema of the API server refuses most of this. The core does not rely on it: it may be older or newer than the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

use std::collections::{BTreeMap, BTreeSet};

use bascule_core::{
    Check, Claim, Deployment, Endpoints, Next, Observed, OperationView, Plan, Policy, Record, ReleaseView, ReplicaSet, Service,
    ServicePort, Sight, Step, decide,
};
use bascule_crds::{ConditionType, OperationSpec, ReleaseSpec, ReleaseStatus, Track, names};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

/// A spec that is fine.
fn plain() -> Value {
    json!({
        "artifacts": [{"name": "web", "image": {"ref": "r/web:v1", "resolve": "Never"}}],
        "workloads": [{"name": "web", "replicas": 2, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "$(artifacts.web.image)"}]}}}],
        "services": [{"name": "web"}],
    })
}

fn with_template(template: &Value) -> Value {
    let mut spec = plain();
    spec["workloads"][0]["template"] = template.clone();
    spec
}

fn with_text(text: &str) -> Value {
    with_template(&json!({"spec": {"containers": [{"name": "web", "args": [text]}]}}))
}

fn service() -> Service {
    Service {
        name: "web".into(),
        uid: "web-uid".into(),
        resource_version: "5".into(),
        labelled: true,
        claimed_by: Some("web".into()),
        preview_of: None,
        owner: None,
        record: Some(Record { track: names::NO_TRACK.into(), revision: String::new(), reason: "claimed".into() }),
        selector: [(names::RELEASE.into(), "web".into()), (names::TRACK.into(), names::NO_TRACK.into())].into(),
        ports: vec![ServicePort { name: None, port: 80, target_port: None, protocol: None, app_protocol: None }],
        form: bascule_core::ServiceForm::default(),
        deleting: false,
    }
}

/// Everything about a Release with this spec and status can be seen, and nothing runs yet.
fn observed(spec: &Value, status: ReleaseStatus) -> Observed {
    let spec: ReleaseSpec = serde_json::from_value(spec.clone()).unwrap();
    let services: BTreeMap<_, _> = spec
        .services
        .iter()
        .map(|it| (it.name.clone(), Sight::Known(Some(Service { name: it.name.clone(), ..service() }))))
        .collect();
    Observed {
        release: ReleaseView {
            name: "web".into(),
            namespace: "shop".into(),
            uid: "release-uid".into(),
            resource_version: "1".into(),
            generation: 1,
            deleting: false,
            spec,
            status,
        },
        environment: Sight::Known(Claim::Of { name: "staging".into(), spec: Box::default() }),
        parameters: BTreeMap::new(),
        images: BTreeMap::new(),
        archives: BTreeMap::new(),
        architectures: Sight::Unknown("not seen".into()),
        deployments: Sight::Known(BTreeMap::new()),
        replica_sets: Sight::Known(Vec::new()),
        endpoints: services.keys().map(|name| (name.clone(), Sight::Known(Endpoints::default()))).collect(),
        strangers: services.keys().map(|name| (name.clone(), Sight::Known(0))).collect(),
        services,
        operations: Vec::new(),
        jobs: Sight::Known(BTreeMap::new()),
        absent: BTreeSet::new(),
        words: BTreeMap::new(),
        samples: Vec::new(),
        volumes: BTreeMap::new(),
        ended: BTreeMap::new(),
        configs: BTreeMap::new(),
        way_back: None,
        since: now(),
        inputs: BTreeMap::new(),
        stored: None,
        discarded: BTreeSet::new(),
        check: None,
        pods: None,
        troubles: Vec::new(),
    }
}

fn plan(observed: &Observed) -> Plan {
    decide(observed, now(), &Policy::default())
}

/// The template that the server is asked about, or the sentence that says why there is none.
fn rendered(spec: &Value) -> Result<Value, String> {
    match plan(&observed(spec, ReleaseStatus::default())).next {
        Next::Act(steps) => {
            let asked = steps.into_iter().find_map(|step| match step {
                Step::DryRun { deployments, .. } => deployments.into_iter().next(),
                _ => None,
            });
            Ok(asked.expect("the server is asked about a template that is fine")["spec"]["template"].clone())
        }
        Next::Record(status) => {
            let stalled = status.condition(ConditionType::Stalled).unwrap();
            assert_eq!(stalled.reason, "SpecInvalid", "{stalled:?}");
            Err(stalled.message.clone())
        }
        Next::Rest => panic!("neither started nor refused"),
    }
}

fn first_arg(spec: &Value) -> Result<String, String> {
    Ok(rendered(spec)?["spec"]["containers"][0]["args"][0].as_str().unwrap().to_owned())
}

/// A status in which the revision of the plain spec is on its way or has arrived.
fn status(value: Value) -> ReleaseStatus {
    serde_json::from_value(value).unwrap()
}

/// The revision of the plain spec.
fn revision() -> String {
    match plan(&observed(&plain(), ReleaseStatus::default())).next {
        Next::Act(steps) => match &steps[0] {
            Step::DryRun { revision, .. } => revision.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn running(track: Track, replicas: i32, sets: &[(i32, i32)]) -> (BTreeMap<String, Deployment>, Vec<ReplicaSet>) {
    let (name, revision) = (track.deployment("web"), revision());
    let deployment = Deployment {
        name: name.clone(),
        uid: "deployment-uid".into(),
        resource_version: "9".into(),
        generation: 1,
        owner: Some("release-uid".into()),
        workload: "web".into(),
        track: Some(track),
        revision: revision.clone(),
        replicas,
        deleting: false,
        confirmed: Some(1),
    };
    let set = |(number, (replicas, available)): (usize, &(i32, i32))| ReplicaSet {
        name: format!("{name}-{number}"),
        workload: "web".into(),
        track: Some(track),
        revision: revision.clone(),
        wanted: *replicas,
        replicas: *replicas,
        available: *available,
        observed: true,
        failure: None,
    };
    ([(name.clone(), deployment)].into(), sets.iter().enumerate().map(set).collect())
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let table = [
        ("/artifacts/0/image/ref", json!("Team/Web:v1"), "spec.artifacts[0].image.ref: image reference \"Team/Web:v1\": "),
        ("/artifacts/0/image/ref", json!(""), "spec.artifacts[0].image.ref: image reference \"\": it is empty"),
        (
            "/workloads/0/template/spec/containers/0/image",
            json!("$(artifacts.wbe.image)"),
            "spec.workloads[0].template.spec.containers[0].image: there is no $(artifacts.wbe.image); known are ",
        ),
        (
            "/workloads/0/template/metadata/labels/app",
            json!("$(artifacts.web.digest)"),
            "spec.workloads[0].template.metadata.labels.app: $(artifacts.web.digest) has no value: ",
        ),
    ];
    for (pointer, wrong, beginning) in table {
        let mut spec = plain();
        *spec.pointer_mut(pointer).unwrap() = wrong;
        let message = rendered(&spec).unwrap_err();
        assert!(message.starts_with(beginning), "{message}");
        assert!(message.chars().count() < 400 && !message.contains('\n') && !message.ends_with('.'), "{message}");
    }
}

/// Unknown names are the user's own text: it may be long, and it may have characters that a terminal obeys.
#[test]
fn a_wrong_variable_is_shown_so_that_a_status_column_survives_it() {
    for name in ["env.\u{1b}[31mred", "env.one\ntwo", &format!("env.{}", "x".repeat(100_000))] {
        let message = first_arg(&with_text(&format!("$({name})"))).unwrap_err();
        assert!(message.starts_with("spec.workloads[0].template.spec.containers[0].args[0]: there is no $("), "{message}");
        assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
        assert!(message.chars().count() <= 1_024, "{} characters", message.chars().count());
    }
}

/// What a name stands for is text, not something to look into once more.
#[test]
fn a_value_is_never_read_as_a_variable() {
    let mut spec = with_text("$(rel$(artifacts.web.tag))");
    spec["artifacts"][0]["image"]["ref"] = json!("r/web:ease.track");
    assert_eq!(first_arg(&spec), Ok("$(release.track)".to_owned()));

    // Such a one even takes the others with it: nothing of the template is replaced any more.
    let mut spec = with_text("$(release.track) $(e$(artifacts.web.tag))");
    spec["artifacts"][0]["image"]["ref"] = json!("r/web:nv.x");
    assert_eq!(first_arg(&spec), Ok("blue $(env.x)".to_owned()));
}

/// A decision is total: also a time that nobody meant is only a time.
#[test]
fn a_time_stamp_at_the_end_of_time_is_survived() {
    let (end, revision) = ("9999-12-30T22:00:00Z", revision());
    let artifacts = json!([{"name": "web", "ref": "r/web:v1", "image": "r/web:v1", "tag": "v1"}]);
    let workloads = json!([{"name": "web", "replicas": 2, "generation": 1}]);
    let version = |revision: &str, track: &str| json!({"revision": revision, "version": "v1", "track": track, "artifacts": artifacts, "workloads": workloads, "since": end});
    let candidate = |step: &str, switched: Option<&str>| {
        json!({"revision": revision, "version": "v1", "track": "blue", "step": step, "summary": "", "artifacts": artifacts,
               "workloads": workloads, "startedAt": end, "switchedAt": switched})
    };
    let statuses = [
        json!({"candidate": candidate("Starting", None)}),
        json!({"candidate": candidate("Baking", Some(end)), "active": version(&revision, "blue")}),
        json!({"active": version("another", "green"), "previous": version(&revision, "blue")}),
        json!({"rejected": [{"revision": revision, "version": "v1", "reason": "Aborted", "message": "m", "at": end}]}),
    ];
    for value in statuses {
        let mut observed = observed(&plain(), status(value.clone()));
        let (deployments, sets) = running(Track::Blue, 2, &[(2, 1)]);
        (observed.deployments, observed.replica_sets) = (Sight::Known(deployments), Sight::Known(sets));
        let survived = std::panic::catch_unwind(|| plan(&observed)).is_ok();
        assert!(survived, "{value}");
    }
}

/// Counts of two ReplicaSets of one revision are added up.
#[test]
fn counts_that_add_up_to_more_than_fits_are_survived() {
    let active = json!({"revision": revision(), "version": "v1", "track": "blue", "workloads": [{"name": "web", "replicas": 2}],
                        "since": "2026-01-05T09:00:00Z"});
    let mut observed = observed(&plain(), status(json!({"active": active})));
    let (deployments, sets) = running(Track::Blue, 2, &[(i32::MAX, i32::MAX), (1, 1)]);
    (observed.deployments, observed.replica_sets) = (Sight::Known(deployments), Sight::Known(sets));
    assert!(std::panic::catch_unwind(|| plan(&observed)).is_ok());
}

/// What no two parts of a plan may disagree about: whether the pods that users are on are needed.
#[test]
fn the_pods_of_the_active_version_are_never_taken_for_idle() {
    let active = json!({"revision": revision(), "version": "v1", "track": "blue", "workloads": [{"name": "web", "replicas": 2, "generation": 1}],
                        "since": "2026-01-05T09:00:00Z"});
    let candidate = json!({"revision": revision(), "version": "v1", "track": "blue", "step": "Baking", "summary": "", "workloads": [],
                           "startedAt": "2026-01-05T09:00:00Z", "switchedAt": "2026-01-05T09:59:59Z"});
    let mut observed = observed(&plain(), status(json!({"active": active, "candidate": candidate})));
    let (deployments, sets) = running(Track::Blue, 2, &[(2, 2)]);
    (observed.deployments, observed.replica_sets) = (Sight::Known(deployments), Sight::Known(sets));
    let mut home = service();
    home.record = Some(Record { track: "blue".into(), revision: revision(), reason: "released".into() });
    home.selector.insert(names::TRACK.into(), "blue".into());
    observed.services.insert("web".into(), Sight::Known(Some(home)));
    if let Next::Act(steps) = plan(&observed).next {
        assert!(steps.iter().all(|step| !matches!(step, Step::Scale { replicas: 0, .. })), "{steps:?}");
    }
}

/// The path is the user's own text, too: keys of annotations may be anything until the API server has seen them.
#[test]
fn a_path_through_strange_keys_is_shown_so_that_a_status_column_survives_it() {
    for key in ["one\ntwo", "\u{1b}[31m", &"k".repeat(100_000)] {
        let message = rendered(&with_template(&json!({"metadata": {"annotations": {key: "$(env.nmae)"}}}))).unwrap_err();
        assert!(message.starts_with("spec.workloads[0].template.metadata.annotations"), "{message}");
        assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
        assert!(message.chars().count() <= 2_000, "{} characters", message.chars().count());
    }
}

/// Any JSON, with numbers and text that somebody might mean harm by.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // As people write them: a number with twenty digits loses its last one on the way through any reader.
        any::<i32>().prop_map(|cents| json!(f64::from(cents) / 100.0)),
        ".{0,20}".prop_map(Value::from),
        hostile_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["metadata", "labels", "annotations", "spec", "containers", "image", "name"]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
        1 => ".{0,8}",
    ]
}

/// Pieces of the grammar of variables in any order.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$",
        "$$",
        "$(",
        ")",
        "(",
        "env",
        ".",
        "name",
        "$(env.name)",
        "$(release.track)",
        "$(release.revision)",
        "$(HOME)",
        "vars.x",
        "artifacts.web.image",
        "ä",
        "🦀",
        " ",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// The field that a message begins with, looked up in the spec: keys may have dots, so every way to read the path is tried.
/// A key as a path shows it: on one line, and not at any length.
fn as_shown(key: &str) -> String {
    let more = if key.chars().nth(80).is_some() { "…" } else { "" };
    format!("{}{more}", key.chars().take(80).flat_map(char::escape_debug).collect::<String>())
}

fn named<'a>(rest: &str, value: &'a Value) -> Option<&'a Value> {
    if rest.starts_with(": ") {
        return Some(value);
    }
    match value {
        Value::Object(fields) => {
            let rest = rest.strip_prefix('.')?;
            fields.iter().find_map(|(key, below)| named(rest.strip_prefix(as_shown(key).as_str())?, below))
        }
        Value::Array(items) => {
            let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
            named(rest, items.get(index.parse::<usize>().ok()?)?)
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_template_is_started_or_refused_by_the_path_of_a_text_in_it(template in anything()) {
        let spec = with_template(&template);
        if let Err(message) = rendered(&spec) {
            let field = message.strip_prefix("spec").and_then(|rest| named(rest, &spec));
            prop_assert!(field.is_some_and(|field| field.as_str().is_some_and(|text| text.contains("$("))), "{}", message);
        }
    }

    #[test]
    fn what_is_replaced_once_does_not_change_again(text in hostile_text()) {
        if let Ok(once) = first_arg(&with_text(&text)) {
            prop_assert_eq!(first_arg(&with_text(&once)).ok(), Some(once));
        }
    }

    #[test]
    fn text_without_a_variable_of_ours_is_left_alone(text in ".{0,40}") {
        prop_assume!(!["env.", "vars.", "artifacts.", "release."].iter().any(|root| text.contains(root)));
        prop_assert_eq!(first_arg(&with_text(&text)), Ok(text));
    }

    /// The revision is a hash of the text: the same text the same revision, and the order of keys means nothing.
    #[test]
    fn the_same_template_has_the_same_revision(template in anything()) {
        let revision = |spec: &Value| match plan(&observed(spec, ReleaseStatus::default())).next {
            Next::Act(steps) => steps.into_iter().find_map(|step| match step {
                Step::DryRun { revision, .. } => Some(revision),
                _ => None,
            }),
            _ => None,
        };
        let spec = with_template(&template);
        let again: Value = serde_json::from_str(&spec.to_string()).unwrap();
        prop_assert_eq!(revision(&spec), revision(&again));
    }

    /// Numbers and names that the schema would have refused.
    #[test]
    fn any_numbers_and_names_have_a_plan(
        replicas in any::<Option<i32>>(),
        own in any::<Option<i32>>(),
        name in ".{0,300}",
        service in ".{0,300}",
        artifact in ".{0,300}",
        reference in ".{0,300}",
        preview in any::<bool>(),
    ) {
        let mut spec = plain();
        spec["replicas"] = json!(replicas);
        spec["preview"] = json!(preview);
        spec["workloads"][0]["replicas"] = json!(own);
        spec["workloads"][0]["name"] = json!(name);
        spec["services"][0]["name"] = json!(service);
        spec["artifacts"][0]["name"] = json!(artifact);
        spec["artifacts"][0]["image"]["ref"] = json!(reference);
        let observed = observed(&spec, ReleaseStatus::default());
        prop_assert_eq!(plan(&observed), plan(&observed));
    }

    /// What other hands may have left on a Service while a version is settled: it is moved home, or the Release says why it is not.
    #[test]
    fn any_annotations_are_put_right(track in ".{0,20}", revision in ".{0,20}", reason in ".{0,200}", selected in "[a-zA-Z0-9._-]{0,20}") {
        let home = self::revision();
        let active = json!({"revision": home, "version": "v1", "track": "blue", "since": "2026-01-05T09:00:00Z",
                            "workloads": [{"name": "web", "replicas": 2, "generation": 1}]});
        let mut observed = observed(&plain(), status(json!({"active": active})));
        let (deployments, sets) = running(Track::Blue, 2, &[(2, 2)]);
        (observed.deployments, observed.replica_sets) = (Sight::Known(deployments), Sight::Known(sets));
        let mut hostile = service();
        hostile.record = Some(Record { track, revision, reason });
        hostile.selector.insert(names::TRACK.into(), selected);
        observed.services.insert("web".into(), Sight::Known(Some(hostile)));
        let Next::Act(steps) = plan(&observed).next else { panic!("a Service that points elsewhere is moved") };
        match steps.as_slice() {
            [Step::Route(write)] => prop_assert_eq!((write.track, write.revision.as_str()), (Some(Track::Blue), home.as_str())),
            [Step::Select { track, .. }] => prop_assert_eq!(track.as_str(), "blue"),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Text in an Operation is shown, never obeyed.
    #[test]
    fn any_text_in_an_operation_is_answered(kind in prop::sample::select(vec!["Abort", "Retry"]), revision in any::<Option<String>>(), by in any::<Option<String>>(), note in any::<Option<String>>()) {
        let spec: OperationSpec = serde_json::from_value(json!({"release": "web", "type": kind, "revision": revision, "by": by, "note": note})).unwrap();
        let mut observed = observed(&plain(), ReleaseStatus::default());
        observed.check = Some(Check { revision: self::revision(), at: now(), refusal: None });
        observed.operations = vec![OperationView { name: "o".into(), uid: "u".into(), resource_version: "1".into(), created: now(), spec, answered: false }];
        let Next::Record(status) = plan(&observed).next else { panic!("nothing to abort and nothing rejected: that is said at once") };
        prop_assert_eq!(status.operations.len(), 1);
        prop_assert_eq!(&status.operations[0].uid, "u");
    }
}
