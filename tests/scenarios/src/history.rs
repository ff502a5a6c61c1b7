//! What only the API server's history shows: which writes there were, in which order, how many.
//!
//! In: a story's claim, and the controller's writes in short words. Out: sentences about what does not hold.
//! Never here: the history itself; the simulation has it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Call, scenario::is_default};

/// A claim about the controller's writes. All that is named must hold.
///
/// A write is named by [`words`]. A text here means every write that begins with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct History {
    /// From this mark on; without it, from the last one, else from the start.
    #[serde(skip_serializing_if = "is_default")]
    pub since: Option<String>,
    /// Writes other than Events; a dry run is one too.
    #[serde(skip_serializing_if = "is_default")]
    pub writes: Count,
    #[serde(skip_serializing_if = "is_default")]
    pub events: Count,
    /// Each comes after the one before it; others may stand in between.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Vec<String>,
    /// These writes (Events not counted), in this order, and no others.
    #[serde(skip_serializing_if = "is_default")]
    pub exactly: Option<Vec<String>>,
    /// None of these.
    #[serde(skip_serializing_if = "is_default")]
    pub never: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Count {
    #[serde(skip_serializing_if = "is_default")]
    pub at_least: Option<usize>,
    #[serde(skip_serializing_if = "is_default")]
    pub at_most: Option<usize>,
}

impl Count {
    fn unmet(self, what: &str, seen: usize) -> Option<String> {
        let (least, most) = (self.at_least.unwrap_or(0), self.at_most.unwrap_or(usize::MAX));
        (seen < least || seen > most).then(|| match (self.at_least, self.at_most) {
            (Some(least), None) => format!("at least {least} {what} were expected, there were {seen}"),
            (_, _) => format!("at most {most} {what} were expected, there were {seen}"),
        })
    }
}

impl History {
    /// What does not hold, given the controller's writes since the mark, in order, each in the words of [`words`].
    pub fn unmet(&self, writes: &[String]) -> Vec<String> {
        let is_event = |write: &&String| write.starts_with("event ");
        let changes: Vec<&String> = writes.iter().filter(|write| !is_event(write)).collect();
        let mut unmet: Vec<_> =
            [self.writes.unmet("writes", changes.len()), self.events.unmet("Events", writes.len() - changes.len())]
                .into_iter()
                .flatten()
                .collect();
        let mut rest = writes.iter();
        for expected in &self.order {
            if !rest.any(|write| write.starts_with(expected.as_str())) {
                unmet.push(format!("no {expected:?} in that order"));
                break;
            }
        }
        if let Some(exactly) = &self.exactly {
            let same = changes.len() == exactly.len()
                && changes.iter().zip(exactly).all(|(seen, wanted)| seen.starts_with(wanted.as_str()));
            if !same {
                unmet.push(format!("exactly these writes were expected: {}", exactly.join(", ")));
            }
        }
        for forbidden in &self.never {
            if let Some(write) = writes.iter().find(|write| write.starts_with(forbidden.as_str())) {
                unmet.push(format!("there must be no {forbidden:?}, and there was {write:?}"));
            }
        }
        if !unmet.is_empty() {
            unmet.push(format!("the writes were: {}", writes.join(", ")));
        }
        unmet
    }
}

/// A write of the controller in short words; none for a read.
///
/// `dry-run web-green`, `apply web-green`, `scale web-blue 0`, `delete web-blue`, `route web green`, `select web green`,
/// `preview web-preview`, `run web-migrate-…`, `store web-…`, `status` (of the Release), `answer op-001`, `prune op-001`, `event Rejected`.
pub fn words(call: &Call) -> Option<String> {
    if call.method == "GET" {
        return None;
    }
    let parts: Vec<_> = call.path.trim_matches('/').split('/').collect();
    let from = parts.iter().position(|part| *part == "namespaces")? + 2;
    let plural = *parts.get(from)?;
    let name = parts.get(from + 1).copied().unwrap_or_default();
    let subresource = parts.get(from + 2).copied().unwrap_or_default();
    let body = |pointer: &str| call.body.as_ref().and_then(|body| body.pointer(pointer));
    let text = |pointer: &str| body(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let applied = call.content_type.starts_with("application/apply-patch");
    Some(match (plural, call.method, subresource) {
        ("deployments", _, "") if call.query.contains_key("dryRun") => format!("dry-run {name}"),
        ("operations", "DELETE", _) => format!("prune {name}"),
        (_, "DELETE", _) => format!("delete {name}"),
        ("deployments", _, "") if applied => format!("apply {name}"),
        ("deployments", _, _) => format!("scale {name} {}", body("/spec/replicas").cloned().unwrap_or_default()),
        ("services", _, _) if !text("/metadata/labels/bascule.dev~1preview-of").is_empty() => format!("preview {name}"),
        ("services", _, _) if applied => format!("route {name} {}", text("/metadata/annotations/bascule.dev~1track")),
        ("services", _, _) => format!("select {name} {}", text("/spec/selector/bascule.dev~1track")),
        ("jobs", "POST", _) if call.query.contains_key("dryRun") => format!("dry-run job {}", text("/metadata/name")),
        ("jobs", "POST", _) => format!("run {}", text("/metadata/name")),
        ("controllerrevisions", "POST", _) => format!("store {}", text("/metadata/name")),
        ("releases", _, "status") => "status".to_owned(),
        ("operations", _, "status") => format!("answer {name}"),
        ("events", _, _) => format!("event {}", text("/reason")),
        (plural, method, _) => format!("{} {plural} {name}", method.to_lowercase()).trim_end().to_owned(),
    })
}
