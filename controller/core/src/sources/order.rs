//! Which of two builds is the newer one: by number, semantic version or time, whichever the text is.
//!
//! The three never look alike, so nobody has to say which it is; two of different kinds have no order, and none is guessed.

use std::{cmp::Ordering, collections::BTreeMap};

use bascule_crds::{BuildOrder, ParameterRecord, ResolvedArtifact};
use jiff::Timestamp;

use super::{Obstacle, Place};

/// Longer than any number or version that a pipeline makes.
const LONGEST: usize = 128;

/// Automation never goes back: neither to an older version of a parameter nor, where `order` says how to tell, to an older build.
pub(super) fn in_order(
    place: &Place<'_>,
    resolved: ResolvedArtifact,
    last: Option<&ResolvedArtifact>,
) -> Result<ResolvedArtifact, Obstacle> {
    let Some(last) = last.filter(|last| **last != resolved) else { return Ok(resolved) };
    let path = place.pointer();
    let version = |it: &ResolvedArtifact| it.parameter.as_ref().map_or(0, |record| record.version);
    if last.parameter.as_ref().is_some_and(|last| resolved.parameter.as_ref().is_some_and(|now| is_older(now, last))) {
        let message = format!(
            "{path}: version {} ({}) is older than version {}, which was released ({}); Accept follows it all the same",
            version(&resolved),
            name(&resolved),
            version(last),
            name(last)
        );
        return Err(Obstacle::OutOfOrder(message, Box::new(resolved)));
    }
    let (Some(now), Some(then)) = (&resolved.order, &last.order) else { return Ok(resolved) };
    // Somebody has changed by what builds are put in order: the two cannot be compared, and it was a person.
    if now.by != then.by {
        return Ok(resolved);
    }
    match Key::parse(&now.value).zip(Key::parse(&then.value)).and_then(|(now, then)| now.compare(&then)) {
        Some(Ordering::Less) => {
            let message = format!(
                "{path}: {} has {} {}, which is older than {} of {}, which was released; Accept follows it all the same",
                name(&resolved),
                now.by,
                now.value,
                then.value,
                name(last)
            );
            Err(Obstacle::OutOfOrder(message, Box::new(resolved)))
        }
        Some(_) => Ok(resolved),
        None => {
            let message = format!(
                "{path}: {} of {} is {}, and {} of {}: these have no order",
                now.by,
                name(&resolved),
                now.value,
                then.value,
                name(last)
            );
            Err(Obstacle::Wrong("OrderUnknown", message))
        }
    }
}

/// As people know it.
pub(crate) fn name(artifact: &ResolvedArtifact) -> String {
    let key = artifact.archive.as_ref().map(|archive| archive.key.clone());
    artifact.tag.clone().or(key).or_else(|| artifact.digest.clone()).unwrap_or_default()
}

/// Written before what was released last. A parameter that was deleted and made anew begins with 1 again, and is newer all the same.
pub(super) fn is_older(now: &ParameterRecord, last: &ParameterRecord) -> bool {
    let made_anew = matches!((now.modified_at, last.modified_at), (Some(now), Some(then)) if now > then);
    now.name == last.name && now.version < last.version && !made_anew
}

/// What a build says of its place among the others, where that is asked for.
pub(super) fn of_build(
    by: Option<&String>,
    said: &BTreeMap<String, String>,
    kind: &str,
    build: &str,
    path: &str,
) -> Result<Option<BuildOrder>, Obstacle> {
    let Some(by) = by else { return Ok(None) };
    let unknown = |why: String| Obstacle::Wrong("OrderUnknown", format!("{path}: {build}: {why}"));
    let value = said.get(by).ok_or_else(|| unknown(format!("it has no {kind} {by}, by which builds are put in order")))?;
    let shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
    match Key::parse(value) {
        Some(_) => Ok(Some(BuildOrder { by: by.clone(), value: value.clone() })),
        None => {
            Err(unknown(format!("its {kind} {by} is \"{shown}\": neither a number nor a semantic version nor an RFC 3339 time")))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// Digits without leading zeros: of any length.
    Number(String),
    Version {
        numbers: [String; 3],
        pre: Vec<String>,
    },
    Time(Timestamp),
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        if is_digits(text) {
            return Some(Self::Number(number(text)));
        }
        version(text).or_else(|| text.parse().ok().map(Self::Time))
    }

    /// None: they are of different kinds.
    fn compare(&self, other: &Self) -> Option<Ordering> {
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
