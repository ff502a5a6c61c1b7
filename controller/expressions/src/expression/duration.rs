//! Durations as text: `1h30m`, `500ms`, as Go and CEL write them.
//!
//! In: text or nanoseconds. Out: the other one. Never here: a clock.

const NANOS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds; none if it is no duration, or longer than 292 years.
pub(super) fn from_text(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    let mut rest = rest;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        // A text has few parts, each below 2^64: the sum cannot leave an i128.
        total += part;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One number with its unit, in nanoseconds, and what comes after it.
fn part(text: &str) -> Option<(i128, &str)> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|each: char| each.is_ascii_digit()).len();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let letters = rest.find(|each: char| each.is_ascii_digit() || each == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    let nanos = NANOS.iter().find(|(name, _)| *name == unit)?.1;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // What is smaller than a nanosecond is cut off, and 18 digits are smaller than one in every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let (mut numerator, mut denominator) = (0_i128, 1_i128);
    for digit in fraction.bytes() {
        numerator = numerator * 10 + i128::from(digit - b'0');
        denominator *= 10;
    }
    let total = i128::from(whole) * i128::from(nanos) + numerator * i128::from(nanos) / denominator;
    Some((total, after))
}

/// In seconds, as CEL's `string()` has it: `1.5s`.
pub(super) fn to_text(nanos: i64) -> String {
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let sign = if nanos < 0 { "-" } else { "" };
    let fraction = format!("{rest:09}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{seconds}s"),
        fraction => format!("{sign}{seconds}.{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let read = [
            ("500ms", Some(500_000_000)),
            ("1h1m1.5s", Some(3_661_500_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("+1s", Some(1_000_000_000)),
            ("1µs", Some(1_000)),
            ("1.1234567891s", Some(1_123_456_789)),
            ("0", Some(0)),
            ("2562047h47m16.854775807s", Some(i64::MAX)),
            ("2562047h47m16.854775808s", None),
            ("-2562047h47m16.854775808s", Some(i64::MIN)),
            ("99999999999999999999h", None),
            ("", None),
            ("-", None),
            ("5", None),
            (".s", None),
            ("1d", None),
            ("1 s", None),
            ("1s ", None),
        ];
        for (text, nanos) in read {
            assert_eq!(from_text(text), nanos, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_seconds() {
        let written = [(0, "0s"), (1, "0.000000001s"), (-1_500_000_000, "-1.5s"), (3_600_000_000_000, "3600s")];
        for (nanos, text) in written {
            assert_eq!(to_text(nanos), text);
        }
        assert_eq!(to_text(i64::MIN), "-9223372036.854775808s");
    }
}
