//! From the documents of an image to its labels.
//!
//! In: manifests and a configuration, as bytes. Out: the digest of the next document, or the labels. Never here: requests.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Where to look next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Config(String),
    /// Of an index: the manifest of one platform. Builds put the same labels on all of them.
    Manifest(String),
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
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Inner>,
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
    checked(first.digest.clone()).map(Next::Manifest)
}

pub(super) fn read(body: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let configuration: Configuration =
        serde_json::from_slice(body).map_err(|_| "it is not the JSON of an image's configuration".to_owned())?;
    Ok(configuration.config.and_then(|inner| inner.labels).unwrap_or_default())
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
            r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "unknown"}}}}, {{"digest": "{}", "platform": {{"os": "linux"}}}}]}}"#,
            digest('b'),
            digest('c')
        );
        assert_eq!(next(index.as_bytes()), Ok(Next::Manifest(digest('c'))));
    }

    #[test]
    fn what_is_none_is_told_and_no_path_is_made_of_it() {
        for body in ["", "[]", "{}", r#"{"config": {"digest": "../../etc"}}"#, r#"{"manifests": []}"#] {
            assert!(next(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn labels_may_be_absent() {
        let labels = |body: &str| read(body.as_bytes()).unwrap().len();
        assert_eq!(labels(r#"{"config": {"Labels": {"a": "b"}}}"#), 1);
        assert_eq!((labels(r#"{"config": {"Labels": null}}"#), labels(r#"{"config": {}}"#), labels("{}")), (0, 0, 0));
        assert!(read(b"x").is_err());
    }
}
