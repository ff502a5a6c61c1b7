//! From one input to the next: bytes that are flipped, cut, doubled and spliced, words that matter here, JSON that is broken inside.
//!
//! In: inputs and a [`Chance`]. Out: another input, never longer than [`LONGEST`]. Never here: what an input means.

mod json;
mod words;

use serde_json::Value;

use crate::chance::Chance;

/// Long enough for every limit of the grammars, short enough for thousands of inputs a second.
pub const LONGEST: usize = 64 * 1024;

/// Another input that comes from `from`; `other` is what it may be spliced with.
pub fn mutate(from: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let parsed = (!chance.one_in(8)).then(|| serde_json::from_slice(from).ok()).flatten();
    let mut next = from.to_vec();
    // Text that happens to be a number or `null` is text.
    if let Some(value @ (Value::Object(_) | Value::Array(_))) = parsed {
        next = json::mutate(value, serde_json::from_slice(other).ok().as_ref(), chance);
        if chance.one_in(30) {
            break_bytes(&mut next, other, chance);
        }
    } else {
        for _ in 0..=chance.below(4) {
            break_bytes(&mut next, other, chance);
        }
    }
    next.truncate(LONGEST);
    next
}

/// One change.
fn break_bytes(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(9) {
        0 => flip(bytes, at, chance),
        1 => bytes.insert(at, u8::try_from(chance.below(256)).unwrap_or_default()),
        2 => cut(bytes, at, chance),
        3 => double(bytes, at, chance),
        4 => splice(bytes, at, other, chance),
        5 | 6 => insert(bytes, at, chance.pick(words::WORDS).as_bytes()),
        7 => insert(bytes, at, chance.pick(words::CHARACTERS).as_bytes()),
        _ => replace(bytes, at, chance),
    }
}

fn flip(bytes: &mut [u8], at: usize, chance: &mut Chance) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << chance.below(8);
    }
}

fn cut(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let end = at + chance.below(bytes.len() - at + 1);
    bytes.drain(at..end);
}

/// Repeats a piece, sometimes very often: limits of length are found by nothing else.
fn double(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let end = (at + 1 + chance.below(16)).min(bytes.len());
    let piece = bytes[at..end].to_vec();
    let times = *chance.pick(&[1, 1, 1, 2, 16, 64, 300]);
    insert(bytes, end, &piece.repeat(times));
}

fn splice(bytes: &mut Vec<u8>, at: usize, other: &[u8], chance: &mut Chance) {
    let from = chance.below(other.len() + 1);
    let to = from + chance.below(other.len() - from + 1);
    if chance.one_in(2) {
        bytes.truncate(at);
    }
    insert(bytes, at, &other[from..to]);
}

/// Another byte that the grammars know.
fn replace(bytes: &mut [u8], at: usize, chance: &mut Chance) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = *chance.pick(b"azAZ09._-/:@[]$()+%{}\"\\ \n\0\x7f\xff");
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let make = || {
            let mut chance = Chance::new(7);
            (0..200).map(|_| mutate(br#"{"a": ["x", 1]}"#, br#"{"b": null}"#, &mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn nothing_becomes_endless() {
        let mut chance = Chance::new(1);
        let mut bytes = b"r/web:v1".to_vec();
        for _ in 0..2_000 {
            bytes = mutate(&bytes, b"other", &mut chance);
            assert!(bytes.len() <= LONGEST);
        }
    }
}
