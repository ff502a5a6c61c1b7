//! Patterns of allow-lists: `*` stands for anything but a slash, `**` for anything.

/// Whether one of the patterns fits; without a list everything does.
pub(crate) fn allows(list: Option<&Vec<String>>, text: &str) -> bool {
    list.is_none_or(|patterns| patterns.iter().any(|pattern| fits(pattern, text)))
}

/// In time that grows with the product of the lengths at worst, whatever the pattern is.
fn fits(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    // reached[i]: what was read of the pattern so far fits the first i characters.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match token {
                Token::Char(wanted) => at > 0 && reached[at - 1] && text[at - 1] == wanted,
                Token::Star => reached[at] || (at > 0 && next[at - 1] && text[at - 1] != '/'),
                Token::Stars => reached[at] || (at > 0 && next[at - 1]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    Star,
    Stars,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let stars = rest.len() - rest.trim_start_matches('*').len();
        match stars {
            0 => tokens.push(Token::Char(first)),
            1 => tokens.push(Token::Star),
            _ => tokens.push(Token::Stars),
        }
        rest = &rest[stars.max(first.len_utf8())..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_star_stays_in_its_level() {
        assert!(fits("/shop/*/image", "/shop/web/image"));
        assert!(!fits("/shop/*/image", "/shop/web/v2/image"));
        assert!(fits("/shop/**", "/shop/web/v2/image"));
        assert!(!fits("/shop/**", "/shopping"));
        assert!(fits("1234.dkr.ecr.*/shop/**", "1234.dkr.ecr.us-east-1.amazonaws.com/shop/web"));
        assert!(!fits("1234.dkr.ecr.*/shop/**", "1234.dkr.ecr.evil.com/x/shop/web"));
        assert!(fits("/exact", "/exact") && !fits("/exact", "/exactly"));
    }

    #[test]
    fn an_absent_list_allows_everything_and_an_empty_one_nothing() {
        assert!(allows(None, "/x"));
        assert!(!allows(Some(&Vec::new()), "/x"));
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_and_two_stars(text in "[^*]*") {
            prop_assert!(fits(&text, &text) && fits("**", &text));
        }

        #[test]
        fn any_pattern_is_survived(pattern in ".*", text in ".*") {
            let _ = fits(&pattern, &text);
        }
    }
}
