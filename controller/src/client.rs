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

/// Longer than an API server under load needs, shorter than a person who waits for a rollback accepts.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(9);
/// An API server that is there accepts connections at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longer than any watch is open.
const SILENT_FOR: Duration = Duration::from_secs(310);

/// No answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the API server within {} s", ANSWER_WITHIN.as_secs())]
pub(crate) struct Late;

/// A client from KUBECONFIG or from inside the cluster.
pub async fn connect() -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("find out how to reach the API server (KUBECONFIG, or in a cluster)")?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.default_retry = false;
    // A body that stops half-way: kube renews watches every 290 s, so nothing healthy is silent for longer.
    config.read_timeout = Some(SILENT_FOR);
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config).context("set up the client")?;
    Ok(builder.with_layer(&Deadline).build())
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
}
