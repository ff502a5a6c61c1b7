//! Where the Services point, and where they should.
//!
//! A Service's annotations say where we pointed it (the commit record); its selector says where it points. Both must agree with
//! the target, or the Service is moved. A Service that cannot be seen is left alone.

use bascule_crds::{Track, names};

use super::{Decision, note};
use crate::{
    mutant::{self, Mutant},
    observed::{Service, ServiceForm, Sight},
    plan::{NoteKind, Read, ServiceWrite, Step},
};

/// Where traffic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// At no pod: before the first switch.
    Nowhere,
    At {
        track: Track,
        revision: String,
    },
}

impl Target {
    pub(super) fn track(&self) -> Option<Track> {
        match self {
            Self::Nowhere => None,
            Self::At { track, .. } => Some(*track),
        }
    }

    fn track_name(&self) -> &'static str {
        self.track().map_or(names::NO_TRACK, Track::as_str)
    }

    fn revision(&self) -> &str {
        match self {
            Self::Nowhere => "",
            Self::At { revision, .. } => revision,
        }
    }

    /// Our annotations say so.
    pub(super) fn recorded_on(&self, service: &Service) -> bool {
        service.record.as_ref().is_some_and(|record| record.track == self.track_name() && record.revision == self.revision())
    }

    /// Annotations, label and selector say so.
    pub(super) fn reached_by(&self, service: &Service) -> bool {
        service.labelled && self.recorded_on(service) && service.selected() == Some(self.track_name())
    }
}

/// The Services of a Release, as far as they can be seen.
#[derive(Clone, Debug)]
pub(super) struct Services<'a> {
    pub(super) seen: Vec<&'a Service>,
    /// One that the spec names does not exist.
    missing: bool,
    /// One exists and cannot be ours.
    unusable: bool,
    /// One could not be looked at.
    pub(super) unknown: bool,
}

impl Services<'_> {
    /// All are there: traffic may go forward. To go back it is enough to move those that are seen.
    pub(super) fn are_complete(&self) -> bool {
        !self.missing && !self.unusable && !self.unknown
    }

    /// Each was looked at, whatever was found.
    pub(super) fn are_known(&self) -> bool {
        !self.unknown
    }

    /// None of them can send to pods without being seen.
    pub(super) fn hide_nothing(&self) -> bool {
        !self.unusable && !self.unknown
    }
}

/// Why Services are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A decision: to the candidate, or back.
    Decided,
    /// They were there before, and somebody else moved them.
    Heal,
}

impl<'a> Decision<'a> {
    /// Where the last settled version is: the way back of a candidate.
    pub(super) fn home(&self) -> Target {
        self.stored
            .active
            .as_ref()
            .map_or(Target::Nowhere, |active| Target::At { track: active.track, revision: active.revision.clone() })
    }

    /// The Services that move together: those that the spec names, and those that still carry our label. What keeps one of them from
    /// being moved is noted.
    pub(super) fn services(&mut self) -> Services<'a> {
        let observed = self.observed;
        let mut services = Services { seen: Vec::new(), missing: false, unusable: false, unknown: false };
        for (name, sight) in &observed.services {
            let listed = observed.release.spec.services.iter().any(|service| service.name == *name);
            match sight {
                Sight::Known(Some(service)) if service.preview_of.is_some() && !listed => {}
                Sight::Known(Some(service)) if listed || service.labelled => match unusable(service, &observed.release.name) {
                    None => services.seen.push(service),
                    Some(why) => {
                        self.stall("ServiceUnusable", why);
                        self.look_for(name);
                        services.unusable = true;
                    }
                },
                Sight::Known(None) if listed => {
                    self.wait(
                        "ServiceMissing",
                        format!("Service {name} does not exist in namespace {}", observed.release.namespace),
                    );
                    self.look_for(name);
                    services.missing = true;
                }
                Sight::Unknown(why) if listed || !self.is_preview(name) => {
                    self.unseen(Read::Service(name.clone()), format!("Service {name}: {why}"));
                    services.unknown = true;
                }
                Sight::Known(_) | Sight::Unknown(_) => {}
            }
        }
        services
    }

    fn is_preview(&self, name: &str) -> bool {
        self.observed.release.spec.services.iter().any(|service| names::preview(&service.name) == name)
    }

    /// No watch tells of a Service that does not carry our label.
    pub(super) fn look_for(&mut self, service: &str) {
        self.reads.push(Read::Service(service.to_owned()));
        self.look_at(self.now + self.policy.look_for_service);
    }

    /// Looks, and says nothing yet: the answer is there in a moment. Only when looking failed, the reason is said.
    fn unseen(&mut self, read: Read, why: String) {
        if self.lasting_trouble(&read.target()).is_some() {
            self.wait("ServiceUnknown", why);
        }
        self.read_first(read);
    }

    /// Moves every Service that is not at the target. True when all are there.
    pub(super) fn steer(&mut self, services: &[&Service], target: &Target, why: Move, reason: &str) -> bool {
        let mut there = true;
        for service in services {
            if target.reached_by(service) {
                continue;
            }
            there = false;
            if service.deleting {
                self.wait("ServiceDeleting", format!("Service {} is being deleted", service.name));
                if !service.labelled {
                    self.look_for(&service.name);
                }
                continue;
            }
            // Before the first switch nothing of ours serves, so a record of another time may have pods of another owner behind it.
            let unproved =
                service.record.is_none() || (*target == Target::Nowhere && service.selected() != Some(names::NO_TRACK));
            if unproved && !self.may_claim(service) {
                continue;
            }
            if service.labelled && target.recorded_on(service) {
                self.traffic.push(Step::Select {
                    service: service.name.clone(),
                    uid: service.uid.clone(),
                    resource_version: service.resource_version.clone(),
                    track: target.track_name().to_owned(),
                });
                continue;
            }
            if why == Move::Heal && *target != Target::Nowhere {
                let what = if service.record.is_some() { "was moved by another hand" } else { "had no track of ours" };
                let message = format!("Service {} {what}; pointed to {}", service.name, target.track_name());
                self.traffic_notes.push(note(NoteKind::Healed, message));
            }
            self.traffic.push(Step::Route(ServiceWrite {
                service: service.name.clone(),
                uid: service.uid.clone(),
                resource_version: service.resource_version.clone(),
                release: self.observed.release.name.clone(),
                track: target.track(),
                revision: target.revision().to_owned(),
                reason: reason.to_owned(),
            }));
        }
        there
    }

    /// A Service without our annotations may serve pods that are not ours; to point it elsewhere would cut their traffic.
    fn may_claim(&mut self, service: &Service) -> bool {
        let name = &service.name;
        match self.observed.strangers.get(name) {
            Some(Sight::Known(0)) => true,
            _ if mutant::is(Mutant::UnknownIsEmpty) => true,
            Some(Sight::Known(count)) => {
                self.stall(
                    "ServiceInUse",
                    format!(
                        "Service {name} already sends traffic to {count} ready pods that are not part of this Release, and claiming it would cut \
                         them off: label those pods {}={} first (they keep their traffic until the first switch), or name another Service",
                        names::TRACK,
                        names::NO_TRACK
                    ),
                );
                self.reads.push(Read::Strangers { service: name.clone(), selector: service.base_selector() });
                self.look_at(self.now + self.policy.look_for_service);
                false
            }
            unknown => {
                let why = if let Some(Sight::Unknown(why)) = unknown { why } else { "not looked for yet" };
                let read = Read::Strangers { service: name.clone(), selector: service.base_selector() };
                self.unseen(read, format!("endpoints of Service {name}: {why}"));
                false
            }
        }
    }
}

fn unusable(service: &Service, release: &str) -> Option<String> {
    let name = &service.name;
    if let Some(other) = service.claimed_by.as_deref().filter(|other| *other != release) {
        return Some(format!("Service {name} belongs to Release {other}: name another Service, or remove it there first"));
    }
    if service.preview_of.is_some() {
        return Some(format!("Service {name} is the preview of another Service: name another one"));
    }
    if service.form == ServiceForm::External {
        return Some(format!("Service {name} is of type ExternalName and selects no pods: name a Service with a selector"));
    }
    service.base_selector().is_empty().then(|| {
        format!("Service {name} has no selector, so its endpoints are kept by another hand: give it a selector that matches the pods of a workload")
    })
}
