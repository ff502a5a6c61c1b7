//! docs/security.md, whose YAML is applied as it stands there.
//!
//! In: what a block is about. Out: that block; a policy of it in one namespace of the bed, under a name of its own.

use bascule_tests::{Stage, bed::root};

/// The first block of docs/security.md that holds `text`.
pub(crate) fn block(text: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/security.md")).expect("read docs/security.md");
    let mut blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.find(|block| block.contains(text)).unwrap_or_else(|| panic!("docs/security.md has no block with {text}")).to_owned()
}

/// Applies the policy of this name, for the namespace of `stage` only. Gives the name that it has here.
pub(crate) fn policy(stage: &Stage, name: &str) -> String {
    let own = format!("{name}-{}", stage.namespace);
    let mut text = block(&format!("kind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}")).replace(name, &own);
    text = text.replace(
        "validationActions: [Deny]",
        &format!("validationActions: [Deny]\n  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}}}", stage.namespace),
    );
    let (applied, said) = stage.bed.kubectl(&["apply", "-f", "-"], Some(&text));
    assert!(applied, "{said}\n{text}");
    own
}

pub(crate) fn without(stage: &Stage, policy: &str) {
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let (gone, text) = stage.bed.kubectl(&["delete", kinds, policy, "--wait=false"], None);
    assert!(gone, "{text}");
}
