//! Registries of AWS: which they are, and who gives tokens for them.

use bascule_core::sources::Scope;
use futures::future::BoxFuture;

use super::hidden::Hidden;

/// Somebody who knows AWS, or a test's own.
pub trait EcrLogins: Send + Sync + 'static {
    /// A login for this registry, as whoever the scope says. It remembers what is still good.
    fn login<'a>(&'a self, scope: &'a Scope, registry: &'a str) -> BoxFuture<'a, Result<EcrLogin, EcrRefusal>>;

    /// The registry has refused it: the next one is a new one.
    fn refused(&self, scope: &Scope, registry: &str) {
        let _ = (scope, registry);
    }
}

#[derive(Clone, Debug)]
pub struct EcrLogin {
    pub username: Hidden<String>,
    pub password: Hidden<String>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EcrRefusal {
    /// Rights or credentials are missing.
    Denied(String),
    /// Time may heal it.
    Unreachable(String),
}

/// The region of `<account>.dkr.ecr.<region>.amazonaws.com`.
pub(crate) fn region(registry: &str) -> Option<&str> {
    let rest = registry.strip_suffix(".cn").unwrap_or(registry).strip_suffix(".amazonaws.com")?;
    let (account, rest) = rest.split_once(".dkr.ecr")?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let region = rest.strip_prefix("-fips").unwrap_or(rest).strip_prefix('.')?;
    // It becomes part of a name that is asked for.
    let (words, number) = region.rsplit_once('-')?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_region =
        words.split('-').count() >= 2 && words.split('-').all(is_word) && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && is_region && number.len() == 1).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_aws_are_told_by_their_name() {
        assert_eq!(region("123456789012.dkr.ecr.us-east-1.amazonaws.com"), Some("us-east-1"));
        assert_eq!(region("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com"), Some("us-gov-west-1"));
        assert_eq!(region("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
        for other in [
            "public.ecr.aws",
            "ghcr.io",
            "1234.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.com",
            "123456789012.dkr.ecr.a.b.amazonaws.com",
            "123456789012.dkr.ecr.nowhere.amazonaws.com",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }
}
