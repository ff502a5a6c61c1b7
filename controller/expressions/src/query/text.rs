//! Quoted texts of PromQL, as Go quotes: `"…"`, `'…'` and between backquotes.
//!
//! In: a text that begins with a quote. Out: what it says, and how long it is. Never here: what it is good for.

/// What it says and its length, or where it goes wrong and how.
pub(super) fn read(rest: &str) -> Result<(String, usize), (usize, String)> {
    let mut characters = rest.char_indices();
    let Some((_, quote)) = characters.next() else { return Err((0, "a text is missing".to_owned())) };
    let mut value = String::new();
    while let Some((at, each)) = characters.next() {
        match each {
            _ if each == quote => return Ok((value, at + quote.len_utf8())),
            '\\' if quote != '`' => {
                let (escaped, length) = escape(&rest[at + 1..], quote).map_err(|message| (at, message))?;
                value.push(escaped);
                for _ in 0..length {
                    characters.next();
                }
            }
            '\n' if quote != '`' => break,
            _ => value.push(each),
        }
    }
    Err((0, format!("a text that no {quote} ends")))
}

/// The character, and how many characters behind the backslash stand for it.
fn escape(rest: &str, quote: char) -> Result<(char, usize), String> {
    let Some(first) = rest.chars().next() else { return Err("a backslash at the very end".to_owned()) };
    let simple = match first {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        _ if first == quote => quote,
        'x' => return coded(rest, 1, 2, 16),
        'u' => return coded(rest, 1, 4, 16),
        'U' => return coded(rest, 1, 8, 16),
        '0'..='7' => return coded(rest, 0, 3, 8),
        _ => {
            let first = first.escape_debug();
            return Err(format!("`\\{first}` is no escape; in a pattern write `\\\\{first}`, or put it between backquotes"));
        }
    };
    Ok((simple, 1))
}

fn coded(rest: &str, skipped: usize, digits: usize, radix: u32) -> Result<(char, usize), String> {
    let number = rest.get(skipped..skipped + digits).filter(|digits| digits.chars().all(|each| each.is_digit(radix)));
    match number.and_then(|digits| u32::from_str_radix(digits, radix).ok()) {
        None => Err(format!("an escape that needs {digits} digits")),
        Some(number) if digits < 4 && number > 255 => Err("an escape for more than a byte".to_owned()),
        // Bytes beyond ASCII are parts of characters, which nobody asks for here.
        Some(128..) if digits < 4 => Ok((char::REPLACEMENT_CHARACTER, skipped + digits)),
        Some(number) => match char::from_u32(number) {
            Some(character) => Ok((character, skipped + digits)),
            None => Err("an escape for a character that does not exist".to_owned()),
        },
    }
}
