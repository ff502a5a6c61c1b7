//! Arithmetic on numbers and durations, which never wraps.
//!
//! In: two values. Out: a third, or why there is none. Never here: texts and lists, whose size has to be weighed.

use super::syntax::Operator;
use super::value::Value;

pub(super) fn arithmetic(operator: Operator, one: &Value, other: &Value) -> Result<Value, String> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => ints(operator, *one, *other).map(Value::Int),
        (Value::Double(left), Value::Double(right)) => match operator {
            Operator::Add => Ok(Value::Double(left + right)),
            Operator::Subtract => Ok(Value::Double(left - right)),
            Operator::Multiply => Ok(Value::Double(left * right)),
            Operator::Divide => Ok(Value::Double(left / right)),
            _ => Err(mismatch(operator, one, other)),
        },
        (Value::Duration(left), Value::Duration(right)) => {
            let sum = match operator {
                Operator::Add => left.checked_add(*right),
                Operator::Subtract => left.checked_sub(*right),
                _ => return Err(mismatch(operator, one, other)),
            };
            sum.map(Value::Duration).ok_or_else(|| "a duration of more than 292 years".to_owned())
        }
        _ => Err(mismatch(operator, one, other)),
    }
}

fn ints(operator: Operator, one: i64, other: i64) -> Result<i64, String> {
    if other == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
        return Err("a division by zero".to_owned());
    }
    let result = match operator {
        Operator::Add => one.checked_add(other),
        Operator::Subtract => one.checked_sub(other),
        Operator::Multiply => one.checked_mul(other),
        Operator::Divide => one.checked_div(other),
        Operator::Remainder => one.checked_rem(other),
        _ => return Err(mismatch(operator, &Value::Int(one), &Value::Int(other))),
    };
    result.ok_or_else(|| "the result needs more than the 64 bits of an int".to_owned())
}

fn mismatch(operator: Operator, one: &Value, other: &Value) -> String {
    format!("`{}` between {} and {}", operator.sign(), one.described(), other.described())
}
