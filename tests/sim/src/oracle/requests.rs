//! S5: what moves traffic or destroys says what it was decided on. S8: no write is for nothing.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Oracle, text};
use crate::api::{Api, Reply, Request, Target};

pub(super) fn judge(oracle: &mut Oracle, request: &Request, reply: &Reply, api: &Api, at: SignedDuration) {
    let Some(target) = Target::parse(&request.path) else { return };
    let body = request.body.as_ref().unwrap_or(&Value::Null);
    let named = |pointer: &str| !text(body, pointer).is_empty();
    let name = target.name.clone().unwrap_or_default();
    let exists = target.name.is_some() && api.store.get(&target.key()).is_some();
    match (target.kind.full, request.method.as_str()) {
        (full, "DELETE") => {
            if !named("/preconditions/uid") {
                oracle.violated("S5", at, &format!("{full} {name} was deleted without a precondition"));
            }
            if full != "bascule.dev/operations" && !named("/preconditions/resourceVersion") {
                oracle.violated("S5", at, &format!("{full} {name} was deleted without the version that it was decided on"));
            }
        }
        ("services", "PATCH")
            if reply.is_ok() && moves(body) && !(named("/metadata/resourceVersion") && named("/metadata/uid")) =>
        {
            oracle.violated("S5", at, &format!("Service {name} was moved without a precondition"));
        }
        ("bascule.dev/releases", "PATCH") if !named("/metadata/resourceVersion") => {
            oracle.violated("S5", at, &format!("the status of Release {name} was written without a precondition"));
        }
        _ => {}
    }
    let stored = api.store.log().last().is_some_and(|last| {
        last.user == request.user && last.name == name && last.at == api.store.log().last().map_or(last.at, |it| it.at)
    });
    if reply.code == 200 && exists && request.method == "PATCH" && !request.query.contains_key("dryRun") && !stored {
        oracle.idle_writes += 1;
    }
}

fn moves(body: &Value) -> bool {
    let annotated = body["metadata"]["annotations"].get("bascule.dev/track").is_some();
    let preview = body["metadata"]["labels"].get("bascule.dev/preview-of").is_some();
    let selects = body["spec"]["selector"].get("bascule.dev/track").is_some();
    annotated || (selects && !preview)
}
