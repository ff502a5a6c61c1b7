//! Parameters: what is written is released, and whatever goes wrong with the source takes nothing away.

use bascule_crds::{ConditionStatus, ConditionType, ReleaseStatus};
use bascule_tests::{Behaviour, aws::Trouble, registry, stage};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_written_is_a_release() {
    let place = Place::settled("aws-release").await;
    let version = place.put("shop/web:v2").await;
    let status = place.stage.is_settled_on("v2").await;
    let artifact = &status.active.unwrap().artifacts[0];
    let record = artifact.parameter.as_ref().unwrap();
    assert_eq!(
        (artifact.reference.as_str(), record.name.clone(), record.version),
        ("example.com/shop/web:v2", place.parameter(), version)
    );
    assert!(record.modified_at.is_some());
    // The emulator knows no users, and says so.
    assert_eq!(record.modified_by.as_deref(), Some("N/A"));
    place.end().await;
}

/// Whoever writes the same value again, restarts or applies has not decided anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_person_has_left_does_not_come_back_by_a_touch_of_its_value() {
    let mut place = Place::settled("aws-left").await;
    place.put("shop/web:v2").await;
    place.stage.is_settled_on("v2").await;
    place.stage.operate("Rollback", "checkout errors").await;
    let back = |it: &ReleaseStatus| stage::is_active(it, "v1") && it.candidate.is_none() && it.history.len() == 3;
    let left = place.stage.until("users are back on v1", back).await;
    for _ in 0..2 {
        place.put("shop/web:v2").await;
        place.read_again().await;
        place.stage.controller.restart().await;
        place.release().await;
        place.read_again().await;
        let status = place.stage.status("web").await;
        assert_eq!((&status.active, &status.candidate, status.history.len()), (&left.active, &None, 3));
        assert_eq!(stage::reason(&status, ConditionType::Ready), "RolledBack");
    }
    place.put("shop/web:v3").await;
    let status = place.stage.until("v3 ends it", |it| stage::is_active(it, "v3") && it.candidate.is_none()).await;
    assert!(status.hold.is_none() && status.history.iter().all(|it| it.number <= 3 || it.version == "v3"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_writes_in_a_row_few_are_released_and_the_last_one_wins() {
    let place = Place::settled("aws-burst").await;
    for build in 0..50 {
        place.put(&format!("shop/web:b{build}")).await;
    }
    place.stage.is_settled_on("b49").await;
    let log = place.stage.controller.log_text();
    let started = log.matches("starts on").count() + log.matches("status: b").count();
    let deployed: std::collections::BTreeSet<_> =
        (0..50).filter(|build| log.contains(&format!("status: b{build} Starting"))).collect();
    println!("50 writes: {} candidates {deployed:?} ({started} lines)", deployed.len());
    assert!((1..=8).contains(&deployed.len()), "{deployed:?}");
    place.end().await;
}

/// What other tools document as a limitation: the build that finishes last wins, whichever commit it is of.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_builds_that_finish_out_of_order_the_newer_one_stays() {
    let place = Place::new("aws-order", json!({})).await;
    let registry = place.stage.bed.variable("BASCULE_REGISTRY").to_owned();
    place.environment(json!({"registry": registry, "allow": {"images": [format!("{registry}/github/shop/**")]}})).await;
    let sha = |build: u32| format!("{build:040x}-aarch64");
    // A pipeline: it pushes its image and then puts one parameter. Values name no registry, tags are commits.
    let deploy = async |build: u32| {
        let labels = json!({"org.example.build-number": build.to_string()});
        registry::push(&registry, "github/shop/web", &sha(build), &labels).await;
        place.put(&format!("github/shop/web:{}", sha(build))).await;
    };
    let mut spec = place.stage.spec("", Behaviour::Ready, 2);
    spec["artifacts"][0]["image"] =
        json!({"parameter": "/$(vars.team)/$(env.name)/web/image", "order": {"label": "org.example.build-number"}});
    deploy(41).await;
    place.stage.release("web", &spec).await;
    place.stage.is_settled_on(&sha(41)).await;
    deploy(43).await;
    place.stage.is_settled_on(&sha(43)).await;
    // The older commit's build took longer.
    deploy(42).await;
    let status = place.fresh(ConditionStatus::True, "OutOfOrder").await;
    let message = stage::message(&status, ConditionType::SourcesFresh);
    assert!(message.contains("org.example.build-number 42, which is older than 43"), "{message}");
    assert!(stage::is_ready(&status) && stage::is_active(&status, &sha(43)) && status.candidate.is_none());

    // A person decides otherwise, on the record.
    let operation = place.stage.operate("Accept", "43 loses orders").await;
    place.stage.is_settled_on(&sha(42)).await;
    place
        .stage
        .eventually("the Operation is answered", || async {
            let operation = place.stage.api::<bascule_crds::Operation>().get(&operation).await.unwrap();
            let outcome = operation.status.map(|status| status.outcome);
            (outcome == Some(bascule_crds::OperationOutcome::Done) && operation.spec.by.is_some()).then_some(())
        })
        .await;
    // And what is newer than that goes on by itself.
    deploy(44).await;
    let status = place.stage.is_settled_on(&sha(44)).await;
    let image = place.stage.image("web-green").await;
    let artifact = status.active.unwrap().artifacts[0].clone();
    // What is running, from which commit: without opening AWS.
    assert_eq!(artifact.commit, Some(format!("{:040x}", 44)));
    assert_eq!(artifact.repository.as_deref(), Some("github.com/shop/web"));
    let digest = artifact.digest.clone().unwrap();
    assert!(image.ends_with(&digest) || place.stage.image("web-blue").await.ends_with(&digest), "{image}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_source_what_runs_stays() {
    let place = Place::settled("aws-down").await;
    let before = place.stage.status("web").await;
    place.line.is(Trouble::Denied);
    let status = place.fresh(ConditionStatus::False, "AccessDenied").await;
    assert!(stage::message(&status, ConditionType::SourcesFresh).contains("not authorized to perform: ssm:GetParameters"));
    assert_eq!((stage::is_ready(&status), &status.active), (true, &before.active));
    // An edit that has nothing to do with it goes through.
    place.line.is(Trouble::None);
    place.fresh(ConditionStatus::True, "Fresh").await;
    place.line.is(Trouble::Key);
    let status = place.fresh(ConditionStatus::False, "AccessDenied").await;
    assert!(stage::message(&status, ConditionType::SourcesFresh).contains("is disabled"));
    place.line.is(Trouble::None);
    place.fresh(ConditionStatus::True, "Fresh").await;

    place.emulator.delete(&place.parameter()).await;
    let status = place.fresh(ConditionStatus::False, "ParameterMissing").await;
    assert_eq!((stage::is_ready(&status), &status.active), (true, &before.active));
    // Made anew it begins with version 1, and is newer all the same.
    assert_eq!(place.put("shop/web:v2").await, 1);
    place.stage.is_settled_on("v2").await;

    place.put("https://example.com/shop/web").await;
    place.stage.until("the value is refused", |it| stage::reason(it, ConditionType::Ready) == "ValueInvalid").await;
    place.put("shop/web:v3").await;
    place.stage.is_settled_on("v3").await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_troubles_are_survived_without_a_write() {
    let place = Place::settled("aws-short").await;
    let version = |status: &Value| status["metadata"]["resourceVersion"].clone();
    let release =
        || async { serde_json::to_value(place.stage.api::<bascule_crds::Release>().get("web").await.unwrap()).unwrap() };
    let before = version(&release().await);
    for trouble in [
        Trouble::Throttled,
        Trouble::Rate(0),
        Trouble::Unavailable,
        Trouble::Broken,
        Trouble::Cut,
        Trouble::Half,
        Trouble::Reset,
        Trouble::Slow(12_000),
    ] {
        let asked = place.line.count("GetParameters");
        place.line.is(trouble);
        place
            .stage
            .eventually("it was asked twice in trouble", || async {
                (place.line.count("GetParameters") >= asked + 2).then_some(())
            })
            .await;
        place.line.is(Trouble::None);
        let asked = place.line.count("GetParameters");
        place
            .stage
            .eventually("it was asked again", || async { (place.line.count("GetParameters") >= asked + 2).then_some(()) })
            .await;
    }
    assert_eq!(version(&release().await), before, "nothing was written");
    place.put("shop/web:v2").await;
    place.stage.is_settled_on("v2").await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_parameter_store_is_silent_changes_nothing() {
    let mut place = Place::settled("aws-silent").await;
    let before = place.stage.status("web").await;
    place.line.is(Trouble::Silent);
    place.stage.controller.restart().await;
    // A template that the team changes goes out with the image that was resolved last.
    let mut spec = place.stage.spec("", Behaviour::Ready, 2);
    spec["artifacts"][0]["image"] = json!({"parameter": "/$(vars.team)/$(env.name)/web/image", "resolve": "Never"});
    spec["workloads"][0]["template"]["metadata"]["annotations"]["note"] = json!("changed");
    place.stage.release("web", &spec).await;
    let revision = before.active.as_ref().unwrap().revision.clone();
    let status = place
        .stage
        .until("the new template is settled", |it| {
            it.candidate.is_none() && stage::is_ready(it) && it.active.as_ref().is_some_and(|active| active.revision != revision)
        })
        .await;
    assert_eq!(status.active.unwrap().artifacts, before.active.unwrap().artifacts);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_goes_or_forbids_stalls_and_takes_nothing_away() {
    let place = Place::settled("aws-environment").await;
    let asked = |it: &ReleaseStatus| stage::reason(it, ConditionType::Stalled);
    place.environment(json!({"allow": {"parameters": ["/other/**"]}})).await;
    let status = place.stage.until("the parameter is not allowed", |it| asked(it) == "NotAllowed").await;
    assert!(stage::is_active(&status, "v1"));
    let message = stage::message(&status, ConditionType::Stalled);
    assert!(message.starts_with("spec.artifacts[0].image.parameter: ") && message.contains("spec.allow.parameters"), "{message}");
    let count = place.line.count("GetParameters");
    place.environment(json!({"namespaces": {"matchLabels": {"tier": "none"}}})).await;
    place.stage.until("it is not accepted", |it| asked(it) == "EnvironmentNotAccepted").await;
    place.environments().await.delete(place.name(), &DeleteParams::default()).await.unwrap();
    let status = place.stage.until("it is missing", |it| asked(it) == "EnvironmentMissing").await;
    assert!(stage::is_active(&status, "v1"));
    // What is not allowed is not even asked for; one call may have been on its way.
    assert!(place.line.count("GetParameters") <= count + 1);
    place.environment(json!({})).await;
    place.stage.is_settled_on("v1").await;
    place.end().await;
}
