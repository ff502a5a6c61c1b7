//! What is in a ConfigMap or Secret: read, hashed and forgotten. Or only which keys it has.

use std::collections::{BTreeMap, BTreeSet};

use bascule_crds::ConfigKind;
use kube::{Client, Resource as _, api::GetParams, core::Request};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use sha2::{Digest as _, Sha256};

use super::{
    Place,
    mark::Mark,
    watched::{Content, Failure, Outcome},
};
use crate::client;

const SILENT: Failure = Failure("Unreachable", "the API server does not answer");
const DENIED: Failure = Failure("Denied", "the controller may not read it");
const ODD: Failure = Failure("Unreachable", "the API server's answer is no such object");

/// Only what is hashed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    metadata: Meta,
    data: Option<BTreeMap<String, String>>,
    binary_data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
}

/// Only the keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::zero_sized_map_values, reason = "in the answer it is a map")]
struct Keys {
    data: Option<BTreeMap<String, IgnoredAny>>,
    binary_data: Option<BTreeMap<String, IgnoredAny>>,
}

pub(super) async fn fetch(client: &Client, place: &Place, name: &str) -> Outcome {
    let Some(object) = object::<Object>(client, place, name).await? else { return Ok(None) };
    Ok(Some(Content { hash: hash(place.0, &object), version: object.metadata.resource_version }))
}

/// None: it does not exist.
pub(super) async fn keys(client: &Client, place: &Place, name: &str) -> Result<Option<BTreeSet<String>>, Failure> {
    let Some(Keys { data, binary_data }) = object(client, place, name).await? else { return Ok(None) };
    Ok(Some([data, binary_data].into_iter().flatten().flatten().map(|(key, _)| key).collect()))
}

/// One attempt, with an end.
async fn object<T: DeserializeOwned>(client: &Client, (kind, namespace): &Place, name: &str) -> Result<Option<T>, Failure> {
    if !client::is_name(name) {
        return Ok(None);
    }
    let path = Mark::url_path(kind, Some(namespace));
    let request = Request::new(path).get(name, &GetParams::default()).map_err(|_| ODD)?;
    // As text: what cannot be read as an object would else be said in the log, as a whole.
    let answer = tokio::time::timeout(client::ANSWER_WITHIN, client.request_text(request)).await.map_err(|_| SILENT)?;
    match answer {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|_| ODD),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(DENIED),
        Err(_) => Err(SILENT),
    }
}

/// That of a Secret with the uid, which only those know who may read it: nobody can try short values against a hash in a status.
fn hash(kind: ConfigKind, object: &Object) -> String {
    match kind {
        ConfigKind::ConfigMaps => digest("", &(&object.data, &object.binary_data)),
        ConfigKind::Secrets => digest(&object.metadata.uid, &object.data),
    }
}

fn digest(salt: &str, content: &impl Serialize) -> String {
    let mut hash = Sha256::new().chain_update(salt).chain_update([0]);
    // Not by way of a text, which would be as long once more. It cannot fail: there are only texts in it.
    let _ = serde_json::to_writer(&mut hash, content);
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        hex
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hash_of(kind: ConfigKind, object: Value) -> String {
        hash(kind, &serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_same_content_of_another_secret_has_another_hash() {
        let of = |uid: &str| {
            let secret = json!({"metadata": {"name": "s", "uid": uid}, "data": {"password": "MTIzNA=="}});
            hash_of(ConfigKind::Secrets, secret)
        };
        assert_ne!(of("a"), of("b"));
        assert_eq!(of("a"), of("a"));
    }

    #[test]
    fn hashes_stay_the_same_for_they_are_a_part_of_revisions() {
        let map = json!({"metadata": {"name": "flags", "uid": "u", "labels": {"a": "b"}}, "data": {"a": "1", "b": "<ä>\n"}});
        let binary = json!({"metadata": {"name": "flags"}, "binaryData": {"a": "AP8="}});
        let secret = json!({"metadata": {"name": "token", "uid": "7"}, "type": "Opaque", "data": {"token": "MTIzNA=="}});
        let empty = json!({"metadata": {"name": "flags"}});
        let of = |kind, object| hash_of(kind, object);
        assert_eq!(of(ConfigKind::ConfigMaps, map), "adbaba28901e4620");
        assert_eq!(of(ConfigKind::ConfigMaps, binary), "ae8011fc3f075b44");
        assert_eq!(of(ConfigKind::ConfigMaps, empty), "58da45e6a43ee183");
        assert_eq!(of(ConfigKind::Secrets, secret), "90f7afcecbb3ff5d");
    }
}
