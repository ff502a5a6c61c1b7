//! What can be wrong with an image reference, in the words of a person.
//!
//! In: the fault and its place. Out: one sentence. Never here: the grammar itself.

use std::fmt;

use super::DigestError;

/// Enough to recognise one's own text in a status line, little enough not to flood it.
const SHOWN: usize = 120;

/// An image reference that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceError {
    shown: String,
    fault: Fault,
    place: Option<Place>,
}

/// Counted in characters from 1, as an editor does; `found` is none at the end of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    character: usize,
    found: Option<char>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than any image reference can be")]
    TooLong,
    #[error("it has a blank or a control character")]
    Blank,
    #[error("it begins with a scheme; an image reference has none, write registry/repository:tag")]
    Scheme,
    #[error("it is the id of an image, not a name that a registry knows")]
    ImageId,
    #[error("the digest is missing after \"@\"")]
    NoDigest,
    #[error(transparent)]
    Digest(DigestError),
    #[error("the tag is missing after \":\"")]
    NoTag,
    #[error("the tag has a character other than letters, digits, \"_\", \".\" and \"-\"")]
    TagCharacter,
    #[error("the tag begins with \".\" or \"-\"")]
    TagStart,
    #[error("the tag is longer than 128 characters")]
    TagTooLong,
    #[error("the repository is missing")]
    NoRepository,
    #[error("the repository has an upper-case letter")]
    UpperCase,
    #[error("the repository has a character other than a-z, 0-9, \"/\", \".\", \"_\" and \"-\"")]
    RepositoryCharacter,
    #[error("the repository has an empty part beside a \"/\"")]
    EmptyPart,
    #[error("a part of the repository begins with \".\", \"_\" or \"-\"")]
    SeparatorAtStart,
    #[error("a part of the repository ends with \".\", \"_\" or \"-\"")]
    SeparatorAtEnd,
    #[error("the repository has separators side by side other than \"__\" and \"--\"")]
    Separators,
    #[error("the repository is longer than 255 characters")]
    RepositoryTooLong,
    #[error("the registry's host is longer than 253 characters")]
    HostTooLong,
    #[error("the registry's host has a character that host names do not have")]
    HostCharacter,
    #[error("the registry's host has an empty part beside a dot")]
    HostLabel,
    #[error("a part of the registry's host begins or ends with \"-\"")]
    HostHyphen,
    #[error("the registry's host is not an IPv6 address in square brackets")]
    HostAddress,
    #[error("the registry's port is not a number from 1 to 65535")]
    Port,
}

impl ReferenceError {
    pub(super) fn new(text: &str, fault: Fault, at: Option<usize>) -> Self {
        let place = at.map(|byte| Place { character: text[..byte].chars().count() + 1, found: text[byte..].chars().next() });
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { shown, fault, place }
    }

    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image reference {:?}: {}", self.shown, self.fault)?;
        match &self.place {
            None => Ok(()),
            Some(Place { character, found: Some(found) }) => write!(f, " ({:?} at character {character})", found.to_string()),
            Some(Place { found: None, .. }) => write!(f, " (at its end)"),
        }
    }
}

impl std::error::Error for ReferenceError {}
