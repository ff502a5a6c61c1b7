//! What an expression has looked at: the answer to "why is it false?".
//!
//! In: a program, its text, an answer. Out: one line, as in "`status` is 503, `json.state` is "degraded"". Never here: a verdict.

use super::evaluate::Evaluation;
use super::program::{Step, Term};
use super::values::Values;
use crate::place::line;

/// Told facts; who looks at more has to look for themselves.
const MOST: usize = 5;

pub(super) fn told(text: &str, term: &Term, values: &Values) -> String {
    let mut looked = Vec::new();
    gather(term, &mut looked);
    let mut facts: Vec<String> = Vec::new();
    let mut evaluation = Evaluation::new(values);
    for each in looked {
        let name = each.span.shown(text);
        let fact = match evaluation.term(each) {
            Ok(value) => format!("`{name}` is {}", value.shown()),
            Err(fault) => format!("`{name}`: {}", line(&fault.message)),
        };
        if !facts.contains(&fact) {
            facts.push(fact);
        }
        if facts.len() == MOST {
            break;
        }
    }
    facts.join(", ")
}

/// The longest ways from a variable along constants: `json.checks['db'][0]`.
fn gather<'a>(term: &'a Term, looked: &mut Vec<&'a Term>) {
    if is_path(term) {
        looked.push(term);
        return;
    }
    let below: Vec<&Term> = match &term.step {
        Step::Constant(_) | Step::Variable(_) | Step::Local(_) => Vec::new(),
        Step::Select(of, _) | Step::Has(of, _) | Step::Matches(of, _) | Step::Not(of) | Step::Negate(of) => vec![of],
        Step::Index(one, other) | Step::Binary(_, one, other) => vec![one, other],
        Step::Call(_, terms) | Step::List(terms) | Step::And(terms) | Step::Or(terms) => terms.iter().collect(),
        Step::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        Step::Choose(condition, yes, no) => vec![condition, yes, no],
        Step::Each { of, filter, body, .. } => {
            [Some(of), filter.as_ref(), Some(body)].into_iter().flatten().map(Box::as_ref).collect()
        }
    };
    for each in below {
        gather(each, looked);
    }
}

fn is_path(term: &Term) -> bool {
    match &term.step {
        Step::Variable(_) => true,
        Step::Select(of, _) => is_path(of),
        Step::Index(of, key) => is_path(of) && matches!(key.step, Step::Constant(_)),
        _ => false,
    }
}
