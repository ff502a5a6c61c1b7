//! All Releases as the lines of a scrape, written straight from the cache: with ten thousand of them a family of the library would be
//! fifty megabytes of small objects, and this is text.
//!
//! In: one Release after the other. Out: families, each whole and in order. Only the leader shows them, so that sums are right.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::Timestamp;

use crate::{
    queue::Key,
    standing::{Standing, State},
};

/// The three labels that a person needs to find a Release.
pub(crate) struct Labels<'a> {
    pub(crate) key: &'a Key,
    pub(crate) environment: &'a str,
}

impl fmt::Display for Labels<'_> {
    /// All three are names of Kubernetes: nothing in them needs a backslash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: Key { namespace, name }, environment } = self;
        write!(f, r#"namespace="{namespace}",release="{name}",environment="{environment}""#)
    }
}

/// One family: its name, what it means, and its lines so far.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    lines: String,
}

impl Family {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, lines: String::new() }
    }

    fn line(&mut self, labels: &Labels<'_>, more: fmt::Arguments<'_>, value: impl fmt::Display) {
        let _ = writeln!(self.lines, "{}{{{labels}{more}}} {value}", self.name);
    }

    fn time(&mut self, labels: &Labels<'_>, more: fmt::Arguments<'_>, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.line(labels, more, at.as_duration().as_secs_f64());
        }
    }

    fn write(&self, text: &mut String) {
        let Self { name, help, lines } = self;
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
    }
}

/// The Releases of one scrape.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Whether each Release has lines of its own.
    each: bool,
    counts: BTreeMap<State, u64>,
    state: Family,
    condition: Family,
    ready_changed: Family,
    deadline: Family,
    failing: Family,
    success: Family,
    rejection: Family,
}

impl Fleet {
    pub(crate) fn new(each: bool) -> Self {
        Self {
            each,
            counts: State::ALL.into_iter().map(|state| (state, 0)).collect(),
            state: Family::new("bascule_release_state", "Always 1; how the Release stands"),
            condition: Family::new("bascule_release_condition", "Always 1; the condition as it is now"),
            ready_changed: Family::new("bascule_release_ready_changed_timestamp_seconds", "When Ready changed last"),
            deadline: Family::new(
                "bascule_release_deadline_timestamp_seconds",
                "When the present step of a candidate must have come to its end, one way or the other",
            ),
            failing: Family::new(
                "bascule_release_failing_since_timestamp_seconds",
                "Since when requests for it fail, one attempt after the other",
            ),
            success: Family::new(
                "bascule_release_last_success_timestamp_seconds",
                "When the version that settled last was given the traffic",
            ),
            rejection: Family::new(
                "bascule_release_last_rejection_timestamp_seconds",
                "When the version was rejected that users are on, else the wanted one, else the last",
            ),
        }
    }

    pub(crate) fn add(&mut self, labels: &Labels<'_>, standing: &Standing, failing_since: Option<Timestamp>) {
        *self.counts.entry(standing.state).or_default() += 1;
        if !self.each {
            return;
        }
        let none = format_args!("");
        self.state.line(labels, format_args!(r#",state="{:?}""#, standing.state), 1);
        for (kind, status, reason) in &standing.conditions {
            // A reason is a word of ours; what is stored may be anybody's.
            let reason: String = reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            self.condition.line(labels, format_args!(r#",type="{kind:?}",status="{status:?}",reason="{reason}""#), 1);
        }
        self.ready_changed.time(labels, none, standing.ready_changed);
        self.deadline.time(labels, none, standing.deadline);
        self.failing.time(labels, none, failing_since);
        self.success.time(labels, none, standing.success);
        if let Some(rejected) = standing.rejection {
            let more = format_args!(r#",reason="{}",traffic="{}""#, rejected.reason, rejected.traffic.as_str());
            self.rejection.time(labels, more, Some(rejected.at));
        }
    }

    pub(crate) fn write(&self, text: &mut String) {
        text.push_str("# HELP bascule_releases Releases by how they stand\n# TYPE bascule_releases gauge\n");
        for (state, count) in &self.counts {
            let _ = writeln!(text, r#"bascule_releases{{state="{state:?}"}} {count}"#);
        }
        if self.each {
            for family in
                [&self.state, &self.condition, &self.ready_changed, &self.deadline, &self.failing, &self.success, &self.rejection]
            {
                family.write(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bascule_crds::{ConditionStatus, ConditionType, RejectReason};

    use super::*;
    use crate::standing::{Rejected, Traffic};

    fn settled() -> Standing {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        Standing {
            state: State::Settled,
            has_candidate: false,
            conditions: [
                (ConditionType::Ready, ConditionStatus::True, "Settled".into()),
                (ConditionType::Available, ConditionStatus::True, "AllPodsReady".into()),
                (ConditionType::SourcesFresh, ConditionStatus::True, "Fresh".into()),
                (ConditionType::RollbackReady, ConditionStatus::True, "Ready".into()),
            ]
            .into(),
            ready_changed: at("2026-01-05T10:00:00Z"),
            deadline: None,
            success: at("2026-01-05T09:58:30.5Z"),
            rejection: Some(Rejected {
                at: at("2026-01-04T10:00:00Z").unwrap(),
                reason: RejectReason::BakeFailed,
                traffic: Traffic::Had,
            }),
        }
    }

    fn scraped(releases: u32, each: bool) -> String {
        let mut fleet = Fleet::new(each);
        for number in 0..releases {
            let key = Key { namespace: format!("shop-{}", number % 100), name: format!("web-{number}") };
            fleet.add(&Labels { key: &key, environment: "staging" }, &settled(), None);
        }
        let mut text = String::new();
        fleet.write(&mut text);
        text
    }

    #[test]
    fn a_release_is_found_by_three_labels() {
        let text = scraped(1, true);
        for line in [
            r#"bascule_releases{state="Settled"} 1"#,
            r#"bascule_releases{state="Rejected"} 0"#,
            r#"bascule_release_state{namespace="shop-0",release="web-0",environment="staging",state="Settled"} 1"#,
            r#"bascule_release_condition{namespace="shop-0",release="web-0",environment="staging",type="Ready",status="True",reason="Settled"} 1"#,
            r#"bascule_release_last_success_timestamp_seconds{namespace="shop-0",release="web-0",environment="staging"} 1767607110.5"#,
            r#"bascule_release_last_rejection_timestamp_seconds{namespace="shop-0",release="web-0",environment="staging",reason="BakeFailed",traffic="had"} 1767520800"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[test]
    fn ten_thousand_releases_are_eight_series_each_and_nothing_of_short_life() {
        let text = scraped(10_000, true);
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(series.len(), 13 + 10_000 * 8, "one state, four conditions, three times");
        let unique: BTreeSet<_> = series.iter().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect();
        assert_eq!(unique.len(), series.len(), "no series twice");
        let labels: BTreeSet<_> = series
            .iter()
            .filter_map(|line| line.split_once('{')?.1.split_once('}'))
            .flat_map(|(labels, _)| labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name))
            .collect();
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            ["environment", "namespace", "reason", "release", "state", "status", "traffic", "type"]
        );
        assert!(text.len() < 16 << 20, "{} bytes", text.len());
    }

    #[test]
    fn without_lines_of_their_own_there_are_sums() {
        let text = scraped(10_000, false);
        assert!(text.lines().any(|line| line == r#"bascule_releases{state="Settled"} 10000"#));
        assert!(!text.contains("bascule_release_"), "{text}");
    }

    #[test]
    fn a_reason_that_somebody_else_has_written_is_no_line_of_its_own() {
        let mut fleet = Fleet::new(true);
        let key = Key { namespace: "shop".into(), name: "web".into() };
        let strange = Standing {
            conditions: [(ConditionType::Ready, ConditionStatus::False, "a\"} 1\nbascule_is_leader{x=\"".into())].into(),
            ..settled()
        };
        fleet.add(&Labels { key: &key, environment: "" }, &strange, None);
        let mut text = String::new();
        fleet.write(&mut text);
        assert!(!text.contains("\nbascule_is_leader"), "{text}");
    }
}
