//! `/healthz`, `/readyz` and `/metrics`. Ready means: every watch has been read, so that a decision knows everything.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{scrape, shell::Shell, tasks::Tasks};

pub(crate) async fn start(shell: &Arc<Shell>, address: SocketAddr, tasks: &Tasks, end: &CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(shell): State<Arc<Shell>>| async move { scrape::text(&shell) }))
        .with_state(shell.clone());
    let end = end.clone();
    tasks.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async move { end.cancelled().await }).await;
        if let Err(error) = served {
            tracing::error!(error = %error, "the HTTP server ended");
        }
    });
    Ok(())
}

async fn ready(State(shell): State<Arc<Shell>>) -> (StatusCode, &'static str) {
    if shell.ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not all watches have been read, or ending\n")
    }
}
