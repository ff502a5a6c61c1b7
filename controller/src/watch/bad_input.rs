//! Objects of any shape through the types of the watches, their projection, the cache, a snapshot and a decision: what can be read is
//! carried all the way, what cannot is left alone, and neither touches what belongs to another Release.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::cache::Seen;

/// Enough for each place of each kind to have had most of the wrong values.
const ROUNDS: u32 = 1_500;
/// Rounds after which all begins anew: later objects meet what earlier ones have left.
const STORY: u32 = 30;
const WILD: &str = "wild";
const CALM: &str = "calm";

fn metadata(name: &str, more: &Value) -> Value {
    let mut metadata = json!({
        "name": name, "namespace": WILD, "uid": format!("{name}-uid"), "resourceVersion": "7", "generation": 2,
        "creationTimestamp": "2026-01-05T09:00:00Z", "managedFields": [{"manager": "kubectl"}],
        "labels": {"bascule.dev/release": "web", "bascule.dev/workload": "web", "bascule.dev/track": "blue", "bascule.dev/revision": "bcdfghjklm"},
        "ownerReferences": [{"apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "name": "web", "uid": "web-uid", "controller": true}],
    });
    if let (Some(metadata), Some(more)) = (metadata.as_object_mut(), more.as_object()) {
        metadata.extend(more.clone());
    }
    metadata
}

fn release() -> Value {
    json!({
        "metadata": metadata("web", &json!({})),
        "spec": {
            "artifacts": [{"name": "web", "image": {"ref": "r/web:v1", "resolve": "Never"}}],
            "workloads": [{"name": "web", "replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "$(artifacts.web.image)"}]}}}],
            "services": [{"name": "web"}], "preview": true, "strategy": {"bake": "30s"},
        },
        "status": {
            "observedGeneration": 1, "artifacts": [{"name": "web", "ref": "r/web:v1", "image": "r/web:v1", "tag": "v1"}],
            "active": {"revision": "bcdfghjklm", "version": "v1", "track": "blue", "workloads": [{"name": "web", "replicas": 2}], "since": "2026-01-05T09:00:00Z"},
            "candidate": {"revision": "xbcdfghjkl", "version": "v2", "track": "green", "step": "Baking", "summary": "v2 Baking",
                          "workloads": [{"name": "web", "replicas": 2, "generation": 3}], "startedAt": "2026-01-05T09:59:00Z", "switchedAt": "2026-01-05T09:59:30Z"},
            "rejected": [{"revision": "zbcdfghjkl", "version": "v0", "reason": "Aborted", "message": "no", "at": "2026-01-05T08:00:00Z"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Settled", "message": "", "lastTransitionTime": "2026-01-05T09:00:00Z"}],
        },
    })
}

fn operation() -> Value {
    json!({"metadata": metadata("op", &json!({})), "spec": {"release": "web", "type": "Abort", "by": "ada", "note": "why"}})
}

fn deployment() -> Value {
    json!({"metadata": metadata("web-blue", &json!({})), "spec": {"replicas": 2, "template": {}}, "status": {"replicas": 2}})
}

fn job() -> Value {
    json!({
        "metadata": {"name": "web-migrate-x", "namespace": "shop", "uid": "j", "labels": {"bascule.dev/release": "web", "bascule.dev/job": "hook"}},
        "status": {"conditions": [{"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}]},
    })
}

fn replica_set() -> Value {
    json!({
        "metadata": metadata("web-blue-1", &json!({})), "spec": {"replicas": 2},
        "status": {"replicas": 2, "availableReplicas": 1, "observedGeneration": 2,
                   "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]},
    })
}

fn service() -> Value {
    let annotations = json!({"annotations": {"bascule.dev/track": "blue", "bascule.dev/revision": "bcdfghjklm", "bascule.dev/reason": "released"}});
    json!({
        "metadata": metadata("web", &annotations),
        "spec": {"type": "ClusterIP", "selector": {"app": "web", "bascule.dev/track": "blue"},
                 "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

fn slice() -> Value {
    let labels = json!({"labels": {"bascule.dev/release": "web", "kubernetes.io/service-name": "web"}});
    json!({"metadata": metadata("web-1", &labels), "endpoints": [{"conditions": {"ready": true}, "targetRef": {"name": "web-blue-1-a"}}]})
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7", "labels": {"bascule.dev/environment": name}}})
}

fn environment(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}, "spec": {
        "namespaces": {"matchLabels": {"bascule.dev/environment": name}}, "variables": {"a": "b"}, "registry": "r.example",
        "aws": {"region": "us-east-1", "pollInterval": "15s"}, "allow": {"parameters": ["/**"], "images": ["**"]},
    }})
}

/// What somebody may have put where something else belongs.
fn wrong(random: &mut Random) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(i32::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("web"),
        json!("\u{0}\u{202e}ä🦀\n"),
        json!("x".repeat(5_000)),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": ""}),
        json!([[[[[[[]]]]]]]),
        json!("2026-01-05T10:00:00Z"),
        json!("blue"),
        json!("365d"),
        json!("$(env.name)"),
        json!({"a": {"b": ["c"]}}),
    ];
    values[index(random, values.len())].clone()
}

fn index(random: &mut Random, bound: usize) -> usize {
    random.below(u32::try_from(bound).unwrap()) as usize
}

/// Puts something wrong at any place below, or takes the place away.
fn spoil(value: &mut Value, random: &mut Random) {
    let stop = random.below(4) == 0;
    match value {
        Value::Object(fields) if !fields.is_empty() && !stop => {
            let key = fields.keys().nth(index(random, fields.len())).unwrap().clone();
            if random.below(8) == 0 {
                fields.remove(&key);
            } else {
                spoil(&mut fields[&key], random);
            }
        }
        Value::Array(items) if !items.is_empty() && !stop => {
            let at = index(random, items.len());
            if random.below(8) == 0 {
                items.push(items[at].clone());
            } else {
                spoil(&mut items[at], random);
            }
        }
        place => *place = wrong(random),
    }
}

/// As a watch does it. True: it was kept.
fn show<K: Resource + DeserializeOwned, T: Clone>(cache: &mut Cache, kept: &Kept<K, T>, value: &Value) -> bool {
    let Ok(object) = serde_json::from_str::<K>(&value.to_string()) else { return false };
    let Some((release, projected)) = (kept.project)(&object) else { return false };
    (kept.table)(cache).event(Seen::of(object.meta()), release, projected);
    true
}

fn plan(cache: &Cache, namespace: &str) -> Option<bascule_core::Plan> {
    let key = Key { namespace: namespace.into(), name: "web".into() };
    let now = "2026-01-05T10:00:00Z".parse().unwrap();
    let observed = cache.snapshot(&key, now, SignedDuration::from_secs(5))?;
    Some(bascule_core::decide(&observed, now, &bascule_core::Policy::default()))
}

/// Two Releases that are in order, and everything of theirs.
fn cache() -> Cache {
    let mut cache = Cache::new(1, jiff::Timestamp::UNIX_EPOCH);
    macro_rules! list {
        ($($kept:expr, $($object:expr),*;)*) => {$(
            ($kept.table)(&mut cache).begin();
            ($kept.table)(&mut cache).end();
            $(
                for space in [CALM, WILD] {
                    let mut object = $object;
                    if object["metadata"]["namespace"].is_string() {
                        object["metadata"]["namespace"] = json!(space);
                    }
                    object["metadata"]["resourceVersion"] = json!("5");
                    assert!(show(&mut cache, &$kept, &object));
                }
            )*
        )*};
    }
    list! {
        RELEASES, release();
        OPERATIONS, operation();
        DEPLOYMENTS, deployment();
        REPLICA_SETS, replica_set();
        JOBS, job();
        SERVICES, service();
        SLICES, slice();
        NAMESPACES, namespace(CALM), namespace(WILD);
        ENVIRONMENTS, environment(CALM), environment(WILD);
    }
    assert!(cache.synced());
    cache
}

#[test]
fn any_object_is_carried_to_a_decision_or_left_alone_and_others_do_not_notice() {
    let mut random = Random::new(4);
    let (mut kept, mut left) = ([0; 8], [0; 8]);
    let calm = plan(&cache(), CALM).unwrap();
    let mut cache = self::cache();
    for round in 0..ROUNDS {
        if round % STORY == 0 {
            cache = self::cache();
        }
        for _ in 0..=random.below(3) {
            let kind = index(&mut random, 8);
            let mut object =
                [release(), operation(), deployment(), replica_set(), service(), slice(), namespace(WILD), environment(WILD)]
                    [kind]
                    .clone();
            object["metadata"]["resourceVersion"] = json!((10 + round).to_string());
            for _ in 0..=random.below(3) {
                spoil(&mut object, &mut random);
            }
            // It may be anything but one of those in order.
            if object["metadata"]["namespace"] == CALM || object["metadata"]["name"] == CALM {
                continue;
            }
            let shown = match kind {
                0 => show(&mut cache, &RELEASES, &object),
                1 => show(&mut cache, &OPERATIONS, &object),
                2 => show(&mut cache, &DEPLOYMENTS, &object),
                3 => show(&mut cache, &REPLICA_SETS, &object),
                4 => show(&mut cache, &SERVICES, &object),
                5 => show(&mut cache, &SLICES, &object),
                6 => show(&mut cache, &NAMESPACES, &object),
                _ => show(&mut cache, &ENVIRONMENTS, &object),
            };
            if shown { kept[kind] += 1 } else { left[kind] += 1 }
        }
        let _ = plan(&cache, WILD);
        assert_eq!(plan(&cache, CALM).unwrap(), calm);
    }
    assert!(kept.iter().chain(&left).all(|count| *count > 20), "each kind was read and was not: {kept:?} {left:?}");
}

/// What an annotation says reaches the core as it is, whatever it is; labels and annotations of others never do.
#[test]
fn annotations_arrive_as_they_are() {
    let pieces = [
        "blue",
        "green",
        "none",
        "",
        " ",
        "\n",
        "\u{0}",
        "\u{202e}",
        "🦀",
        ": ",
        "BakeFailed x of ",
        "9999-12-30T22:00:00Z",
        "\"}",
        "$(env.name)",
    ];
    let mut random = Random::new(9);
    for _ in 0..200 {
        let mut text = || (0..random.below(6)).map(|_| pieces[index(&mut random, pieces.len())]).collect::<String>();
        let (track, revision, reason) = (text(), text(), text());
        let mut object = service();
        object["metadata"]["annotations"] = json!({"bascule.dev/track": track, "bascule.dev/revision": revision, "bascule.dev/reason": reason, "example.org/track": "blue"});
        let service: SlimService = serde_json::from_value(object.clone()).unwrap();
        let record = service.view("web").record.unwrap();
        assert_eq!((&record.track, &record.revision, &record.reason), (&track, &revision, &reason));

        let mut cache = cache();
        assert!(show(&mut cache, &SERVICES, &object));
        let plan = plan(&cache, WILD).unwrap();
        // Whoever wrote that does not decide where traffic goes: only to a version of the status.
        if let bascule_core::Next::Act(steps) = &plan.next {
            for step in steps {
                if let bascule_core::Step::Route(write) = step {
                    assert!(["bcdfghjklm", "xbcdfghjkl"].contains(&write.revision.as_str()), "{write:?}");
                }
            }
        }
    }
}

/// Who is paged reads this in the log: it must say which field it is about.
#[test]
fn a_release_that_cannot_be_read_names_the_field() {
    let mut object = release();
    for (pointer, value, path) in [
        ("/spec/workloads/0/replicas", json!("two"), "spec.workloads[0].replicas"),
        ("/spec/strategy/bake", json!("1e18h"), "spec.strategy.bake"),
        ("/spec/artifacts/0/image/resolve", json!("Sometimes"), "spec.artifacts[0].image.resolve"),
        ("/status/active/since", json!("soon"), "status.active.since"),
    ] {
        let before = std::mem::replace(object.pointer_mut(pointer).unwrap(), value);
        let release: SlimRelease = serde_json::from_value(object.clone()).unwrap();
        let error = release.kept().unwrap_err().to_string();
        assert!(error.starts_with(path), "{error}");
        *object.pointer_mut(pointer).unwrap() = before;
    }
}
