//! A value that must not be seen: it has no `Display`, and its `Debug` says nothing.
//!
//! In: passwords, tokens, files that hold them. Out: the value, to the few places that spell [`Hidden::reveal`].
//! Never here: a comparison that leaks where two values differ.

use std::fmt;

use serde::Deserialize;

#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Hidden<T>(T);

impl<T> Hidden<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Every use of this word is a place to look at when credentials are reviewed.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_value_does_not_show_in_a_dump() {
        assert_eq!(format!("{:?}", Hidden::new("s3cret")), "(hidden)");
    }
}
