//! Why AWS gives no answer, by what has to be done about it.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Rights or credentials are missing.
    #[error("{0}")]
    Denied(String),
    /// Too many questions, of ours or of others in the same account.
    #[error("{0}")]
    Throttled(String),
    /// No answer, or a failure on the other side: time may heal it.
    #[error("{0}")]
    Unreachable(String),
    /// AWS does not take the question.
    #[error("{0}")]
    Refused(String),
}

impl SourceError {
    /// As a reason of a condition, and a label of metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => "AccessDenied",
            Self::Throttled(_) => "Throttled",
            Self::Unreachable(_) => "Unreachable",
            Self::Refused(_) => "RequestRefused",
        }
    }

    /// Time may heal it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_))
    }
}
