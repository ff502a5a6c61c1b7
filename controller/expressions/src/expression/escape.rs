//! Escapes in strings: `\n`, `\x41`, `\u00e9`.
//!
//! In: what stands behind a backslash. Out: one character and how long its escape was, or what is wrong with it. Never here: the
//! string around it.

/// The character, and how many bytes behind the backslash stand for it.
pub(super) fn read(rest: &str) -> Result<(char, usize), String> {
    let Some(first) = rest.chars().next() else { return Err("a backslash at the very end".to_owned()) };
    let simple = match first {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '?' | '"' | '\'' | '`' => first,
        'x' | 'X' => return coded(rest, 1, 2, 16),
        'u' => return coded(rest, 1, 4, 16),
        'U' => return coded(rest, 1, 8, 16),
        '0'..='3' => return coded(rest, 0, 3, 8),
        // Nearly always a pattern.
        'd' | 'w' | 's' | 'D' | 'W' | 'S' | 'B' | '.' | '/' | '(' | ')' | '[' | ']' | '{' | '}' | '+' | '*' | '^' | '$' | '|'
        | '-' => {
            return Err(format!(
                "`\\{first}` is no escape of a string; in a pattern write `\\\\{first}`, or r'…' for the whole string"
            ));
        }
        _ => return Err(format!("`\\{}` is no escape of a string; a backslash itself is written `\\\\`", first.escape_debug())),
    };
    Ok((simple, first.len_utf8()))
}

/// A character by its number: so many digits behind so many letters.
fn coded(rest: &str, skipped: usize, digits: usize, radix: u32) -> Result<(char, usize), String> {
    let end = skipped + digits;
    let number = rest.get(skipped..end).filter(|digits| digits.chars().all(|each| each.is_digit(radix)));
    let Some(number) = number.and_then(|digits| u32::from_str_radix(digits, radix).ok()) else {
        return Err(format!("an escape that needs {digits} digits{}", if radix == 16 { ", 0-9 and a-f" } else { ", 0-7" }));
    };
    match char::from_u32(number) {
        Some(character) => Ok((character, end)),
        None => Err("an escape for a character that does not exist".to_owned()),
    }
}
