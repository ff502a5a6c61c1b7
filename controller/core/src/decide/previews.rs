//! `<service>-preview`: the candidate for those who want to look before users do.

use bascule_crds::{Step as Stage, names};

use super::Decision;
use crate::{
    body,
    observed::{Service, Sight},
    plan::{Read, Step},
};

impl Decision<'_> {
    pub(super) fn keep_previews(&mut self) {
        let spec = &self.observed.release.spec;
        let track = self.previewed();
        let mut kept = Vec::new();
        for reference in spec.services.iter().filter(|_| spec.preview) {
            // A Service without ports is headless, and the API server takes no other kind without them.
            if let Some(Sight::Known(Some(service))) = self.observed.services.get(&reference.name)
                && !service.ports.is_empty()
            {
                kept.push(names::preview(&service.name));
                self.keep_preview(service, track);
            }
        }
        for service in self.observed.services.values().filter_map(|sight| sight.known()?.as_ref()) {
            let ours = service.preview_of.is_some() && service.owner.as_deref() == Some(self.observed.release.uid.as_str());
            let listed = spec.preview && spec.services.iter().any(|reference| names::preview(&reference.name) == service.name);
            if ours && !listed && !kept.contains(&service.name) && !service.deleting {
                self.tidy.push(Step::DeletePreview {
                    service: service.name.clone(),
                    uid: service.uid.clone(),
                    resource_version: service.resource_version.clone(),
                });
            }
        }
    }

    /// The candidate as soon as it answers; else the active version.
    fn previewed(&self) -> &'static str {
        let candidate =
            self.stored.candidate.as_ref().filter(|candidate| candidate.step != Stage::Baking && self.any_ready(candidate));
        let track = candidate.map(|candidate| candidate.track).or_else(|| self.stored.active.as_ref().map(|active| active.track));
        track.map_or(names::NO_TRACK, bascule_crds::Track::as_str)
    }

    fn keep_preview(&mut self, service: &Service, track: &str) {
        let name = names::preview(&service.name);
        let release = &self.observed.release;
        match self.observed.services.get(&name) {
            Some(Sight::Known(Some(preview))) if preview.owner.as_deref() != Some(release.uid.as_str()) => {
                self.stall(
                    "NameTaken",
                    format!("Service {name} exists and is not managed by this Release: delete it, or set spec.preview to false"),
                );
                self.look_for(&name);
            }
            Some(Sight::Known(Some(preview))) => {
                let same = preview.selector == body::preview_selector(service, track) && preview.ports == service.ports;
                if !same && !preview.deleting {
                    let body = body::preview(release, service, track, Some(&preview.uid));
                    self.tidy.push(Step::Preview { service: name, body });
                }
            }
            Some(Sight::Known(None)) => {
                self.tidy.push(Step::Preview { service: name, body: body::preview(release, service, track, None) });
            }
            Some(Sight::Unknown(_)) | None => {
                self.read_first(Read::Service(name));
            }
        }
    }
}
