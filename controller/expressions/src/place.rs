//! Places in a text: what an error points at.
//!
//! In: a text and offsets in bytes. Out: lines and characters, counted from 1 as an editor does. Never here: what is wrong.

use std::fmt;

/// Enough to recognise one's own text, little enough for one line.
const SHOWN: usize = 60;

/// Bytes `start..end` of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// What stands there, shortened, on one line.
    pub fn shown(self, text: &str) -> String {
        shortened(text.get(self.start..self.end).unwrap_or_default(), SHOWN)
    }
}

/// On one line, and not longer than this many characters. Only the beginning is looked at, whatever its length.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most * 4).map_or(text.len(), |(at, _)| at);
    let (beginning, behind) = text.split_at(end);
    let mut characters = beginning.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1);
    let mut shown: String =
        characters.by_ref().take(most).map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect();
    if characters.next().is_some() || !behind.is_empty() {
        shown.push('…');
    }
    shown
}

/// A message that quotes what users or endpoints have written: one line whatever that was, and no longer than a status can show.
pub(crate) fn line(message: &str) -> String {
    const MOST: usize = 600;
    let mut characters = message.chars();
    let mut line: String = characters.by_ref().take(MOST).map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

/// Counted from 1; the line only where the text has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: Option<usize>,
    pub character: usize,
}

impl Place {
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let character = before.chars().rev().take_while(|each| *each != '\n').count() + 1;
        let line = text.trim_end().contains('\n').then(|| before.matches('\n').count() + 1);
        Self { line, character }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            None => write!(f, "at character {}", self.character),
            Some(line) => write!(f, "at line {line}, character {}", self.character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_and_not_bytes() {
        assert_eq!(Place::of("é == x", 6).to_string(), "at character 6");
    }

    #[test]
    fn a_line_is_named_where_there_are_several() {
        assert_eq!(Place::of("a\nbc d\n", 5).to_string(), "at line 2, character 4");
        assert_eq!(Place::of("ab\n", 1).to_string(), "at character 2");
    }

    #[test]
    fn what_is_shown_stays_on_one_line_and_is_short() {
        assert_eq!(shortened("a\n  b\tc", 60), "a b c");
        assert_eq!(shortened("abc", 2), "ab…");
        assert_eq!(shortened(&" ".repeat(1000), 2), "…");
        assert_eq!(shortened("a\u{7}b", 60), "a\u{fffd}b");
        assert_eq!(line("a\nb"), "a\u{fffd}b");
        assert_eq!(line(&"a".repeat(5000)).chars().count(), 601);
    }
}
