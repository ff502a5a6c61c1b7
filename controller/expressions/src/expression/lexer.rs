//! From the text of an expression to its tokens.
//!
//! In: a text. Out: tokens with their places, or the first thing that cannot be one, with what to write instead. Never here:
//! what tokens mean together.

use super::ExpressionError;
use super::escape;
use crate::place::Span;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// Without its sign: the one number that needs it is the smallest int.
    Int(u64),
    Double(f64),
    String(String),
    True,
    False,
    Null,
    In,
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}",
    ";",
];

/// What people write who think in another language, and what to write here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("=", "`=` is not a comparison: write `==`"),
    ("&", "`&` is no operator: write `&&`"),
    ("|", "`|` is no operator: write `||`"),
    ("`", "names are not quoted: write `json['name']`"),
    ("“", "a typographic quote: write ' or \""),
    ("”", "a typographic quote: write ' or \""),
    ("‘", "a typographic quote: write ' or \""),
    ("’", "a typographic quote: write ' or \""),
];

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, ExpressionError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.token()?;
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
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn first(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error<T>(&self, at: usize, message: impl Into<String>) -> Result<T, ExpressionError> {
        Err(ExpressionError::new(self.text, at, message))
    }

    /// What stands here as long as it fits; it is behind us afterwards.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|each: char| !fits(each)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take(|each| matches!(each, ' ' | '\t' | '\n' | '\r' | '\x0c'));
            if !self.eat("//") {
                return;
            }
            self.take(|each| each != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, ExpressionError> {
        let Some(first) = self.first() else { return Ok(Token::End) };
        if let Some(string) = self.string()? {
            return Ok(string);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(self.name());
        }
        let mut ahead = self.rest().chars().skip(1);
        if first.is_ascii_digit() || (first == '.' && ahead.next().is_some_and(|each| each.is_ascii_digit())) {
            return self.number();
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        match ELSEWHERE.iter().find(|(sign, _)| self.rest().starts_with(sign)) {
            Some((_, instead)) => self.error(self.at, *instead),
            None => self.error(self.at, format!("{first:?} does not belong into an expression")),
        }
    }

    fn name(&mut self) -> Token {
        match self.take(|each| each.is_ascii_alphanumeric() || each == '_') {
            "true" => Token::True,
            "false" => Token::False,
            "null" => Token::Null,
            "in" => Token::In,
            name => Token::Name(name.to_owned()),
        }
    }

    fn number(&mut self) -> Result<Token, ExpressionError> {
        let start = self.at;
        let digit = |each: char| each.is_ascii_digit();
        let token = if self.eat("0x") || self.eat("0X") {
            let digits = self.take(|each| each.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().map(Token::Int)
        } else {
            self.take(digit);
            let mut whole = true;
            let mut ahead = self.rest().chars();
            if ahead.next() == Some('.') && ahead.next().is_some_and(digit) {
                whole = false;
                self.at += 1;
                self.take(digit);
            }
            let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
            if let Some(exponent) = exponent.filter(|rest| rest.starts_with(digit)) {
                whole = false;
                self.at = self.text.len() - exponent.len();
                self.take(digit);
            }
            let number = &self.text[start..self.at];
            if whole {
                number.parse().ok().map(Token::Int)
            } else {
                number.parse().ok().filter(|value: &f64| value.is_finite()).map(Token::Double)
            }
        };
        let end = self.at;
        if self.take(|each| each.is_ascii_alphanumeric() || each == '_').is_empty() {
            return match token {
                Some(token) => Ok(token),
                None => {
                    self.error(start, format!("`{}` is too large for a number, or none", Span::new(start, end).shown(self.text)))
                }
            };
        }
        let all = Span::new(start, self.at).shown(self.text);
        match &self.text[end..self.at] {
            "u" | "U" => self.error(start, format!("`{all}`: unsigned numbers are not needed here, write it without the letter")),
            "ns" | "us" | "ms" | "s" | "m" | "h" => self.error(start, format!("a duration is written `duration('{all}')`")),
            _ => self.error(start, format!("`{all}` is neither a number nor a name")),
        }
    }

    /// A string, if there is one: `'…'`, `"…"`, either of them three times, `r` before it for one in which a backslash is itself.
    fn string(&mut self) -> Result<Option<Token>, ExpressionError> {
        let start = self.at;
        let rest = self.rest();
        let prefix = rest.len() - rest.trim_start_matches(['r', 'R', 'b', 'B']).len();
        let Some(quote) = rest[prefix..].chars().next().filter(|each| matches!(each, '\'' | '"')) else { return Ok(None) };
        let raw = match &rest[..prefix] {
            "" => false,
            "r" | "R" => true,
            "b" | "B" | "rb" | "bR" | "Rb" | "RB" | "br" | "BR" | "rB" | "Br" => {
                return self.error(start, "bytes are not needed here: write a string, without the `b`");
            }
            _ => return Ok(None),
        };
        let triple = quote.to_string().repeat(3);
        let rest = &rest[prefix..];
        let (close, lines) = if rest.starts_with(&triple) { (triple.as_str(), true) } else { (&triple[..1], false) };
        self.at += prefix + close.len();
        let mut value = String::new();
        loop {
            let at = self.at;
            if self.eat(close) {
                return Ok(Some(Token::String(value)));
            }
            let Some(next) = self.first() else { return self.error(start, format!("a string that no {close} ends")) };
            self.at += next.len_utf8();
            match next {
                '\n' | '\r' if !lines => return self.error(start, format!("a string that no {close} ends before the line does")),
                '\\' if !raw => {
                    let (escaped, length) = escape::read(self.rest()).or_else(|message| self.error(at, message))?;
                    self.at += length;
                    value.push(escaped);
                }
                other => value.push(other),
            }
        }
    }
}
