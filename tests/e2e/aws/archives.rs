//! Archives in S3: released by version and checksum, and told about when somebody overwrites them.

use bascule_crds::{ConditionStatus, ConditionType};
use bascule_tests::{Behaviour, aws::Emulator, stage};
use serde_json::{Value, json};

use crate::Place;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A pipeline: it stores a file under a key.
async fn store(emulator: &Emulator, bucket: &str, key: &str, text: &str, metadata: &str) {
    let file = std::env::temp_dir().join(format!("{bucket}-{}", key.replace('/', "-")));
    std::fs::write(&file, text).unwrap();
    let path = file.to_string_lossy().into_owned();
    let put = ["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", &path, "--checksum-algorithm", "SHA256"];
    emulator.cli(&[&put[..], &["--metadata", metadata]].concat()).await;
    std::fs::remove_file(file).unwrap();
}

async fn bucket(place: &Place) -> String {
    let name = place.name().to_owned();
    place.emulator.cli(&["s3api", "create-bucket", "--bucket", &name]).await;
    let versions = "Status=Enabled";
    let command = ["s3api", "put-bucket-versioning", "--bucket", &name, "--versioning-configuration", versions];
    place.emulator.cli(&command).await;
    name
}

fn spec(place: &Place, key: &str) -> Value {
    let mut spec = place.stage.spec("", Behaviour::Ready, 1);
    spec["artifacts"] =
        json!([{"name": "site", "archive": {"parameter": key, "bucket": "$(vars.bucket)", "order": {"metadata": "build"}}}]);
    let template = &mut spec["workloads"][0]["template"];
    template["spec"]["containers"][0]["image"] = json!("example/server:1");
    template["metadata"]["annotations"]["site"] =
        json!("$(artifacts.site.key) $(artifacts.site.versionId) $(artifacts.site.sha256) $(artifacts.site.size)");
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_released_by_its_version_and_checksum_and_never_an_older_one() {
    let queue = Emulator::of_bed().queue(&format!("archives-{}", std::process::id())).await;
    let place = Place::with_arguments("aws-archive", json!({}), &["--event-queue", &queue]).await;
    let bucket = bucket(&place).await;
    place.environment(json!({"variables": {"bucket": bucket}, "allow": {"buckets": [bucket]}})).await;
    let pointer = format!("/shop/{}/site/key", place.name());
    let key = |name: &str| format!("GitHub/shop/site/{name}.zip");
    let put = async |name: &str| place.emulator.put(&pointer, &key(name)).await;
    // The key is announced before the archive is there.
    put(SHA).await;
    place.stage.release("web", &spec(&place, &pointer)).await;
    let status = place.stage.until("it is waited for", |it| stage::reason(it, ConditionType::Ready) == "ArtifactMissing").await;
    assert!(stage::message(&status, ConditionType::Ready).contains(SHA));
    store(&place.emulator, &bucket, &key(SHA), "one", "build=5").await;
    let created = |key: &str| json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": bucket}, "object": {"key": key}}});
    place.emulator.send(&queue, &created(&key(SHA)).to_string()).await;
    let status = place.stage.is_settled_on(SHA).await;

    let artifact = &status.active.as_ref().unwrap().artifacts[0];
    let archive = artifact.archive.as_ref().unwrap();
    // sha256sum of "one".
    assert_eq!(archive.sha256.as_deref(), Some("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"));
    assert_eq!(
        (archive.size, artifact.commit.as_deref(), artifact.repository.as_deref()),
        (3, Some(SHA), Some("github.com/shop/site"))
    );
    let deployments = place.stage.api::<k8s_openapi::api::apps::v1::Deployment>();
    let deployment = deployments.get("web-blue").await.unwrap();
    let annotations = deployment.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    let version = archive.version_id.as_deref().unwrap();
    assert_eq!(annotations["site"], format!("{} {version} {} 3", key(SHA), archive.sha256.as_deref().unwrap()));

    // Somebody overwrites the key: told, and not followed.
    store(&place.emulator, &bucket, &key(SHA), "two", "build=6").await;
    place.emulator.send(&queue, &created(&key(SHA)).to_string()).await;
    let status = place.fresh(ConditionStatus::True, "ArtifactChanged").await;
    let message = stage::message(&status, ConditionType::SourcesFresh);
    assert!(message.contains(version) && message.contains("was overwritten"), "{message}");
    assert_eq!(status.active.unwrap().artifacts[0].archive.as_ref().unwrap().version_id.as_deref(), Some(version));

    // A build that is older, under another key.
    store(&place.emulator, &bucket, &key("late"), "late", "build=4").await;
    put("late").await;
    place.fresh(ConditionStatus::True, "OutOfOrder").await;
    store(&place.emulator, &bucket, &key("next"), "next", "build=7").await;
    // A rule of the bucket removes the version that would be returned to; what lies under its key is another one.
    let expired = ["s3api", "delete-object", "--bucket", &bucket, "--key", &key(SHA), "--version-id", version];
    place.emulator.cli(&expired).await;
    put("next").await;
    place.stage.is_settled_on("next").await;
    let gone = |it: &bascule_crds::ReleaseStatus| stage::reason(it, ConditionType::RollbackReady) == "SomethingIsGone";
    let status = place.stage.until("that it is gone is said", gone).await;
    let message = stage::message(&status, ConditionType::RollbackReady);
    assert!(message.contains(&format!("version {version} of s3://{bucket}/{} is gone", key(SHA))), "{message}");
    place.end().await;
}
