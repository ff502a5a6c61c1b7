//! The spec of an Operation: any text in its fields is answered once, whatever the Release is doing.

use std::sync::OnceLock;

use bascule_core::OperationView;
use bascule_crds::OperationSpec;

use super::release::plain_spec;
use crate::{outcome::Outcome, walk::Walk};

const MOMENTS: usize = 12;

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let spec: OperationSpec = match serde_json::from_slice(data) {
        Ok(spec) => spec,
        Err(error) => return Outcome::unreadable(&error),
    };
    let mut classes = Vec::new();
    for (name, mut walk) in phases() {
        walk.operations.push(OperationView {
            name: "asked".into(),
            uid: "asked-uid".into(),
            resource_version: "1".into(),
            created: walk.now,
            spec: spec.clone(),
            answered: false,
        });
        walk.live(MOMENTS);
        let [(outcome, message)] = walk.answers.as_slice() else {
            panic!("{name}: answered {} times: {:?}", walk.answers.len(), walk.answers)
        };
        assert!(!message.is_empty(), "{name}: an answer says something");
        classes.push(outcome.clone());
    }
    let class = classes.join(" ");
    if classes.iter().any(|outcome| outcome == "Done") { Outcome::accepted(class) } else { Outcome::refused(class) }
}

type Phases = [(&'static str, Walk); 4];

/// What a Release may be doing when something reaches it.
pub(super) fn phases() -> Phases {
    static PHASES: OnceLock<Phases> = OnceLock::new();
    PHASES.get_or_init(walk_to_each).clone()
}

fn walk_to_each() -> Phases {
    let mut settled = Walk::new(plain_spec("v1"));
    settled.live(MOMENTS);
    assert!(settled.is_settled());

    let mut starting = settled.clone();
    starting.never_ready = true;
    starting.want(plain_spec("v2"));
    starting.run();

    let mut baking = settled.clone();
    baking.want(plain_spec("v2"));
    baking.run();

    let mut rejected = starting.clone();
    rejected.live(MOMENTS);
    assert_eq!(rejected.reason(), "Rejected");
    [("settled", settled), ("starting", starting), ("baking", baking), ("rejected", rejected)]
}
