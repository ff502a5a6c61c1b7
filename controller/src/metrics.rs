//! What Prometheus is told. One room for the library, so that it can be exchanged.
//!
//! In: facts, from whoever sees them. Out: the text of a scrape. Labels are bounded: the name of a Release is one only where a person needs
//! it ([`fleet`]), and nothing of short life (a version, a pod, a revision) ever is. Never here: a decision, a log.

mod deploys;
pub(crate) mod fleet;
mod maker;
mod meters;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bascule_core::story::Happening;
use jiff::Timestamp;
use prometheus::{
    Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use tokio::time::Instant;

use crate::{
    queue::{Figures, Key, Lane},
    sources::parameters::Swept,
};
use deploys::Deploys;
use maker::Maker;
pub use meters::Meters;

/// From a decision to a slow API server.
const QUICK: [f64; 11] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Once through all parameters of a scope.
const SWEEPS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// The commit that this was built from; the build says so.
const BUILD: &str = match option_env!("BASCULE_BUILD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    deploys: Arc<Deploys>,
    /// Kinds, and until when a watch that has failed and shown nothing since is taken for dead.
    watches: Arc<Mutex<BTreeMap<&'static str, Option<Instant>>>>,
    decisions: IntCounterVec,
    reconciles: Histogram,
    decides: Histogram,
    errors: IntCounterVec,
    depth: IntGaugeVec,
    oldest: prometheus::GaugeVec,
    waited: HistogramVec,
    watch_events: IntCounterVec,
    watch_errors: IntCounterVec,
    watch_restarts: IntCounterVec,
    watch_healthy: IntGaugeVec,
    lag: Histogram,
    objects: IntGaugeVec,
    events_dropped: IntCounter,
    notes: IntCounterVec,
    leader: IntGauge,
    turns: IntCounterVec,
    renewed: prometheus::Gauge,
    overlooked: IntCounter,
    sweeps: Histogram,
    sweep_calls: IntCounter,
    watched_parameters: IntGauge,
    oldest_answer: prometheus::Gauge,
    hints: IntCounterVec,
    lookups: IntCounterVec,
    gate_samples: IntCounterVec,
    traces: IntCounterVec,
}

impl Metrics {
    /// `meters` count since before there was a controller.
    pub(crate) fn new(meters: &Meters) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        meters.register(&registry)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = make.gauges("bascule_build_info", "Always 1; what runs here", &["version", "revision"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), BUILD]).set(1);
        Ok(Self {
            deploys: Arc::new(Deploys::new(&make)?),
            watches: Arc::default(),
            decisions: make.counters("bascule_decisions_total", "Decisions by what they did", &["action"])?,
            reconciles: make.histogram(
                "bascule_reconcile_duration_seconds",
                "One Release, from its turn until there is nothing to do at this moment",
                &QUICK,
            )?,
            decides: make.histogram("bascule_decide_duration_seconds", "One decision, without any request", &QUICK)?,
            errors: make.counters("bascule_errors_total", "What did not work and is tried again, by category", &["category"])?,
            depth: make.gauges("bascule_queue_depth", "Releases that wait for a decision", &["lane"])?,
            oldest: make.seconds("bascule_queue_oldest_seconds", "How long the one that waits longest has waited", &["lane"])?,
            waited: make.histograms("bascule_queue_wait_seconds", "How long a Release waited for a worker", &["lane"], &QUICK)?,
            watch_events: make.counters("bascule_watch_events_total", "Events of the watches", &["kind"])?,
            watch_errors: make.counters("bascule_watch_errors_total", "Failures of the watches", &["kind"])?,
            watch_restarts: make.counters("bascule_watch_restarts_total", "Lists that a watch began with", &["kind"])?,
            watch_healthy: make.gauges(
                "bascule_watch_healthy",
                "0 from a failure of a watch until it shows something, or the next attempt would have failed as well",
                &["kind"],
            )?,
            lag: make.histogram("bascule_cache_lag_seconds", "From the reply to a write until the watch shows it", &QUICK)?,
            objects: make.gauges("bascule_cached_objects", "Objects in the cache", &["kind"])?,
            events_dropped: make.counter("bascule_events_dropped_total", "Events for people that could not be written")?,
            notes: make.counters(
                "bascule_notes_total",
                "What happened to releases: started, switched, settled, rejected and so on",
                &["kind"],
            )?,
            leader: make.gauge("bascule_is_leader", "1 in the one replica that writes")?,
            turns: make.counters(
                "bascule_leader_turns_total",
                "How often this replica has gained or lost leadership",
                &["turn"],
            )?,
            renewed: make.time("bascule_lease_renewed_timestamp_seconds", "When the leader renewed its Lease last")?,
            overlooked: make.counter(
                "bascule_overlooked_total",
                "Releases with work due that only the resync found: more than 0 is a mistake in the controller",
            )?,
            sweeps: make.histogram(
                "bascule_parameter_sweep_seconds",
                "How long it took to read all parameters of one scope once",
                &SWEEPS,
            )?,
            sweep_calls: make.counter(
                "bascule_parameter_sweep_calls_total",
                "Calls of whole sweeps: divided by the count of bascule_parameter_sweep_seconds, those of one",
            )?,
            watched_parameters: make.gauge("bascule_parameters", "Parameters in the sweep that ended last")?,
            oldest_answer: make.time(
                "bascule_parameter_oldest_answer_timestamp_seconds",
                "The oldest answer about a parameter that is gone by; 0 when none is",
            )?,
            hints: make.counters("bascule_hints_total", "Events of AWS that were heard, by what they are about", &["kind"])?,
            lookups: make.counters("bascule_lookups_total", "Questions about images and archives", &["kind", "outcome"])?,
            gate_samples: make.counters(
                "bascule_gate_samples_total",
                "Questions of gates, by what they said",
                &["kind", "verdict"],
            )?,
            traces: make.counters("bascule_traces_total", "Deploys for the collector of traces", &["outcome"])?,
            registry,
        })
    }

    pub(crate) fn decided(&self, action: &str) {
        self.decisions.with_label_values(&[action]).inc();
        if action == "panicked" {
            self.failed("Panicked");
        }
    }

    pub(crate) fn took_to_decide(&self, took: Duration) {
        self.decides.observe(took.as_secs_f64());
    }

    pub(crate) fn reconciled(&self, took: Duration) {
        self.reconciles.observe(took.as_secs_f64());
    }

    pub(crate) fn failed(&self, category: &str) {
        self.errors.with_label_values(&[category]).inc();
    }

    pub(crate) fn waited(&self, lane: Lane, waited: Duration) {
        self.waited.with_label_values(&[lane.name()]).observe(waited.as_secs_f64());
    }

    /// An event of a watch: it works.
    pub(crate) fn watched(&self, kind: &'static str, objects: usize, begins: bool, lags: &[Duration]) {
        self.watch_events.with_label_values(&[kind]).inc();
        self.objects.with_label_values(&[kind]).set(i64::try_from(objects).unwrap_or(i64::MAX));
        if begins {
            self.watch_restarts.with_label_values(&[kind]).inc();
        } else {
            self.watches().insert(kind, None);
        }
        for lag in lags {
            self.lag.observe(lag.as_secs_f64());
        }
    }

    /// Until then the next attempt would have failed as well.
    pub(crate) fn watch_failed(&self, kind: &'static str, until: Instant) {
        self.watch_errors.with_label_values(&[kind]).inc();
        self.watches().insert(kind, Some(until));
    }

    fn watches(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Option<Instant>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn noted(&self, kind: &str) {
        self.notes.with_label_values(&[kind]).inc();
    }

    /// What a written status told.
    pub(crate) fn told(&self, key: &Key, environment: &str, happenings: &[Happening]) {
        for happening in happenings {
            self.deploys.told(key, environment, happening);
        }
    }

    /// It is on its way; somebody else may have begun it.
    pub(crate) fn is_on_its_way(&self, key: &Key, environment: &str) {
        self.deploys.begins(key, environment);
    }

    /// These are all Releases that there are.
    pub(crate) fn keep_only(&self, keys: &[Key]) {
        self.deploys.keep_only(keys);
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        if !leads {
            self.renewed.set(0.0);
        }
        self.turns.with_label_values(&[if leads { "gained" } else { "lost" }]).inc();
    }

    pub(crate) fn renewed(&self, at: Timestamp) {
        self.renewed.set(at.as_duration().as_secs_f64());
    }

    pub(crate) fn overlooked(&self) {
        self.overlooked.inc();
    }

    pub(crate) fn swept(&self, swept: &Swept) {
        let Swept { took, calls, parameters } = swept;
        self.sweeps.observe(took.as_secs_f64());
        self.sweep_calls.inc_by(u64::from(*calls));
        self.watched_parameters.set(i64::try_from(*parameters).unwrap_or(i64::MAX));
    }

    pub(crate) fn looked_up(&self, kind: &str, outcome: &str) {
        self.lookups.with_label_values(&[kind, outcome]).inc();
    }

    pub(crate) fn hinted(&self, kind: &str) {
        self.hints.with_label_values(&[kind]).inc();
    }

    pub(crate) fn gate_sampled(&self, kind: &str, verdict: &str) {
        self.gate_samples.with_label_values(&[kind, verdict]).inc();
    }

    /// So many deploys were sent to the collector, or dropped.
    pub(crate) fn traced(&self, outcome: &str, deploys: usize) {
        self.traces.with_label_values(&[outcome]).inc_by(u64::try_from(deploys).unwrap_or(u64::MAX));
    }

    /// How often each of these Releases came to which end, as the lines of a scrape.
    pub(crate) fn outcomes(&self, text: &mut String) {
        self.deploys.outcomes(text);
    }

    /// The text that a scrape gets, but for the Releases. What is true at this moment is set first.
    pub(crate) fn text(&self, queue: &[(Lane, Figures)], oldest_answer: Option<Timestamp>) -> String {
        self.oldest_answer.set(oldest_answer.map_or(0.0, |at| at.as_duration().as_secs_f64()));
        for (lane, figures) in queue {
            self.depth.with_label_values(&[lane.name()]).set(i64::try_from(figures.depth).unwrap_or(i64::MAX));
            self.oldest.with_label_values(&[lane.name()]).set(figures.oldest.as_secs_f64());
        }
        let now = Instant::now();
        for (kind, dead_until) in self.watches().iter() {
            let healthy = dead_until.is_none_or(|until| until <= now);
            self.watch_healthy.with_label_values(&[kind]).set(i64::from(healthy));
        }
        let mut buffer = Vec::new();
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut buffer);
        String::from_utf8(buffer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics) -> Vec<String> {
        let mut text = metrics.text(&[], None);
        metrics.outcomes(&mut text);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn of<'a>(series: &'a [String], family: &str) -> Vec<&'a String> {
        series.iter().filter(|line| line.starts_with(family)).collect()
    }

    #[test]
    fn ten_thousand_releases_that_were_all_deployed_and_what_remains_when_they_are_gone() {
        let metrics = Metrics::new(&Meters::new().unwrap()).unwrap();
        let none = series(&metrics).len();
        let key = |number: u32| Key { namespace: format!("shop-{}", number % 100), name: format!("web-{number}") };
        let keys: Vec<_> = (0..10_000).map(key).collect();
        for key in &keys {
            metrics.is_on_its_way(key, "staging");
        }
        let all = series(&metrics);
        assert_eq!(of(&all, "bascule_release_outcomes_total").len(), 10_000 * 6);
        // Fourteen buckets, the infinite one, sum and count; of restores twice as many.
        assert_eq!(all.len() - none, 10_000 * 6 + 100 * 17 * 3, "outcomes by Release, histograms by namespace");

        metrics.keep_only(&keys[..1]);
        let left = series(&metrics);
        assert_eq!(left.len() - none, 6 + 17 * 3, "nothing of what is gone");
        assert!(left.iter().all(|line| !line.contains("shop-1")), "{left:?}");
    }

    #[test]
    fn one_that_does_not_lead_has_renewed_nothing() {
        let metrics = Metrics::new(&Meters::new().unwrap()).unwrap();
        metrics.leads(true);
        metrics.renewed(Timestamp::from_second(1_767_607_200).unwrap());
        metrics.leads(false);
        let told = series(&metrics);
        assert_eq!(of(&told, "bascule_lease_renewed_timestamp_seconds"), ["bascule_lease_renewed_timestamp_seconds 0"]);
    }
}
