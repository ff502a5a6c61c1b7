//! Durations as people write them in manifests: `30s`, `10m`, `1h30m`. Parsed at the edge, so that inside only valid ones exist.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time that is never negative and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(SignedDuration);

/// What is wrong with a text that should be a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: write a number and a unit (ms, s, m, h, d), for example 30s, 10m or 1h30m; at most 365d in all"
)]
pub struct DurationError {
    text: String,
}

/// Longer than this is a slip of the keyboard, and keeps sums with time stamps in range.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);

impl Duration {
    pub const ZERO: Self = Self(SignedDuration::ZERO);

    pub const fn from_secs(secs: u32) -> Self {
        Self(SignedDuration::from_secs(secs as i64))
    }

    pub const fn from_millis(millis: u32) -> Self {
        Self(SignedDuration::from_millis(millis as i64))
    }

    pub const fn get(self) -> SignedDuration {
        self.0
    }

    pub const fn as_std(self) -> std::time::Duration {
        self.0.unsigned_abs()
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let wrong = || DurationError { text: text.chars().take(40).collect() };
        let mut rest = text;
        let mut total = SignedDuration::ZERO;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let millis = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            rest = &rest[letters..];
            let part = number.checked_mul(millis).ok_or_else(wrong)?;
            total = total.checked_add(SignedDuration::from_millis(part)).filter(|sum| *sum <= LONGEST).ok_or_else(wrong)?;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Each unit once, the largest first, and every number bounded: the sum is below LONGEST, so what the server lets in always parses.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 30,
            "pattern": "^([0-9]{1,2}d)?([0-9]{1,3}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?([0-9]{1,8}ms)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, millis) in
            [("30s", 30_000), ("10m", 600_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0), ("7d", 604_800_000)]
        {
            assert_eq!(text.parse::<Duration>().unwrap().get().as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_text() {
        for text in ["", "10", "s", "-5s", "1.5h", "5 s", "9999999999999999999s", "400d", "1w", "5sm"] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn the_longest_that_the_server_lets_in_is_understood() {
        assert!("99d999h99999m999999s99999999ms".parse::<Duration>().is_ok());
    }

    #[test]
    fn printing_and_parsing_agree() {
        for millis in [0, 1, 999, 1_000, 61_001, 3_600_000, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }
    }
}
