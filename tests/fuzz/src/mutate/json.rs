//! JSON that stays JSON but not of the shape that was meant: one place is chosen, and something wrong is put there.
//!
//! In: a document, sometimes another one to take pieces from. Out: its text.

use serde_json::{Map, Value, json};

use super::words::{CHARACTERS, WORDS};
use crate::chance::Chance;

/// Deeper than any manifest, and around the limit of the reader (128).
const DEPTHS: [usize; 6] = [3, 40, 110, 125, 130, 400];

pub(super) fn mutate(mut value: Value, other: Option<&Value>, chance: &mut Chance) -> Vec<u8> {
    let mut deep = None;
    for _ in 0..=chance.below(3) {
        let place = chance.below(count(&value));
        let Some(node) = nth(&mut value, place) else { continue };
        match chance.below(12) {
            0..3 => *node = wrong(chance),
            3 => {
                // Written as text: a tree of such a depth would cost the stack of whoever drops it.
                let mark = format!("deep-{}", chance.number());
                *node = json!(mark);
                deep = Some((mark, *chance.pick(&DEPTHS)));
            }
            4 => remove(node, chance),
            5 => rename(node, chance),
            6 => {
                if let Some(other) = other {
                    *node = piece(other, chance);
                }
            }
            7 => *node = if chance.one_in(2) { json!([node.take()]) } else { json!({ *chance.pick(WORDS): node.take() }) },
            8 => double(node, chance),
            _ => edit(node, chance),
        }
    }
    let text = value.to_string();
    let text = match deep {
        None => text,
        Some((mark, depth)) => {
            let (open, close) = if chance.one_in(2) { ("[", "]") } else { (r#"{"a":"#, "}") };
            text.replace(&format!("\"{mark}\""), &format!("{}0{}", open.repeat(depth), close.repeat(depth)))
        }
    };
    text.into_bytes()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The node with this number, counted from the top.
fn nth(value: &mut Value, mut place: usize) -> Option<&mut Value> {
    if place == 0 {
        return Some(value);
    }
    place -= 1;
    let below: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => return None,
    };
    for child in below {
        let size = count(child);
        if place < size {
            return nth(child, place);
        }
        place -= size;
    }
    None
}

fn wrong(chance: &mut Chance) -> Value {
    match chance.below(19) {
        0 => Value::Null,
        1 => json!(chance.one_in(2)),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(i32::MAX),
        5 => json!(i64::from(i32::MAX) + 1),
        6 => json!(i64::MIN),
        7 => json!(u64::MAX),
        8 => json!(1.5),
        9 => json!(1e300),
        10 => json!(""),
        11 => json!([]),
        12 => json!({}),
        13 => json!("x".repeat(*chance.pick(&[41, 63, 64, 253, 254, 1_025, 5_000]))),
        14 => json!(chance.pick(CHARACTERS)),
        15 => json!(vec!["a"; *chance.pick(&[2, 17, 300])]),
        16 => json!(chance.pick(&[
            "9999-12-30T22:00:00Z",
            "-009999-01-02T01:59:59Z",
            "2026-01-05T10:00:00Z",
            "2026-02-30T00:00:00Z"
        ])),
        _ => json!(chance.pick(WORDS)),
    }
}

fn remove(node: &mut Value, chance: &mut Chance) {
    match node {
        Value::Array(items) if !items.is_empty() => {
            items.remove(chance.below(items.len()));
        }
        Value::Object(fields) => {
            if let Some(key) = key(fields, chance) {
                fields.remove(&key);
            }
        }
        _ => *node = Value::Null,
    }
}

fn rename(node: &mut Value, chance: &mut Chance) {
    if let Value::Object(fields) = node
        && let Some(key) = key(fields, chance)
        && let Some(value) = fields.remove(&key)
    {
        let name = if chance.one_in(2) { insert(&key, chance) } else { (*chance.pick(WORDS)).to_owned() };
        fields.insert(name, value);
    }
}

fn key(fields: &Map<String, Value>, chance: &mut Chance) -> Option<String> {
    fields.keys().nth(chance.below(fields.len())).cloned()
}

fn piece(other: &Value, chance: &mut Chance) -> Value {
    let mut copy = other.clone();
    let place = chance.below(count(&copy));
    nth(&mut copy, place).map(Value::take).unwrap_or_default()
}

/// The same entry twice: what should be unique is not.
fn double(node: &mut Value, chance: &mut Chance) {
    match node {
        Value::Array(items) if !items.is_empty() => {
            let again = items[chance.below(items.len())].clone();
            items.push(again);
        }
        Value::String(text) => *text = text.repeat(*chance.pick(&[2, 3, 40])),
        _ => edit(node, chance),
    }
}

/// Changes a value within its type.
fn edit(node: &mut Value, chance: &mut Chance) {
    *node = match &*node {
        Value::String(text) => json!(insert(text, chance)),
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            json!(match chance.below(5) {
                0 => number.wrapping_neg(),
                1 => number.wrapping_add(1),
                2 => number.wrapping_sub(1),
                3 => number.wrapping_mul(1_000_003),
                _ => i64::from(i32::MAX),
            })
        }
        Value::Bool(value) => json!(!value),
        _ => wrong(chance),
    };
}

/// A word or a strange character somewhere in a text, or a piece of it away.
fn insert(text: &str, chance: &mut Chance) -> String {
    let at = text.char_indices().nth(chance.below(text.chars().count())).map_or(0, |(at, _)| at);
    let (head, tail) = text.split_at(at);
    match chance.below(4) {
        0 => format!("{head}{}", tail.chars().skip(1 + chance.below(6)).collect::<String>()),
        1 => format!("{head}{}{tail}", chance.pick(CHARACTERS)),
        2 => (*chance.pick(WORDS)).to_owned(),
        _ => format!("{head}{}{tail}", chance.pick(WORDS)),
    }
}
