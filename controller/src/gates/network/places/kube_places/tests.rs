//! An API server that is a function.

use std::{collections::BTreeSet, sync::Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// Objects by path with its query; a number is a refusal with that code.
struct Server {
    places: KubePlaces,
    log: Arc<Mutex<Vec<String>>>,
}

fn server<const N: usize>(objects: [(&str, Value); N]) -> Server {
    let objects: BTreeMap<String, Value> = objects.into_iter().map(|(path, object)| (path.to_owned(), object)).collect();
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&log);
    let service = service_fn(move |request: Request<Body>| {
        let object = objects.get(request.uri().path()).cloned().unwrap_or(json!(404));
        heard.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let (code, body) = match object.as_u64() {
            Some(code) => (
                u16::try_from(code).unwrap(),
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "reason": match code { 403 => "Forbidden", 404 => "NotFound", _ => "InternalError" }, "message": "no"}),
            ),
            None => (200, object),
        };
        let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap();
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    Server { places: KubePlaces::new(Client::new(service, "default")), log }
}

const PODS: &str = "/api/v1/namespaces/shop/pods";
const WEB: &str = "/api/v1/namespaces/shop/services/web";
const HOOK: &str = "/api/v1/namespaces/shop/secrets/hook";

fn labels() -> BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned()), ("bascule.dev/track".to_owned(), "green".to_owned())].into()
}

fn pod(name: &str, change: impl Fn(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "shop", "managedFields": []},
        "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    change(&mut pod);
    pod
}

fn listed(pods: &[Value]) -> Value {
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": pods})
}

#[tokio::test]
async fn only_pods_that_can_answer_are_listed_and_by_name() {
    let ready = |status: &'static str| move |pod: &mut Value| pod["status"]["conditions"][0]["status"] = json!(status);
    let server = server([(
        PODS,
        listed(&[
            pod("z-ready", |_| {}),
            pod("a-ready", |pod| pod["status"]["podIP"] = json!("fd00::1")),
            pod("starting", ready("False")),
            pod("unknown", ready("Unknown")),
            pod("pending", |pod| pod["status"]["phase"] = json!("Pending")),
            pod("failed", |pod| pod["status"]["phase"] = json!("Failed")),
            pod("ending", |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")),
            pod("placeless", |pod| pod["status"]["podIP"] = Value::Null),
            pod("at-home", |pod| pod["status"]["podIP"] = json!("127.0.0.1")),
            pod("at-the-clouds", |pod| pod["status"]["podIP"] = json!("169.254.169.254")),
            pod("no-conditions", |pod| pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"})),
            json!({"metadata": {"name": "empty"}}),
        ]),
    )]);
    let pods = server.places.pods("shop", &labels()).await.unwrap();
    let shown: Vec<_> = pods.iter().map(|pod| (pod.name.as_str(), pod.ip.to_string())).collect();
    assert_eq!(shown, [("a-ready", "fd00::1".to_owned()), ("z-ready", "10.0.0.1".to_owned())]);
    assert_eq!(pods[0].ports, [("http".to_owned(), 8080)].into());
    let asked = server.log.lock().unwrap().remove(0);
    let query: BTreeSet<&str> = asked.split_once('?').unwrap().1.split('&').filter(|part| !part.is_empty()).collect();
    // Version 0 is whatever the API server has in its memory.
    let selector = "labelSelector=app%3Dweb%2Cbascule.dev%2Ftrack%3Dgreen";
    assert_eq!(query, [selector, "resourceVersion=0", "resourceVersionMatch=NotOlderThan"].into());
}

#[tokio::test]
async fn sidecars_have_ports_and_what_ran_before_the_pod_has_none() {
    let with_init = |pod: &mut Value| {
        pod["spec"]["initContainers"] = json!([
            {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "proxy", "containerPort": 15001}]},
            {"name": "migrate", "ports": [{"name": "once", "containerPort": 1}]},
        ]);
    };
    let server = server([(PODS, listed(&[pod("web-1", with_init)]))]);
    let pods = server.places.pods("shop", &labels()).await.unwrap();
    assert_eq!(pods[0].ports, [("http".to_owned(), 8080), ("proxy".to_owned(), 15001)].into());
}

#[tokio::test]
async fn without_labels_nothing_is_listed() {
    let server = server([(PODS, listed(&[pod("web-1", |_| {})]))]);
    assert!(server.places.pods("shop", &BTreeMap::new()).await.is_err());
    assert!(server.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_list_that_fails_is_not_an_empty_one() {
    for (code, why) in [(403, "the controller has no right to"), (500, "the API server answered 500")] {
        let server = server([(PODS, json!(code))]);
        let said = server.places.pods("shop", &labels()).await;
        assert_eq!(said, Err(format!("the pods cannot be listed: {why}")));
    }
}

#[tokio::test]
async fn a_service_has_an_address_or_a_reason_to_have_none() {
    let service = |spec: Value| json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web"}, "spec": spec});
    let ports = json!([{"port": 80, "targetPort": "http"}, {"port": 443}]);
    let at = |ip: &str| Service::At { ip: ip.parse().unwrap(), ports: vec![80, 443] };
    for (spec, expected) in [
        (json!({"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": ports}), at("10.96.0.7")),
        (json!({"type": "LoadBalancer", "clusterIP": "fd00::7", "ports": ports}), at("fd00::7")),
        (json!({"type": "ClusterIP", "clusterIP": "None", "ports": ports}), Service::Headless),
        (json!({"type": "ExternalName", "externalName": "metadata.google.internal"}), Service::ExternalName),
        (json!({"type": "ExternalName", "externalName": "x", "clusterIP": "10.96.0.7", "ports": ports}), Service::ExternalName),
        (json!({"ports": ports}), Service::Headless),
    ] {
        let server = server([(WEB, service(spec))]);
        assert_eq!(server.places.service("shop", "web").await, Ok(Some(expected)));
    }
    assert_eq!(server([]).places.service("shop", "web").await, Ok(None));
    let said = server([(WEB, json!(403))]).places.service("shop", "web").await;
    assert_eq!(said, Err("the Service web cannot be read: the controller has no right to".into()));
}

#[tokio::test]
async fn a_name_that_no_object_can_have_is_asked_for_nowhere() {
    let server = server([]);
    for name in ["../../other/secrets/hook", "hook/status", "hook?watch=true", "%2e%2e", "A", "..", ""] {
        assert!(matches!(server.places.secret("shop", name).await, Ok(Secret::Missing)), "{name}");
        assert_eq!(server.places.service("shop", name).await, Ok(None), "{name}");
    }
    assert_eq!(*server.log.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_secret_is_read_missing_forbidden_or_not_seen() {
    let secret =
        |data: Value| json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "hook"}, "type": "Opaque", "data": data});
    let server_with = |object: Value| server([(HOOK, object)]);
    let found = server_with(secret(json!({"key": STANDARD.encode("s3cret")}))).places.secret("shop", "hook").await;
    let Ok(Secret::Content(content)) = &found else { panic!() };
    assert_eq!(content["key"].reveal(), b"s3cret");
    assert!(!format!("{found:?}").contains("s3cret") && format!("{found:?}").contains("(hidden)"));
    assert!(matches!(server([]).places.secret("shop", "hook").await, Ok(Secret::Missing)));
    assert!(matches!(server_with(json!(403)).places.secret("shop", "hook").await, Ok(Secret::Forbidden)));
    let failed = server_with(json!(500)).places.secret("shop", "hook").await.unwrap_err();
    assert_eq!(failed, Unread("the API server answered 500".into()));
    let odd = server_with(secret(json!({"key": "s3cret!"}))).places.secret("shop", "hook").await.unwrap_err();
    assert_eq!(odd, Unread("it is not valid base64".into()));
    let odd = server_with(secret(json!({"key": ["s3cret"]}))).places.secret("shop", "hook").await.unwrap_err();
    assert_eq!(odd, Unread("the API server's answer is not understood".into()));
}
