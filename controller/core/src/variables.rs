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
/// So much may all names below one value stand for together, in bytes: twenty letters stand for a thousand, and an object of one megabyte would
/// become one of fifty, which nobody takes and which fills the memory of everybody.
const LONGEST: usize = 256 * 1024;

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
    fill(value, path, variables, &mut { LONGEST })
}

pub(crate) fn substitute_text(text: &str, path: &str, variables: &Variables) -> Result<String, VariableError> {
    fill_text(text, path, variables, &mut { LONGEST })
}

/// For a language in which texts stand between quotes: what an artifact is called does not end them, since whoever pushes it chooses that. What the
/// platform team says may be a whole part of a query.
pub(crate) fn quoted(variables: &Variables) -> Variables {
    let escaped = |text: &str| {
        text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
            match character {
                '\\' => out.push_str(r"\\"),
                '"' => out.push_str(r"\x22"),
                '\'' => out.push_str(r"\x27"),
                '`' => out.push_str(r"\x60"),
                '\n' => out.push_str(r"\n"),
                other => out.push(other),
            }
            out
        })
    };
    let meaning = |name: &str, meaning: &Meaning| match meaning {
        Meaning::Text(text) if name.starts_with("artifacts.") => Meaning::Text(escaped(text)),
        other => other.clone(),
    };
    variables.iter().map(|(name, it)| (name.clone(), meaning(name, it))).collect()
}

fn fill(value: &Value, path: &str, variables: &Variables, room: &mut usize) -> Result<Value, VariableError> {
    Ok(match value {
        Value::String(text) => Value::String(fill_text(text, path, variables, room)?),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| fill(item, &format!("{path}[{index}]"), variables, room))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, item)| Ok((key.clone(), fill(item, &format!("{path}.{}", shown(key)), variables, room)?)))
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

fn fill_text(text: &str, path: &str, variables: &Variables, room: &mut usize) -> Result<String, VariableError> {
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
                let meant = lookup(name, path, variables)?;
                *room = room.checked_sub(meant.len()).ok_or_else(|| too_long(path))?;
                out.push_str(meant);
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

fn too_long(path: &str) -> VariableError {
    let message = format!("what its names stand for is longer than {} KiB in all", LONGEST / 1024);
    VariableError { path: path.to_owned(), message }
}

fn lookup<'a>(name: &str, path: &str, variables: &'a Variables) -> Result<&'a str, VariableError> {
    let wrong = |message: String| VariableError { path: path.to_owned(), message };
    match variables.get(name) {
        Some(Meaning::Text(text)) => Ok(text),
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

    #[test]
    fn what_names_stand_for_has_an_end_over_all_of_a_value() {
        let variables: Variables = [("vars.a".to_owned(), Meaning::Text("x".repeat(1024)))].into();
        let many = |count: usize| json!({"a": ["$(vars.a)".repeat(count)], "b": "$(vars.a)", "own": "x".repeat(LONGEST)});
        assert!(substitute(&many(255), "t", &variables).is_ok(), "what the user wrote himself does not count");
        let error = substitute(&many(256), "t", &variables).unwrap_err().to_string();
        assert_eq!(error, "t.b: what its names stand for is longer than 256 KiB in all");
        assert!(substitute_text(&"$(vars.a)".repeat(257), "t", &variables).is_err());
    }

    #[test]
    fn between_quotes_a_value_stays_between_them() {
        let named = |name: &str, text: &str| (name.to_owned(), Meaning::Text(text.to_owned()));
        let key = named("artifacts.a.key", "a\"}) or vector(1) # \\ ' ` \n");
        let variables: Variables = [key, named("vars.part", r#"code="500""#)].into();
        let query = substitute_text(r#"count(up{$(vars.part),x="$(artifacts.a.key)"})"#, "q", &quoted(&variables)).unwrap();
        assert_eq!(query, r#"count(up{code="500",x="a\x22}) or vector(1) # \\ \x27 \x60 \n"})"#);
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
