//! W3C's `traceparent`: whose part something is. `00-<trace: 32 hex digits>-<span: 16>-<flags: 2>`.

use std::fmt;

/// A trace and the span in it that goes on here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub trace: String,
    pub span: String,
    /// Whoever began it wants it kept.
    pub sampled: bool,
}

impl Trace {
    /// None: it is none. Nothing depends on a trace, so a wrong one is nobody's error here.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_one = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        // Later versions may say more; this one may not.
        let ends = version != "00" || parts.next().is_none();
        let named = trace.bytes().any(|byte| byte != b'0') && span.bytes().any(|byte| byte != b'0');
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        (is_one && ends && named).then(|| Self { trace: trace.to_owned(), span: span.to_owned(), sampled })
    }

    /// What a label says, if that is one: others are not kept.
    pub(crate) fn text(label: Option<&String>) -> Option<String> {
        Some(Self::parse(label?)?.to_string())
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_one_reads_back() {
        let trace = Trace::parse(GOOD).unwrap();
        assert!(trace.sampled);
        assert_eq!(trace.to_string(), GOOD);
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-the-future-will-be-like";
        assert!(!Trace::parse(later).unwrap().sampled, "a later version may say more");
    }

    #[test]
    fn what_is_none_is_left_out() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
        ] {
            assert_eq!(Trace::parse(text), None, "{text}");
        }
    }
}
