//! Images: from `[registry/]repository[:tag][@digest]` to a digest.

use std::collections::BTreeSet;

use bascule_crds::{ImageSource, ParameterRecord, ReleaseSpec, Resolve, ResolvedArtifact, names};

use super::{
    ARTIFACT_MISSING, Freshness, Obstacle, Place, Pointed, Wish, known,
    order::of_build,
    origin::{Origin, origin},
    setting::{List, Pointer, Setting},
};
use crate::{
    image::{Reference, ReferenceError},
    observed::{Answer, Image},
    trace::Trace,
};

pub(super) fn lead(
    setting: &Setting<'_>,
    place: &Place<'_>,
    source: &ImageSource,
    pointer: &Pointer<'_>,
) -> Result<Pointed, Obstacle> {
    let path = place.pointer();
    let text = full(setting, source, pointer);
    let reference: Reference = text.parse().map_err(|error: ReferenceError| match &pointer.record {
        // What is secret is not repeated.
        Some(record) => {
            let what = if pointer.secure { error.fault().to_string() } else { error.to_string() };
            Obstacle::Wrong("ValueInvalid", format!("{path}: version {} of {}: {what}", record.version, record.name))
        }
        None => Obstacle::Wrong("SpecInvalid", format!("{path}: {error}")),
    })?;
    let image = reference.place();
    let shown = match pointer.record.as_ref().filter(|_| pointer.secure) {
        // A text that is secret may look like an image too. What fits the list is the name of one, and no secret.
        Some(record) if setting.list(List::Images).is_none() => {
            let message = format!(
                "{path}: {} is a SecureString, which is used only where spec.allow.images of the Environment says what it may name; \
                 put the name of an image into a String",
                record.name
            );
            return Err(Obstacle::Wrong("NotAllowed", message));
        }
        Some(record) => format!("what version {} of {} names", record.version, record.name),
        None => image.clone(),
    };
    setting.permits(List::Images, &shown, &image, &path)?;

    let by = source.order.as_ref().map(|order| &order.label);
    let digest = reference.digest().map(ToString::to_string);
    if source.resolve == Resolve::Never || (digest.is_some() && by.is_none()) {
        let tag = reference.tag().map(ToOwned::to_owned);
        let Origin { commit, repository } = origin(&text, None);
        let resolved = ResolvedArtifact {
            name: place.artifact.name.clone(),
            image: Some(text.clone()),
            reference: text,
            parameter: pointer.record.clone(),
            tag,
            digest,
            commit,
            repository,
            ..ResolvedArtifact::default()
        };
        return Ok(Pointed::At(Box::new(resolved)));
    }
    let pinned = known(setting, place, &text, pointer.record.as_ref(), by).filter(|known| known.digest.is_some());
    if let Some(pinned) = pinned {
        return Ok(Pointed::At(Box::new(pinned.clone())));
    }
    // Only what it says of itself is open: that is asked of the build which runs, whatever its tag means by now.
    let build = known(setting, place, &text, pointer.record.as_ref(), None).and_then(|known| known.digest.as_ref());
    let reference = build.and_then(|digest| format!("{text}@{digest}").parse().ok()).unwrap_or(reference);
    let wish = match (by, &pointer.record) {
        (Some(_), _) => Wish::Order,
        (None, Some(_)) => Wish::About,
        (None, None) => Wish::Digest,
    };
    Ok(Pointed::Image { reference, text, wish, record: pointer.record.clone() })
}

/// The text with its registry.
fn full(setting: &Setting<'_>, source: &ImageSource, pointer: &Pointer<'_>) -> String {
    let registry = source.registry.as_ref().or_else(|| setting.environment?.registry.as_ref());
    match registry.filter(|_| pointer.record.is_some()) {
        Some(registry) if !Reference::names_a_registry(pointer.text) => format!("{registry}/{}", pointer.text),
        _ => pointer.text.to_owned(),
    }
}

/// What the registry says about it.
pub(super) fn seen(
    place: &Place<'_>,
    reference: &Reference,
    text: String,
    record: Option<ParameterRecord>,
    answer: Option<&Answer<Image>>,
) -> Result<ResolvedArtifact, Obstacle> {
    let path = place.pointer();
    match answer {
        Some(Answer::Known(image)) if image.reference == *reference => {
            let by = place.artifact.image.as_ref().and_then(|source| source.order.as_ref()).map(|order| &order.label);
            let Origin { commit, repository } = origin(&reference.to_string(), Some(&image.labels));
            Ok(ResolvedArtifact {
                name: place.artifact.name.clone(),
                reference: text,
                parameter: record,
                image: Some(format!("{}@{}", reference.name(), image.digest)),
                tag: image.tag.clone(),
                digest: Some(image.digest.clone()),
                commit,
                repository,
                trace: Trace::text(image.labels.get(names::TRACEPARENT_LABEL)),
                order: of_build(by, &image.labels, "label", &image.reference.to_string(), &path)?,
                archive: None,
            })
        }
        Some(Answer::Failed { reason, message }) => Err(Obstacle::Waiting(reason, format!("{path}: {message}"))),
        _ => Err(Obstacle::Pending(format!("{path}: asking the registry for the digest of {reference}"))),
    }
}

/// Whether there is a node that can run it. What is not known, of image or nodes, holds up nothing.
pub(super) fn runs_here(
    place: &Place<'_>,
    answer: Option<&Answer<Image>>,
    nodes: Option<&BTreeSet<String>>,
    spec: &ReleaseSpec,
) -> Result<(), Obstacle> {
    let (Some(Answer::Known(image)), Some(nodes)) = (answer, nodes) else { return Ok(()) };
    let platforms: BTreeSet<_> = image.platforms.iter().filter_map(|platform| platform.split('/').nth(1)).collect();
    if platforms.is_empty() || nodes.is_empty() {
        return Ok(());
    }
    let wrong = |wanted: String| {
        let has: Vec<_> = image.platforms.iter().map(String::as_str).collect();
        let message = format!("{}: {} is built for {}, and {wanted}", place.pointer(), image.reference, has.join(", "));
        Err(Obstacle::Wrong("PlatformMissing", message))
    };
    let name = format!("$(artifacts.{}.", place.artifact.name);
    let here = nodes.iter().any(|node| platforms.contains(node.as_str()));
    for (index, workload) in spec.workloads.iter().enumerate() {
        if !workload.template.to_string().contains(&name) {
            continue;
        }
        // Who asks for a kind of node gets it from an autoscaler, though there may be none at this moment.
        match workload.template.pointer("/spec/nodeSelector/kubernetes.io~1arch").and_then(serde_json::Value::as_str) {
            Some(selected) if platforms.contains(selected) || selected.contains("$(") => {}
            Some(selected) => return wrong(format!("spec.workloads[{index}].template wants nodes of {selected}")),
            None if here => {}
            None => {
                let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
                return wrong(format!("the nodes of this cluster are {}", nodes.join(", ")));
            }
        }
    }
    Ok(())
}

/// Whether its tag means something else by now.
pub(super) fn moved(place: &Place<'_>, resolved: &ResolvedArtifact, answer: Option<&Answer<Image>>) -> Option<Freshness> {
    let path = place.pointer();
    let (reference, pinned) = (&resolved.reference, resolved.digest.as_deref().unwrap_or_default());
    match answer {
        Some(Answer::Known(image)) if image.digest != pinned => Some(Freshness::Passed {
            reason: "TagMoved",
            message: format!(
                "{path}: {reference} is {} by now, and was {pinned} when it was released; it is not followed until the pointer changes",
                image.digest
            ),
        }),
        Some(Answer::Failed { reason, message }) if *reason == ARTIFACT_MISSING => Some(Freshness::Stale {
            reason: ARTIFACT_MISSING,
            message: format!(
                "{path}: {message}, and {reference} was there when it was released; where it is not stored yet its pods cannot start"
            ),
        }),
        _ => None,
    }
}
