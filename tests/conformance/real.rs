//! The real API server of a bed.
//!
//! In: requests without symbols. Out: what the server answers, raw. It keeps the cluster's own controllers away from what is compared:
//! in the namespaces of these tests an admission policy refuses what the Deployment controller writes, so that a Deployment is an object
//! like any other. The garbage collector works as always; it is part of what is compared. Never here: judging an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bascule_tests::Bed;
use futures::{AsyncBufReadExt as _, StreamExt as _};
use http::Request;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    sequence::{Ask, Watch, Words},
    side::{Answer, Side, look},
};

/// Marks the namespaces of these tests, for the policy and for whoever clears up.
const MARK: &str = "bascule.dev/conformance";
const POLICY: &str = "bascule-conformance-quiet";
/// The one controller that writes to objects that are compared.
const MEDDLER: &str = "system:serviceaccount:kube-system:deployment-controller";
/// The garbage collector looks for new kinds every 30 s; a bed that has just come up makes it miss one round.
const COLLECTOR_WAKES: Duration = Duration::from_secs(90);
/// On busy cores a round of garbage collection has taken 3 s.
const COLLECTOR_WORKS: Duration = Duration::from_secs(10);
/// A watch shows what has been committed within milliseconds.
const WATCH_SHOWS: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
const JSON: &str = "application/json";

#[derive(Clone)]
pub(crate) struct Real {
    client: Client,
    namespace: String,
    user: String,
    runs: Arc<AtomicU64>,
}

impl Real {
    /// For reading only.
    pub(crate) async fn anywhere(bed: &Bed) -> Self {
        Self { client: bed.admin().await, namespace: String::new(), user: String::new(), runs: Arc::default() }
    }

    /// A namespace of its own on the bed, in which nobody but the test and the garbage collector writes.
    pub(crate) async fn on(bed: &Bed, name: &str) -> Self {
        let mut real = Self::anywhere(bed).await;
        let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let who = real.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", Some(who)).await;
        who.body["status"]["userInfo"]["username"].as_str().unwrap().clone_into(&mut real.user);
        real.keep_quiet().await;
        let body = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"generateName": format!("conformance-{name}-"), "labels": {MARK: name}}});
        let made = real.send("POST", "/api/v1/namespaces", Some(body)).await;
        made.body["metadata"]["name"].as_str().expect("make a namespace").clone_into(&mut real.namespace);
        real.until_quiet().await;
        real.until_collected().await;
        real
    }

    async fn keep_quiet(&self) {
        let group = "/apis/admissionregistration.k8s.io/v1";
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": POLICY},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchExpressions": [{"key": MARK, "operator": "Exists"}]},
                    "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["deployments", "deployments/status", "replicasets"]}],
                },
                "validations": [{"expression": format!("request.userInfo.username != '{MEDDLER}'"),
                    "message": "a conformance test compares these objects: nobody else writes to them"}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": POLICY},
            "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
        });
        for (plural, body) in [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)] {
            let answer = self.send("POST", &format!("{group}/{plural}"), Some(body)).await;
            assert!(matches!(answer.code, 201 | 409), "{}", answer.body);
        }
    }

    /// The policy holds a moment after it has been written: ask as the controller until it does.
    async fn until_quiet(&self) {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments?dryRun=All", self.namespace);
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "quiet"}, "spec": {
            "selector": {"matchLabels": {"app": "quiet"}},
            "template": {"metadata": {"labels": {"app": "quiet"}}, "spec": {"containers": [{"name": "main", "image": "none"}]}}}});
        let patience = Instant::now() + COLLECTOR_WAKES;
        loop {
            let request = Request::builder().method("POST").uri(&path).header("Content-Type", JSON);
            let request = request.header("Impersonate-User", MEDDLER).header("Impersonate-Group", "system:masters");
            let answer = self.perform(request.body(Body::from(body.to_string().into_bytes())).unwrap()).await;
            if answer.code == 422 || answer.code == 403 {
                return;
            }
            assert!(Instant::now() < patience, "the Deployment controller could still write: {}", answer.body);
            tokio::time::sleep(POLL).await;
        }
    }

    /// The garbage collector of a fresh bed does not know our kinds yet: each of them is waited for by itself, as what owns and as what is
    /// owned. It begins to watch them one after the other.
    async fn until_collected(&self) {
        let group = "bascule.dev/v1alpha1";
        let path = |plural: &str| format!("/apis/{group}/namespaces/{}/{plural}", self.namespace);
        let release = |name: &str| {
            json!({"apiVersion": group, "kind": "Release", "metadata": {"name": name},
                "spec": {"workloads": [{"name": "web", "template": {}}]}})
        };
        let operation = json!({"apiVersion": group, "kind": "Operation", "metadata": {"name": "owned"},
            "spec": {"release": "none", "type": "Retry"}});
        let dependents = [
            (self.maps(), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}})),
            (path("releases"), release("owned")),
            (path("operations"), operation),
        ];
        for dependent in dependents {
            self.collect((path("releases"), release("owner")), dependent, COLLECTOR_WAKES).await;
        }
    }

    fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// Makes an owner and what it owns, deletes the owner and waits until the other is gone: what the collector had to do before that, it
    /// has seen. Each is a list's path and a body.
    async fn collect(&self, owner: (String, Value), mut owned: (String, Value), within: Duration) {
        let name = |body: &Value| body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let made = self.send("POST", &owner.0, Some(owner.1)).await;
        assert_eq!(made.code, 201, "{}", made.body);
        owned.1["metadata"]["ownerReferences"] = json!([{"apiVersion": made.body["apiVersion"], "kind": made.body["kind"],
            "name": made.body["metadata"]["name"], "uid": made.body["metadata"]["uid"]}]);
        let path = format!("{}/{}", owned.0, name(&owned.1));
        let dependent = self.send("POST", &owned.0, Some(owned.1)).await;
        assert_eq!(dependent.code, 201, "{}", dependent.body);
        self.send("DELETE", &format!("{}/{}", owner.0, name(&made.body)), None).await;
        let patience = Instant::now() + within;
        while self.send("GET", &path, None).await.code != 404 {
            assert!(Instant::now() < patience, "the garbage collector does not collect {path}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let ask = Ask { method: method.into(), path: path.into(), content_type: JSON.into(), body, ..Ask::default() };
        self.perform(request(&ask)).await
    }

    async fn perform(&self, request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let response = self.client.send(request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Answer { code, body }
    }

    /// Takes the namespace away. Finalizers of these tests have nobody who would ever finish.
    pub(crate) async fn clear(&self, kinds: &[&str]) {
        for path in kinds {
            let path = path.replace("$ns", &self.namespace);
            let list = self.send("GET", &path, None).await;
            for item in list.body["items"].as_array().into_iter().flatten() {
                if item["metadata"]["finalizers"].is_array() {
                    let ask = Ask {
                        method: "PATCH".into(),
                        path: format!("{path}/{}", item["metadata"]["name"].as_str().unwrap_or_default()),
                        content_type: "application/merge-patch+json".into(),
                        body: Some(json!({"metadata": {"finalizers": null}})),
                        ..Ask::default()
                    };
                    self.perform(request(&ask)).await;
                }
            }
        }
        self.send("DELETE", &format!("/api/v1/namespaces/{}", self.namespace), None).await;
    }
}

impl Side for Real {
    fn words(&mut self) -> Words {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Words::new(format!("r{run:05}x"), self.namespace.clone(), self.user.clone())
    }

    async fn call(&mut self, ask: &Ask) -> Answer {
        self.perform(request(ask)).await
    }

    async fn watch(&mut self, watch: &Watch) -> Answer {
        let mut query = watch.query.clone();
        query.insert("watch".into(), "true".into());
        let ask = Ask { method: "GET".into(), path: watch.path.clone(), query, ..Ask::default() };
        let mark = &watch.mark["metadata"]["name"];
        let request = request(&ask).map(|_| Vec::new());
        let stream = match self.client.request_stream(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) => {
                return Answer { code: status.code, body: serde_json::to_value(&status).unwrap_or_default() };
            }
            Err(error) => panic!("watch {}: {error}", watch.path),
        };
        let mut lines = std::pin::pin!(stream.lines());
        let mut events = Vec::new();
        let patience = Instant::now() + WATCH_SHOWS;
        loop {
            let Ok(Some(line)) = tokio::time::timeout_at(patience, lines.next()).await else {
                events.push(json!({"type": "the watch ended before the mark"}));
                break;
            };
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["type"] == "BOOKMARK" {
                continue;
            }
            if event["object"]["metadata"]["name"] == *mark {
                break;
            }
            let error = event["type"] == "ERROR";
            events.push(event);
            if error {
                break;
            }
        }
        Answer { code: 200, body: json!({"kind": "Watched", "events": events}) }
    }

    async fn settle(&mut self, asks: &[Ask], words: &Words, like: &mut dyn FnMut(&Words, &Value) -> bool) -> Answer {
        let map = |name: String| (self.maps(), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}));
        let barrier = format!("{}-barrier", words.run);
        self.collect(map(barrier.clone()), map(format!("{barrier}-owned")), COLLECTOR_WORKS).await;
        let patience = Instant::now() + COLLECTOR_WORKS;
        loop {
            let state = look(self, asks).await;
            if like(words, &state) || Instant::now() > patience {
                return Answer { code: 200, body: state };
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn request(ask: &Ask) -> Request<Body> {
    let mut uri = ask.path.clone();
    for (place, (key, value)) in ask.query.iter().enumerate() {
        uri.push(if place == 0 { '?' } else { '&' });
        uri.extend([key.as_str(), "="]);
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    let mut builder = Request::builder().method(ask.method.as_str()).uri(uri).header("Accept", JSON);
    if !ask.content_type.is_empty() {
        builder = builder.header("Content-Type", &ask.content_type);
    }
    let body = ask.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
    builder.body(Body::from(body)).unwrap()
}
