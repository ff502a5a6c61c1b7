//! What kstatus (Flux, Helm 4) and Argo CD read from a Release in each of its phases.
//!
//! The status is the real controller's, on a real API server; the words are those of the tools' own code (`hack/bed/cmd/health`).

use std::time::Duration;

use bascule_crds::{ConditionStatus, ConditionType, Environment, Release, ReleaseStatus, Step};
use bascule_tests::{
    Behaviour, Stage,
    aws::{Emulator, Line},
    stage::{self, is_active},
};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{Namespace, Service},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    RELEASE, bed, in_git, live,
    tools::{Tool, verdicts},
};

/// What is said of a phase: by kstatus, and by Argo CD with the script.
type Words = (&'static str, &'static str);

const PROGRESSING: Words = ("InProgress", "Progressing");
const GOOD: Words = ("Current", "Healthy");
const BAD: Words = ("Failed", "Degraded");
/// kstatus has no word for what a person has stopped.
const STOPPED: Words = ("InProgress", "Suspended");

/// The Release as it is now, and what is said of it.
async fn said(stage: &Stage, phase: &str, wanted: Words) -> Value {
    judged(phase, &live(stage, RELEASE.0, RELEASE.1, "web").await, stage, wanted)
}

fn judged(phase: &str, release: &Value, stage: &Stage, wanted: Words) -> Value {
    let said = verdicts(&stage.bed, &release.to_string()).remove(0);
    let (kstatus, argo) = (&said["kstatus"], &said["argo"]);
    println!("| {phase} | {} | {} | {} |", text(kstatus, "status"), text(argo, "status"), text(argo, "message"));
    assert_eq!((text(kstatus, "status"), text(argo, "status")), wanted, "{phase}: {said}");
    said
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Waits for the phase, and judges the very object that showed it.
async fn phase(stage: &Stage, phase: &str, wanted: Words, holds: impl Fn(&ReleaseStatus) -> bool) -> Value {
    let release = stage
        .eventually(phase, || async {
            let release = live(stage, RELEASE.0, RELEASE.1, "web").await;
            let status: ReleaseStatus = stage::from(release["status"].clone());
            holds(&status).then_some(release)
        })
        .await;
    judged(phase, &release, stage, wanted)
}

fn step(wanted: Step) -> impl Fn(&ReleaseStatus) -> bool {
    move |status| status.candidate.as_ref().is_some_and(|candidate| candidate.step == wanted)
}

fn ready_is(wanted: &'static str) -> impl Fn(&ReleaseStatus) -> bool {
    move |status| stage::reason(status, ConditionType::Ready) == wanted
}

/// A Job on fake pods that never ends.
fn endless_job() -> Value {
    json!({"template": {
        "metadata": {"annotations": {"bed.bascule.dev/behaviour": "never-ready"}},
        "spec": {"containers": [{"name": "main", "image": "example/task:v1"}]},
    }})
}

/// The time between the write of a Release and the first look of the controller is short; a tool looks in just then.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_has_not_seen_is_not_done() {
    let mut stage = Stage::new(&bed(), "health-new").await;
    stage.service("web").await;
    stage.controller.kill();
    stage.version("v1", Behaviour::Ready).await;
    let release = live(&stage, RELEASE.0, RELEASE.1, "web").await;
    let owners = release["metadata"]["managedFields"].as_array().unwrap();
    assert!(owners.iter().all(|owner| owner["manager"] == "team"), "the API server's default is nobody's: {owners:?}");
    let said = said(&stage, "just written, not seen yet", PROGRESSING).await;
    assert_eq!(said["argoWithout"], Value::Null, "Argo CD knows no health of unknown kinds");
    // Flux itself: it waits, and does not take it for done.
    let (healthy, text) = Tool::Flux.try_apply(&stage, &in_git(&stage, "v1", "1s"), &["-wait", "3s"]);
    assert!(!healthy && text.contains("health check failed"), "{text}");
    stage.controller.run().await;
    stage.is_settled_on("v1").await;
    self::said(&stage, "settled", GOOD).await;

    // Ready is still about the spec before, and nobody is taken in by it.
    stage.controller.kill();
    stage.version("v2", Behaviour::Ready).await;
    let wait = ["-n", &stage.namespace, "wait", "release/web", "--for=condition=Ready", "--timeout=2s"];
    assert!(!stage.bed.kubectl(&wait, None).0, "kubectl waits");
    let status = stage.status("web").await;
    assert_eq!(status.condition(ConditionType::Ready).map(|ready| ready.status), Some(ConditionStatus::True));
    self::said(&stage, "another spec, not seen yet", PROGRESSING).await;
    stage.controller.run().await;
    stage.is_settled_on("v2").await;

    // A finalizer of somebody else, so that the deletion can be looked at.
    let keep = json!({"metadata": {"finalizers": ["example.com/look"]}});
    let releases = stage.api::<Release>();
    releases.patch("web", &PatchParams::default(), &Patch::Merge(&keep)).await.unwrap();
    releases.delete("web", &DeleteParams::default()).await.unwrap();
    self::said(&stage, "being deleted", ("Terminating", "Progressing")).await;
    let release = json!({"metadata": {"finalizers": []}});
    releases.patch("web", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    stage.eventually("it is gone", || async { releases.get_opt("web").await.unwrap().is_none().then_some(()) }).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_on_its_way_is_progressing_at_every_step() {
    let stage = Stage::settled(&bed(), "health-steps").await;
    let mut spec = stage.spec("v2", Behaviour::Never, 2);
    spec["hooks"] = json!({"beforeStart": [{"name": "migrate", "job": endless_job()}]});
    spec["strategy"] = json!({"progressDeadline": "10m", "bake": "10m"});
    stage.release("web", &spec).await;
    phase(&stage, "Preparing", PROGRESSING, step(Step::Preparing)).await;
    spec.as_object_mut().unwrap().remove("hooks");
    spec["artifacts"][0]["image"]["ref"] = json!("example/web:v3");
    stage.release("web", &spec).await;
    phase(&stage, "Starting", PROGRESSING, step(Step::Starting)).await;
    spec["gates"] = json!({"beforeSwitch": [{"name": "accept", "job": endless_job(), "timeout": "10m"}]});
    spec["artifacts"][0]["image"]["ref"] = json!("example/web:v4");
    spec["workloads"][0]["template"]["metadata"]["annotations"] = json!({});
    stage.release("web", &spec).await;
    phase(&stage, "Verifying", PROGRESSING, step(Step::Verifying)).await;

    // Nobody may move the second Service.
    stage.service("web-b").await;
    let blocked = Blocked::new(&stage, "web-b").await;
    spec.as_object_mut().unwrap().remove("gates");
    spec["services"] = json!([{"name": "web"}, {"name": "web-b"}]);
    stage.release("web", &spec).await;
    phase(&stage, "Switching", PROGRESSING, step(Step::Switching)).await;
    blocked.lift().await;
    phase(&stage, "Baking", PROGRESSING, step(Step::Baking)).await;
    spec["strategy"]["bake"] = json!("1s");
    stage.release("web", &spec).await;
    phase(&stage, "settled", GOOD, |it| is_active(it, "v4") && it.candidate.is_none()).await;
    stage.end().await;
}

/// The API server refuses to let a Service point to another track.
struct Blocked {
    policies: Api<ValidatingAdmissionPolicy>,
    bindings: Api<ValidatingAdmissionPolicyBinding>,
    name: String,
}

impl Blocked {
    async fn new(stage: &Stage, service: &str) -> Self {
        let name = stage.namespace.clone();
        let this =
            Self { policies: Api::all(stage.client.0.clone()), bindings: Api::all(stage.client.0.clone()), name: name.clone() };
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["services"], "resourceNames": [service]}]},
                "validations": [{"expression": "object.metadata.?annotations[?'bascule.dev/track'].orValue('none') in ['none', 'blue']"}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}},
        });
        let as_us = PatchParams::apply("test").force();
        this.policies.patch(&name, &as_us, &Patch::Apply(&policy)).await.unwrap();
        this.bindings.patch(&name, &as_us, &Patch::Apply(&binding)).await.unwrap();
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let to_green = json!({"metadata": {"annotations": {"bascule.dev/track": "green"}}});
        let refused =
            || async { stage.api::<Service>().patch(service, &dry, &Patch::Merge(&to_green)).await.is_err().then_some(()) };
        stage.eventually("the policy is in force", refused).await;
        this
    }

    async fn lift(&self) {
        self.bindings.delete(&self.name, &DeleteParams::default()).await.unwrap();
        self.policies.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_failed_also_when_users_are_well() {
    let stage = Stage::settled(&bed(), "health-bad").await;
    stage.version("v2", Behaviour::Never).await;
    phase(&stage, "rejected, users never met it", BAD, |it| it.candidate.is_none() && !it.rejected.is_empty()).await;
    let mut spec = stage.spec("v3", Behaviour::Dies(1), 2);
    spec["strategy"]["bake"] = json!("60s");
    stage.release("web", &spec).await;
    phase(&stage, "switched back in the bake", BAD, |it| it.rejected.len() == 2 && is_active(it, "v1") && it.candidate.is_none())
        .await;
    let mut spec = stage.spec("v4", Behaviour::Ready, 2);
    spec["artifacts"][0]["image"]["ref"] = json!("Not An Image");
    stage.release("web", &spec).await;
    phase(&stage, "the spec is wrong", BAD, ready_is("SpecInvalid")).await;
    stage.version("v1", Behaviour::Ready).await;
    phase(&stage, "the good version again", GOOD, ready_is("Settled")).await;
    stage.end().await;

    // The first version of all: there is nothing to return to.
    let stage = Stage::new(&bed(), "health-first").await;
    stage.service("web").await;
    stage.version("v1", Behaviour::Never).await;
    phase(&stage, "the first version fails", BAD, ready_is("Rejected")).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_stopped_is_not_done_and_not_broken() {
    let stage = Stage::settled(&bed(), "health-held").await;
    let mut spec = stage.spec("v2", Behaviour::Ready, 2);
    spec["suspend"] = json!(true);
    stage.release("web", &spec).await;
    phase(&stage, "suspended, something else is wanted", STOPPED, ready_is("Suspended")).await;
    spec["artifacts"][0]["image"]["ref"] = json!("example/web:v1");
    stage.release("web", &spec).await;
    phase(&stage, "suspended, nothing else is wanted", GOOD, ready_is("Settled")).await;
    stage.version("v1", Behaviour::Ready).await;
    stage.operate("Hold", "the quarter closes").await;
    phase(&stage, "held, nothing else is wanted", GOOD, |it| it.hold.is_some() && ready_is("Settled")(it)).await;
    stage.version("v2", Behaviour::Ready).await;
    phase(&stage, "held, something else is wanted", STOPPED, ready_is("Held")).await;
    stage.operate("Resume", "").await;
    stage.is_settled_on("v2").await;
    stage.operate("Rollback", "checkout errors").await;
    // For kstatus it is stalled: only a person, or another version, goes on.
    phase(&stage, "a person returned to an earlier version", ("Failed", "Suspended"), ready_is("RolledBack")).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pods_are_told_apart_from_a_bad_release() {
    // The only way back is a person's.
    let stage = Stage::settled(&bed(), "health-pods").await;
    let mut spec = stage.spec("v2", Behaviour::Dies(2), 2);
    spec["strategy"]["bake"] = json!("60s");
    spec["rollback"] = json!({"automatic": false});
    stage.release("web", &spec).await;
    phase(&stage, "bad in the bake, no automatic rollback", ("InProgress", "Degraded"), ready_is("BakeFailing")).await;
    stage.operate("Abort", "").await;
    phase(&stage, "aborted", BAD, |it| is_active(it, "v1") && it.candidate.is_none()).await;

    // Settled, and pods die afterwards: the release is as wanted, for kstatus that is all.
    let mut spec = stage.spec("v3", Behaviour::Dies(4), 2);
    spec["strategy"]["bake"] = json!("0s");
    stage.release("web", &spec).await;
    let short = |it: &ReleaseStatus| {
        let missing = it.condition(ConditionType::Available).is_some_and(|available| available.status == ConditionStatus::False);
        is_active(it, "v3") && stage::is_ready(it) && missing
    };
    phase(&stage, "settled, a pod is missing", ("Current", "Progressing"), short).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_read_takes_nothing_away() {
    let emulator = Emulator::of_bed();
    let line = Line::to(&emulator).await;
    let stage = Stage::new(&bed(), "health-source").await;
    let asks = json!({
        "apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": stage.namespace},
        "spec": {"aws": {"region": "us-east-1", "endpoint": line.url(), "pollInterval": "500ms"}, "registry": "example.com"},
    });
    let as_platform = PatchParams::apply("platform");
    let environments = Api::<Environment>::all(stage.client.0.clone());
    environments.patch(&stage.namespace, &as_platform, &Patch::Apply(&asks)).await.unwrap();
    let label = json!({"metadata": {"labels": {"bascule.dev/environment": stage.namespace}}});
    let namespaces = Api::<Namespace>::all(stage.client.0.clone());
    namespaces.patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    stage.service("web").await;
    let parameter = format!("/shop/{}/web/image", stage.namespace);
    let mut spec = stage.spec("", Behaviour::Ready, 2);
    spec["artifacts"][0]["image"] = json!({"parameter": parameter, "resolve": "Never"});
    stage.release("web", &spec).await;
    phase(&stage, "the parameter is missing from the beginning", PROGRESSING, ready_is("ParameterMissing")).await;
    emulator.put(&parameter, "shop/web:v1").await;
    stage.is_settled_on("v1").await;
    emulator.delete(&parameter).await;
    let gone = |it: &ReleaseStatus| stage::reason(it, ConditionType::SourcesFresh) == "ParameterMissing";
    let said = phase(&stage, "settled, and the parameter is gone", GOOD, gone).await;
    assert!(text(&said["argo"], "message").contains(&parameter), "Argo CD shows what is the matter: {said}");
    stage.end().await;
}

/// The tools themselves wait: what they are told to go by is in the status.
#[tokio::test(flavor = "multi_thread")]
async fn flux_and_helm_4_wait_for_the_end_of_a_release() {
    for (name, tool, wait) in
        [("wait-flux", Tool::Flux, &["-wait", "60s"][..]), ("wait-helm", Tool::Helm4, &["--wait", "--timeout", "60s"])]
    {
        let stage = Stage::new(&bed(), name).await;
        let ends = async |version: &str, manifests: &[Value]| {
            let began = Instant::now();
            let (good, said) = tool.try_apply(&stage, manifests, wait);
            println!("{tool:?} {version}: {} after {:.1?}\n{said}", if good { "good" } else { "failed" }, began.elapsed());
            // At the latest: a tool that only waits for its time-out takes a minute.
            (good, began.elapsed() < Duration::from_secs(40))
        };
        assert!(ends("v1", &in_git(&stage, "v1", "3s")).await.0);
        let status = stage.status("web").await;
        assert!(
            is_active(&status, "v1") && status.candidate.is_none(),
            "{tool:?} waits for the end of the first bake: {status:?}"
        );
        assert!(ends("v2", &in_git(&stage, "v2", "3s")).await.0);
        let status = stage.status("web").await;
        assert!(is_active(&status, "v2") && status.candidate.is_none(), "{tool:?} waits for the end of the bake: {status:?}");

        let mut bad = in_git(&stage, "v3", "3s");
        bad[1]["spec"]["workloads"][0]["template"]["metadata"]["annotations"] =
            json!({"bed.bascule.dev/behaviour": "never-ready"});
        let (good, _) = ends("v3, which never gets ready", &bad).await;
        assert!(!good, "{tool:?} takes a rejected version for good");
        assert!(!stage.status("web").await.rejected.is_empty(), "{tool:?} gave up before the end");
        if tool == Tool::Helm4 {
            bad[1]["spec"]["artifacts"][0]["image"]["ref"] = json!("example/web:v4");
            let (good, text) = tool.try_apply(&stage, &bad, &["--rollback-on-failure", "--timeout", "60s"]);
            assert!(!good && text.contains("has been rolled back"), "{text}");
            // To the last chart that was good.
            stage.is_settled_on("v2").await;
        }
        stage.end().await;
    }
}
