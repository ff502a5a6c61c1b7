//! The status of a Release as somebody else may have left it: read, believed as far as it goes, and never a reason to fall over.

use bascule_crds::ReleaseStatus;

use super::release::plain_spec;
use crate::{outcome::Outcome, walk::Walk};

const MOMENTS: usize = 12;

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    // So that a seed can speak of the revision that the spec has.
    let mut walk = Walk::new(plain_spec("v1"));
    walk.run();
    let text = String::from_utf8_lossy(data).replace("$REVISION", &walk.candidate_revision());
    let status: ReleaseStatus = match serde_json::from_str(&text) {
        Ok(status) => status,
        Err(error) => return Outcome::unreadable(&error),
    };
    let text = serde_json::to_string(&status).expect("a status can be written");
    assert_eq!(serde_json::from_str::<ReleaseStatus>(&text).ok().as_ref(), Some(&status), "{text}");

    walk.release.status = status;
    walk.live(MOMENTS);
    let reason = walk.reason();
    if walk.is_settled() { Outcome::accepted(reason) } else { Outcome::refused(reason) }
}
