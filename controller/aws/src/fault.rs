//! Why AWS gave no answer, sorted by what has to be done about it.

use std::error::Error;

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::error::display::DisplayErrorContext;

/// The words are for people; they never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Rights or credentials are missing.
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Throttled(String),
    /// No answer, or a failure on the other side.
    #[error("{0}")]
    Unreachable(String),
    /// AWS does not take the question.
    #[error("{0}")]
    Refused(String),
}

const DENIED: [&str; 18] = [
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "OptInRequired",
    // The service account's token is not one that the role trusts.
    "InvalidIdentityToken",
    "IDPRejectedClaim",
    // A SecureString whose key is gone, disabled or not ours.
    "InvalidKeyId",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
];

const THROTTLED: [&str; 7] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
];

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
pub(crate) fn of<E, R>(error: SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Status + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status_code();
            // The answer to a HEAD has neither.
            let said = match (service.err().code(), service.err().message()) {
                (Some(code), Some(said)) => format!("{code}: {said}"),
                (Some(said), None) | (None, Some(said)) => said.to_owned(),
                (None, None) if status == 301 => "HTTP 301: the bucket is in another region".to_owned(),
                (None, None) if status == 400 => {
                    "HTTP 400, without a word: credentials that have expired, or a malformed name".to_owned()
                }
                (None, None) => format!("HTTP {status}, without a word"),
            };
            by_code(service.err().code().unwrap_or_default(), status, said)
        }
        SdkError::TimeoutError(_) => Fault::Unreachable("no answer in time".to_owned()),
        SdkError::ResponseError(_) => Fault::Unreachable("the answer is not complete, or not one of AWS".to_owned()),
        // Also what the credentials are made from: a role that must not be assumed is no question of the network.
        _ => by_words(&DisplayErrorContext(&error).to_string(), root(&error)),
    }
}

/// There was no answer of the service itself.
fn by_words(whole: &str, why: String) -> Fault {
    let says = |code: &&str| whole.contains(*code);
    if whole.contains("egion must be set") || whole.contains("MissingRegion") {
        Fault::Refused("no region is known: set spec.aws.region of the Environment, or AWS_REGION of the controller".to_owned())
    } else if DENIED.iter().any(says) || whole.contains("CredentialsNotLoaded") {
        Fault::Denied(why)
    } else if THROTTLED.iter().any(says) {
        Fault::Throttled(why)
    } else {
        Fault::Unreachable(why)
    }
}

fn by_code(code: &str, status: u16, said: String) -> Fault {
    if DENIED.contains(&code) || (code.is_empty() && [401, 403].contains(&status)) {
        Fault::Denied(said)
    } else if THROTTLED.contains(&code) || status == 429 {
        Fault::Throttled(said)
    } else if status >= 500 {
        Fault::Unreachable(if said.starts_with("HTTP") { said } else { format!("HTTP {status}, {said}") })
    } else {
        Fault::Refused(said)
    }
}

/// The innermost reason: the others only say that something went wrong.
fn root(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The HTTP status of a raw answer.
pub(crate) trait Status {
    fn status_code(&self) -> u16;
}

impl Status for aws_sdk_ssm::config::http::HttpResponse {
    fn status_code(&self) -> u16 {
        self.status().as_u16()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_says_what_has_to_be_done() {
        let of = |code: &str, status| by_code(code, status, code.to_owned());
        assert!(matches!(of("AccessDeniedException", 400), Fault::Denied(_)));
        assert!(matches!(of("ThrottlingException", 400), Fault::Throttled(_)));
        assert!(matches!(of("InternalServerError", 500), Fault::Unreachable(_)));
        assert!(matches!(of("", 503), Fault::Unreachable(_)));
        assert!(matches!(of("", 403), Fault::Denied(_)));
        assert!(matches!(of("ValidationException", 400), Fault::Refused(_)));
    }

    #[test]
    fn credentials_that_cannot_be_made_say_why_as_well() {
        let of = |whole: &str| by_words(whole, String::new());
        assert!(matches!(of("dispatch failure: AssumeRole: AccessDenied"), Fault::Denied(_)));
        assert!(matches!(of("dispatch failure: AssumeRole: Throttling: Rate exceeded"), Fault::Throttled(_)));
        assert!(matches!(of("dispatch failure: connection refused"), Fault::Unreachable(_)));
    }
}
