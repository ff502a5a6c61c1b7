//! Reading pull secrets from an API server that is a function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// An API server with these objects by path; a number is a refusal with that code.
struct Server {
    client: Client,
    log: Arc<Mutex<Vec<String>>>,
}

fn server<const N: usize>(objects: [(&str, Value); N]) -> Server {
    let objects: BTreeMap<String, Value> = objects.into_iter().map(|(path, object)| (path.to_owned(), object)).collect();
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&log);
    let service = service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let object = objects.get(&path).cloned().unwrap_or(json!(404));
        heard.lock().unwrap().push(format!("{} {path}", request.method()));
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
    Server { client: Client::new(service, "default"), log }
}

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

fn secret(key: &str, content: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "managedFields": []}, "type": "x",
        "data": {key: STANDARD.encode(content), "other": "!"}})
}

fn named(names: &[&str]) -> Access {
    Access::PullSecrets { namespace: "shop".into(), names: names.iter().map(ToString::to_string).collect::<BTreeSet<_>>() }
}

fn of_account(name: &str) -> Access {
    Access::ServiceAccount { namespace: "shop".into(), name: name.into() }
}

async fn read(server: &Server, access: &Access) -> Result<PullSecretsFound, PullSecretsUnread> {
    KubePullSecrets::new(server.client.clone()).read(access).await
}

fn contents(found: &PullSecretsFound) -> Vec<(&str, ConfigFormat, &str)> {
    found
        .configs
        .iter()
        .map(|config| (config.name.as_str(), config.format, std::str::from_utf8(config.bytes.reveal()).unwrap()))
        .collect()
}

#[tokio::test]
async fn both_kinds_of_pull_secret_are_read() {
    let server = server([
        (&format!("{SECRETS}/new"), secret(".dockerconfigjson", "one")),
        (&format!("{SECRETS}/old"), secret(".dockercfg", "two")),
    ]);
    let found = read(&server, &named(&["new", "old"])).await.unwrap();
    assert_eq!(contents(&found), [("new", ConfigFormat::Config, "one"), ("old", ConfigFormat::Legacy, "two")]);
    assert!(found.remarks.is_empty());
}

#[tokio::test]
async fn a_service_account_lends_its_pull_secrets() {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}, "imagePullSecrets": [{"name": "new"}, {}]});
    let server = server([
        ("/api/v1/namespaces/shop/serviceaccounts/default", account),
        (&format!("{SECRETS}/new"), secret(".dockerconfigjson", "one")),
    ]);
    let found = read(&server, &of_account("default")).await.unwrap();
    assert_eq!(contents(&found), [("new", ConfigFormat::Config, "one")]);
}

#[tokio::test]
async fn what_cannot_be_used_is_said_and_the_rest_is_used() {
    let server = server([
        (&format!("{SECRETS}/a-denied"), json!(403)),
        (&format!("{SECRETS}/b-tls"), secret("tls.crt", "x")),
        (&format!("{SECRETS}/c-good"), secret(".dockerconfigjson", "one")),
    ]);
    let found = read(&server, &named(&["a-denied", "b-tls", "c-good", "d-gone"])).await.unwrap();
    assert_eq!(contents(&found).len(), 1);
    assert_eq!(
        found.remarks,
        [
            "pull secret \"a-denied\" must not be read by the controller",
            "pull secret \"b-tls\" has no docker configuration in it",
            "pull secret \"d-gone\" does not exist"
        ]
    );
    let found = read(&server, &of_account("builder")).await.unwrap();
    assert_eq!(found.remarks, ["service account \"builder\" does not exist"]);
}

#[tokio::test]
async fn a_name_that_no_object_can_have_is_asked_for_nowhere() {
    let server = server([]);
    let names = ["../../other/secrets/key", "key/status", "key?watch=true", "%2e%2e", "A", ".."];
    assert_eq!(read(&server, &named(&names)).await.unwrap().remarks.len(), names.len());
    for name in names {
        assert_eq!(read(&server, &of_account(name)).await.unwrap().remarks, [format!("service account {name:?} does not exist")]);
    }
    assert_eq!(*server.log.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_api_server_is_an_error_and_not_an_absence() {
    let server = server([(&format!("{SECRETS}/new"), json!(500))]);
    let unread = read(&server, &named(&["new"])).await.unwrap_err();
    assert_eq!(unread.to_string(), "the pull secrets of namespace \"shop\" could not be read: the API server answered 500");
}

#[tokio::test]
async fn the_number_of_reads_is_bounded() {
    let server = server([]);
    let names: Vec<String> = (0..40).map(|index| format!("s{index:02}")).collect();
    let found = read(&server, &named(&names.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    assert_eq!(found.remarks[0], "only the first 16 pull secrets are tried");
    assert_eq!(server.log.lock().unwrap().len(), 16);
}

#[tokio::test]
async fn the_controllers_own_access_reads_nothing() {
    let server = server([]);
    assert!(read(&server, &Access::Controller).await.unwrap().configs.is_empty());
    assert!(server.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dump_shows_no_content() {
    let server = server([(&format!("{SECRETS}/new"), secret(".dockerconfigjson", "s3cret"))]);
    let found = read(&server, &named(&["new"])).await.unwrap();
    assert!(format!("{found:?}").contains("(hidden)"));
}
