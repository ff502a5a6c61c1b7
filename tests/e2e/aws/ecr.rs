//! Images in ECR: asked for with a token that AWS gives to the Environment's identity, and with nothing stronger.

use bascule_crds::{ConditionStatus, ConditionType};
use bascule_tests::{
    Behaviour,
    aws::{Emulator, Line},
    registry, stage,
};
use serde_json::json;

use crate::Place;

/// As it is called in the world; the emulator is one of its account.
const ECR: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com";

fn strict() -> String {
    std::env::var("BASCULE_AWS_STRICT").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_ecr_is_found_with_the_identity_of_the_environment() {
    let emulator = Emulator::at(&strict());
    let inner = strict().trim_start_matches("http://").to_owned();
    // The emulator's registry is open; the door before it wants the token that AWS gives, and the controller must fetch that.
    let token = emulator.cli(&["ecr", "get-authorization-token"]).await;
    let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap().to_owned();
    let door = registry::Door::before(&inner, &token).await;
    let at = format!("{ECR}={}", door.place());
    let place = Place::with_arguments("aws-ecr", json!({}), &["--registry-at", &at]).await;
    emulator.cli(&["ecr", "create-repository", "--repository-name", place.name()]).await;
    let pointer = place.parameter();
    let value = format!("{}:v1", place.name());
    emulator.cli(&["ssm", "put-parameter", "--name", &pointer, "--type", "String", "--value", &value]).await;
    place.environment(json!({"registry": ECR, "aws": {"region": "us-east-1", "endpoint": strict(), "pollInterval": "1s"}})).await;
    let digest = registry::push(&inner, place.name(), "v1", &json!({"org.opencontainers.image.revision": "abc"})).await;
    let mut spec = place.stage.spec("", Behaviour::Ready, 1);
    spec["artifacts"][0]["image"] = json!({"parameter": pointer});
    place.stage.release("web", &spec).await;
    let status = place.stage.is_settled_on("v1").await;
    let artifact = &status.active.unwrap().artifacts[0];
    assert_eq!(artifact.image, Some(format!("{ECR}/{}@{digest}", place.name())));
    assert_eq!(artifact.commit.as_deref(), Some("abc"));
    assert!(door.opened() >= 2, "manifest and configuration: {}", door.opened());
    // Who wrote it, from the history of the parameter.
    let by = artifact.parameter.as_ref().unwrap().modified_by.as_deref();
    assert_eq!(by, Some("arn:aws:iam::000000000000:root"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_cannot_be_assumed_is_a_failure_and_nobody_stronger_asks() {
    let emulator = Emulator::at(&strict());
    let line = Line::to(&emulator).await;
    let place = Place::new("aws-role", json!({})).await;
    // The controller's own identity may read everything here: the emulator's root.
    let pointer = place.parameter();
    emulator.cli(&["ssm", "put-parameter", "--name", &pointer, "--type", "String", "--value", "shop/web:v1"]).await;
    let role = "arn:aws:iam::000000000000:role/nobody";
    let aws = |role: &str| json!({"region": "us-east-1", "endpoint": line.url(), "roleArn": role, "externalId": place.name(), "pollInterval": "1s"});
    place.environment(json!({"aws": aws(role)})).await;
    place.release().await;
    let status = place.fresh(ConditionStatus::False, "AccessDenied").await;
    let message = stage::message(&status, ConditionType::SourcesFresh);
    assert!(message.contains("nobody") || message.to_ascii_lowercase().contains("assume"), "{message}");
    assert_eq!((line.count("GetParameters"), status.active.is_none()), (0, true), "nothing was read without the role");

    // A role that lets in whoever knows its external id.
    let name = place.name().to_owned();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": name}}}]});
    let rights = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}]});
    emulator.cli(&["iam", "create-role", "--role-name", &name, "--assume-role-policy-document", &trust.to_string()]).await;
    let policy = ["iam", "put-role-policy", "--role-name", &name, "--policy-name", "p", "--policy-document"];
    emulator.cli(&[&policy[..], &[&rights.to_string()]].concat()).await;
    place.environment(json!({"aws": aws(&format!("arn:aws:iam::000000000000:role/{name}"))})).await;
    place.stage.is_settled_on("v1").await;
    assert!(line.count("GetParameters") > 0);
    let log = place.stage.controller.log_text();
    assert!(log.contains(&format!("assumed-role/{name}/bascule")), "who we are there is in the log: {log}");
    place.end().await;
}
