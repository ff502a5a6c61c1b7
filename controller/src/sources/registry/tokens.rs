//! Bearer tokens that are still good.
//!
//! In: tokens with their life time, under the question that they answer. Out: the same until shortly before they end.
//! Never here: fetching; a token for another repository or another login than it was given for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::credentials::Login;
use super::hidden::Hidden;

/// More repositories than a cluster releases from at a time; a token has a few KB.
const MOST_TOKENS: usize = 1024;
/// From the specification of the token service, for answers that do not say.
const LIFE_BY_DEFAULT: Duration = Duration::from_secs(60);
/// What is revoked should not go on working for long only because a server is generous.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// Longer than an attempt: a token that is handed out does not end on the way.
const MARGIN: Duration = Duration::from_secs(15);

/// For what and for whom a token was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Purpose {
    registry: String,
    repository: String,
    /// A fingerprint of the login; none for nobody.
    holder: Option<[u8; 32]>,
}

impl Purpose {
    pub(super) fn new(registry: &str, repository: &str, login: Option<&Login>) -> Self {
        let holder = login.map(|login| {
            let mut hash = Sha256::new();
            // The length keeps "a" + "bc" apart from "ab" + "c".
            hash.update(login.username.reveal().len().to_le_bytes());
            hash.update(login.username.reveal());
            hash.update(login.password.reveal());
            hash.finalize().into()
        });
        Self { registry: registry.to_owned(), repository: repository.to_owned(), holder }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    kept: Mutex<BTreeMap<Purpose, (Hidden<String>, Instant)>>,
}

impl Tokens {
    pub(super) fn get(&self, purpose: &Purpose) -> Option<Hidden<String>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(purpose).filter(|(_, end)| *end > Instant::now()).map(|(token, _)| token.clone())
    }

    pub(super) fn keep(&self, purpose: Purpose, token: Hidden<String>, life: Option<Duration>) {
        let now = Instant::now();
        let life = life.unwrap_or(LIFE_BY_DEFAULT).min(LONGEST_LIFE).saturating_sub(MARGIN);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_TOKENS {
            kept.retain(|_, (_, end)| *end > now);
        }
        if kept.len() >= MOST_TOKENS {
            let soonest = kept.iter().min_by_key(|(_, (_, end))| *end).map(|(purpose, _)| purpose.clone());
            if let Some(purpose) = soonest {
                kept.remove(&purpose);
            }
        }
        if !life.is_zero() {
            kept.insert(purpose, (token, now + life));
        }
    }

    /// It was refused before its time.
    pub(super) fn drop(&self, purpose: &Purpose) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(purpose);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::credentials::Source;
    use super::*;

    fn purpose(repository: &str) -> Purpose {
        Purpose::new("ghcr.io", repository, None)
    }

    fn token(tokens: &Tokens, purpose: &Purpose) -> Option<String> {
        tokens.get(purpose).map(|token| token.reveal().clone())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_given_out_until_shortly_before_its_end() {
        let tokens = Tokens::default();
        tokens.keep(purpose("web"), Hidden::new("t".into()), Some(Duration::from_secs(300)));
        advance(Duration::from_secs(284)).await;
        assert_eq!(token(&tokens, &purpose("web")), Some("t".into()));
        advance(Duration::from_secs(1)).await;
        assert_eq!(token(&tokens, &purpose("web")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_a_minute_when_nothing_is_said_and_an_hour_at_most() {
        let tokens = Tokens::default();
        tokens.keep(purpose("a"), Hidden::new("a".into()), None);
        tokens.keep(purpose("b"), Hidden::new("b".into()), Some(Duration::from_secs(1_000_000)));
        tokens.keep(purpose("c"), Hidden::new("c".into()), Some(Duration::from_secs(5)));
        assert_eq!(token(&tokens, &purpose("c")), None);
        advance(Duration::from_secs(46)).await;
        assert_eq!((token(&tokens, &purpose("a")), token(&tokens, &purpose("b"))), (None, Some("b".into())));
        advance(Duration::from_secs(3600)).await;
        assert_eq!(token(&tokens, &purpose("b")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_for_one_repository_and_one_login() {
        let login = |password: &str| Login {
            source: Source::ControllerFile,
            username: Hidden::new("ada".into()),
            password: Hidden::new(password.into()),
        };
        let tokens = Tokens::default();
        tokens.keep(Purpose::new("ghcr.io", "web", Some(&login("old"))), Hidden::new("t".into()), None);
        assert_eq!(token(&tokens, &Purpose::new("ghcr.io", "web", Some(&login("old")))), Some("t".into()));
        for other in [
            Purpose::new("ghcr.io", "web", Some(&login("new"))),
            purpose("web"),
            Purpose::new("ghcr.io", "api", Some(&login("old"))),
        ] {
            assert_eq!(token(&tokens, &other), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tokens_is_bounded_and_the_one_that_ends_first_makes_room() {
        let tokens = Tokens::default();
        for index in 0..=MOST_TOKENS {
            tokens.keep(purpose(&index.to_string()), Hidden::new("t".into()), Some(Duration::from_secs(100 + index as u64)));
        }
        assert_eq!(tokens.kept.lock().unwrap().len(), MOST_TOKENS);
        assert_eq!(token(&tokens, &purpose("0")), None);
        assert_eq!(token(&tokens, &purpose("1")), Some("t".into()));
    }
}
