//! Status never claims what the cluster does not show: when it says that a version is settled, the Services are on it and it was proved.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, label, record, text};
use crate::api::{Api, Change};

/// Namespace and name of a Service, track and revision.
type Place = (String, String, String, String);

/// Where each Service was, and until when.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// None: it is there now.
    left: BTreeMap<Place, Option<SignedDuration>>,
}

impl Places {
    pub(super) fn look(&mut self, change: &Change, at: SignedDuration) {
        let place = |object: &Value| {
            let (track, revision) = record(object);
            (change.namespace.clone(), change.name.clone(), track.to_owned(), revision.to_owned())
        };
        if let Some(before) = &change.before {
            self.left.insert(place(before), Some(at));
        }
        if let Some(after) = change.after() {
            self.left.insert(place(after), None);
        }
    }

    fn was_there(&self, place: &Place, since: SignedDuration) -> bool {
        self.left.get(place).is_some_and(|left| left.is_none_or(|left| left >= since))
    }
}

pub(super) fn judge(oracle: &mut Oracle, change: &Change, api: &Api, at: SignedDuration) {
    let Some(after) = change.after() else { return };
    let status = &after["status"];
    let before = change.before.as_ref().map_or(&Value::Null, |before| &before["status"]);
    let conditions = status["conditions"].as_array();
    let is_ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
    let active = &status["active"];
    if !is_ready || active["revision"] == before["active"]["revision"] && status["conditions"] == before["conditions"] {
        return;
    }
    let (track, revision) = (text(active, "/track").to_owned(), text(active, "/revision").to_owned());
    let since = at - oracle.slack;
    for name in after["spec"]["services"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()) {
        let Some(service) = api.store.find("services", &change.namespace, name) else { continue };
        if label(service, "bascule.dev/release") != change.name {
            continue;
        }
        let place = (change.namespace.clone(), name.to_owned(), track.clone(), revision.clone());
        if !oracle.places.was_there(&place, since) {
            let what =
                format!("status says that {} is settled on {track}, and Service {name} was not there", text(active, "/version"));
            oracle.violated("status", at, &what);
        }
    }
    let place = (change.namespace.clone(), change.name.clone(), track.clone());
    if !oracle.proofs.once_proved(&place, &revision) {
        oracle.violated(
            "status",
            at,
            &format!("status says that {} is settled, and it was never fully ready", text(active, "/version")),
        );
    }
}
