//! Docker's configuration files, and which of their logins belong to an image.
//!
//! In: the bytes of a `config.json` or a `.dockercfg`. Out: the logins for a repository, the most specific first.
//! Never here: files, Secrets, credential helpers (they would be programs inside the controller's image).
//!
//! The rules are those of the kubelet's keyring, because a pod that the kubelet can pull should be one that Bascule can
//! resolve: an entry matches when its host has as many labels, each equal or matching as a glob, the same port, and a path
//! that the repository *begins with as text* (`host/team` also opens `host/team-b`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::hidden::Hidden;

/// Padded and unpadded both occur in the wild.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A Secret holds at most 1 MiB; no file of logins has a reason to be larger.
pub(super) const LARGEST_CONFIG: usize = 1024 * 1024;

/// Where a login comes from. This is all that is ever said about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    PullSecret(String),
    ControllerFile,
    /// A token of ECR, for whoever the Environment says.
    Aws,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullSecret(name) => write!(f, "pull secret {name:?}"),
            Self::ControllerFile => f.write_str("the controller's credentials file"),
            Self::Aws => f.write_str("a token of ECR"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFormat {
    /// `{"auths": {host: login}}`: `config.json`, Secrets of type `kubernetes.io/dockerconfigjson`.
    Config,
    /// `{host: login}`: `.dockercfg`, Secrets of type `kubernetes.io/dockercfg`.
    Legacy,
}

/// Why a configuration gives no logins. It never quotes the configuration, but for the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("is not the JSON of a docker configuration (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("has an \"auth\" for {host:?} that is not the base64 of user:password")]
    Auth { host: String },
    #[error("leaves its logins to a credential helper, which Bascule does not run")]
    HelpersOnly,
    #[error("is larger than 1 MiB")]
    TooLarge,
}

/// A user with a password, or with whatever a registry takes for one.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) source: Source,
    pub(super) username: Hidden<String>,
    pub(super) password: Hidden<String>,
}

/// The logins of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: Vec<(Pattern, Login)>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<Hidden<String>>,
    #[serde(default)]
    username: Option<Hidden<String>>,
    #[serde(default)]
    password: Option<Hidden<String>>,
}

impl Keyring {
    pub fn parse(format: ConfigFormat, bytes: &[u8], source: &Source) -> Result<Self, ConfigError> {
        if bytes.len() > LARGEST_CONFIG {
            return Err(ConfigError::TooLarge);
        }
        // The words of a JSON error may quote a value; its place cannot.
        let json = |error: serde_json::Error| ConfigError::Json { line: error.line(), column: error.column() };
        let (logins, helped) = match format {
            ConfigFormat::Legacy => (serde_json::from_slice::<BTreeMap<String, Entry>>(bytes).map_err(json)?, false),
            ConfigFormat::Config => {
                let config: Config = serde_json::from_slice(bytes).map_err(json)?;
                (config.auths.unwrap_or_default(), config.store.is_some() || config.helpers.is_some())
            }
        };
        let mut entries = Vec::new();
        for (host, entry) in logins {
            if let Some(login) = entry.login(&host, source)? {
                entries.push((Pattern::parse(&host), login));
            }
        }
        if entries.is_empty() && helped {
            return Err(ConfigError::HelpersOnly);
        }
        entries.sort_by_key(|(pattern, _)| (Reverse(pattern.path.len()), pattern.host.matches(['*', '?']).count()));
        Ok(Self { entries })
    }

    /// The logins for a repository: longest path first, exact hosts before globs.
    pub(super) fn logins(&self, registry: &str, repository: &str) -> impl Iterator<Item = &Login> {
        self.entries.iter().filter(move |(pattern, _)| pattern.matches(registry, repository)).map(|(_, login)| login)
    }
}

impl Entry {
    /// None for an entry without a login, as Docker leaves behind beside a credential helper.
    fn login(self, host: &str, source: &Source) -> Result<Option<Login>, ConfigError> {
        let given = |field: Option<Hidden<String>>| field.filter(|value| !value.reveal().is_empty());
        // As everywhere, `auth` wins over the two fields that it repeats.
        let (username, password) = if let Some(auth) = given(self.auth) {
            let (username, password) = decode(auth.reveal()).ok_or_else(|| ConfigError::Auth { host: host.to_owned() })?;
            (Hidden::new(username), Hidden::new(password))
        } else {
            match (given(self.username), given(self.password)) {
                (Some(username), password) => (username, password.unwrap_or_default()),
                (None, _) => return Ok(None),
            }
        };
        Ok(Some(Login { source: source.clone(), username, password }))
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Old Docker clients padded with zero bytes.
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// `[scheme://]host[:port][/path]`, without its scheme, and without the `/v1/` and `/v2/` of old configurations.
#[derive(Clone, Debug)]
struct Pattern {
    host: String,
    path: String,
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = ["v1", "v2"]
            .iter()
            .find_map(|version| {
                let rest = path.strip_prefix(version)?;
                if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
            })
            .unwrap_or(path);
        let host = host.to_ascii_lowercase();
        let host = match host.as_str() {
            // The names under which Docker Hub has been logged in to over the years.
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            _ => host,
        };
        Self { host, path: path.to_owned() }
    }

    fn matches(&self, registry: &str, repository: &str) -> bool {
        let ((own, own_port), (other, other_port)) = (split_port(&self.host), split_port(registry));
        own_port == other_port
            && own.split('.').count() == other.split('.').count()
            && own.split('.').zip(other.split('.')).all(|(glob, label)| glob_matches(glob.as_bytes(), label.as_bytes()))
            && repository.starts_with(&self.path)
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The colons inside the brackets of an IPv6 address are not those of a port.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// `*` is any number of characters, `?` is one. Linear but for one step back to the last star.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (g, t) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The users whose logins belong to a repository, in order.
    fn users(config: &str, registry: &str, repository: &str) -> Vec<String> {
        let keyring = Keyring::parse(ConfigFormat::Config, config.as_bytes(), &Source::ControllerFile).unwrap();
        keyring.logins(registry, repository).map(|login| login.username.reveal().clone()).collect()
    }

    fn config(hosts: &[&str]) -> String {
        let auths: BTreeMap<_, _> =
            hosts.iter().map(|host| (host, serde_json::json!({"username": host, "password": "p"}))).collect();
        serde_json::json!({ "auths": auths }).to_string()
    }

    fn error(text: &str) -> ConfigError {
        Keyring::parse(ConfigFormat::Config, text.as_bytes(), &Source::ControllerFile).unwrap_err()
    }

    #[test]
    fn a_login_is_read_from_base64_or_from_its_two_fields() {
        let text = r#"{"auths": {
            "a.example": {"auth": "YWRhOnA6dw=="},
            "b.example": {"auth": "YWRhOnA6dw"},
            "c.example": {"username": "ada", "password": "p:w", "email": "x"},
            "d.example": {"auth": "YWRhOnA6dw==", "username": "old", "password": "old"},
            "e.example": {}
        }, "HttpHeaders": {}}"#;
        let keyring = Keyring::parse(ConfigFormat::Config, text.as_bytes(), &Source::ControllerFile).unwrap();
        for host in ["a.example", "b.example", "c.example", "d.example"] {
            let logins: Vec<_> = keyring.logins(host, "shop/web").collect();
            assert_eq!(logins.len(), 1, "{host}");
            assert_eq!((logins[0].username.reveal().as_str(), logins[0].password.reveal().as_str()), ("ada", "p:w"), "{host}");
        }
        assert_eq!(keyring.logins("e.example", "shop/web").count(), 0);
    }

    #[test]
    fn a_legacy_file_is_the_same_without_its_envelope() {
        let text = r#"{"a.example": {"auth": "YWRhOnA6dw=="}}"#;
        let keyring = Keyring::parse(ConfigFormat::Legacy, text.as_bytes(), &Source::PullSecret("old".into())).unwrap();
        assert_eq!(keyring.logins("a.example", "web").count(), 1);
    }

    #[test]
    fn every_name_of_docker_hub_opens_docker_hub() {
        for host in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "https://registry-1.docker.io/v2/",
            "http://docker.io/v1",
        ] {
            assert_eq!(users(&config(&[host]), "docker.io", "library/nginx"), [host]);
        }
        assert!(users(&config(&["https://index.docker.io/v1/"]), "ghcr.io", "library/nginx").is_empty());
    }

    #[test]
    fn the_longest_path_comes_first_and_other_paths_do_not_match() {
        let config = config(&["ghcr.io", "ghcr.io/shop", "https://ghcr.io/shop/web", "ghcr.io/other", "*.io/shop"]);
        assert_eq!(users(&config, "ghcr.io", "shop/web"), ["https://ghcr.io/shop/web", "ghcr.io/shop", "*.io/shop", "ghcr.io"]);
        assert_eq!(users(&config, "ghcr.io", "team/web"), ["ghcr.io"]);
    }

    #[test]
    fn a_path_is_a_prefix_of_the_text_as_in_the_kubelet() {
        assert_eq!(users(&config(&["ghcr.io/shop"]), "ghcr.io", "shop-b/web"), ["ghcr.io/shop"]);
        assert!(users(&config(&["ghcr.io/shop/"]), "ghcr.io", "shop-b/web").is_empty());
    }

    #[test]
    fn globs_match_label_by_label() {
        let config = config(&["*.dkr.ecr.*.amazonaws.com"]);
        assert_eq!(users(&config, "1234.dkr.ecr.us-east-1.amazonaws.com", "web").len(), 1);
        assert!(users(&config, "dkr.ecr.us-east-1.amazonaws.com", "web").is_empty());
        assert!(users(&config, "a.b.dkr.ecr.us-east-1.amazonaws.com", "web").is_empty());
        assert!(users(&config, "1234.dkr.ecr.us-east-1.amazonaws.com.evil.example", "web").is_empty());
    }

    #[test]
    fn hosts_match_in_any_case_and_only_with_the_same_port() {
        assert_eq!(users(&config(&["Registry.Example:5000"]), "registry.example:5000", "web").len(), 1);
        assert!(users(&config(&["registry.example"]), "registry.example:5000", "web").is_empty());
        assert!(users(&config(&["registry.example:5000"]), "registry.example", "web").is_empty());
        assert_eq!(users(&config(&["[::1]:5000", "[::1]"]), "[::1]:5000", "web"), ["[::1]:5000"]);
    }

    #[test]
    fn a_glob_is_matched_like_a_file_name() {
        let table = [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?b", "ab", true),
            ("?", "", false),
            ("*a*b", "xaxab", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (glob, text, matches) in table {
            assert_eq!(glob_matches(glob.as_bytes(), text.as_bytes()), matches, "{glob} {text}");
        }
    }

    #[test]
    fn a_configuration_that_gives_no_login_says_why_and_quotes_nothing() {
        assert_eq!(error(r#"{"auths": {"a.example": {"auth": "!s3cret"}}}"#), ConfigError::Auth { host: "a.example".into() });
        assert_eq!(
            error(r#"{"auths": {"a.example": {"auth": "bm9jb2xvbg=="}}}"#),
            ConfigError::Auth { host: "a.example".into() }
        );
        assert_eq!(error(r#"{"credsStore": "desktop", "auths": {"a.example": {}}}"#), ConfigError::HelpersOnly);
        assert_eq!(error(r#"{"auths": "s3cret"}"#).to_string(), "is not the JSON of a docker configuration (line 1, column 18)");
        assert_eq!(error(&" ".repeat(LARGEST_CONFIG + 1)), ConfigError::TooLarge);
    }

    #[test]
    fn a_dump_of_a_keyring_shows_no_login() {
        let keyring = Keyring::parse(
            ConfigFormat::Config,
            config(&["a.example"]).replace("\"p\"", "\"s3cret\"").as_bytes(),
            &Source::ControllerFile,
        )
        .unwrap();
        let dump = format!("{keyring:?}");
        assert!(dump.contains("(hidden)") && !dump.contains("s3cret"), "{dump}");
    }
}
