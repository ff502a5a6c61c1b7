//! What can go wrong with a request, told apart by what it means for the next decision.

use std::time::Duration;

use kube::Error;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// 409 or 404: the object is not as the cache shows it.
    #[error("the object has changed meanwhile")]
    Behind,
    /// 400, 403, 422: repeating the same will not help; an admission policy or a quota may.
    #[error("the API server refuses: {message}")]
    Refused { code: u16, message: String },
    /// 429.
    #[error("the API server asks for silence")]
    Throttled(Duration),
    /// No answer: it may have happened or not.
    #[error("no answer: {0}")]
    Unanswered(String),
    /// 5xx, and everything else.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Api(status) => match status.code {
                404 | 409 => Self::Behind,
                400 | 401 | 403 | 405 | 422 => Self::Refused { code: status.code, message: status.message.clone() },
                429 => {
                    let secs = status.details.as_ref().map_or(1, |details| details.retry_after_seconds.max(1));
                    Self::Throttled(Duration::from_secs(u64::from(secs)))
                }
                code => Self::Other(format!("the API server answered {code}: {}", status.message)),
            },
            error @ (Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_)) => Self::Unanswered(chain(&error)),
            error => Self::Other(chain(&error)),
        }
    }

    /// A label for logs and metrics.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::Behind => "Behind",
            Self::Refused { .. } => "Refused",
            Self::Throttled(_) => "Throttled",
            Self::Unanswered(_) => "Unanswered",
            Self::Other(_) => "Other",
        }
    }

    pub(super) fn code(&self) -> String {
        match self {
            Self::Behind => "409".into(),
            Self::Refused { code, .. } => code.to_string(),
            Self::Throttled(_) => "429".into(),
            Self::Unanswered(_) => "none".into(),
            Self::Other(_) => "other".into(),
        }
    }
}

/// The whole chain of causes: the last one usually says what it was.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
