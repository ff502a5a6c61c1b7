//! Durations of PromQL: `5m`, `1h30m`.
//!
//! In: digits and letters. Out: seconds, or what is wrong. Never here: arithmetic.

/// In the order in which they have to stand, with their milliseconds.
const UNITS: [(&str, u64); 7] =
    [("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// 2^63 nanoseconds, in milliseconds and in seconds.
const MOST: u64 = 9_223_372_036_854;
pub(super) const MOST_SECONDS: f64 = 9_223_372_036.854;

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|each: char| each.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|each: char| each.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let known = UNITS.iter().any(|(name, _)| *name == unit);
        if number.is_empty() || !known {
            return Err(format!("`{text}` is neither a number nor a duration like `5m` or `1h30m`"));
        }
        let Some((_, milliseconds)) = units.find(|(name, _)| *name == unit) else {
            return Err(format!("`{text}`: the units of a duration go from large to small, each once"));
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*milliseconds));
        match part.and_then(|part| total.checked_add(part)).filter(|total| *total <= MOST) {
            Some(sum) => total = sum,
            None => return Err(format!("`{text}` is longer than 292 years")),
        }
        rest = after;
    }
    #[expect(clippy::cast_precision_loss, reason = "it is only asked whether it is zero")]
    Ok(total as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_go_from_large_to_small() {
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("1y2w3d4h5m6s7ms"), Ok(33_019_506.007));
        assert!(seconds("30m1h").is_err());
        assert!(seconds("5m5m").is_err());
        assert!(seconds("5mm").is_err());
        assert!(seconds("5").is_err());
        assert!(seconds("300y").is_err());
        assert!(seconds("99999999999999999999s").is_err());
    }
}
