//! The spec of a Release, hostile or merely wrong: it is refused in words, or it can be walked to its end.

use bascule_crds::ReleaseSpec;
use serde_json::{Value, json};

use crate::{
    outcome::{Outcome, assert_names_a_field},
    walk::Walk,
};

/// Moments at which the plan looks again: start, switch, bake, scale-down and some spare.
const MOMENTS: usize = 12;

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let spec: ReleaseSpec = match serde_json::from_slice(data) {
        Ok(spec) => spec,
        Err(error) => return Outcome::unreadable(&error),
    };
    // What is read is written and read again unchanged: the cache keeps text.
    let written = serde_json::to_value(&spec).expect("a spec can be written");
    let again: ReleaseSpec = serde_json::from_value(written.clone()).expect("a spec can be read");
    assert_eq!(again, spec);

    let mut walk = Walk::new(spec);
    walk.live(MOMENTS);
    speaks_plainly(&walk, &written);
    let reason = walk.reason();
    if walk.is_settled() {
        // At rest for good: much later there is still nothing to do.
        walk.pass(100_000);
        let version = walk.release.resource_version.clone();
        walk.run();
        assert!(walk.is_settled() && walk.release.resource_version == version, "a settled Release is left alone");
        Outcome::accepted(reason)
    } else {
        Outcome::refused(reason)
    }
}

/// What is wrong in the spec is named by the path of a field that the spec has.
pub(super) fn speaks_plainly(walk: &Walk, spec: &Value) {
    let (reason, message) = (walk.reason(), walk.message());
    if reason == "SpecInvalid" {
        let field = assert_names_a_field(&message, "spec", spec);
        // A text that is wrong, or an object in which something is missing.
        assert!(field.is_string() || (field.is_object() && message.contains(": it has neither")), "{message}");
    }
}

/// A spec that is fine, with this pod template.
pub(super) fn spec_with(template: &Value, artifacts: &Value) -> Value {
    json!({
        "artifacts": artifacts,
        "workloads": [{"name": "web", "replicas": 2, "template": template}],
        "services": [{"name": "web"}],
        "strategy": {"progressDeadline": "60s", "bake": "30s", "scaleDownDelay": "30s"},
    })
}

/// A spec that is fine, of this version.
pub(super) fn plain_spec(tag: &str) -> ReleaseSpec {
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "$(artifacts.web.image)"}]},
    });
    let artifacts = json!([{"name": "web", "image": {"ref": format!("r/web:{tag}"), "resolve": "Never"}}]);
    serde_json::from_value(spec_with(&template, &artifacts)).expect("a spec that is fine")
}
