//! Archives: from a key in a bucket to one version of an object, with its checksum.

use bascule_crds::{ArchiveRecord, ArchiveSource, ParameterRecord, ResolvedArtifact, names};

use super::{
    ARTIFACT_MISSING, Freshness, Obstacle, Place, Pointed, known,
    order::of_build,
    origin::{Origin, origin},
    setting::{List, Pointer, Setting},
};
use crate::{
    observed::{Answer, Archive},
    trace::Trace,
};

/// S3 takes no longer ones.
const LONGEST: usize = 1024;

pub(super) fn lead(
    setting: &Setting<'_>,
    place: &Place<'_>,
    source: &ArchiveSource,
    pointer: &Pointer<'_>,
) -> Result<Pointed, Obstacle> {
    if let Some(record) = pointer.record.as_ref().filter(|_| pointer.secure) {
        // Any text can be a key, and a key is shown everywhere.
        let message = format!("{}: {} is a SecureString; put the key of an archive into a String", place.pointer(), record.name);
        return Err(Obstacle::Wrong("NotAllowed", message));
    }
    let path = format!("{}.bucket", place.path);
    let bucket = setting.text(&source.bucket, &path)?;
    check_bucket(&bucket)
        .map_err(|fault| Obstacle::Wrong("SpecInvalid", format!("{path}: {bucket:?} is no name of a bucket: {fault}")))?;
    setting.permits(List::Buckets, &format!("bucket {bucket}"), &bucket, &path)?;
    let key = match &pointer.record {
        Some(_) => pointer.text.to_owned(),
        None => setting.text(pointer.text, &place.pointer())?,
    };
    check_key(&key).map_err(|fault| {
        let path = place.pointer();
        match &pointer.record {
            Some(record) => {
                Obstacle::Wrong("ValueInvalid", format!("{path}: version {} of {}: {fault}", record.version, record.name))
            }
            None => Obstacle::Wrong("SpecInvalid", format!("{path}: {fault}")),
        }
    })?;
    let by = source.order.as_ref().map(|order| &order.metadata);
    let pinned =
        known(setting, place, &address(&bucket, &key), pointer.record.as_ref(), by).filter(|known| known.archive.is_some());
    Ok(match pinned {
        Some(pinned) => Pointed::At(Box::new(pinned.clone())),
        None => Pointed::Archive { bucket, key, record: pointer.record.clone() },
    })
}

fn address(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    if !(3..=63).contains(&bucket.len()) {
        return Err("it has 3 to 63 characters");
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !bucket.bytes().all(fits) {
        return Err("it has small letters, digits, \"-\" and \".\" only");
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > LONGEST {
        return Err("the key of an object has 1 to 1024 bytes");
    }
    if key.chars().any(char::is_control) {
        return Err("the key of the object has a control character");
    }
    if key.contains("$(") {
        return Err("the key of the object has \"$(\" in it, which a container would take for the name of a variable of its own");
    }
    if key.starts_with("s3://") || key.starts_with("arn:") {
        return Err("it must be the key of an object, without its bucket");
    }
    Ok(())
}

/// What S3 says about it.
pub(super) fn seen(
    place: &Place<'_>,
    bucket: &str,
    key: &str,
    record: Option<ParameterRecord>,
    answer: Option<&Answer<Archive>>,
) -> Result<ResolvedArtifact, Obstacle> {
    let path = place.pointer();
    match answer {
        Some(Answer::Known(archive)) if (archive.record.bucket.as_str(), archive.record.key.as_str()) == (bucket, key) => {
            let by = place.artifact.archive.as_ref().and_then(|source| source.order.as_ref()).map(|order| &order.metadata);
            let Origin { commit, repository } = origin(key, None);
            Ok(ResolvedArtifact {
                name: place.artifact.name.clone(),
                reference: address(bucket, key),
                parameter: record,
                commit,
                repository,
                trace: Trace::text(archive.metadata.get(names::TRACEPARENT_METADATA)),
                order: of_build(by, &archive.metadata, "metadata", &address(bucket, key), &path)?,
                archive: Some(archive.record.clone()),
                ..ResolvedArtifact::default()
            })
        }
        Some(Answer::Failed { reason, message }) => Err(Obstacle::Waiting(reason, format!("{path}: {message}"))),
        _ => Err(Obstacle::Pending(format!("{path}: asking S3 for {}", address(bucket, key)))),
    }
}

/// Whether something else lies there by now.
pub(super) fn changed(place: &Place<'_>, resolved: &ResolvedArtifact, answer: Option<&Answer<Archive>>) -> Option<Freshness> {
    let path = place.pointer();
    let pinned = resolved.archive.as_ref()?;
    let name = |record: &ArchiveRecord| {
        let version = record.version_id.as_ref().map(|version| format!("version {version}"));
        version.or_else(|| record.etag.as_ref().map(|etag| format!("ETag {etag}"))).unwrap_or_else(|| "another".into())
    };
    let identity = |record: &ArchiveRecord| (record.version_id.clone(), record.etag.clone(), record.size);
    match answer {
        Some(Answer::Known(archive)) if identity(&archive.record) != identity(pinned) => {
            let kept = if pinned.version_id.is_some() {
                "that version is what runs and what new pods fetch"
            } else {
                "the bucket keeps no versions, so that new pods fetch what is there now"
            };
            Some(Freshness::Passed {
                reason: "ArtifactChanged",
                message: format!(
                    "{path}: {} was overwritten: it is {} by now, and was {} when it was released; {kept}, until the pointer changes",
                    resolved.reference,
                    name(&archive.record),
                    name(pinned)
                ),
            })
        }
        Some(Answer::Failed { reason, message }) if *reason == ARTIFACT_MISSING => Some(Freshness::Stale {
            reason: ARTIFACT_MISSING,
            message: format!("{path}: {message}, and {} was there when it was released ({})", resolved.reference, name(pinned)),
        }),
        _ => None,
    }
}
