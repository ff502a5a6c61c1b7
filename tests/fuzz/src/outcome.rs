//! What became of an input, and what a message to a person must be like.
//!
//! In: a verdict and a message. Out: a class that can be counted, and a panic when the message would not help who is paged.

use serde_json::Value;

/// What became of an input. The class is one of a few words, never text of the input, so that it can be counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Accepted(String),
    Refused(String),
}

impl Outcome {
    pub fn accepted(class: impl Into<String>) -> Self {
        Self::Accepted(class.into())
    }

    pub fn refused(class: impl Into<String>) -> Self {
        Self::Refused(class.into())
    }

    /// JSON that is no JSON, or not of the right shape.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        Self::refused(if error.is_data() { "wrong type" } else { "not JSON" })
    }
}

/// The longest that a message may be. Nearly all fit into an Event (1,024); the beginning of a text of nothing but escapes does not.
pub const LONGEST_MESSAGE: usize = 2_000;

/// One calm sentence: one line that a terminal survives, not a page long, no shouting, and no punctuation at its end, since it is
/// shown in a column and joined with others.
///
/// # Panics
/// When it is not.
pub fn assert_calm(message: &str) {
    assert!(!message.trim().is_empty(), "the message is empty");
    let shown: String = message.chars().take(200).collect();
    assert!(message.chars().all(|c| !c.is_control()), "the message has a line break or a control character: {shown:?}");
    let length = message.chars().count();
    assert!(length <= LONGEST_MESSAGE, "the message has {length} characters: {shown:?}…");
    assert!(!message.ends_with(['.', '!', ' ', ':', ',']), "the message does not end like the others: {message:?}");
}

/// The message begins with the path of a field that exists in `root`, followed by `: `. Gives the field.
///
/// # Panics
/// When it does not.
pub fn assert_names_a_field<'a>(message: &str, name: &str, root: &'a Value) -> &'a Value {
    let found = message.strip_prefix(name).and_then(|rest| field(rest, root));
    found.unwrap_or_else(|| panic!("the message names no field of {name}: {:?}", message.chars().take(300).collect::<String>()))
}

/// A key as a path shows it: on one line, and not at any length.
fn as_shown(key: &str) -> String {
    let more = if key.chars().nth(80).is_some() { "…" } else { "" };
    format!("{}{more}", key.chars().take(80).flat_map(char::escape_debug).collect::<String>())
}

/// Keys may have dots, brackets and colons in them, so every way to read the path is tried.
fn field<'a>(rest: &str, value: &'a Value) -> Option<&'a Value> {
    if rest.starts_with(": ") {
        return Some(value);
    }
    match value {
        Value::Object(fields) => {
            let dotted = rest.strip_prefix('.').into_iter().flat_map(|rest| {
                fields.iter().filter_map(move |(key, below)| Some((rest.strip_prefix(as_shown(key).as_str())?, below)))
            });
            let bracketed = rest.strip_prefix('[').into_iter().flat_map(|rest| {
                fields
                    .iter()
                    .filter_map(move |(key, below)| Some((rest.strip_prefix(as_shown(key).as_str())?.strip_prefix(']')?, below)))
            });
            dotted.chain(bracketed).find_map(|(rest, below)| field(rest, below))
        }
        Value::Array(items) => {
            let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
            // By number, or by the name that makes the entry unique.
            let by_name = || items.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(index));
            let item = index.parse::<usize>().ok().and_then(|index| items.get(index)).or_else(by_name)?;
            field(rest, item)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_found_by_number_by_name_and_through_keys_with_dots() {
        let root = json!({"workloads": [{"name": "web", "template": {"a.b/c": "x"}}]});
        for path in [".workloads[0].template.a.b/c", ".workloads[web].template.a.b/c", ".workloads[0].template[a.b/c]"] {
            assert_eq!(assert_names_a_field(&format!("spec{path}: wrong"), "spec", &root), "x");
        }
    }

    #[test]
    #[should_panic(expected = "names no field")]
    fn a_path_to_nowhere_is_noticed() {
        assert_names_a_field("spec.workloads[1]: wrong", "spec", &json!({"workloads": []}));
    }

    #[test]
    #[should_panic(expected = "line break")]
    fn a_second_line_is_noticed() {
        assert_calm("spec: one\ntwo");
    }
}
