//! The smallest part of a sequence in which two servers still differ in the same way.
//!
//! In: a sequence, and a way to ask whether one differs. Out: a sequence from which no step, and no field of a body or a query, can be
//! taken without that the difference goes. Never here: performing; each question is asked of the servers anew.

use serde_json::Value;

use crate::sequence::{Sequence, What};

/// Each question costs a run on a real server: what is not small after so many stays as it is.
const QUESTIONS: usize = 150;

pub(crate) async fn smallest(sequence: Sequence, mut differs: impl AsyncFnMut(&Sequence) -> bool) -> Sequence {
    let mut best = sequence;
    let mut left = QUESTIONS;
    let mut ask = async |candidate: &Sequence| {
        left = left.saturating_sub(1);
        left > 0 && differs(candidate).await
    };
    loop {
        let before = size(&best);
        // Steps: halves, then quarters, … down to one.
        let mut chunk = best.steps.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.steps.len() {
                let mut candidate = best.clone();
                candidate.steps.drain(from..(from + chunk).min(best.steps.len()));
                if !candidate.steps.is_empty() && ask(&candidate).await {
                    best = candidate;
                } else {
                    from += chunk;
                }
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
        // Then what the requests carry.
        for place in 0..best.steps.len() {
            let mut skipped = 0;
            while let Some(candidate) = without(&best, place, skipped) {
                if ask(&candidate).await {
                    best = candidate;
                } else {
                    skipped += 1;
                }
            }
        }
        if size(&best) == before {
            return best;
        }
    }
}

fn size(sequence: &Sequence) -> usize {
    sequence.line().len()
}

/// The sequence without the nth thing that one step carries.
fn without(sequence: &Sequence, place: usize, mut nth: usize) -> Option<Sequence> {
    let mut candidate = sequence.clone();
    let What::Ask(ask) = &mut candidate.steps[place].what else { return None };
    if nth < ask.query.len() {
        let key = ask.query.keys().nth(nth)?.clone();
        ask.query.remove(&key);
        return Some(candidate);
    }
    nth -= ask.query.len();
    let body = ask.body.as_mut()?;
    cut(body, &mut nth).then_some(candidate)
}

/// Takes the nth field or item out, counted from the outside to the inside: what is big goes first.
fn cut(value: &mut Value, nth: &mut usize) -> bool {
    let children: Vec<&mut Value> = match value {
        Value::Object(fields) => {
            if *nth < fields.len() {
                let key = fields.keys().nth(*nth).cloned().unwrap_or_default();
                fields.remove(&key);
                return true;
            }
            *nth -= fields.len();
            fields.values_mut().collect()
        }
        Value::Array(items) => {
            if *nth < items.len() {
                items.remove(*nth);
                return true;
            }
            *nth -= items.len();
            items.iter_mut().collect()
        }
        _ => return false,
    };
    children.into_iter().any(|child| cut(child, nth))
}
