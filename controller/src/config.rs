//! The command line, parsed and checked once.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Watches Releases and brings each to the version that it wants: starts it beside the running one, proves it, switches, watches, and
/// switches back when it goes bad.
#[derive(Clone, Debug, Parser)]
#[command(name = "bascule-controller", version)]
pub struct Arguments {
    /// Only this namespace; all without it.
    #[arg(long, env = "BASCULE_NAMESPACE")]
    pub namespace: Option<String>,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "BASCULE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Credentials for registries: a file in the format of Docker's config.json. It is read again when it changes.
    #[arg(long, env = "BASCULE_REGISTRY_CREDENTIALS", value_name = "FILE")]
    pub registry_credentials: Option<PathBuf>,

    /// Resolve images also with the pull secrets that the pods name; needs the right to read Secrets.
    #[arg(long, env = "BASCULE_READ_PULL_SECRETS")]
    pub read_pull_secrets: bool,

    /// A registry that speaks plain HTTP, as host or host:port; can be given more than once. Loopback addresses always do.
    #[arg(long, value_name = "HOST")]
    pub plain_http_registry: Vec<String>,

    /// How to write the log; what is written is chosen by `BASCULE_LOG`, for example `debug` or `bascule_controller=debug`.
    #[arg(long, env = "BASCULE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}
