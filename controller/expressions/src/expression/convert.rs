//! Conversions: `int()`, `double()`, `string()`, `bool()`, `duration()`, as cel-go does them.
//!
//! In: a value. Out: another one, or why not. Never here: a limit on what is converted; the evaluation weighs texts.

use super::duration;
use super::value::Value;

type Converted = Result<Value, String>;

pub(super) fn to_int(value: &Value) -> Converted {
    /// 2^63, and the first double that is none of the ints.
    const END: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Int(_) => Ok(value.clone()),
        // Both ends are left out, as in cel-go, which asks for a safe distance.
        #[expect(clippy::cast_possible_truncation, reason = "it is within the range, and the fraction is to be cut off")]
        Value::Double(number) if *number > -END && *number < END => Ok(Value::Int(*number as i64)),
        Value::Double(_) => Err(format!("{} is no int", value.shown())),
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => Err(format!("{} is no int", value.shown())),
        },
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        _ => Err(format!("no int can be made of {}", value.described())),
    }
}

pub(super) fn to_double(value: &Value) -> Converted {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(number) => Ok(Value::Double(int_to_double(*number))),
        // The grammar of Rust, which differs from Go's in that it has neither hexadecimal nor `_`.
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() || !text.contains(|each: char| each.is_ascii_digit()) => Ok(Value::Double(number)),
            _ => Err(format!("{} is no double", value.shown())),
        },
        _ => Err(format!("no double can be made of {}", value.described())),
    }
}

pub(super) fn to_string(value: &Value) -> Converted {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Duration(_) => Ok(Value::string(&value.shown())),
        _ => Err(format!("no string can be made of {}", value.described())),
    }
}

pub(super) fn to_bool(value: &Value) -> Converted {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("{} is neither true nor false", value.shown())),
        },
        _ => Err(format!("no bool can be made of {}", value.described())),
    }
}

pub(super) fn to_duration(value: &Value) -> Converted {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => match duration::from_text(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => Err(format!("{} is no duration; it is written like '1m30s' or '500ms'", value.shown())),
        },
        _ => Err(format!("no duration can be made of {}", value.described())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "above 2^53 the nearest double is meant, as in CEL")]
pub(super) fn int_to_double(number: i64) -> f64 {
    number as f64
}

/// The shortest digits that read back, with an exponent below 1e-4 and from 1e21 on. CEL leaves the form open; cel-go has an
/// exponent from 1e6 on, which nobody expects of `string(json.build)`.
pub(super) fn double_to_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_without_an_exponent_as_long_as_people_do() {
        let written = [
            (1.0, "1"),
            (0.0, "0"),
            (-0.5, "-0.5"),
            (1_500_000.0, "1500000"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e21, "1e+21"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (number, text) in written {
            assert_eq!(double_to_text(number), text);
        }
    }
}
