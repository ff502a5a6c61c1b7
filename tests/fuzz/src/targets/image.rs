//! Image references: what a person writes in `spec.artifacts[].image.ref`, and digests as registries answer them.

use bascule_core::image::{Digest, Fault, Reference};

use crate::outcome::{Outcome, assert_calm};

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(data);
    digest(&text);
    match Reference::parse(&text) {
        Ok(reference) => {
            accepted(&text, &reference);
            Outcome::accepted(match (reference.tag(), reference.digest()) {
                (None, None) => "name",
                (Some(_), None) => "tag",
                (None, Some(_)) => "digest",
                (Some(_), Some(_)) => "tag and digest",
            })
        }
        Err(error) => {
            let message = error.to_string();
            assert_calm(&message);
            assert!(message.starts_with("image reference \""), "{message}");
            Outcome::refused(match error.fault() {
                Fault::Digest(error) => class(error),
                fault => class(fault),
            })
        }
    }
}

/// The name of a variant, without what is in it.
fn class(fault: &impl std::fmt::Debug) -> String {
    let text = format!("{fault:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn accepted(text: &str, reference: &Reference) {
    assert_eq!(reference.to_string(), text, "what was read is written back unchanged");
    assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(reference), "and read the same again");
    assert!(reference.registry().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{reference:?}");
    assert!(!reference.repository().is_empty() && reference.repository().len() <= 255, "{reference:?}");
    assert!(reference.repository().split('/').all(|part| !part.is_empty() && part != ".." && part != "."), "{reference:?}");
    assert_eq!(reference.open_tag().is_none(), reference.digest().is_some(), "a digest leaves nothing open");

    let digest = Digest::from_sha256([7; 32]);
    let pinned = Reference::parse(&reference.pinned(&digest)).expect("what is pinned can be read");
    assert_eq!((pinned.registry(), pinned.repository()), (reference.registry(), reference.repository()));
    assert_eq!((pinned.tag(), pinned.digest()), (None, Some(&digest)));
    assert_eq!(pinned.pinned(&digest), pinned.to_string(), "pinning twice is pinning once");

    // The canonical spelling names the same thing: what the registry is asked for is what was written.
    let canonical = format!("{}/{}", reference.registry(), reference.repository());
    let again = Reference::parse(&canonical).expect("the canonical name can be read");
    assert_eq!((again.registry(), again.repository()), (reference.registry(), reference.repository()));
}

fn digest(text: &str) {
    match Digest::parse(text) {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => assert_calm(&error.to_string()),
    }
}
