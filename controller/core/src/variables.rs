//! `$(root.name)` in the strings of a template.
//!
//! In: JSON and a table of names. Out: JSON with the names replaced, or the path of the field that names something unknown.
//! `$(VAR)` without a dot is Kubernetes' own and stays; so does `$$(…)`, its way to escape.

use std::collections::BTreeMap;

use serde_json::Value;

/// The roots that are ours. Anything else with a dot is left alone.
const ROOTS: [&str; 4] = ["env", "vars", "artifacts", "release"];
/// Of a name that does not exist so much is shown: it is the user's own text and may be of any length.
const SHOWN: usize = 80;
/// So many of the names that do exist: sixteen artifacts make more than fifty.
const KNOWN_SHOWN: usize = 6;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Text(String),
    /// Known, but not yet or not here; the sentence says why.
    Missing(String),
}

/// `root.name` to meaning.
pub(crate) type Variables = BTreeMap<String, Meaning>;

/// A string names something that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct VariableError {
    pub path: String,
    pub message: String,
}

/// Replaces every variable in every string below `value`, keys of maps included in no case.
pub(crate) fn substitute(value: &Value, path: &str, variables: &Variables) -> Result<Value, VariableError> {
    Ok(match value {
        Value::String(text) => Value::String(substitute_text(text, path, variables)?),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| substitute(item, &format!("{path}[{index}]"), variables))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, item)| Ok((key.clone(), substitute(item, &format!("{path}.{}", shown(key)), variables)?)))
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

pub(crate) fn substitute_text(text: &str, path: &str, variables: &Variables) -> Result<String, VariableError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push_str("$$");
            rest = after;
            continue;
        }
        match rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            Some((name, after)) if is_ours(name) => {
                out.push_str(&lookup(name, path, variables)?);
                rest = after;
            }
            _ => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_ours(name: &str) -> bool {
    name.split_once('.').is_some_and(|(root, _)| ROOTS.contains(&root))
}

fn lookup(name: &str, path: &str, variables: &Variables) -> Result<String, VariableError> {
    let wrong = |message: String| VariableError { path: path.to_owned(), message };
    match variables.get(name) {
        Some(Meaning::Text(text)) => Ok(text.clone()),
        Some(Meaning::Missing(why)) => Err(wrong(format!("$({name}) {why}"))),
        None => Err(wrong(format!("there is no $({}); known are {}", shown(name), alternatives(name, variables)))),
    }
}

/// The name as a message may repeat it: on one line, without what a terminal obeys, and not at any length.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Those of the same root first: one of them is probably meant.
fn alternatives(name: &str, variables: &Variables) -> String {
    let root = |name: &str| name.split_once('.').map(|(root, _)| root.to_owned());
    let (near, far): (Vec<_>, Vec<_>) = variables.keys().partition(|known| root(known) == root(name));
    let mut named: Vec<_> = near.into_iter().chain(far).map(|known| format!("$({known})")).collect();
    let more = named.len().saturating_sub(KNOWN_SHOWN);
    named.truncate(KNOWN_SHOWN);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn table() -> Variables {
        [
            ("env.name".to_owned(), Meaning::Text("staging".to_owned())),
            ("artifacts.web.image".to_owned(), Meaning::Text("r/web@sha256:1".to_owned())),
            ("artifacts.web.tag".to_owned(), Meaning::Missing("has no tag".to_owned())),
        ]
        .into()
    }

    #[test]
    fn names_are_replaced_in_any_string() {
        let template = json!({"spec": {"containers": [{"image": "$(artifacts.web.image)", "args": ["--env=$(env.name)", "$(env.name)-$(env.name)"]}], "n": 3}});
        let expected =
            json!({"spec": {"containers": [{"image": "r/web@sha256:1", "args": ["--env=staging", "staging-staging"]}], "n": 3}});
        assert_eq!(substitute(&template, "t", &table()).unwrap(), expected);
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        for text in ["$(HOME)", "$$(env.name)", "${env.name}", "{{ .Values.x }}", "$(other.name)", "$(env.name", "$", "$$$(HOME)"]
        {
            assert_eq!(substitute(&json!(text), "t", &table()).unwrap(), json!(text));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_path() {
        let error = substitute(
            &json!({"spec": {"containers": [{"image": "$(artifacts.wbe.image)"}]}}),
            "spec.workloads[0].template",
            &table(),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("spec.workloads[0].template.spec.containers[0].image: there is no $(artifacts.wbe.image)"),
            "{error}"
        );
        assert!(error.contains("$(artifacts.web.image)"), "{error}");
    }

    #[test]
    fn a_name_without_a_value_says_why() {
        let error = substitute(&json!("$(artifacts.web.tag)"), "p", &table()).unwrap_err();
        assert_eq!(error.to_string(), "p: $(artifacts.web.tag) has no tag");
    }

    #[test]
    fn a_long_list_of_names_is_cut_and_begins_with_the_likely_ones() {
        let many: Variables = (10..30).map(|n| (format!("artifacts.a{n}.image"), Meaning::Text(String::new()))).collect();
        let variables = many.into_iter().chain(table()).collect();
        let error = substitute(&json!("$(env.nmae)"), "p", &variables).unwrap_err();
        assert_eq!(
            error.message,
            "there is no $(env.nmae); known are $(env.name), $(artifacts.a10.image), $(artifacts.a11.image), $(artifacts.a12.image), \
             $(artifacts.a13.image), $(artifacts.a14.image), and 17 more"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = substitute(&json!(text), "p", &table());
        }

        #[test]
        fn text_without_a_dollar_never_changes(text in "[^$]*") {
            prop_assert_eq!(substitute(&json!(text), "p", &table()).unwrap(), json!(text));
        }
    }
}
