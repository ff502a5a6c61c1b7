//! Annotations, labels and selector of a Service, written by anybody: traffic ends up where a version of ours is, or the Release says
//! what is in the way.

use bascule_core::{Record, ServiceForm};
use bascule_crds::{ReleaseStatus, names};
use serde::Deserialize;

use super::operation::phases;
use crate::{outcome::Outcome, walk::Walk};

const MOMENTS: usize = 12;

/// What another hand has left on the Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Hand {
    track: Option<String>,
    revision: String,
    reason: String,
    /// The label with the name of a Release.
    release: Option<String>,
    preview_of: Option<String>,
    /// The track in the selector.
    selected: Option<String>,
    external: bool,
    deleting: bool,
    /// The status of the Release is lost as well.
    wiped: bool,
}

impl Hand {
    /// Annotations may hold any text; for labels and selectors the API server has a grammar.
    fn admitted(mut self) -> Self {
        for value in [&mut self.release, &mut self.preview_of, &mut self.selected].into_iter().flatten() {
            value.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            value.truncate(63);
        }
        self
    }
}

/// # Panics
/// When a promise is broken.
pub fn target(data: &[u8]) -> Outcome {
    let hand = serde_json::from_slice(data).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(data).into_owned();
        Hand { track: Some(text.clone()), revision: text.clone(), reason: text.clone(), selected: Some(text), ..Hand::default() }
    });
    let hand = hand.admitted();
    let mut reasons = Vec::new();
    for (name, mut walk) in phases() {
        touch(&mut walk, &hand);
        walk.live(MOMENTS);
        walk.message();
        let reason = walk.reason();
        if !["ServiceUnusable", "Rejected"].contains(&reason.as_str()) && !hand.deleting {
            points_to_a_version(name, &walk);
        }
        reasons.push(reason);
    }
    let class = reasons.join(" ");
    if class.contains("Unusable") { Outcome::refused(class) } else { Outcome::accepted(class) }
}

fn touch(walk: &mut Walk, hand: &Hand) {
    if hand.wiped {
        walk.release.status = ReleaseStatus::default();
    }
    let version = format!("{}0", walk.release.resource_version);
    let release = walk.release.name.clone();
    for service in walk.services.values_mut() {
        // As the shell projects it.
        let record =
            |track: &String| Record { track: track.clone(), revision: hand.revision.clone(), reason: hand.reason.clone() };
        service.record = hand.track.as_ref().map(record);
        service.claimed_by.clone_from(&hand.release);
        service.labelled = hand.release.as_ref() == Some(&release);
        service.preview_of.clone_from(&hand.preview_of);
        match &hand.selected {
            Some(track) => service.selector.insert(names::TRACK.into(), track.clone()),
            None => service.selector.remove(names::TRACK),
        };
        service.form = if hand.external { ServiceForm::External } else { ServiceForm::Address };
        service.deleting = hand.deleting;
        service.resource_version.clone_from(&version);
    }
}

fn points_to_a_version(phase: &str, walk: &Walk) {
    let status = &walk.release.status;
    let active = status.active.as_ref().map_or(names::NO_TRACK, |active| active.track.as_str());
    for service in walk.services.values() {
        assert_eq!(service.selected(), Some(active), "{phase}: {service:?} {status:?}");
    }
}
