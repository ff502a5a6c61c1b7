//! From the end of a candidate to spans. Pure: ids come from what the candidate is, times from its status.

use std::fmt::Write as _;

use bascule_core::{
    story::{Ending, Outcome},
    trace::Trace,
};
use bascule_crds::{Candidate, GateState, Step};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::queue::Key;

/// Whose deploy it was.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) key: &'a Key,
    pub(crate) uid: &'a str,
    pub(crate) environment: &'a str,
    /// What the Release itself names, for when no artifact does.
    pub(crate) trace: Option<Trace>,
}

/// A deploy, or a step of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// The candidate, then its steps.
pub(super) fn of(about: &About<'_>, ending: &Ending) -> Vec<Span> {
    let candidate = &ending.candidate;
    let build = candidate.artifacts.iter().find_map(|artifact| Trace::parse(artifact.trace.as_deref()?));
    let parent = build.or_else(|| about.trace.clone());
    // The attempt, not the revision: a Retry is a deploy of its own.
    let attempt = format!("{} {} {}", about.uid, candidate.revision, candidate.started_at);
    let trace = parent.as_ref().map_or_else(|| id(&attempt, "trace", 32), |parent| parent.trace.clone());
    let root = Span {
        id: id(&attempt, "deploy", 16),
        parent: parent.map(|parent| parent.span),
        name: format!("deploy {}", about.key),
        from: candidate.started_at,
        to: ending.at.max(candidate.started_at),
        attributes: attributes(about, ending),
        failed: failed(ending),
        trace,
    };
    let step = |(step, from, to): (Step, Timestamp, Timestamp)| Span {
        id: id(&attempt, step.as_str(), 16),
        parent: Some(root.id.clone()),
        name: step.as_str().to_owned(),
        trace: root.trace.clone(),
        attributes: gates(candidate, step),
        failed: failed(ending).filter(|_| to == root.to),
        from,
        to,
    };
    let children: Vec<_> = steps(candidate, root.to).into_iter().map(step).collect();
    std::iter::once(root).chain(children).collect()
}

/// Each step that was begun, until the next one or the end.
fn steps(candidate: &Candidate, end: Timestamp) -> Vec<(Step, Timestamp, Timestamp)> {
    let begun = [
        (Step::Preparing, Some(candidate.started_at).filter(|at| candidate.prepared_at != Some(*at))),
        (Step::Starting, candidate.prepared_at),
        (Step::Verifying, candidate.ready_at),
        (Step::Baking, candidate.switched_at),
    ];
    let begun: Vec<_> = begun.into_iter().filter_map(|(step, at)| Some((step, at?.min(end)))).collect();
    let until = begun.iter().skip(1).map(|(_, at)| *at).chain([end]);
    begun.iter().zip(until).map(|((step, from), to)| (*step, *from, to.max(*from))).collect()
}

fn failed(ending: &Ending) -> Option<String> {
    let reason = ending.reason.map(|reason| format!("{reason}: {}", ending.message));
    reason.filter(|_| matches!(ending.outcome, Outcome::Rejected | Outcome::SwitchedBack | Outcome::Kept))
}

fn attributes(about: &About<'_>, ending: &Ending) -> Vec<(&'static str, String)> {
    let candidate = &ending.candidate;
    let first = |of: fn(&bascule_crds::ResolvedArtifact) -> Option<&String>| candidate.artifacts.iter().find_map(of).cloned();
    let said = [
        ("k8s.namespace.name", Some(about.key.namespace.clone())),
        ("bascule.release", Some(about.key.name.clone())),
        ("deployment.environment.name", Some(about.environment.to_owned()).filter(|it| !it.is_empty())),
        ("bascule.revision", Some(candidate.revision.clone())),
        ("bascule.version", Some(candidate.version.clone())),
        ("bascule.track", Some(candidate.track.to_string())),
        ("bascule.outcome", Some(ending.outcome.as_str().to_owned())),
        ("bascule.reason", ending.reason.map(|reason| reason.to_string())),
        ("bascule.returned_by", candidate.rollback.as_ref().and_then(|it| it.by.clone())),
        ("vcs.ref.head.revision", first(|artifact| artifact.commit.as_ref())),
        ("oci.manifest.digest", first(|artifact| artifact.digest.as_ref())),
    ];
    said.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// What became of the gates that were asked in this step.
fn gates(candidate: &Candidate, step: Step) -> Vec<(&'static str, String)> {
    use bascule_crds::GateStage::{AfterSwitch, BeforeSwitch};
    let stage = match step {
        Step::Verifying => BeforeSwitch,
        Step::Baking => AfterSwitch,
        Step::Preparing | Step::Starting | Step::Switching => return Vec::new(),
    };
    let of = |state| {
        let names =
            candidate.gates.iter().filter(|gate| gate.stage == stage && gate.state == state).map(|gate| gate.name.as_str());
        names.collect::<Vec<_>>().join(",")
    };
    let said = [
        ("bascule.gates.passed", of(GateState::Passed)),
        ("bascule.gates.failed", of(GateState::Failed)),
        ("bascule.gates.open", of(GateState::Running)),
    ];
    said.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// So many hexadecimal digits, the same for the same.
fn id(attempt: &str, what: &str, digits: usize) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(format!("{attempt} {what}")) {
        let _ = write!(text, "{byte:02x}");
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use bascule_crds::{RejectReason, ResolvedArtifact, Track};

    use super::*;

    const BUILD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_607_200 + seconds).unwrap()
    }

    fn ended(outcome: Outcome, reason: Option<RejectReason>) -> Ending {
        let artifacts = vec![ResolvedArtifact { trace: Some(BUILD.into()), ..ResolvedArtifact::default() }];
        let candidate = Candidate {
            prepared_at: Some(at(10)),
            ready_at: Some(at(25)),
            switched_at: Some(at(30)),
            ..Candidate::new("r2", "v2", Track::Green, artifacts, at(0))
        };
        Ending { outcome, candidate, reason, message: "errors above 1 %".into(), at: at(90) }
    }

    fn key() -> Key {
        Key { namespace: "shop".into(), name: "web".into() }
    }

    fn about(key: &Key) -> About<'_> {
        About { key, uid: "u", environment: "staging", trace: None }
    }

    #[test]
    fn a_deploy_is_a_span_with_a_child_for_each_step() {
        let spans = of(&about(&key()), &ended(Outcome::Settled, None));
        let seen: Vec<_> = spans.iter().map(|it| (it.name.as_str(), it.from, it.to)).collect();
        assert_eq!(
            seen,
            [
                ("deploy shop/web", at(0), at(90)),
                ("Preparing", at(0), at(10)),
                ("Starting", at(10), at(25)),
                ("Verifying", at(25), at(30)),
                ("Baking", at(30), at(90)),
            ]
        );
        assert!(spans[1..].iter().all(|child| child.parent.as_ref() == Some(&spans[0].id) && child.trace == spans[0].trace));
        assert!(spans.iter().all(|span| span.failed.is_none()));
    }

    #[test]
    fn it_goes_on_with_the_trace_of_its_build() {
        let spans = of(&about(&key()), &ended(Outcome::Settled, None));
        assert_eq!(spans[0].trace, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(spans[0].parent.as_deref(), Some("b7ad6b7169203331"));
    }

    #[test]
    fn the_annotation_counts_where_no_build_says_anything() {
        let mut ending = ended(Outcome::Settled, None);
        ending.candidate.artifacts.clear();
        let annotated = Trace::parse("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01");
        let key = key();
        let spans = of(&About { trace: annotated, ..about(&key) }, &ending);
        assert_eq!((spans[0].trace.as_str(), spans[0].parent.as_deref()), ("a".repeat(32).as_str(), Some("bbbbbbbbbbbbbbbb")));
        let alone = of(&about(&key), &ending);
        assert_eq!((alone[0].trace.len(), alone[0].id.len(), alone[0].parent.as_ref()), (32, 16, None));
        assert_eq!(alone, of(&about(&key), &ending), "whoever sends it again sends the same");
    }

    #[test]
    fn what_failed_says_why_where_it_failed() {
        let spans = of(&about(&key()), &ended(Outcome::SwitchedBack, Some(RejectReason::GateFailed)));
        let failed: Vec<_> = spans.iter().filter(|span| span.failed.is_some()).map(|span| span.name.as_str()).collect();
        assert_eq!(failed, ["deploy shop/web", "Baking"]);
        assert_eq!(spans[0].failed.as_deref(), Some("GateFailed: errors above 1 %"));
        let aborted = of(&about(&key()), &ended(Outcome::Superseded, None));
        assert!(aborted.iter().all(|span| span.failed.is_none()), "to make way is no failure");
    }

    #[test]
    fn a_step_that_was_never_reached_has_no_span() {
        let mut ending = ended(Outcome::Rejected, Some(RejectReason::DeadlineExceeded));
        (ending.candidate.ready_at, ending.candidate.switched_at) = (None, None);
        (ending.candidate.started_at, ending.candidate.prepared_at) = (at(0), Some(at(0)));
        let spans = of(&about(&key()), &ending);
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["deploy shop/web", "Starting"]);
    }
}
