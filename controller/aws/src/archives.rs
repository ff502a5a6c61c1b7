//! S3: what lies under a key, without fetching it.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Aws, Fault, Scope, fault};

/// An object in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundObject {
    pub version_id: Option<String>,
    pub etag: Option<String>,
    /// Hexadecimal digits, of the whole object.
    pub sha256: Option<String>,
    pub size: i64,
    pub metadata: BTreeMap<String, String>,
}

impl Aws {
    /// What lies under a key now. One request. None: there is no such object.
    pub async fn object(&self, scope: &Scope, bucket: &str, key: &str) -> Result<Option<FoundObject>, Fault> {
        self.head(scope, bucket, key, None).await
    }

    /// One version of what lies or lay under a key. One request. None: it is not kept.
    pub async fn object_version(
        &self,
        scope: &Scope,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<Option<FoundObject>, Fault> {
        self.head(scope, bucket, key, Some(version.to_owned())).await
    }

    async fn head(&self, scope: &Scope, bucket: &str, key: &str, version: Option<String>) -> Result<Option<FoundObject>, Fault> {
        let client = self.clients(scope).await.s3;
        let request = client.head_object().bucket(bucket).key(key).set_version_id(version);
        let answer = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let found = match answer {
            Ok(found) => found,
            Err(error)
                if error.as_service_error().is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(fault::of(error)),
        };
        let whole = found.checksum_type != Some(ChecksumType::Composite);
        Ok(Some(FoundObject {
            // A bucket that keeps none says "null".
            version_id: found.version_id.filter(|version| version != "null"),
            etag: found.e_tag.map(|etag| etag.trim_matches('"').to_owned()),
            sha256: found.checksum_sha256.filter(|_| whole).and_then(|text| hexadecimal(&text)),
            size: found.content_length.unwrap_or_default(),
            metadata: found.metadata.unwrap_or_default().into_iter().collect(),
        }))
    }
}

/// S3 says it in base64, `sha256sum` in hexadecimal digits. One of several parts has their number at the end, and is of no use to anybody.
fn hexadecimal(base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok().filter(|bytes| bytes.len() == 32)?;
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checksum_of_the_whole_is_one() {
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(hexadecimal(zeros), Some("0".repeat(64)));
        assert_eq!((hexadecimal(&format!("{zeros}-2")), hexadecimal("AAAA")), (None, None));
    }
}
