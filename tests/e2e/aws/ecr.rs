//! Images in ECR: asked for with a token that AWS gives to the Environment's identity.

use bascule_tests::{Behaviour, registry};
use serde_json::json;

use crate::Place;

/// As it is called in the world; the emulator is one of its account.
const ECR: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_ecr_is_found_with_the_identity_of_the_environment() {
    let strict = std::env::var("BASCULE_AWS_STRICT").unwrap();
    let place_of_it = strict.trim_start_matches("http://").to_owned();
    let at = format!("{ECR}={place_of_it}");
    let place = Place::with_arguments("aws-ecr", json!({}), &["--registry-at", &at]).await;
    let emulator = bascule_tests::aws::Emulator::at(&strict);
    emulator.cli(&["ecr", "create-repository", "--repository-name", place.name()]).await;
    // The parameter is in one emulator and the token comes from the other: so only the registry is what it is in the world.
    let pointer = place.parameter();
    emulator
        .cli(&["ssm", "put-parameter", "--name", &pointer, "--type", "String", "--value", &format!("{}:v1", place.name())])
        .await;
    place
        .environment(json!({"registry": ECR, "aws": {"region": "us-east-1", "endpoint": strict, "pollInterval": "500ms"}}))
        .await;
    let digest = registry::push(&place_of_it, place.name(), "v1", &json!({"org.opencontainers.image.revision": "abc"})).await;
    let mut spec = place.stage.spec("", Behaviour::Ready, 1);
    spec["artifacts"][0]["image"] = json!({"parameter": pointer});
    place.stage.release("web", &spec).await;
    let status = place.stage.is_settled_on("v1").await;
    let artifact = &status.active.unwrap().artifacts[0];
    assert_eq!(artifact.image, Some(format!("{ECR}/{}@{digest}", place.name())));
    assert_eq!(artifact.commit.as_deref(), Some("abc"));
    // Who wrote it, from the history of the parameter.
    let by = artifact.parameter.as_ref().unwrap().modified_by.as_deref();
    assert_eq!(by, Some("arn:aws:iam::000000000000:root"));
    let log = place.stage.controller.log_text();
    assert!(log.contains("who we are in AWS"), "{log}");
    place.end().await;
}
