//! Names of parameters, as AWS takes them: checked here, so that a typing mistake is told with its field and not by AWS, and one wrong
//! name never spoils an answer about ten.
//!
//! In: a name after its variables were replaced. Out: a [`ParameterName`], or a sentence. Never here: whether it exists.

use std::fmt;

/// AWS counts the ARN in; this is what remains for the name.
const LONGEST: usize = 1011;
const LEVELS: usize = 15;
const LABEL: usize = 100;
/// Of a wrong name so much is shown.
const SHOWN: usize = 120;

/// The name of a parameter, with the version or label that is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterName {
    text: String,
    base: usize,
}

/// A name that AWS would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {shown:?}: {fault}")]
pub struct NameError {
    shown: String,
    fault: &'static str,
}

impl ParameterName {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = |fault| {
            let mut shown: String = text.chars().take(SHOWN).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            NameError { shown, fault }
        };
        let (base, selector) = split(text).map_err(wrong)?;
        let name = base.split_once(":parameter").map_or(base, |(_, name)| name);
        check_name(name).map_err(wrong)?;
        if let Some(selector) = selector {
            check_selector(selector).map_err(wrong)?;
        }
        Ok(Self { text: text.to_owned(), base: base.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without version or label.
    pub fn base(&self) -> &str {
        &self.text[..self.base]
    }

    /// The version or label that is meant, if it is not simply the newest.
    pub fn selector(&self) -> Option<&str> {
        self.text.get(self.base + 1..)
    }

    /// The name without the rest of an ARN, as allow-lists and people know it.
    pub fn short(&self) -> &str {
        self.base().split_once(":parameter").map_or(self.base(), |(_, name)| name)
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Name and selector; the colons of an ARN are its own.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let start = if text.starts_with("arn:") {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let [_, partition, service, region, account, resource] = parts[..] else { return Err("the ARN is not complete") };
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if !partition.starts_with("aws")
            || !word(partition)
            || service != "ssm"
            || !word(region)
            || !digits
            || !resource.starts_with("parameter/")
        {
            return Err("it is not an ARN of a parameter, arn:aws:ssm:<region>:<account>:parameter/<name>");
        }
        text.len() - resource.len()
    } else {
        0
    };
    Ok(match text[start..].find(':') {
        Some(colon) => (&text[..start + colon], Some(&text[start + colon + 1..])),
        None => (text, None),
    })
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > LONGEST {
        return Err("it is longer than 1011 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte)) {
        return Err("it has a character other than letters, digits, \"_\", \".\", \"-\" and \"/\"");
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err("a name with levels begins with \"/\"");
    }
    let levels = name.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>()).unwrap_or_default();
    if levels.len() > LEVELS {
        return Err("it has more than 15 levels");
    }
    if levels.contains(&"") {
        return Err("a level between two \"/\" is empty");
    }
    Ok(())
}

fn check_selector(selector: &str) -> Result<(), &'static str> {
    if selector.is_empty() {
        return Err("the version or label is missing after \":\"");
    }
    if selector.len() > LABEL {
        return Err("the label is longer than 100 characters");
    }
    if !selector.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Err("the version or label has a character other than letters, digits, \"_\", \".\" and \"-\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> (String, Option<String>, String) {
        let name = ParameterName::parse(text).unwrap();
        (name.base().to_owned(), name.selector().map(str::to_owned), name.short().to_owned())
    }

    #[test]
    fn names_versions_labels_and_arns_are_read() {
        assert_eq!(parts("/shop/web/image"), ("/shop/web/image".into(), None, "/shop/web/image".into()));
        assert_eq!(parts("image"), ("image".into(), None, "image".into()));
        assert_eq!(parts("/shop/web:3"), ("/shop/web".into(), Some("3".into()), "/shop/web".into()));
        assert_eq!(parts("/shop/web:live"), ("/shop/web".into(), Some("live".into()), "/shop/web".into()));
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/shop/web";
        assert_eq!(parts(&format!("{arn}:7")), (arn.into(), Some("7".into()), "/shop/web".into()));
    }

    #[test]
    fn what_aws_would_refuse_is_told() {
        let wrong = |text: &str| ParameterName::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("shop/web"), "parameter \"shop/web\": a name with levels begins with \"/\"");
        assert_eq!(wrong("/shop//web"), "parameter \"/shop//web\": a level between two \"/\" is empty");
        assert_eq!(wrong("/shop/web:"), "parameter \"/shop/web:\": the version or label is missing after \":\"");
        assert_eq!(
            wrong("/a b"),
            "parameter \"/a b\": it has a character other than letters, digits, \"_\", \".\", \"-\" and \"/\""
        );
        assert_eq!(wrong(""), "parameter \"\": it is empty");
        assert!(
            wrong("arn:aws:s3:::bucket").ends_with("the ARN is not complete")
                || wrong("arn:aws:s3:::bucket").contains("not an ARN of a parameter")
        );
        assert!(wrong(&"x".repeat(2000)).ends_with("it is longer than 1011 characters"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            if let Ok(name) = ParameterName::parse(&text) {
                prop_assert_eq!(name.as_str(), text);
                prop_assert!(!name.short().is_empty());
            }
        }
    }
}
