//! What can go wrong with a request, told apart by what it means for the next decision.

use std::time::Duration;

use kube::{Error, core::Status};

/// The code of a refusal that says: another owner has it.
pub(super) const OWNED: u16 = 409;
/// In bytes. Messages go into conditions and into a column of `kubectl get`, and some hundreds of them into one status.
const LONGEST: usize = 1_024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// 409 or 404: the object is not as the cache shows it.
    #[error("the object has changed meanwhile")]
    Behind,
    /// 400, 403, 422, the 409 of a field that belongs to somebody else, and the 500 of a body that does not fit: repeating the same will not help; an admission policy or a quota may.
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
    /// Not sent: the term in which it was decided is over.
    #[error("this replica does not lead any more")]
    Deposed,
    /// Not sent: it waited too long for its place, and goes by old news.
    #[error("it waited too long to be sent")]
    Aged,
}

impl Fault {
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Api(status) => match status.code {
                409 if is_owned(&status) => Self::Refused { code: OWNED, message: status.message.clone() },
                404 | 409 => Self::Behind,
                422 if is_another_object(&status) => Self::Behind,
                400 | 403 | 405 | 422 => Self::Refused { code: status.code, message: status.message.clone() },
                500 if is_about_the_body(&status.message) => Self::Refused { code: status.code, message: status.message.clone() },
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
            Self::Deposed => "Deposed",
            Self::Aged => "Aged",
        }
    }
}

/// A uid is a precondition, and this is how the API server says that it does not hold: the object was deleted and made anew.
fn is_another_object(status: &Status) -> bool {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    !causes.is_empty() && causes.iter().all(|cause| cause.field == "metadata.uid")
}

/// What we were to create exists, and its fields have other owners.
fn is_owned(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "FieldManagerConflict")
}

/// A server-side apply with an unknown field, a wrong type, a name twice or a bad quantity is answered with 500 (1.36), although
/// it is the body that is wrong and the same body will never be taken.
fn is_about_the_body(message: &str) -> bool {
    ["failed to create typed patch object", "failed to convert new object"].iter().any(|start| message.starts_with(start))
}

/// Text of others as a status can show it: on one line, without what a terminal obeys, and not at any length.
pub(super) fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > LONGEST {
        let ends = line.char_indices().map(|(start, character)| start + character.len_utf8());
        let end = ends.take_while(|end| *end <= LONGEST).last().unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(status: serde_json::Value) -> Fault {
        Fault::of(Error::Api(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn a_body_that_does_not_fit_is_refused_although_the_server_says_500() {
        for message in [
            r#"failed to create typed patch object (shop/web-blue; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="c"].imagee: field not declared in schema"#,
            "failed to convert new object (shop/web-blue; apps/v1, Kind=Deployment) to proper version: quantities must match the regular expression",
        ] {
            assert!(matches!(answered(json!({"code": 500, "message": message})), Fault::Refused { .. }), "{message}");
        }
        assert!(matches!(answered(json!({"code": 500, "message": "etcdserver: request timed out"})), Fault::Other(_)));
    }

    #[test]
    fn another_uid_means_that_the_cache_is_behind() {
        let causes = |field: &str| json!({"code": 422, "message": "is invalid", "details": {"causes": [{"field": field, "message": "field is immutable"}]}});
        assert!(matches!(answered(causes("metadata.uid")), Fault::Behind));
        assert!(matches!(answered(causes("spec.selector")), Fault::Refused { .. }));
    }

    #[test]
    fn an_object_of_another_owner_is_refused_and_one_that_has_changed_is_behind() {
        let cause = json!({"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict with \"helm\""});
        let owned = json!({"code": 409, "message": "Apply failed with 1 conflict", "details": {"causes": [cause]}});
        assert!(matches!(answered(owned), Fault::Refused { code: OWNED, .. }));
        assert!(matches!(answered(json!({"code": 409, "message": "the object has been modified"})), Fault::Behind));
    }

    #[test]
    fn what_others_say_fits_into_a_status() {
        assert_eq!(one_line("exit\n\tcode \u{1b}[31m1\r\n"), "exit code [31m1");
        assert_eq!(one_line(&"ä".repeat(3_000)), format!("{}…", "ä".repeat(LONGEST / 2)));
        assert_eq!(one_line(&"x".repeat(LONGEST)).len(), LONGEST);
    }

    #[test]
    fn an_expired_token_says_nothing_about_the_body() {
        assert!(matches!(answered(json!({"code": 401, "message": "Unauthorized"})), Fault::Other(_)));
    }
}
