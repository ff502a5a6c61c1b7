//! Why a tag could not be looked up, in words for the person who waits for the release.
//!
//! In: what was tried and what came back. Out: a sentence that stays the same while the reason does (so that a status that
//! carries it is written once), a category for metrics, and whether time may heal it. Never here: a credential's value.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::credentials::Source;
use crate::sources::lookup::Failure;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The registry answered: there is no such tag.
    #[error("tag {tag:?} does not exist in {repository}")]
    NotFound { repository: String, tag: String },

    /// 401 or 403, with everything that we have.
    #[error("{}", denial(repository, tried, remarks))]
    Denied {
        repository: String,
        /// What was tried, in this order.
        tried: Vec<Tried>,
        /// Credentials that exist on paper but could not be used, in words.
        remarks: Vec<String>,
    },

    /// 429
    #[error("{registry} refuses because it has had too many requests (429)")]
    Throttled { registry: String, retry_after: Option<Duration> },

    /// No connection, no answer in time, or a server's own failure.
    #[error("{what}")]
    Unreachable { what: String, retry_after: Option<Duration> },

    /// An answer that no registry should give.
    #[error("{registry} gave an unexpected answer: {what}")]
    Malformed { registry: String, what: String },
}

/// One way of asking that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    With(Source),
    Without,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(source) => write!(f, "with {source}"),
            Self::Without => f.write_str("without credentials"),
        }
    }
}

impl LookupError {
    pub(super) fn malformed(registry: &str, what: impl Into<String>) -> Self {
        Self::Malformed { registry: registry.to_owned(), what: what.into() }
    }
}

impl Failure for LookupError {
    fn unreachable(what: String) -> Self {
        Self::Unreachable { what, retry_after: None }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Denied { .. } => "Denied",
            Self::Throttled { .. } => "Throttled",
            Self::Unreachable { .. } => "Unreachable",
            Self::Malformed { .. } => "Malformed",
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unreachable { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unreachable { retry_after, .. } => *retry_after,
            Self::NotFound { .. } | Self::Denied { .. } | Self::Malformed { .. } => None,
        }
    }
}

fn denial(repository: &str, tried: &[Tried], remarks: &[String]) -> String {
    let mut sentence = format!("reading {repository} is denied");
    let mut said: Vec<String> = Vec::new();
    for way in tried.iter().map(Tried::to_string) {
        // A source may hold several logins for one registry; naming it once is enough.
        if !said.contains(&way) {
            said.push(way);
        }
    }
    for (index, way) in said.iter().enumerate() {
        let link = match index {
            0 => " ",
            _ if index + 1 == said.len() => " and ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(sentence, "{link}{way}");
    }
    if tried == [Tried::Without] && remarks.is_empty() {
        sentence.push_str(", and no credentials for it are known");
    }
    for remark in remarks {
        let _ = write!(sentence, "; {remark}");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(tried: Vec<Tried>, remarks: &[&str]) -> String {
        let remarks = remarks.iter().map(ToString::to_string).collect();
        LookupError::Denied { repository: "ghcr.io/shop/web".into(), tried, remarks }.to_string()
    }

    #[test]
    fn a_denial_names_every_way_that_was_tried_by_its_source() {
        let secret = || Tried::With(Source::PullSecret("regcred".into()));
        assert_eq!(
            denied(vec![secret(), secret(), Tried::With(Source::ControllerFile), Tried::Without], &[]),
            "reading ghcr.io/shop/web is denied with pull secret \"regcred\", with the controller's credentials file and without credentials"
        );
        assert_eq!(
            denied(vec![Tried::Without], &[]),
            "reading ghcr.io/shop/web is denied without credentials, and no credentials for it are known"
        );
        assert_eq!(
            denied(vec![Tried::Without], &["pull secret \"x\" does not exist"]),
            "reading ghcr.io/shop/web is denied without credentials; pull secret \"x\" does not exist"
        );
    }

    #[test]
    fn only_what_time_may_heal_is_transient() {
        let errors = [
            LookupError::NotFound { repository: "r".into(), tag: "v9".into() },
            LookupError::Denied { repository: "r".into(), tried: vec![], remarks: vec![] },
            LookupError::malformed("r", "x"),
            LookupError::Throttled { registry: "r".into(), retry_after: None },
            LookupError::unreachable("x".to_owned()),
        ];
        let transient: Vec<_> = errors.iter().filter(|error| error.is_transient()).map(LookupError::category).collect();
        assert_eq!(transient, ["Throttled", "Unreachable"]);
        assert_eq!(errors[0].to_string(), "tag \"v9\" does not exist in r");
    }
}
