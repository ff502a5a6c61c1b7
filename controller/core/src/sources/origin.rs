//! What a build was made from: its commit and repository, as its name or its labels say.

use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) commit: Option<String>,
    pub(super) repository: Option<String>,
}

const REVISION: &str = "org.opencontainers.image.revision";
const SOURCE: &str = "org.opencontainers.image.source";
/// Of what a label says.
const LONGEST: usize = 200;

/// Of `…/github/<owner>/<repository>` and a commit of 40 digits after `:` or `/`; what a name does not say the labels may.
pub(super) fn origin(name: &str, labels: Option<&BTreeMap<String, String>>) -> Origin {
    let named = of_name(name);
    let label = |key: &str| {
        let text = labels?.get(key)?.trim();
        // Whoever builds an image writes it: `$(NAME)` would be a variable of the container that it ends up in.
        let fits = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control) && !text.contains("$(");
        fits.then(|| text.to_owned())
    };
    Origin { commit: named.commit.or_else(|| label(REVISION)), repository: named.repository.or_else(|| label(SOURCE)) }
}

fn of_name(name: &str) -> Origin {
    let lower = name.to_ascii_lowercase();
    let Some(commit) = commit(&lower) else { return Origin::default() };
    let repository = lower[..commit].find("github/").filter(|at| *at == 0 || lower.as_bytes()[at - 1] == b'/').and_then(|at| {
        let between = &name[at + "github/".len()..commit - 1];
        between.contains('/').then(|| format!("github.com/{between}"))
    });
    Origin { commit: Some(lower[commit..commit + 40].to_owned()), repository }
}

/// Where forty hexadecimal digits begin, right after a `:` or `/` and with none after them.
fn commit(text: &str) -> Option<usize> {
    let digit = |byte: u8| byte.is_ascii_hexdigit();
    let bytes = text.as_bytes();
    (1..bytes.len().saturating_sub(39)).find(|at| {
        b":/".contains(&bytes[at - 1])
            && bytes[*at..at + 40].iter().copied().all(digit)
            && bytes.get(at + 40).is_none_or(|next| !digit(*next))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn of(name: &str) -> (Option<String>, Option<String>) {
        let origin = origin(name, None);
        (origin.commit, origin.repository)
    }

    #[test]
    fn names_of_both_kinds_tell_commit_and_repository() {
        let both = |repository: &str| (Some(SHA.to_owned()), Some(repository.to_owned()));
        assert_eq!(of(&format!("github/prx/porter:{SHA}-aarch64")), both("github.com/prx/porter"));
        assert_eq!(of(&format!("1234.dkr.ecr.us-east-1.amazonaws.com/github/prx/porter:{SHA}")), both("github.com/prx/porter"));
        assert_eq!(of(&format!("GitHub/PRX/my-app/{SHA}.zip")), both("github.com/PRX/my-app"));
        assert_eq!(of(&format!("GitHub/PRX/my-app/{SHA}/web.zip")), both("github.com/PRX/my-app"));
        assert_eq!(of(&format!("shop/web:{SHA}")), (Some(SHA.to_owned()), None));
        assert_eq!(of(&format!("shop/web@sha256:{}", "a".repeat(64))), (None, None));
        assert_eq!(of("shop/web:v1"), (None, None));
    }

    #[test]
    fn labels_say_what_the_name_does_not() {
        let labels = [(REVISION.to_owned(), "abc".to_owned()), (SOURCE.to_owned(), "https://example.com/shop".to_owned())].into();
        let found = origin("shop/web:v1", Some(&labels));
        assert_eq!((found.commit.as_deref(), found.repository.as_deref()), (Some("abc"), Some("https://example.com/shop")));
        assert_eq!(origin(&format!("shop/web:{SHA}"), Some(&labels)).commit.as_deref(), Some(SHA));
        let odd = |text: &str| [(REVISION.to_owned(), text.to_owned())].into();
        for text in ["$(PASSWORD)", "a$(PASSWORD)b", "a\nb", ""] {
            assert_eq!(origin("shop/web:v1", Some(&odd(text))), Origin::default(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = origin(&text, None);
        }

        #[test]
        fn any_name_around_a_commit_is_survived(before in "[a-zA-Zé/:]{0,20}", after in ".{0,5}") {
            let _ = origin(&format!("{before}{SHA}{after}"), None);
        }
    }
}
