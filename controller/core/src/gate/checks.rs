//! What of a request can be judged before it is sent: so that a mistake is said when it is written, and in the same words as by whoever
//! sends it. There is one parser for both.
//!
//! In: texts, with what their names stand for. Out: what they are, or one sentence. Never here: where a request may go, which only
//! shows when it is sent.

use bascule_crds::Gate;
use http::{HeaderName, HeaderValue};
use url::Url;

/// They say how a message is carried, and are not for its author.
const NOT_FOR_GATES: [&str; 9] =
    ["connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// The first mistake, with the path of its field. `text` fills in what names stand for; where it cannot, somebody else has said why.
pub fn request(gate: &Gate, path: &str, text: impl Fn(&str) -> Option<String>) -> Option<String> {
    let headers = gate.http.iter().flat_map(|http| &http.headers).filter_map(|(name, value)| {
        let why = header(name, &text(value)?).err()?;
        Some(format!("{path}.http.headers[{name}]: {why}"))
    });
    let urls = gate.webhook.iter().filter_map(|webhook| {
        let why = url(&text(&webhook.url)?).err()?;
        Some(format!("{path}.webhook.url: {why}"))
    });
    headers.chain(urls).next()
}

/// A header that a gate may send. Its value is shown nowhere: it may be a token.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let unfit = || format!("the header {name:?} cannot be sent");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
    if NOT_FOR_GATES.contains(&name.as_str()) {
        return Err(format!("the header {name} is not for a gate to set"));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A URL that a request can be sent to.
pub fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| format!("the URL cannot be used: {why}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL has a user name in it: credentials belong into a Secret".to_owned());
    }
    if !url.has_host() {
        return Err("the URL has no host".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(gate: &Value) -> Option<String> {
        let gate: Gate = serde_json::from_value(gate.clone()).unwrap();
        let text = |text: &str| (!text.contains("unknown")).then(|| text.replace("$(vars.token)", "a\nb"));
        request(&gate, "spec.gates.beforeSwitch[smoke]", text)
    }

    fn with_headers(headers: &Value) -> Option<String> {
        said(&json!({"name": "smoke", "http": {"service": "web", "headers": headers}}))
    }

    fn with_url(url: &str) -> Option<String> {
        said(&json!({"name": "smoke", "webhook": {"url": url}}))
    }

    #[test]
    fn headers_that_cannot_be_sent_are_said_with_their_field_and_without_their_value() {
        assert_eq!(
            with_headers(&json!({"X-Team": "shop", "authorization": "Bearer $(vars.other)", "x-empty": "", "x-ä": "ä"}))
                .as_deref(),
            Some("spec.gates.beforeSwitch[smoke].http.headers[x-ä]: the header \"x-ä\" cannot be sent")
        );
        assert_eq!(with_headers(&json!({"X-Team": "ä\tb", "host": "shop.example.com"})), None);
        for (name, value, why) in [
            ("x y", "1", "the header \"x y\" cannot be sent"),
            ("", "1", "the header \"\" cannot be sent"),
            ("x", "secret\r\nhost: a", "the header \"x\" cannot be sent"),
            ("x", "$(vars.token)", "the header \"x\" cannot be sent"),
            ("Content-Length", "1", "the header content-length is not for a gate to set"),
            ("Transfer-Encoding", "chunked", "the header transfer-encoding is not for a gate to set"),
        ] {
            let path = format!("spec.gates.beforeSwitch[smoke].http.headers[{name}]");
            assert_eq!(with_headers(&json!({name: value})), Some(format!("{path}: {why}")));
        }
    }

    #[test]
    fn a_url_that_nothing_can_be_sent_to_is_said_with_its_field() {
        for good in [
            "https://judge.example.org/gate",
            "http://judge:8080/a?b=$(release.revision)#c",
            "https://[fd00::1]:8443/",
            "https://$(release.track).example.org",
        ] {
            assert_eq!(with_url(good), None, "{good}");
        }
        for (bad, why) in [
            ("ftp://judge.example.org", "the URL is neither http nor https"),
            ("judge.example.org/gate", "the URL cannot be used: relative URL without a base"),
            ("https://", "the URL cannot be used: empty host"),
            ("https://judge:99999/", "the URL cannot be used: invalid port number"),
            ("https://user@judge/", "the URL has a user name in it: credentials belong into a Secret"),
            ("https://:word@judge/", "the URL has a user name in it: credentials belong into a Secret"),
            ("https://a b/", "the URL cannot be used: invalid international domain name"),
            ("mailto:ada@example.org", "the URL is neither http nor https"),
        ] {
            assert_eq!(with_url(bad), Some(format!("spec.gates.beforeSwitch[smoke].webhook.url: {why}")), "{bad}");
        }
    }

    #[test]
    fn what_has_no_value_is_said_elsewhere() {
        assert_eq!(with_url("nothing $(vars.unknown)"), None);
        assert_eq!(with_headers(&json!({"x": "\n$(vars.unknown)"})), None);
        assert_eq!(said(&json!({"name": "j", "job": {"template": {}}})), None);
    }
}
