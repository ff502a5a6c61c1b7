//! Patterns of `matches`: compiled once, small enough that a search has a bound.
//!
//! In: a pattern as RE2 has it. Out: whether a text has a match. Never here: a pattern that only an evaluation knows.
//!
//! The search never goes back, so its time is at worst the product of the size of the compiled pattern and the length of the
//! text. Both have limits, and the weight says what one byte of text costs.

use regex::{Regex, RegexBuilder};

use crate::re2::translated;

/// Characters. Longer ones are programs, not conditions.
const MAX_PATTERN: usize = 512;
/// Sizes of the compiled pattern in bytes, with what a byte of text costs in steps.
const WEIGHTS: [(usize, u64); 3] = [(8 << 10, 1), (32 << 10, 4), (128 << 10, 16)];
/// Of the cache that makes a search fast; without it the result is the same.
const CACHE: usize = 256 << 10;

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    weight: u64,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Self, String> {
        if text.chars().nth(MAX_PATTERN).is_some() {
            return Err(format!("a pattern has at most {MAX_PATTERN} characters"));
        }
        let translated = translated(text);
        let mut last = Err(regex::Error::CompiledTooBig(0));
        for (size, weight) in WEIGHTS {
            last = RegexBuilder::new(&translated).size_limit(size).dfa_size_limit(CACHE).nest_limit(32).build();
            match last {
                Ok(regex) => return Ok(Self { regex, weight }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => break,
            }
        }
        Err(match last {
            Err(regex::Error::CompiledTooBig(_)) => {
                "the pattern is too large when it is compiled: fewer or smaller repetitions".to_owned()
            }
            // Its last line says what is wrong, those before it draw where.
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("not a valid pattern: {reason}")
            }
            Ok(_) => "not a valid pattern".to_owned(),
        })
    }

    /// What a search in so many bytes costs.
    pub fn steps(&self, bytes: usize) -> u64 {
        self.weight.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    pub fn fits(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(text)
    }

    #[test]
    fn classes_are_those_of_re2() {
        assert!(fits(r"^v\d+\.\d+$", "v1.22"));
        assert!(!fits(r"^\d$", "٣"));
        assert!(fits(r"^[\w.-]+$", "a-b.c_9"));
        assert!(!fits(r"^\w$", "é"));
        assert!(fits(r"^\W$", "é"));
        assert!(fits(r"^[^\s]+$", "ab"));
        assert!(fits(r"^[\D]$", "a"));
        assert!(fits(r"\bok\b", "is ok."));
        assert!(fits(r"(?i)OK", "ok"));
        assert!(fits(r"^.$", "é"));
        assert!(fits(r"\\d", r"\d"));
        assert!(fits(r"^[\p{Greek}\x{41}]+$", "αA"));
    }

    #[test]
    fn a_brace_that_begins_no_repetition_is_itself() {
        assert!(fits(r"^/items/{id}$", "/items/{id}"));
        assert!(fits(r"^a{2,3}b{1}c{1,}$", "aabc"));
        assert!(!fits(r"^a{2}$", "a{2}"));
        assert!(fits(r"^{a{,2}$", "{a{,2}"));
    }

    #[test]
    fn a_pattern_may_match_anywhere() {
        assert!(fits("b", "abc"));
        assert!(fits("", ""));
    }

    #[test]
    fn what_is_wrong_with_a_pattern_fits_on_a_line() {
        for (pattern, reason) in
            [("(a", "unclosed group"), ("[", "unclosed character class"), ("a**", ""), (r"\C", "unrecognized escape")]
        {
            match Pattern::new(pattern) {
                Ok(_) => assert_eq!(pattern, "a**"),
                Err(error) => assert!(error.contains(reason) && !error.contains('\n'), "{error}"),
            }
        }
        assert!(Pattern::new("(a{1000}){1000}").unwrap_err().contains("too large"));
        assert!(Pattern::new(&"a".repeat(513)).unwrap_err().contains("512"));
        assert!(Pattern::new(&"(".repeat(512)).is_err());
    }

    #[test]
    fn what_people_write_is_cheap() {
        for pattern in [r#""status":\s*"ok""#, r"^v\d+\.\d+\.\d+(-[\w.]+)?$", r"(?i)healthy|ready|ok", r"\b[0-9a-f]{7,40}\b"] {
            assert_eq!(Pattern::new(pattern).unwrap().steps(1), 1, "{pattern}");
        }
    }
}
