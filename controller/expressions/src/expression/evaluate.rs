//! From a program and what was answered to a value, within a number of steps.
//!
//! In: a program, an answer. Out: a value, or what went wrong and where. Never here: text of the expression, types that were
//! checked before.
//!
//! Every node costs a step each time it is evaluated, and texts and lists cost more the longer they are. So the work is bounded
//! whatever is written and whatever is answered. Recursion is as deep as the tree (40), or as a value (128 of JSON and one for each
//! macro in a chain).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::MAX_STEPS;
use super::convert::{int_to_double, to_bool, to_double, to_duration, to_int, to_string};
use super::functions::Function;
use super::operators::arithmetic;
use super::program::{Step, Term, Variable};
use super::syntax::{Macro, Operator};
use super::value::Value;
use super::values::Values;
use crate::nearest::listed;
use crate::place::{Span, shortened};

/// Bytes that are compared or searched for one step.
const BYTES: u64 = 64;
/// Bytes that are kept for one step. So an evaluation holds some 10 MiB at worst, the body as JSON included.
const KEPT: u64 = 8;
/// What it costs to keep an element of a list, and an entry of a map, which are that much larger.
const ELEMENT: u64 = 4;
const ENTRY: u64 = 64;
/// What the words of an error cost: macros can make many and drop all but one.
const WORDS: u64 = 32;
/// Members that are named where one is missing, and how much of a name.
const NAMED: usize = 6;
const SHOWN: usize = 40;
/// Longest text that an expression can build; a body twice.
const MAX_STRING: usize = 2 * super::MAX_BODY;

/// Why there is no value.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub span: Span,
    pub message: String,
    /// Out of steps: nothing may go on, not even an `||` whose other side is true.
    pub exhausted: bool,
}

/// Boxed: it is rare, and would otherwise widen every frame of the recursion.
type Outcome<T = Value> = Result<T, Box<Fault>>;

pub(super) struct Evaluation<'a> {
    values: &'a Values,
    /// The elements of the macros around, the innermost last.
    locals: Vec<Value>,
    /// The body as JSON, once it was asked for.
    json: Option<Result<Value, String>>,
    left: u64,
}

impl<'a> Evaluation<'a> {
    pub fn new(values: &'a Values) -> Self {
        Self { values, locals: Vec::new(), json: None, left: MAX_STEPS }
    }

    /// Steps that were taken so far.
    pub fn steps(&self) -> u64 {
        MAX_STEPS - self.left
    }

    fn spend(&mut self, span: Span, steps: u64) -> Outcome<()> {
        if let Some(left) = self.left.checked_sub(steps) {
            self.left = left;
            return Ok(());
        }
        self.left = 0;
        let message = format!("more than {MAX_STEPS} steps: fewer macros within each other, or a smaller answer");
        Err(Box::new(Fault { span, message, exhausted: true }))
    }

    /// For so many bytes, at so many for a step.
    fn spend_for(&mut self, span: Span, bytes: usize, each: u64) -> Outcome<()> {
        self.spend(span, u64::try_from(bytes).unwrap_or(u64::MAX) / each)
    }

    /// For a list or map of so many, to be kept.
    fn spend_keeping(&mut self, span: Span, count: usize, each: u64) -> Outcome<()> {
        self.spend(span, u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1).saturating_mul(each))
    }

    fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Outcome<T> {
        self.spend(span, WORDS)?;
        Err(Box::new(Fault { span, message: message.into(), exhausted: false }))
    }

    /// A result whose error has no place yet.
    fn placed<T>(&mut self, span: Span, result: Result<T, String>) -> Outcome<T> {
        result.or_else(|message| self.fail(span, message))
    }

    pub fn term(&mut self, term: &Term) -> Outcome {
        self.spend(term.span, 1)?;
        match &term.step {
            Step::Constant(value) => Ok(value.clone()),
            Step::Variable(variable) => self.variable(term.span, *variable),
            Step::Local(slot) => Ok(self.locals.get(*slot).cloned().unwrap_or(Value::Null)),
            Step::Select(of, field) => {
                let holder = self.term(of)?;
                self.select(term.span, of, &holder, field)
            }
            Step::Has(of, field) => self.has(of, field),
            Step::Index(of, index) => self.index(term.span, of, index),
            Step::Call(function, arguments) => self.call(term.span, *function, arguments),
            Step::Matches(of, pattern) => {
                let text = self.text(of)?;
                self.spend(term.span, pattern.steps(text.len()))?;
                Ok(Value::Bool(pattern.fits(&text)))
            }
            Step::List(terms) => {
                self.spend_keeping(term.span, terms.len(), ELEMENT)?;
                Ok(Value::List(terms.iter().map(|each| self.term(each)).collect::<Outcome<_>>()?))
            }
            Step::Map(entries) => {
                self.spend_keeping(term.span, entries.len(), ENTRY)?;
                self.map(entries)
            }
            Step::Not(of) => Ok(Value::Bool(!self.truth(of)?)),
            Step::Negate(of) => self.negate(of),
            Step::Binary(operator, left, right) => self.binary(term.span, *operator, left, right),
            Step::And(terms) => self.decided(terms, false),
            Step::Or(terms) => self.decided(terms, true),
            Step::Choose(condition, yes, no) => {
                let chosen = if self.truth(condition)? { yes } else { no };
                self.term(chosen)
            }
            Step::Each { kind, of, filter, body } => self.each(*kind, of, filter.as_deref(), body),
        }
    }

    fn variable(&mut self, span: Span, variable: Variable) -> Outcome {
        if variable != Variable::Json {
            let value = self.values.get(variable);
            return self.placed(span, value);
        }
        if self.json.is_none() {
            let size = self.values.body_size();
            self.spend_for(span, size, KEPT)?;
            self.json = Some(self.values.json());
        }
        let json = self.json.clone().unwrap_or(Ok(Value::Null));
        self.placed(span, json)
    }

    pub fn truth(&mut self, term: &Term) -> Outcome<bool> {
        match self.term(term)? {
            Value::Bool(value) => Ok(value),
            other => self.fail(term.span, format!("this is {}, and not true or false", other.described())),
        }
    }

    fn text(&mut self, term: &Term) -> Outcome<Arc<str>> {
        match self.term(term)? {
            Value::String(text) => Ok(text),
            other => self.fail(term.span, format!("this is {}, and not a string", other.described())),
        }
    }

    /// `&&` is decided by a false, `||` by a true; an error counts only if nothing decides.
    fn decided(&mut self, terms: &[Term], by: bool) -> Outcome {
        let mut fault = None;
        for term in terms {
            match self.truth(term) {
                Ok(value) if value == by => return Ok(Value::Bool(by)),
                Ok(_) => {}
                Err(found) if found.exhausted => return Err(found),
                Err(found) => {
                    fault.get_or_insert(found);
                }
            }
        }
        fault.map_or(Ok(Value::Bool(!by)), Err)
    }

    fn select(&mut self, span: Span, of: &Term, holder: &Value, field: &str) -> Outcome {
        let message = match holder {
            Value::Map(entries) => match entries.get(field) {
                Some(value) => return Ok(value.clone()),
                None if matches!(of.step, Step::Variable(Variable::Headers)) => {
                    format!("the answer has no header `{}`", shortened(field, SHOWN))
                }
                None => format!("there is no `{}`, {}", shortened(field, SHOWN), others(entries)),
            },
            _ => format!("there is no `{}` in {}", shortened(field, SHOWN), holder.described()),
        };
        self.fail(span, message)
    }

    fn has(&mut self, of: &Term, field: &str) -> Outcome {
        match self.term(of)? {
            Value::Map(entries) => Ok(Value::Bool(entries.contains_key(field))),
            Value::List(_) => self.fail(of.span, "this is a list, and has no members"),
            // As in cel-go: null, numbers and strings have no members, which is no error.
            _ => Ok(Value::Bool(false)),
        }
    }

    fn index(&mut self, span: Span, of: &Term, index: &Term) -> Outcome {
        let holder = self.term(of)?;
        let key = self.term(index)?;
        match (&holder, &key) {
            (Value::List(elements), Value::Int(_) | Value::Double(_)) => {
                let at = match key {
                    Value::Int(at) => usize::try_from(at).ok(),
                    // Numbers in JSON are doubles; whole ones are good for this.
                    Value::Double(at) if at.fract() == 0.0 => to_int(&Value::Double(at))
                        .ok()
                        .and_then(|at| if let Value::Int(at) = at { usize::try_from(at).ok() } else { None }),
                    _ => None,
                };
                match at.and_then(|at| elements.get(at)) {
                    Some(value) => Ok(value.clone()),
                    None => self.fail(span, format!("there is no element {} in a list of {}", key.shown(), elements.len())),
                }
            }
            (_, Value::String(name)) => self.select(span, of, &holder, name),
            _ => self.fail(span, format!("there is no element {} in {}", key.shown(), holder.described())),
        }
    }

    fn map(&mut self, entries: &[(Term, Term)]) -> Outcome {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let name = self.text(key)?;
            let value = self.term(value)?;
            self.spend_for(key.span, name.len(), BYTES)?;
            if map.insert(name, value).is_some() {
                return self.fail(key.span, "this key was there before");
            }
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn negate(&mut self, of: &Term) -> Outcome {
        match self.term(of)? {
            Value::Int(value) => match value.checked_neg() {
                Some(value) => Ok(Value::Int(value)),
                None => self.fail(of.span, "the result needs more than the 64 bits of an int"),
            },
            Value::Double(value) => Ok(Value::Double(-value)),
            other => self.fail(of.span, format!("`-` needs a number, and this is {}", other.described())),
        }
    }

    fn binary(&mut self, span: Span, operator: Operator, left: &Term, right: &Term) -> Outcome {
        let one = self.term(left)?;
        let other = self.term(right)?;
        let value = match operator {
            Operator::Equal => self.equal(span, &one, &other)?,
            Operator::Unequal => !self.equal(span, &one, &other)?,
            Operator::In => return self.within(span, &one, &other),
            Operator::Less => self.order(span, operator, &one, &other)?.is_lt(),
            Operator::LessOrEqual => self.order(span, operator, &one, &other)?.is_le(),
            Operator::Greater => self.order(span, operator, &one, &other)?.is_gt(),
            Operator::GreaterOrEqual => self.order(span, operator, &one, &other)?.is_ge(),
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                return self.arithmetic(span, operator, &one, &other);
            }
        };
        Ok(Value::Bool(value))
    }

    fn arithmetic(&mut self, span: Span, operator: Operator, one: &Value, other: &Value) -> Outcome {
        match (operator, one, other) {
            (Operator::Add, Value::String(before), Value::String(behind)) => {
                let size = before.len() + behind.len();
                self.spend_for(span, size, KEPT)?;
                if size > MAX_STRING {
                    return self.fail(span, format!("a text of {size} bytes, and {MAX_STRING} is the most"));
                }
                Ok(Value::String(format!("{before}{behind}").into()))
            }
            (Operator::Add, Value::List(before), Value::List(behind)) => {
                self.spend_keeping(span, before.len() + behind.len(), ELEMENT)?;
                Ok(Value::List(before.iter().chain(behind.iter()).cloned().collect()))
            }
            _ => {
                let result = arithmetic(operator, one, other);
                self.placed(span, result)
            }
        }
    }

    fn order(&mut self, span: Span, operator: Operator, one: &Value, other: &Value) -> Outcome<Ordering> {
        let numbers =
            |one: f64, other: f64| one.partial_cmp(&other).ok_or("NaN is neither less nor greater than any number (0/0?)");
        let ordering = match (one, other) {
            (Value::Int(one), Value::Int(other)) | (Value::Duration(one), Value::Duration(other)) => Ok(one.cmp(other)),
            (Value::Double(one), Value::Double(other)) => numbers(*one, *other),
            (Value::Int(one), Value::Double(other)) => numbers(int_to_double(*one), *other),
            (Value::Double(one), Value::Int(other)) => numbers(*one, int_to_double(*other)),
            (Value::String(one), Value::String(other)) => {
                self.spend_for(span, one.len().min(other.len()), BYTES)?;
                Ok(one.cmp(other))
            }
            (Value::Bool(one), Value::Bool(other)) => Ok(one.cmp(other)),
            _ => {
                let message = format!("`{}` between {} and {}", operator.sign(), one.described(), other.described());
                return self.fail(span, message);
            }
        };
        self.placed(span, ordering.map_err(str::to_owned))
    }

    /// Values of different sorts are not equal, except numbers; that is no error.
    fn equal(&mut self, span: Span, one: &Value, other: &Value) -> Outcome<bool> {
        self.spend(span, 1)?;
        #[expect(clippy::float_cmp, reason = "this is what `==` between doubles means")]
        Ok(match (one, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Int(one), Value::Int(other)) | (Value::Duration(one), Value::Duration(other)) => one == other,
            (Value::Double(one), Value::Double(other)) => one == other,
            (Value::Int(int), Value::Double(double)) | (Value::Double(double), Value::Int(int)) => int_to_double(*int) == *double,
            (Value::String(one), Value::String(other)) => {
                self.spend_for(span, one.len().min(other.len()), BYTES)?;
                one == other
            }
            (Value::List(one), Value::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other.iter()) {
                    if !self.equal(span, one, other)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(one), Value::Map(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                // Both are in the order of their keys.
                for ((name, one), (key, other)) in one.iter().zip(other.iter()) {
                    self.spend_for(span, name.len().min(key.len()), BYTES)?;
                    if name != key || !self.equal(span, one, other)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => false,
        })
    }

    fn within(&mut self, span: Span, one: &Value, holder: &Value) -> Outcome {
        match (one, holder) {
            (_, Value::List(elements)) => {
                for element in elements.iter() {
                    if self.equal(span, one, element)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            (Value::String(name), Value::Map(entries)) => Ok(Value::Bool(entries.contains_key(name))),
            (_, Value::Map(_)) => Ok(Value::Bool(false)),
            _ => self.fail(span, format!("`in` needs a list or a map, and this is {}", holder.described())),
        }
    }

    fn call(&mut self, span: Span, function: Function, arguments: &[Term]) -> Outcome {
        let mut values = Vec::with_capacity(arguments.len());
        for each in arguments {
            let value = self.term(each)?;
            // All of them read a text once at most.
            if let Value::String(text) = &value {
                self.spend_for(span, text.len(), BYTES)?;
            }
            values.push(value);
        }
        let result = match (function, values.as_slice()) {
            (Function::Dyn, [value]) => Ok(value.clone()),
            (Function::Size, [value]) => size(value),
            (Function::Int, [value]) => to_int(value),
            (Function::Double, [value]) => to_double(value),
            (Function::String, [value]) => to_string(value),
            (Function::Bool, [value]) => to_bool(value),
            (Function::Duration, [value]) => to_duration(value),
            (Function::Hours, [Value::Duration(nanos)]) => Ok(Value::Int(nanos / 3_600_000_000_000)),
            (Function::Minutes, [Value::Duration(nanos)]) => Ok(Value::Int(nanos / 60_000_000_000)),
            (Function::Seconds, [Value::Duration(nanos)]) => Ok(Value::Int(nanos / 1_000_000_000)),
            (Function::Milliseconds, [Value::Duration(nanos)]) => Ok(Value::Int(nanos / 1_000_000)),
            (Function::Contains, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
            (Function::StartsWith, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
            (Function::EndsWith, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
            (_, values) => {
                let found: Vec<String> = values.iter().map(Value::described).collect();
                Err(format!("the function does not take {}", found.join(" and ")))
            }
        };
        self.placed(span, result)
    }

    fn each(&mut self, kind: Macro, of: &Term, filter: Option<&Term>, body: &Term) -> Outcome {
        let elements: Arc<[Value]> = match self.term(of)? {
            Value::List(elements) => elements,
            Value::Map(entries) => {
                self.spend_keeping(of.span, entries.len(), ELEMENT)?;
                entries.keys().cloned().map(Value::String).collect()
            }
            other => return self.fail(of.span, format!("this is {}, and has no elements", other.described())),
        };
        let mut round = Round { found: Vec::new(), count: 0, fault: None };
        for element in elements.iter() {
            self.locals.push(element.clone());
            let ended = self.round(kind, element, filter, body, &mut round);
            self.locals.pop();
            if let Some(value) = ended? {
                return Ok(value);
            }
        }
        match (kind, round.fault) {
            (_, Some(fault)) => Err(fault),
            (Macro::All, None) => Ok(Value::Bool(true)),
            (Macro::Exists, None) => Ok(Value::Bool(false)),
            (Macro::ExistsOne, None) => Ok(Value::Bool(round.count == 1)),
            (Macro::Map | Macro::Filter, None) => Ok(Value::List(round.found.into())),
        }
    }

    /// One element; a value if it decides for all of them.
    fn round(
        &mut self,
        kind: Macro,
        element: &Value,
        filter: Option<&Term>,
        body: &Term,
        round: &mut Round,
    ) -> Outcome<Option<Value>> {
        match kind {
            Macro::All | Macro::Exists => match self.truth(body) {
                Ok(value) if value == (kind == Macro::Exists) => return Ok(Some(Value::Bool(value))),
                Ok(_) => {}
                Err(fault) if fault.exhausted => return Err(fault),
                // A later element may decide, whatever is wrong with this one.
                Err(fault) => {
                    round.fault.get_or_insert(fault);
                }
            },
            Macro::ExistsOne => round.count += usize::from(self.truth(body)?),
            Macro::Filter => {
                if self.truth(body)? {
                    self.spend(body.span, ELEMENT)?;
                    round.found.push(element.clone());
                }
            }
            Macro::Map => {
                if filter.map_or(Ok(true), |filter| self.truth(filter))? {
                    let value = self.term(body)?;
                    self.spend(body.span, ELEMENT)?;
                    round.found.push(value);
                }
            }
        }
        Ok(None)
    }
}

/// What a macro has gathered so far.
struct Round {
    found: Vec<Value>,
    count: usize,
    fault: Option<Box<Fault>>,
}

fn size(value: &Value) -> Result<Value, String> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::List(elements) => elements.len(),
        Value::Map(entries) => entries.len(),
        _ => return Err(format!("{} has no size", value.described())),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

/// What is there instead.
fn others(entries: &BTreeMap<Arc<str>, Value>) -> String {
    let names: Vec<String> = entries.keys().take(NAMED).map(|key| shortened(key, SHOWN)).collect();
    let names = names.iter().map(String::as_str);
    match entries.len().checked_sub(NAMED) {
        _ if entries.is_empty() => "the object is empty".to_owned(),
        None | Some(0) => format!("only {}", listed(names)),
        Some(more) => format!("only {}, and {more} more", names.map(|each| format!("`{each}`")).collect::<Vec<_>>().join(", ")),
    }
}
