//! The log: one line for each decision that did something.

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Each failed request is said once, by those who made it: kube's client would repeat every one of them as an error.
const DEFAULT: &str = "info,kube_client=off";

pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("BASCULE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(false).with_target(false).init(),
    }
}
