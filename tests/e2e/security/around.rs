//! A controller that is started by a command of one's own: a script of one line stands in the place of its binary. And everything that it has written.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bascule_tests::{Bed, Stage, bed::root, controller};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::Kubeconfig,
};
use serde_json::json;

/// The controller of `stage` is started anew by any command; `"$@"` are its arguments.
pub(crate) async fn replace(stage: &mut Stage, command: &str) {
    let script = file(stage, "sh");
    fs::write(&script, format!("#!/bin/sh\n{command}\n")).expect("write a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("let it run");
    stage.controller.replace(script.clone()).await;
    // It may hold what a test has hidden.
    fs::remove_file(script).expect("remove the script");
}

/// A kubeconfig for whoever reaches the API server at `url` only.
pub(crate) fn kubeconfig(stage: &Stage, url: &str) -> PathBuf {
    let path = file(stage, "kubeconfig");
    fs::write(&path, controller::kubeconfig(url)).expect("write a kubeconfig");
    path
}

/// A client with exactly the controller's rights.
pub(crate) async fn as_controller(bed: &Bed) -> Client {
    let kubeconfig = Kubeconfig::read_from(bed.controller_kubeconfig()).expect("read the controller's kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("make a client")
}

/// All that the controller has written to its log.
pub(crate) fn log(stage: &Stage) -> String {
    let path = root().join("target/e2e-logs").join(format!("{}-{}.log", stage.bed.name, stage.namespace));
    fs::read_to_string(path).expect("read the controller's log")
}

/// The namespace has no Environment any more.
pub(crate) async fn claims_nothing(stage: &Stage) {
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": null}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces
        .patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&label))
        .await
        .expect("change the namespace's label");
}

/// A file beside the controller's log.
pub(crate) fn file(stage: &Stage, kind: &str) -> PathBuf {
    root().join("target/e2e-logs").join(format!("{}.{kind}", stage.namespace))
}
