//! From the documents of an image to what it says of itself: its labels, and which machines it is built for.
//!
//! In: manifests and a configuration, as bytes. Out: the digest of the next document, or what is said. Never here: requests.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Of a label's name and text.
const LONGEST: usize = 256;
const MOST: usize = 128;

/// Where to look next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Config(String),
    /// Of an index: the manifest of one platform, and all platforms. Builds put the same labels on all of them.
    Manifest(String, BTreeSet<String>),
}

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) labels: BTreeMap<String, String>,
    /// As in `linux/arm64`; empty when it does not say.
    pub(super) platforms: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Document {
    config: Option<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Platform {
    fn name(&self) -> Option<String> {
        let parts = [Some(&self.os), Some(&self.architecture), self.variant.as_ref()];
        let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).map(String::as_str).collect();
        (parts.len() > 1 && self.os != "unknown").then(|| parts.join("/"))
    }
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Inner>,
    #[serde(flatten)]
    platform: Platform,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

pub(super) fn next(body: &[u8]) -> Result<Next, String> {
    let document: Document = serde_json::from_slice(body).map_err(|_| "it is not the JSON of an image manifest".to_owned())?;
    if let Some(config) = document.config {
        return checked(config.digest).map(Next::Config);
    }
    // Attestations are listed beside the platforms, as those of an unknown system.
    let runs = |it: &&Descriptor| it.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
    let first = document.manifests.iter().find(runs).ok_or("the index of the image names no manifest")?;
    let platforms = document.manifests.iter().filter_map(|it| it.platform.as_ref()?.name()).collect();
    Ok(Next::Manifest(checked(first.digest.clone())?, platforms))
}

/// From the configuration of one platform.
pub(super) fn read(body: &[u8]) -> Result<About, String> {
    let configuration: Configuration =
        serde_json::from_slice(body).map_err(|_| "it is not the JSON of an image's configuration".to_owned())?;
    let labels = configuration.config.and_then(|inner| inner.labels).unwrap_or_default();
    // They are kept; what is longer is not what anybody puts builds in order by.
    let labels = labels.into_iter().filter(|(name, text)| name.len() <= LONGEST && text.len() <= LONGEST).take(MOST).collect();
    Ok(About { labels, platforms: configuration.platform.name().into_iter().collect() })
}

/// It becomes part of an address.
fn checked(digest: String) -> Result<String, String> {
    match bascule_core::image::Digest::parse(&digest) {
        Ok(_) => Ok(digest),
        Err(_) => Err("it names something by what is no digest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    #[test]
    fn a_manifest_names_its_configuration_and_an_index_a_platform() {
        let manifest = format!(r#"{{"config": {{"digest": "{}"}}, "layers": []}}"#, digest('a'));
        assert_eq!(next(manifest.as_bytes()), Ok(Next::Config(digest('a'))));
        let index = format!(
            r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "unknown", "architecture": "unknown"}}}},
                {{"digest": "{}", "platform": {{"os": "linux", "architecture": "arm64", "variant": "v8"}}}}]}}"#,
            digest('b'),
            digest('c')
        );
        assert_eq!(next(index.as_bytes()), Ok(Next::Manifest(digest('c'), ["linux/arm64/v8".to_owned()].into())));
    }

    #[test]
    fn what_is_none_is_told_and_no_path_is_made_of_it() {
        for body in ["", "[]", "{}", r#"{"config": {"digest": "../../etc"}}"#, r#"{"manifests": []}"#] {
            assert!(next(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn labels_may_be_absent() {
        let labels = |body: &str| read(body.as_bytes()).unwrap().labels.len();
        assert_eq!(labels(r#"{"config": {"Labels": {"a": "b"}}}"#), 1);
        assert_eq!((labels(r#"{"config": {"Labels": null}}"#), labels(r#"{"config": {}}"#), labels("{}")), (0, 0, 0));
        assert!(read(b"x").is_err());
    }

    #[test]
    fn a_configuration_says_what_it_is_built_for() {
        let platforms = |body: &str| read(body.as_bytes()).unwrap().platforms;
        assert_eq!(platforms(r#"{"os": "linux", "architecture": "amd64", "config": {}}"#), ["linux/amd64".to_owned()].into());
        assert!(platforms("{}").is_empty());
    }
}
