//! The way to the API server: kube's client with our own deadline.
//!
//! kube's defaults wait for ever for an answer and repeat inside one call for minutes. Here a request has the head of an answer
//! within a deadline or fails (the body of a watch may take as long as it likes), and what failed is decided about anew.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{BoxError, Layer, Service};

use crate::metrics::Meters;

/// Longer than an API server under load needs, shorter than a person who waits for a rollback accepts.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(9);
/// An API server that is there accepts connections at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longer than any watch is open.
const SILENT_FOR: Duration = Duration::from_secs(310);

/// Nothing else is the name of an object. What a tenant has written as one becomes a part of a path, and must not be another path.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    name.bytes().all(fits) && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// No answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the API server within {} s", ANSWER_WITHIN.as_secs())]
pub(crate) struct Late;

/// A client from KUBECONFIG or from inside the cluster.
pub async fn connect(meters: Meters) -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("find out how to reach the API server (KUBECONFIG, or in a cluster)")?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.default_retry = false;
    // A body that stops half-way: kube renews watches every 290 s, so nothing healthy is silent for longer.
    config.read_timeout = Some(SILENT_FOR);
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config).context("set up the client")?;
    Ok(builder.with_layer(&Deadline).with_layer(&Counted(meters)).build())
}

/// A client over any service, with the deadline of a real one: what a simulation gives instead of a network.
pub fn over<S, B>(service: S) -> Client
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(Deadline.layer(service), "default")
}

/// Ends what has no answer in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline;

#[derive(Clone, Debug)]
pub(crate) struct Patient<S>(S);

impl<S> Layer<S> for Deadline {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient(inner)
    }
}

impl<R, S: Service<R>> Service<R> for Patient<S>
where
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let answer = self.0.call(request);
        async move { tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(|_| BoxError::from(Late))?.map_err(Into::into) }
            .boxed()
    }
}

/// Counts requests and their answers. Outside of the deadline: what is late has no answer.
#[derive(Clone, Debug)]
struct Counted(Meters);

#[derive(Clone, Debug)]
struct Counting<S>(S, Meters);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting(inner, self.0.clone())
    }
}

impl<Q, B, S: Service<http::Request<Q>, Response = http::Response<B>>> Service<http::Request<Q>> for Counting<S>
where
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let verb = verb(request.method(), request.uri());
        let (answer, meters) = (self.0.call(request), self.1.clone());
        async move {
            let answer = answer.await.map_err(Into::into);
            let code = answer.as_ref().map(http::Response::status);
            meters.requested(verb, code.as_ref().map_or("none", http::StatusCode::as_str));
            answer
        }
        .boxed()
    }
}

/// As RBAC calls it, but for a dry run, which writes nothing.
fn verb(method: &http::Method, uri: &http::Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |word: &str| query.split('&').any(|part| part == word);
    // What follows the version: a kind, perhaps inside of a namespace, and perhaps a name.
    let mut path: Vec<_> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    path.drain(..path.len().min(if path.first() == Some(&"api") { 2 } else { 3 }));
    if path.first() == Some(&"namespaces") && path.len() > 2 {
        path.drain(..2);
    }
    match method.as_str() {
        _ if has("dryRun=All") => "dry-run",
        "GET" if has("watch=true") || has("watch=1") => "watch",
        "GET" if path.len() == 1 => "list",
        "GET" => "get",
        "POST" => "create",
        "PATCH" => "patch",
        "PUT" => "update",
        "DELETE" => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_never_answered_fails_in_time() {
        let never = tower::service_fn(|(): ()| futures::future::pending::<Result<(), Infallible>>());
        let error = Deadline.layer(never).call(()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer from the API server within 9 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_passes() {
        let echo = tower::service_fn(|text: &'static str| async move { Ok::<_, Infallible>(text) });
        assert_eq!(Deadline.layer(echo).call("ok").await.unwrap(), "ok");
    }

    #[test]
    fn a_request_is_counted_under_the_verb_that_rbac_asks_for() {
        use http::Method;
        let named = |method: Method, path: &str| verb(&method, &path.parse().unwrap());
        assert_eq!(named(Method::GET, "/api/v1/namespaces/shop/services/web"), "get");
        assert_eq!(named(Method::GET, "/api/v1/namespaces/shop"), "get");
        assert_eq!(named(Method::GET, "/api/v1/namespaces?limit=500"), "list");
        assert_eq!(named(Method::GET, "/api/v1/namespaces/shop/services?labelSelector=a"), "list");
        assert_eq!(named(Method::GET, "/apis/apps/v1/deployments?watch=true&resourceVersion=5"), "watch");
        assert_eq!(named(Method::GET, "/api/v1/namespaces/shop/pods/web-1/log"), "get");
        assert_eq!(named(Method::PATCH, "/apis/apps/v1/namespaces/shop/deployments/web-blue?dryRun=All&force=true"), "dry-run");
        assert_eq!(named(Method::PATCH, "/apis/bascule.dev/v1alpha1/namespaces/shop/releases/web/status"), "patch");
        assert_eq!(named(Method::POST, "/apis/batch/v1/namespaces/shop/jobs"), "create");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_counted_by_its_code_and_silence_as_none() {
        let meters = Meters::new().unwrap();
        let answers = tower::service_fn(|request: http::Request<()>| async move {
            if request.uri().path().contains("silent") {
                futures::future::pending::<()>().await;
            }
            http::Response::builder().status(409).body(()).map_err(BoxError::from)
        });
        let mut client = Counted(meters.clone()).layer(Deadline.layer(answers));
        let ask = |path: &str| http::Request::builder().uri(path).body(()).unwrap();
        assert_eq!(client.call(ask("/api/v1/namespaces/shop/services/web")).await.unwrap().status(), 409);
        assert!(client.call(ask("/api/v1/namespaces/shop/services/silent")).await.is_err());
        let registry = prometheus::Registry::new();
        meters.register(&registry).unwrap();
        let lines = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(lines.contains(r#"bascule_api_requests_total{code="409",verb="get"} 1"#), "{lines}");
        assert!(lines.contains(r#"bascule_api_requests_total{code="none",verb="get"} 1"#), "{lines}");
    }
}
