//! A volume that only one node can write, on real pods: it goes from version to version, and never are there two who have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bascule_crds::{ConditionType, RejectReason, ReleaseStatus};
use bascule_tests::{Stage, stage};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{bed, spec};

/// Which pods there were, and which of them at the same time on both tracks.
#[derive(Debug, Default)]
struct Seen {
    now: BTreeMap<String, String>,
    tracks: BTreeSet<String>,
    together: Vec<String>,
}

fn watch(stage: &Stage) -> (Arc<Mutex<Seen>>, JoinHandle<()>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let pods = watcher(stage.api::<Pod>(), watcher::Config::default().labels("bascule.dev/release=web"));
    let told = seen.clone();
    let task = tokio::spawn(async move {
        let mut pods = pods.boxed();
        while let Some(event) = pods.next().await {
            let mut seen = told.lock().unwrap();
            match event.unwrap() {
                Event::Apply(pod) | Event::InitApply(pod) => {
                    let track = pod.labels().get("bascule.dev/track").cloned().unwrap_or_default();
                    seen.tracks.insert(track.clone());
                    seen.now.insert(pod.name_any(), track);
                }
                Event::Delete(pod) => {
                    seen.now.remove(&pod.name_any());
                }
                Event::Init | Event::InitDone => {}
            }
            if seen.now.values().collect::<BTreeSet<_>>().len() > 1 {
                let both = format!("{:?}", seen.now);
                seen.together.push(both);
            }
        }
    });
    (seen, task)
}

/// A directory of the node, and the claim of a team on it.
async fn volume(stage: &Stage) -> Api<PersistentVolume> {
    let volumes = Api::all(stage.bed.admin().await);
    let directory = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), stage.namespace);
    let volume = json!({"metadata": {"name": stage.namespace}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": stage.namespace, "name": "data"},
        "hostPath": {"path": directory, "type": "DirectoryOrCreate"}}});
    volumes.create(&PostParams::default(), &stage::from(volume)).await.unwrap();
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "volumeName": stage.namespace, "resources": {"requests": {"storage": "1Gi"}}}});
    stage.api::<PersistentVolumeClaim>().create(&PostParams::default(), &stage::from(claim)).await.unwrap();
    volumes
}

/// Slow to end: it drains for three seconds.
fn with_volume(stage: &Stage, tag: &str, ready: &str) -> Value {
    let mut spec = spec(stage, tag, &[("DRAIN", "3s"), ("READY_AFTER", ready)]);
    spec["strategy"]["progressDeadline"] = json!("15s");
    let workload = &mut spec["workloads"][0];
    workload["replicas"] = json!(1);
    workload["strategy"] = json!({"type": "Recreate"});
    let pod = &mut workload["template"]["spec"];
    pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_only_one_can_write_goes_from_version_to_version() {
    let stage = Stage::new(&bed(), "volume").await;
    stage.service("web").await;
    let volumes = volume(&stage).await;
    let mut both = with_volume(&stage, "v1", "0s");
    both["workloads"][0]["strategy"] = json!({"type": "BlueGreen"});
    stage.release("web", &both).await;
    let refused = |it: &ReleaseStatus| stage::reason(it, ConditionType::Ready) == "VolumeNotShared";
    stage.until("it is refused for two at once", refused).await;

    let (seen, task) = watch(&stage);
    stage.release("web", &with_volume(&stage, "v1", "0s")).await;
    stage.is_settled_on("v1").await;
    stage.release("web", &with_volume(&stage, "v2", "0s")).await;
    stage.is_settled_on("v2").await;
    // One that never gets ready gives the volume back.
    stage.release("web", &with_volume(&stage, "v3", "never")).await;
    let back = |it: &ReleaseStatus| {
        let available = it.condition(ConditionType::Available).is_some_and(|it| it.reason == "AllPodsReady");
        stage::is_active(it, "v2") && it.candidate.is_none() && it.rejected.len() == 1 && available
    };
    let status = stage.until("v2 has it again", back).await;
    assert_eq!(status.rejected[0].reason, RejectReason::DeadlineExceeded);
    assert_eq!((stage.replicas("web-green").await, stage.replicas("web-blue").await), (1, 0));

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.tracks, BTreeSet::from(["blue".to_owned(), "green".to_owned()]));
    assert!(seen.together.is_empty(), "{:?}", seen.together);
    task.abort();
    let name = stage.namespace.clone();
    stage.end().await;
    volumes.delete(&name, &DeleteParams::default()).await.unwrap();
}
