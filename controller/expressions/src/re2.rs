//! Regular expressions as RE2 has them, in CEL as in PromQL, for a library that reads some of it in another way.
//!
//! In: a pattern of a user. Out: the same for the library, or what RE2 certainly refuses. Never here: a search.

/// In the grammar of this library. In RE2 `\d`, `\w`, `\s` and `\b` mean ASCII, here all of Unicode, where they are large
/// besides; and there a brace that begins no repetition is itself (`/items/{id}`).
pub(crate) fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() * 2);
    let mut characters = pattern.chars();
    while let Some(each) = characters.next() {
        if each == '{' && !begins_repetition(characters.as_str()) {
            text.push_str("\\{");
            continue;
        }
        if each != '\\' {
            text.push(each);
            continue;
        }
        // Brackets within brackets are a union.
        match characters.next() {
            Some('d') => text.push_str("[0-9]"),
            Some('D') => text.push_str("[^0-9]"),
            Some('w') => text.push_str("[0-9A-Za-z_]"),
            Some('W') => text.push_str("[^0-9A-Za-z_]"),
            Some('s') => text.push_str("[\\t\\n\\f\\r ]"),
            Some('S') => text.push_str("[^\\t\\n\\f\\r ]"),
            Some('b') => text.push_str("(?-u:\\b)"),
            Some(letter @ ('p' | 'P' | 'x')) => {
                text.extend(['\\', letter]);
                // Here a brace is part of the escape.
                if characters.as_str().starts_with('{') {
                    text.extend(characters.by_ref().take_while(|each| *each != '}'));
                    text.push('}');
                }
            }
            other => {
                text.push('\\');
                text.extend(other);
            }
        }
    }
    text
}

/// `3}`, `3,}` or `3,5}`
fn begins_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.chars().all(|each| each.is_ascii_digit());
    !least.is_empty() && number(least) && number(most)
}

/// What the last thing in a pattern was.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// The beginning of the whole, of a group, of an alternative.
    Nothing,
    Atom,
    Repeated,
    /// Repeated as seldom as possible.
    Lazy,
}

/// RE2 counts no further.
const MOST_REPETITIONS: u32 = 1000;

/// Refuses what RE2 certainly refuses, and lets everything else pass: of a pattern that somebody else compiles.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    let mut rest = pattern;
    let mut last = Last::Nothing;
    let mut groups: usize = 0;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        (last, rest) = match first {
            '\\' => (Last::Atom, after_escape(behind)?),
            '[' => (Last::Atom, after_class(behind)?),
            '(' => {
                groups += 1;
                (Last::Nothing, after_flags(behind))
            }
            ')' => {
                groups = groups.checked_sub(1).ok_or("a `)` that closes nothing")?;
                (Last::Atom, behind)
            }
            '|' => (Last::Nothing, behind),
            '*' | '+' | '?' => (repeated(last, first)?, behind),
            '{' if begins_repetition(behind) => {
                let (inside, behind) = behind.split_once('}').unwrap_or((behind, ""));
                let counts =
                    inside.split(',').filter(|count| !count.is_empty()).map(|count| count.parse::<u32>().unwrap_or(u32::MAX));
                let counts: Vec<u32> = counts.collect();
                if counts.iter().any(|count| *count > MOST_REPETITIONS) || counts.windows(2).any(|pair| pair[0] > pair[1]) {
                    return Err(format!("`{{{inside}}}` repeats more than {MOST_REPETITIONS} times, or backwards"));
                }
                (repeated(last, first)?, behind)
            }
            _ => (Last::Atom, behind),
        };
    }
    if groups > 0 { Err("a `(` that nothing closes".to_owned()) } else { Ok(()) }
}

fn repeated(last: Last, sign: char) -> Result<Last, String> {
    match (last, sign) {
        (Last::Nothing, _) => Err(format!("nothing before `{sign}` to repeat")),
        (Last::Atom, _) => Ok(Last::Repeated),
        (Last::Repeated, '?') => Ok(Last::Lazy),
        (Last::Repeated | Last::Lazy, _) => Err(format!("`{sign}` repeats what is repeated already")),
    }
}

fn after_escape(rest: &str) -> Result<&str, String> {
    let Some(escaped) = rest.chars().next() else { return Err("a backslash at the very end".to_owned()) };
    // Everything up to `\E` is itself.
    if escaped == 'Q' {
        return Ok(rest.split_once("\\E").map_or("", |(_, behind)| behind));
    }
    Ok(&rest[escaped.len_utf8()..])
}

/// Behind the bracket that closes a class, whose opening one is behind us.
fn after_class(rest: &str) -> Result<&str, String> {
    let mut rest = rest.strip_prefix('^').unwrap_or(rest);
    rest = rest.strip_prefix(']').unwrap_or(rest);
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            ']' => return Ok(behind),
            '\\' => after_escape(behind)?,
            '[' if behind.starts_with(':') => behind.split_once(":]").map_or(behind, |(_, behind)| behind),
            _ => behind,
        };
    }
    Err("a `[` that nothing closes".to_owned())
}

/// Behind the flags or the name of a group.
fn after_flags(rest: &str) -> &str {
    if !rest.starts_with('?') {
        return rest;
    }
    match rest.find([':', '>', ')']) {
        Some(end) if rest[end..].starts_with(')') => &rest[end..],
        Some(end) => &rest[end + 1..],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in ["(a", "a)", "[a", "[]", "*a", "a|*b", "(+)", "a**", "a*+", "a*??", "a{2}{3}", "a\\", "a{1001}", "a{3,2}"]
        {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_re2_accepts_is_accepted() {
        let accepted = [
            "",
            ".*",
            "5..",
            "a|",
            "(?i)ok",
            "(?P<name>a+)?",
            "(?:a)*",
            "[]a]",
            "[^]]",
            "[[:alpha:]]+",
            "[a[b]",
            "\\(",
            "/items/{id}",
            "a{2,}?",
            "a{,3}",
            "\\Q(*\\E",
            "^$",
            "()",
            "(?s).",
            "a*?",
            "\\d+\\.\\d+",
        ];
        for pattern in accepted {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
