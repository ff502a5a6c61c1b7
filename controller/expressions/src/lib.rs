//! What users write in gates of a Release: conditions in CEL ([`Expression`]) and queries in PromQL ([`check_query`]).
//!
//! In: texts of users; later what an endpoint or a Prometheus has answered ([`Values`]). Out: true or false, or one line
//! that says what is wrong and where. Never here: a network, a clock, randomness, a panic, work without a bound.
//!
//! # The language
//!
//! CEL as <https://cel.dev> defines it, checked against cel-go: literals, `.` and `[]`, arithmetic, comparison, `in`, `&&`,
//! `||`, `!`, `?:`, `has()`, `size`, `contains`, `startsWith`, `endsWith`, `matches`, `int`, `double`, `string`, `bool`,
//! `duration`, `dyn`, `getHours` to `getMilliseconds`, and the macros `all`, `exists`, `exists_one`, `map` and `filter`. Without:
//! unsigned numbers, bytes, timestamps, types as values, messages. What a gate does not have is refused by name.
//!
//! Types are checked when the text is written: `status == "200"` is refused then, instead of being false for ever. Two
//! decisions deserve to be known:
//!
//! - A number in JSON is always a double, as CEL has it. So `json.errors / json.total < 0.01` is never a division of
//!   integers, which would pass 50 of 100. Beside it `1.0` is written, not `1`; comparing with `1` works everywhere.
//! - An int can be compared with a double by `==` also where both types are known (`value == 0`); cel-go asks for
//!   `dyn(value) == 0` there. The result is the same.
//!
//! In patterns of `matches` `\d`, `\w`, `\s` and `\b` are those of ASCII, as in RE2. A pattern is a literal: it is compiled and
//! refused when it is written.
//!
//! # Bounds
//!
//! Text, nesting, body, number of samples and size of patterns have limits; [`Expression::evaluate`] counts its steps, weighs
//! long strings, and gives up after [`MAX_STEPS`].

mod expression;
mod nearest;
mod place;
mod query;
mod re2;

pub use expression::{
    Body, EvaluationError, Expression, ExpressionError, Headers, Kind, MAX_BODY, MAX_DEPTH, MAX_SAMPLES, MAX_STEPS, MAX_TEXT,
    Sample, Values,
};
pub use place::Place;
pub use query::{MAX_QUERY, QueryError, check_query};
