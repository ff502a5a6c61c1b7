//! From the text of a query to its tokens.
//!
//! In: a text. Out: tokens with their places, or the first thing that cannot be one. Never here: which words are keywords; that
//! depends on where they stand.

use super::{QueryError, duration, text};
use crate::place::Span;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, with colons where metrics can have them.
    Word(String),
    Number(f64),
    /// In seconds.
    Duration(f64),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "=~", "!~", "<=", ">=", "</", ">/", "<", ">", "=", "+", "-", "*", "/", "%", "^", "@", ",", ":", "(", ")", "[",
    "]", "{",
];

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, QueryError> {
    let mut lexer = Lexer { text, at: 0, braces: false, brackets: false };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.token()?;
        match token {
            Token::Sign("{") => lexer.braces = true,
            Token::Sign("}") => lexer.braces = false,
            Token::Sign("[") => lexer.brackets = true,
            Token::Sign("]") => lexer.brackets = false,
            _ => {}
        }
        let ended = token == Token::End;
        tokens.push((token, Span::new(start, lexer.at)));
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    braces: bool,
    brackets: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error<T>(&self, at: usize, message: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::new(self.text, at, message))
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|each: char| !fits(each)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take(|each| matches!(each, ' ' | '\t' | '\n' | '\r'));
            if !self.rest().starts_with('#') {
                return;
            }
            self.take(|each| !matches!(each, '\n' | '\r'));
        }
    }

    fn token(&mut self) -> Result<Token, QueryError> {
        let Some(first) = self.rest().chars().next() else { return Ok(Token::End) };
        if matches!(first, '"' | '\'' | '`') {
            let (value, length) = text::read(self.rest()).or_else(|(at, message)| self.error(self.at + at, message))?;
            self.at += length;
            return Ok(Token::Text(value));
        }
        // Within brackets a colon parts the range from the step; elsewhere a name can begin with one.
        let colon = first == ':' && !self.braces && !self.brackets;
        if first.is_ascii_alphabetic() || first == '_' || colon {
            let colons = !self.braces && !self.brackets;
            let word = self.take(|each| each.is_ascii_alphanumeric() || each == '_' || (each == ':' && colons));
            let mut ahead = self.rest().chars();
            let first = ahead.next();
            let dotted = first == Some('.') && !ahead.next().is_some_and(|each| each.is_ascii_digit());
            if dotted || first.is_some_and(char::is_alphabetic) {
                return self.error(
                    self.at,
                    format!("a name with other characters than letters, digits and `_` is quoted: {{\"{word}…\"}}"),
                );
            }
            return Ok(Token::Word(word.to_owned()));
        }
        let fraction = first == '.' && self.rest().chars().nth(1).is_some_and(|each| each.is_ascii_digit());
        if first.is_ascii_digit() || fraction {
            return self.number();
        }
        if first == '}' {
            self.at += 1;
            return Ok(Token::Sign("}"));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        match first {
            '$' => self.error(
                self.at,
                "`$` begins no name; variables of Grafana are not known here, and others must be replaced before",
            ),
            '&' => self.error(self.at, "`&` is no operator: write `and`"),
            '|' => self.error(self.at, "`|` is no operator: write `or`"),
            '!' => self.error(self.at, "`!` is followed by `=` or `~`; there is no `not`, see `unless` and `absent(…)`"),
            ';' => self.error(self.at, "`;` does not end a query: nothing does"),
            _ if first.is_alphabetic() => {
                self.error(self.at, "a name with other characters than letters, digits and `_` is quoted: {\"größe\"}")
            }
            _ => self.error(self.at, format!("{first:?} does not belong into a query")),
        }
    }

    fn number(&mut self) -> Result<Token, QueryError> {
        let start = self.at;
        let rest = self.rest();
        let hexadecimal = rest.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
        if hexadecimal {
            self.at += 2;
            self.take(|each| each.is_ascii_hexdigit() || each == '_');
        } else {
            self.take(|each| each.is_ascii_digit() || matches!(each, '.' | '_'));
            let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
            if let Some(exponent) = exponent.filter(|rest| rest.starts_with(|each: char| each.is_ascii_digit())) {
                self.at = self.text.len() - exponent.len();
                self.take(|each| each.is_ascii_digit());
            }
        }
        let number = &self.text[start..self.at];
        // A unit, and what it may be mistaken for: all that would be one word.
        let unit = self.take(|each| each.is_ascii_alphanumeric() || each == '_');
        let whole = &self.text[start..self.at];
        if unit.is_empty() {
            return match value(number, hexadecimal) {
                Some(value) => Ok(Token::Number(value)),
                None => self.error(start, format!("`{}` is not a number", Span::new(start, self.at).shown(self.text))),
            };
        }
        match duration::seconds(whole) {
            Ok(seconds) => Ok(Token::Duration(seconds)),
            Err(message) => self.error(start, message),
        }
    }
}

/// Underscores part digits; what is too large for 32 bits in hexadecimal is just large.
fn value(number: &str, hexadecimal: bool) -> Option<f64> {
    let digits = if hexadecimal { number.get(2..).filter(|digits| !digits.is_empty())? } else { number };
    let between = |at: usize| {
        let neighbour = |at: Option<usize>| {
            at.and_then(|at| number.as_bytes().get(at)).is_some_and(|each| each.is_ascii_hexdigit() || hexadecimal)
        };
        neighbour(at.checked_sub(1)) && neighbour(at.checked_add(1))
    };
    if number.match_indices('_').any(|(at, _)| !between(at)) {
        return None;
    }
    let plain: String = digits.chars().filter(|each| *each != '_').collect();
    if hexadecimal {
        return Some(u32::from_str_radix(&plain, 16).map_or(f64::MAX, f64::from));
    }
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}
