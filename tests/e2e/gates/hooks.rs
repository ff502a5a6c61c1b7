//! A migration, before anything of the new version runs.

use bascule_crds::{HookState, RejectReason};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::ListParams;
use serde_json::json;

use super::{exists, settled, spec, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_keeps_the_new_version_from_ever_running() {
    let mut stage = settled("migrate", |stage| spec(stage, "v1", &[])).await;
    let failing =
        task(&[("TASK_SAYS", "migrating 12\\ntable users is locked"), ("TASK_MESSAGE", "gave up at 12"), ("TASK_EXIT", "7")]);
    let mut v2 = spec(&stage, "v2", &[]);
    v2["hooks"] =
        json!({"beforeStart": [{"name": "backup", "job": task(&[])}, {"name": "migrate", "job": failing, "timeout": "1m"}]});
    stage.release("web", &v2).await;
    let status = stage.is_rejected_in_favour_of("v1").await;
    let rejection = &status.rejected[0];
    println!("rejected: {}", rejection.message);
    assert_eq!(rejection.reason, RejectReason::HookFailed);
    for words in ["hook migrate failed", "exit code 7", "gave up at 12", "table users is locked"] {
        assert!(rejection.message.contains(words), "{words:?} in {}", rejection.message);
    }
    assert!(!exists(&stage, "web-green").await, "nothing of the new version ever ran");
    let candidates = ListParams::default().labels("bascule.dev/track=green");
    assert!(stage.api::<Pod>().list(&candidates).await.unwrap().items.is_empty());

    // A restart does not try again; a person may, when the reason is gone: the backup is done and does not run twice.
    stage.controller.restart().await;
    v2["hooks"]["beforeStart"][1]["job"] = task(&[("TASK_SAYS", "migrated")]);
    stage.release("web", &v2).await;
    stage.operate("Retry", "the lock is gone").await;
    let status = stage.is_settled_on("v2").await;
    let jobs = stage.api::<Job>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(jobs.len(), 3, "the backup once, the migration twice");
    assert!(status.hooks.iter().all(|hook| hook.state == HookState::Done));
    stage.end().await;
}
