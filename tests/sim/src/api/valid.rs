//! Validation by the schema of a definition, and the rules that the definitions have besides.
//!
//! In: an object of a custom kind. Out: a list of fields with what is wrong in each. Never here: built-in kinds; see `admit.rs`.

use jiff::Timestamp;
use serde_json::Value;

/// A value of a label.
pub(super) fn is_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = text.chars().next().zip(text.chars().last());
    text.len() <= 63
        && text.chars().all(inside)
        && ends.is_none_or(|(a, z)| a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric())
}

/// The patterns that the definitions use; what is not among them fits.
fn matches(pattern: &str, text: &str) -> bool {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name = |first: fn(char) -> bool| {
        let ends = text.chars().next().zip(text.chars().last());
        text.chars().all(|c| part(c) || c == '-') && ends.is_some_and(|(a, z)| first(a) && part(z))
    };
    match pattern {
        "^[a-z]([-a-z0-9]*[a-z0-9])?$" => name(|c| c.is_ascii_lowercase()),
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => name(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
        pattern if pattern.ends_with("ms)?$") => is_duration(text),
        _ => true,
    }
}

/// `1d2h3m4s5ms`, each part at most once and in this order.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    for (unit, digits) in [("d", 2), ("h", 3), ("m", 5), ("s", 6), ("ms", 8)] {
        let count = rest.chars().take_while(char::is_ascii_digit).count();
        let after = &rest[count..];
        let here = after.strip_prefix(unit).filter(|after| unit != "m" || !after.starts_with('s'));
        if let Some(after) = here.filter(|_| (1..=digits).contains(&count)) {
            rest = after;
        }
    }
    rest.is_empty()
}

/// What the definition of a Release says in CEL.
pub(super) fn rules_of_release(object: &Value, faults: &mut Vec<(String, String)>) {
    if object["metadata"]["name"].as_str().is_some_and(|name| name.len() > 63) {
        faults.push((String::new(), "Invalid value: the name of a Release has at most 63 characters: it becomes a label".into()));
    }
    let all = |workloads: &Vec<Value>| workloads.iter().all(|workload| workload["replicas"].is_number());
    if object["spec"]["replicas"].is_number() && object["spec"]["workloads"].as_array().is_some_and(all) {
        let message = "Invalid value: spec.replicas drives the workloads that have no replicas of their own: remove replicas from at least one of spec.workloads";
        faults.push(("spec".into(), message.into()));
    }
}

/// Types, required fields, enumerations, lengths, bounds, patterns and names; rules in CEL are below, by hand.
pub(super) fn check(value: &Value, schema: &Value, path: &str, faults: &mut Vec<(String, String)>) {
    let mut fault = |message: String| faults.push((path.trim_start_matches('.').to_owned(), message));
    let expected = schema["type"].as_str().unwrap_or_default();
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !fits {
        fault(format!("Invalid value: {path} must be of type {expected}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        fault(format!("Unsupported value: {value}"));
    }
    let bound = |name: &str| schema[name].as_f64();
    if let Some(number) = value.as_f64()
        && (bound("minimum").is_some_and(|minimum| number < minimum) || bound("maximum").is_some_and(|maximum| number > maximum))
    {
        fault(format!("Invalid value: {value}: out of bounds"));
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count();
        let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, text)) {
            fault(format!("Invalid value: {text:?}: should match '{}'", schema["pattern"].as_str().unwrap_or_default()));
        }
        if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
            fault(format!("Invalid value: {text:?}: must be of type date-time"));
        }
        if limit("maxLength").is_some_and(|limit| length > limit) || limit("minLength").is_some_and(|limit| length < limit) {
            fault(format!("Invalid value: {text:?}: length"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            faults.push((format!("{path}.{name}").trim_start_matches('.').to_owned(), "Required value".into()));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(value, property, &format!("{path}.{name}"), faults);
        }
    }
    if let Some(items) = value.as_array() {
        let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if limit("maxItems").is_some_and(|limit| items.len() > limit)
            || limit("minItems").is_some_and(|limit| items.len() < limit)
        {
            faults.push((path.trim_start_matches('.').to_owned(), format!("Invalid value: {} items", items.len())));
        }
        if schema["x-kubernetes-list-type"] == "map" {
            let keys: Vec<&str> =
                schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let named = |item: &Value| keys.iter().map(|key| item[*key].clone()).collect::<Vec<_>>();
            for (index, item) in items.iter().enumerate() {
                if items[..index].iter().any(|other| named(other) == named(item)) {
                    faults.push((format!("{path}[{index}]").trim_start_matches('.').to_owned(), "Duplicate value".into()));
                }
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{path}[{index}]"), faults);
    }
}
