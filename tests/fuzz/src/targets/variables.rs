//! `$(…)` in the strings of a pod template: replaced, left alone, or refused with the path of the string.
//!
//! What must come out is worked out a second time here, in another way than the code under test does it: one walk over the characters,
//! all names known at once.

use bascule_crds::{ReleaseSpec, names};
use serde_json::{Value, json};

use super::release::{speaks_plainly, spec_with};
use crate::{outcome::Outcome, walk::Walk};

const ROOTS: [&str; 4] = ["env.", "vars.", "artifacts.", "release."];

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let template = match serde_json::from_slice::<Value>(data) {
        Ok(template @ Value::Object(_)) => template,
        Ok(_) | Err(_) => json!({"spec": {"containers": [{"name": "web", "args": [String::from_utf8_lossy(data)]}]}}),
    };
    let artifacts = json!([
        {"name": "web", "image": {"ref": "r/web:v1", "resolve": "Never"}},
        {"name": "site", "image": {"ref": "r/site", "resolve": "Never"}},
    ]);
    let value = spec_with(&template, &artifacts);
    let spec: ReleaseSpec = serde_json::from_value(value.clone()).expect("any template is taken");
    let mut walk = Walk::new(spec);
    walk.run();
    speaks_plainly(&walk, &value);

    let revision =
        walk.asked.first().and_then(|body| body["metadata"]["labels"][names::REVISION].as_str()).unwrap_or_default().to_owned();
    match expand(&template, &revision) {
        Err(name) => {
            assert_eq!(walk.reason(), "SpecInvalid", "$({name}) is known to nobody");
            assert!(walk.asked.is_empty(), "nothing is started with a name that is known to nobody");
            Outcome::refused("unknown name")
        }
        Ok(expected) => {
            let body = walk.asked.first().expect("the server is asked about a template that is fine");
            let found = &body["spec"]["template"];
            assert_eq!(found["spec"], expected["spec"]);
            let changed = expected != template;
            Outcome::accepted(if changed { "replaced" } else { "unchanged" })
        }
    }
}

fn expand(value: &Value, revision: &str) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(expand_text(text, revision)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| expand(item, revision)).collect::<Result<_, _>>()?),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(key, item)| Ok((key.clone(), expand(item, revision)?))).collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

/// Character by character; `$$` is Kubernetes' way to write a dollar and stays as it is.
fn expand_text(text: &str, revision: &str) -> Result<String, String> {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1);
        if character == '$' && next == Some(&'$') {
            out.push_str("$$");
            at += 2;
            continue;
        }
        if character == '$' && next == Some(&'(') {
            let name: String = characters[at + 2..].iter().take_while(|&&c| c != ')').collect();
            let closed = at + 2 + name.chars().count() < characters.len();
            if closed && ROOTS.iter().any(|root| name.starts_with(root)) {
                out.push_str(&meaning(&name, revision).ok_or_else(|| name.clone())?);
                at += name.chars().count() + 3;
                continue;
            }
        }
        out.push(character);
        at += 1;
    }
    Ok(out)
}

fn meaning(name: &str, revision: &str) -> Option<String> {
    Some(match name {
        "env.name" => "staging".into(),
        "release.name" => "web".into(),
        "release.namespace" => "shop".into(),
        "release.track" => "blue".into(),
        "release.revision" => revision.to_owned(),
        "artifacts.web.image" => "r/web:v1".into(),
        "artifacts.web.tag" => "v1".into(),
        "artifacts.site.image" => "r/site".into(),
        _ => return None,
    })
}
