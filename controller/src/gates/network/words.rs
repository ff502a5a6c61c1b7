//! Foreign text inside our own sentences: one line, bounded, nothing in it that a terminal or a log would act on.
//!
//! In: whatever others have said. Out: words for a status. Never here: what is said by ourselves.

use std::fmt::Write as _;

/// Enough to recognise a page of HTML, a JSON error or a stack trace.
const PREVIEW: usize = 80;
/// A sentence or two.
const SENTENCE: usize = 200;

/// In quotes, as it was, its beginning.
pub(super) fn preview(body: &[u8]) -> String {
    // A character is at most four bytes: what comes after these is not looked at.
    let text = String::from_utf8_lossy(&body[..body.len().min(PREVIEW * 4 + 4)]).into_owned();
    quoted(&text, PREVIEW)
}

/// An expression, in quotes.
pub(super) fn expression(text: &str) -> String {
    quoted(text, SENTENCE)
}

/// Without quotes: a message of another program, as a sentence of ours.
pub(super) fn sentence(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            match character {
                '"' | '\'' | '\\' => line.push(character),
                other => line.extend(other.escape_debug()),
            }
        }
        if line.len() > SENTENCE * 4 {
            break;
        }
    }
    cut(&line, SENTENCE)
}

fn quoted(text: &str, most: usize) -> String {
    let short: String = text.chars().take(most).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most).collect();
    short.push('…');
    short
}

/// Four digits: enough to see by how much a threshold was missed, and the same for two samples that hardly differ.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return (if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        })
        .to_owned();
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    let size = rounded.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) { format!("{rounded:e}") } else { format!("{rounded}") }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_by_its_beginning_on_one_line() {
        assert_eq!(preview(b"down\r\n\"for\" good"), r#""down\r\n\"for\" good""#);
        assert_eq!(preview(&[b'x'; 500]), format!("\"{}\"…", "x".repeat(80)));
        assert_eq!(preview("ü".repeat(500).as_bytes()), format!("\"{}\"…", "ü".repeat(80)));
        assert_eq!(preview(&[0xff, 0x1b, b'[', b'2', b'J']), "\"\u{fffd}\\u{1b}[2J\"");
        assert_eq!(preview("a\u{202e}b".as_bytes()), "\"a\\u{202e}b\"");
    }

    #[test]
    fn a_foreign_sentence_has_no_line_ends_and_an_end() {
        assert_eq!(sentence("  1:3: parse\n\terror: \"x\"\u{1b}[31m "), "1:3: parse error: \"x\" [31m");
        assert_eq!(sentence(&"word ".repeat(1_000)).chars().count(), 201);
        assert_eq!(sentence("a\u{202e}b\u{feff}"), "a\\u{202e}b\\u{feff}");
    }

    #[test]
    fn numbers_have_four_digits() {
        let cases = [
            (0.314_159, "0.3142"),
            (0.31, "0.31"),
            (0.0, "0"),
            (2.0, "2"),
            (123_456.0, "123500"),
            (1.5e12, "1.5e12"),
            (0.000_012_345_6, "1.235e-5"),
            (-0.5, "-0.5"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn bytes_are_written_as_two_digits_each() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
