//! What a registry demands of those who ask: the `WWW-Authenticate` headers of a 401.
//!
//! In: header values. Out: the challenges in them that Bascule can meet. Never here: credentials, HTTP.

/// A way to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token that another server gives out.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// All challenges that are understood, in their order; others, and what is garbled, are left out.
pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    headers.into_iter().flat_map(parse_header).collect()
}

fn parse_header(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for item in split_items(header) {
        // `scheme`, `scheme key=value` or, for the challenge that is already begun, `key=value`.
        let (scheme, parameter) = match item.split_once(|c: char| c.is_ascii_whitespace()) {
            Some((scheme, rest)) if !scheme.contains('=') => (Some(scheme), rest.trim()),
            None if !item.contains('=') => (Some(item), ""),
            _ => (None, item),
        };
        if let Some(scheme) = scheme {
            challenges.push((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((key, value)), Some((_, parameters))) = (parameter.split_once('='), challenges.last_mut()) {
            parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    challenges.into_iter().filter_map(|(scheme, parameters)| understand(&scheme, parameters)).collect()
}

fn understand(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let mut parameters: std::collections::BTreeMap<String, String> = parameters.into_iter().collect();
    let mut take = |key| parameters.remove(key).filter(|value| !value.is_empty());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: take("realm")?, service: take("service"), scope: take("scope") }),
        _ => None,
    }
}

/// Splits at the commas that are not inside quotes.
fn split_items(header: &str) -> Vec<&str> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in header.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&header[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&header[start..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else { return value.to_owned() };
    let mut text = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let table = [
            (r#"Basic realm="Registry""#, vec![Challenge::Basic]),
            ("Basic", vec![Challenge::Basic]),
            ("basic realm=x", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/nginx:pull,push"),
                )],
            ),
            (r#"bearer  Realm = "https://a/t" , Service=x"#, vec![bearer("https://a/t", Some("x"), None)]),
            (r#"Bearer realm="https://a/t", Basic realm="b""#, vec![bearer("https://a/t", None, None), Challenge::Basic]),
            (r#"Negotiate, Basic realm="a \"b\", c""#, vec![Challenge::Basic]),
            (r#"Bearer realm="a\"b""#, vec![bearer("a\"b", None, None)]),
            (r#"Bearer realm="https://a/t",error="invalid_token""#, vec![bearer("https://a/t", None, None)]),
            // A token server that is not named cannot be asked.
            (r#"Bearer service="x""#, vec![]),
            (r#"Digest realm="x", nonce="y""#, vec![]),
            ("", vec![]),
            (",,= ,\"", vec![]),
        ];
        for (header, challenges) in table {
            assert_eq!(parse([header]), challenges, "{header}");
        }
    }

    #[test]
    fn several_headers_are_read_in_their_order() {
        assert_eq!(
            parse(["Basic realm=x", r#"Bearer realm="https://a/t""#]),
            [Challenge::Basic, bearer("https://a/t", None, None)]
        );
    }
}
