//! Which of two builds is the newer one: by number, semantic version or time, whichever the text is.
//!
//! The three never look alike, so nobody has to say which it is; two of different kinds have no order, and none is guessed.

use std::cmp::Ordering;

use jiff::Timestamp;

/// Longer than any number or version that a pipeline makes.
const LONGEST: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Digits without leading zeros: of any length.
    Number(String),
    Version {
        numbers: [String; 3],
        pre: Vec<String>,
    },
    Time(Timestamp),
}

impl Key {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        if is_digits(text) {
            return Some(Self::Number(number(text)));
        }
        version(text).or_else(|| text.parse().ok().map(Self::Time))
    }

    /// None: they are of different kinds.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Number(a), Self::Number(b)) => by_value(a, b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Version { numbers: a, pre: x }, Self::Version { numbers: b, pre: y }) => {
                let numbers = a.iter().zip(b).map(|(a, b)| by_value(a, b)).find(|order| order.is_ne());
                numbers.unwrap_or_else(|| prerelease(x, y))
            }
            _ => return None,
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> String {
    text.trim_start_matches('0').to_owned()
}

fn by_value(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// `1.2.3-rc.1+build`, also with a `v` before it.
fn version(text: &str) -> Option<Key> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let parts: Vec<_> = core.split('.').collect();
    let [major, minor, patch] = parts[..] else { return None };
    if ![major, minor, patch].into_iter().all(is_digits) {
        return None;
    }
    let named = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let pre: Vec<String> = pre.map(|pre| pre.split('.').map(str::to_owned).collect()).unwrap_or_default();
    pre.iter().all(|part| named(part)).then(|| Key::Version { numbers: [number(major), number(minor), number(patch)], pre })
}

/// As semver.org says: none is newer than any, numbers come before words.
fn prerelease(a: &[String], b: &[String]) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let part = |a: &String, b: &String| match (is_digits(a), is_digits(b)) {
        (true, true) => by_value(&number(a), &number(b)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    };
    let first = a.iter().zip(b).map(|(a, b)| part(a, b)).find(|order| order.is_ne());
    first.unwrap_or_else(|| a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(a: &str, b: &str) -> Option<Ordering> {
        Key::parse(a)?.compare(&Key::parse(b)?)
    }

    #[test]
    fn numbers_versions_and_times_are_told_apart_and_ordered() {
        for (older, newer) in [
            ("9", "10"),
            ("007", "8"),
            ("99999999999999999999", "100000000000000000000"),
            ("1.9.0", "1.10.0"),
            ("v1.0.0-rc.2", "1.0.0-rc.10"),
            ("1.0.0-rc.1", "1.0.0"),
            ("1.0.0-1", "1.0.0-a"),
            ("2026-11-21T10:00:00+02:00", "2026-11-21T09:00:00Z"),
        ] {
            assert_eq!(compare(older, newer), Some(Ordering::Less), "{older} {newer}");
            assert_eq!(compare(newer, older), Some(Ordering::Greater), "{older} {newer}");
        }
        assert_eq!(compare("1.0.0+a", "v1.0.0+b"), Some(Ordering::Equal));
        assert_eq!(compare("00", "0"), Some(Ordering::Equal));
    }

    #[test]
    fn what_is_none_of_them_has_no_order() {
        for text in ["", "main", "1.2", "1.2.3.4", "-1", "1.0.0-", "2026-11-21", "1e9", &"1".repeat(200)] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
        assert_eq!(compare("5", "1.0.0"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_equals_itself(text in ".*") {
            if let Some(key) = Key::parse(&text) {
                prop_assert_eq!(key.compare(&key), Some(Ordering::Equal));
            }
        }

        #[test]
        fn numbers_are_ordered_by_value(a: u64, b: u64) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), Some(a.cmp(&b)));
        }
    }
}
