//! Digests of content: `sha256:…` or `sha512:…`, in the one spelling that registries use.
//!
//! In: text, or the bytes of a hash that somebody computed. Out: a [`Digest`]. Never here: hashing, other algorithms.

use std::fmt;
use std::str::FromStr;

/// The name of exactly one content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// The algorithms that the OCI image specification registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// What is wrong with the text of a digest, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("the digest begins with neither \"sha256:\" nor \"sha512:\"")]
    Algorithm,
    #[error("the digest has a character other than 0-9 and a-f")]
    Character { at: usize },
    #[error("the {} digest has {found} digits instead of {}", algorithm.as_str(), algorithm.hex_length())]
    Length { algorithm: Algorithm, found: usize },
}

impl DigestError {
    /// The byte of the text where it goes wrong.
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Algorithm => 0,
            Self::Character { at } => *at,
            Self::Length { algorithm, found } => algorithm.as_str().len() + 1 + *found.min(&algorithm.hex_length()),
        }
    }
}

impl Digest {
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find_map(|algorithm| Some((algorithm, text.strip_prefix(algorithm.as_str())?.strip_prefix(':')?)))
            .ok_or(DigestError::Algorithm)?;
        if let Some(wrong) = hex.find(|c: char| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(DigestError::Character { at: text.len() - hex.len() + wrong });
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length { algorithm, found: hex.len() });
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in hash {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self { algorithm: Algorithm::Sha256, hex }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

/// As it is written everywhere else: a dump of two fields helps nobody.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
