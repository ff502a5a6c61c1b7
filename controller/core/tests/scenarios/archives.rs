//! Archives in S3: released by version and checksum, and what can be wrong with them.

use bascule_crds::{ConditionStatus, Track};
use serde_json::{Value, json};

use super::sources::{environment, fresh, message, ready};
use super::world::World;
use super::{spec, spec_of};

const KEY: &str = "/shop/staging/site/key";
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A site that is an archive, beside an image that stays.
fn site(changes: &[(&str, Value)]) -> bascule_crds::ReleaseSpec {
    let mut value = serde_json::to_value(spec("v1", 3)).unwrap();
    value["artifacts"] = json!([{"name": "site", "archive": {"parameter": KEY, "bucket": "$(vars.bucket)"}}]);
    value["workloads"][0]["template"]["spec"]["containers"][0]["image"] = json!("r.example/server:1");
    value["workloads"][0]["template"]["metadata"]["annotations"] =
        json!({"site": "$(artifacts.site.bucket) $(artifacts.site.key) $(artifacts.site.versionId) $(artifacts.site.sha256)"});
    for (path, change) in changes {
        let (parent, key) = path.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = change.clone();
    }
    spec_of(&value)
}

fn served(changes: &[(&str, Value)], bucket: &str, key: &str) -> World {
    let mut world = World::new(site(changes));
    world.claim = environment(json!({"variables": {"bucket": bucket}}));
    world.objects.insert(key.into(), 1);
    world.store.put(KEY, key, world.now);
    world.pass(120);
    assert!(world.ready().0, "{:?}", world.ready());
    world.writes.clear();
    world.notes.clear();
    world
}

#[test]
fn an_archive_is_released_by_its_version_and_checksum() {
    let key = format!("GitHub/PRX/site/{SHA}.zip");
    let mut world = served(&[], "shop-staging", &key);
    assert_eq!(world.active(), Some((SHA, Track::Blue)));
    let artifact = &world.release.status.active.as_ref().unwrap().artifacts[0];
    let archive = artifact.archive.as_ref().unwrap();
    assert_eq!((archive.version_id.as_deref(), archive.size), (Some("v1"), 7));
    assert_eq!(
        (artifact.reference.clone(), artifact.commit.as_deref(), artifact.repository.as_deref()),
        (format!("s3://shop-staging/{key}"), Some(SHA), Some("github.com/PRX/site"))
    );
    world.objects.insert("b.zip".into(), 1);
    world.store.put(KEY, "b.zip", world.now);
    world.pass(120);
    assert_eq!(world.active(), Some(("b", Track::Green)));
}

#[test]
fn an_archive_that_is_not_there_yet_is_waited_for() {
    let mut world = served(&[], "shop-staging", "a.zip");
    world.store.put(KEY, "b.zip", world.now);
    world.pass(60);
    assert_eq!((world.active(), ready(&world)), (Some(("a", Track::Blue)), (false, "ArtifactMissing")));
    world.objects.insert("b.zip".into(), 1);
    world.pass(120);
    assert_eq!(world.active(), Some(("b", Track::Green)));
}

#[test]
fn a_key_that_is_overwritten_or_vanishes_is_told_and_changes_nothing() {
    let mut world = served(&[], "shop-staging", "a.zip");
    world.objects.insert("a.zip".into(), 2);
    world.pass(60);
    assert_eq!((world.active(), world.ready().0), (Some(("a", Track::Blue)), true));
    assert_eq!(fresh(&world), (ConditionStatus::True, "ArtifactChanged".to_owned()));
    assert!(message(&world).contains("it is version v2 by now, and was version v1"), "{}", message(&world));
    world.objects.clear();
    world.pass(60);
    assert_eq!((world.active(), fresh(&world)), (Some(("a", Track::Blue)), (ConditionStatus::False, "ArtifactMissing".into())));
    assert_eq!(world.writes, ["status", "status"]);
    // The same key, said again: now it is meant.
    world.objects.insert("a.zip".into(), 2);
    world.store.put(KEY, "a.zip", world.now);
    world.pass(120);
    assert_eq!((world.active(), fresh(&world).1.as_str()), (Some(("a", Track::Green)), "Fresh"));
}

#[test]
fn an_older_archive_that_comes_late_is_shown_and_never_released() {
    let order = ("/artifacts/0/archive/order", json!({"metadata": "build"}));
    let mut world = served(&[order], "shop-staging", "build-8");
    for key in ["build-7", "build-9"] {
        world.objects.insert(key.into(), 1);
    }
    world.store.put(KEY, "build-7", world.now);
    world.pass(60);
    assert_eq!((world.active(), fresh(&world).1.as_str()), (Some(("build-8", Track::Blue)), "OutOfOrder"));
    world.store.put(KEY, "build-9", world.now);
    world.pass(120);
    assert_eq!(world.active(), Some(("build-9", Track::Green)));
}

#[test]
fn what_is_wrong_with_an_archive_is_told_with_its_field() {
    for (bucket, key, reason, says) in [
        ("Shop_Staging", "a.zip", "SpecInvalid", "spec.artifacts[0].archive.bucket: \"Shop_Staging\" is no name of a bucket"),
        ("shop-staging", "s3://shop/a.zip", "ValueInvalid", "spec.artifacts[0].archive.parameter: version 1 of"),
        ("flat-staging", "a.zip", "SpecInvalid", "$(artifacts.site.versionId) has no value: the bucket kept no versions"),
        ("other", "a.zip", "NotAllowed", "bucket other is not in spec.allow.buckets of Environment staging"),
    ] {
        let mut world = World::new(site(&[]));
        let allow = json!(["*-staging", "Shop*"]);
        world.claim = environment(json!({"variables": {"bucket": bucket}, "allow": {"buckets": allow}}));
        world.objects.insert(key.into(), 1);
        world.store.put(KEY, key, world.now);
        world.pass(60);
        assert_eq!(ready(&world), (false, reason), "{:?}", world.ready());
        assert!(world.ready().2.contains(says), "{:?}", world.ready());
        assert!(reason != "NotAllowed" || world.observed().archives.is_empty());
    }
}

#[test]
fn a_key_that_is_secret_is_neither_asked_for_nor_shown() {
    // Any text can be a key.
    let mut world = served(&[], "shop-staging", "a.zip");
    world.store.put(KEY, "hunter2", world.now);
    world.store.values.get_mut(KEY).unwrap().secure = true;
    world.pass(60);
    assert_eq!(ready(&world), (false, "NotAllowed"));
    assert!(!serde_json::to_string(&world.release.status).unwrap().contains("hunter2"));
}
