//! Autoscalers: what the load asks for, within the bounds, through the scale subresource of the target.

use serde_json::json;

use super::{View, Wishes, deleting, number, patch, text};
use crate::api::Kind;

const USER: &str = "horizontal-pod-autoscaler";
/// Stands for the metrics: so many replicas would carry the load.
const LOAD: &str = "/metadata/annotations/bed.bascule.dev~1load";

pub(super) fn wish(view: &View, wishes: &mut Wishes) {
    for autoscaler in view.store.all("autoscaling/horizontalpodautoscalers").filter(|object| !deleting(object)) {
        let target = &autoscaler["spec"]["scaleTargetRef"];
        let Some(kind) = Kind::of_kind(target["kind"].as_str().unwrap_or_default()).filter(|kind| kind.scale) else { continue };
        let name = target["name"].as_str().unwrap_or_default();
        let Some(object) = view.store.find(kind.full, text(autoscaler, "/metadata/namespace"), name) else { continue };
        let load: i64 = text(autoscaler, LOAD).parse().unwrap_or(1);
        let least = autoscaler["spec"]["minReplicas"].as_i64().unwrap_or(1);
        let wanted = load.clamp(least, number(autoscaler, "/spec/maxReplicas").max(least));
        if number(object, "/spec/replicas") != wanted {
            wishes.requests.push(patch(USER, kind.full, object, "scale", json!({"spec": {"replicas": wanted}})));
        }
    }
}
