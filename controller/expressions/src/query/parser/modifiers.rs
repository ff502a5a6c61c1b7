//! What stands behind a selector: ranges, offsets, times, and the arithmetic of durations within them.
//!
//! In: what was read before. Out: what it has become. Never here: selectors themselves.

use super::super::duration::MOST_SECONDS;
use super::super::lexer::Token;
use super::super::words::Operator;
use super::super::{Gives, MAX_DEPTH};
use super::{Form, Parsed, Parser, Part};

/// Seconds that Prometheus cannot count.
const TIMES: f64 = 9.2e18;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Modifier {
    Offset = 1,
    At = 2,
    Anchored = 4,
    Smoothed = 8,
}

/// Those that are there already.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Modifiers(u8);

impl Modifier {
    fn fits_subquery(self) -> bool {
        matches!(self, Self::Offset | Self::At)
    }
}

impl Modifiers {
    fn allow_range(self) -> bool {
        !self.has(Modifier::Offset) && !self.has(Modifier::At)
    }

    fn has(self, modifier: Modifier) -> bool {
        self.0 & modifier as u8 != 0
    }

    fn add(&mut self, modifier: Modifier) {
        self.0 |= modifier as u8;
    }
}

impl Parser<'_> {
    /// Something with any number of ranges, offsets and times behind it.
    pub(super) fn postfix(&mut self) -> Parsed {
        let mut part = self.primary()?;
        loop {
            let modifier = match (self.token(), self.word().as_deref()) {
                (Token::Sign("["), _) => None,
                (Token::Sign("@"), _) => Some(Modifier::At),
                (_, Some("offset")) => Some(Modifier::Offset),
                (_, Some("anchored")) => Some(Modifier::Anchored),
                (_, Some("smoothed")) => Some(Modifier::Smoothed),
                _ => return Ok(part),
            };
            part = match modifier {
                None => self.range(part)?,
                Some(modifier) => self.modified(part, modifier)?,
            };
            part.span = part.span.to(self.last());
        }
    }

    fn modified(&mut self, part: Part, modifier: Modifier) -> Parsed {
        let at = self.advance();
        let name = self.shown(at);
        let mut form = part.form;
        let modifiers = match &mut form {
            Form::Selector(modifiers) => modifiers,
            Form::Subquery(modifiers) if modifier.fits_subquery() => modifiers,
            _ => {
                let shown = self.shown(part.span);
                let behind = if modifier.fits_subquery() { "a selector or a subquery" } else { "a selector" };
                return self.error(part.span, format!("`{name}` stands right behind {behind}, and `{shown}` is not that"));
            }
        };
        if modifier.fits_subquery() && modifiers.has(modifier) {
            return self.error(at, format!("`{name}` is there twice"));
        }
        modifiers.add(modifier);
        if modifiers.has(Modifier::Anchored) && modifiers.has(Modifier::Smoothed) {
            return self.error(at, "`anchored` and `smoothed` exclude each other");
        }
        match modifier {
            Modifier::Offset => self.offset()?,
            Modifier::At => self.time()?,
            Modifier::Anchored | Modifier::Smoothed => {}
        }
        Ok(Part { form, ..part })
    }

    /// `[5m]` or `[5m:1m]`
    fn range(&mut self, part: Part) -> Parsed {
        let open = self.advance();
        self.positive()?;
        if self.eat(":") {
            if !self.is("]") {
                self.positive()?;
            }
            self.expect("]", "`]`")?;
            if part.gives != Gives::Vector {
                let message =
                    format!("a subquery needs an instant vector, and `{}` is {}", self.shown(part.span), part.gives.name());
                return self.error(part.span, message);
            }
            return Ok(Part { gives: Gives::Range, form: Form::Subquery(Modifiers::default()), ..part });
        }
        self.expect("]", "`]`, or `:` and a step")?;
        match part.form {
            Form::Selector(modifiers) if part.gives == Gives::Vector && modifiers.allow_range() => {
                Ok(Part { gives: Gives::Range, ..part })
            }
            Form::Selector(_) if part.gives == Gives::Vector => {
                self.error(open, "a range stands before `offset` and `@`: `x[5m] offset 1h`")
            }
            _ => {
                let range = self.shown(open.to(self.last()));
                let message =
                    format!("a range is for selectors; of anything else it is a subquery: `{}:]`", range.trim_end_matches(']'));
                self.error(open, message)
            }
        }
    }

    /// A duration of a range or a step, which is more than nothing.
    fn positive(&mut self) -> Parsed<()> {
        let start = self.span();
        match self.duration(1)? {
            Some(seconds) if seconds <= 0.0 => self.error(start, "a duration of more than nothing is needed"),
            _ => Ok(()),
        }
    }

    /// Arithmetic of durations; the seconds if it is a single number.
    fn duration(&mut self, least: u8) -> Parsed<Option<f64>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(self.span(), format!("nested more than {MAX_DEPTH} times"));
        }
        let mut left = self.duration_operand()?;
        while let Token::Sign(sign @ ("+" | "-" | "*" | "/" | "%" | "^")) = *self.token() {
            let Some(power) = Operator::named(sign).map(Operator::power).filter(|power| *power >= least) else { break };
            let at = self.advance();
            let right = self.duration(power + u8::from(sign != "^"))?;
            if matches!(sign, "/" | "%") && right == Some(0.0) {
                return self.error(at, "a division by zero");
            }
            left = None;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn duration_operand(&mut self) -> Parsed<Option<f64>> {
        if self.eat("-") {
            return Ok(self.duration(Operator::Power.power())?.map(|seconds| -seconds));
        }
        if self.eat("+") {
            return self.duration(Operator::Power.power());
        }
        if let Token::Number(seconds) | Token::Duration(seconds) = *self.token() {
            let span = self.advance();
            if seconds > MOST_SECONDS {
                return self.error(span, "longer than 292 years");
            }
            return Ok(Some(seconds));
        }
        if self.eat("(") {
            self.duration(1)?;
            self.expect(")", "`)`")?;
            return Ok(None);
        }
        match self.word().as_deref() {
            Some("step" | "range") => {
                self.advance();
                self.expect("(", "`()`")?;
                self.expect(")", "`)`")?;
            }
            Some("max_of" | "min_of") => {
                self.advance();
                self.expect("(", "`(`")?;
                self.duration(1)?;
                self.expect(",", "`,` and another duration")?;
                self.duration(1)?;
                self.expect(")", "`)`")?;
            }
            _ => return self.unexpected("a duration like `5m`"),
        }
        Ok(None)
    }

    fn offset(&mut self) -> Parsed<()> {
        if !self.eat("-") {
            self.eat("+");
        }
        self.duration_operand().map(|_| ())
    }

    /// What stands behind `@`.
    fn time(&mut self) -> Parsed<()> {
        let signed = self.eat("-") || self.eat("+");
        match (self.token().clone(), self.word().as_deref()) {
            (Token::Number(seconds) | Token::Duration(seconds), _) => {
                let span = self.advance();
                if seconds < TIMES { Ok(()) } else { self.error(span, "a time that far away cannot be asked for") }
            }
            (_, Some("start" | "end")) if !signed => {
                self.advance();
                self.expect("(", "`()`")?;
                self.expect(")", "`)`")
            }
            _ => self.unexpected("a time in seconds, `start()` or `end()`"),
        }
    }
}
