//! JSON merge patch and JSON patch.

use serde_json::{Map, Value};

pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Err: which operation did not fit.
pub(super) fn json(target: &mut Value, patch: &Value) -> Result<(), String> {
    for operation in patch.as_array().into_iter().flatten() {
        let text = |field: &str| operation[field].as_str().unwrap_or_default();
        let (kind, path) = (text("op"), text("path"));
        let failed = || format!("the server rejected our request due to an error in our request: {kind} {path}");
        match kind {
            "test" => {
                if target.pointer(path) != operation.get("value") {
                    return Err(format!("testing value {path} failed"));
                }
            }
            "add" | "replace" => {
                if kind == "replace" && target.pointer(path).is_none() {
                    return Err(failed());
                }
                set(target, path, operation["value"].clone()).ok_or_else(failed)?;
            }
            "remove" => remove(target, path).ok_or_else(failed)?,
            _ => return Err(failed()),
        }
    }
    Ok(())
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((target.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn set(target: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<()> {
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(map) => map.remove(&last).map(|_| ()),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|index| *index < items.len())?;
            items.remove(index);
            Some(())
        }
        _ => None,
    }
}
