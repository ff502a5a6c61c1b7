//! What Prometheus is told. One room for the library, so that it can be exchanged. Labels are bounded: never the name of an object.

use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
    histogram_opts, opts,
};

use crate::{queue::Lane, sources::parameters::Told};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    requests: IntCounterVec,
    depth: IntGauge,
    waited: HistogramVec,
    watch_events: IntCounterVec,
    watch_errors: IntCounterVec,
    objects: IntGaugeVec,
    events_dropped: IntCounter,
    notes: IntCounterVec,
    leader: IntGauge,
    turns: IntCounterVec,
    overlooked: IntCounter,
    parameters: IntCounterVec,
    sweeps: Histogram,
    sweep_calls: IntCounter,
    watched_parameters: IntGauge,
    hints: IntCounterVec,
    lookups: IntCounterVec,
    queue_calls: IntCounterVec,
    gate_samples: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(opts!(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let decisions = counters("bascule_decisions_total", "Decisions by what they did", &["action"])?;
        let requests = counters("bascule_api_requests_total", "Requests to the API server", &["verb", "code"])?;
        let watch_events = counters("bascule_watch_events_total", "Events of the watches", &["kind"])?;
        let watch_errors = counters("bascule_watch_errors_total", "Failures of the watches", &["kind"])?;
        let notes = counters(
            "bascule_notes_total",
            "What happened to releases: started, switched, settled, rejected and so on",
            &["kind"],
        )?;
        let depth = IntGauge::new("bascule_queue_depth", "Releases that wait for a decision")?;
        let events_dropped = IntCounter::new("bascule_events_dropped_total", "Events for people that could not be written")?;
        let objects = IntGaugeVec::new(opts!("bascule_cached_objects", "Objects in the cache"), &["kind"])?;
        let buckets = vec![0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
        let waited = HistogramVec::new(
            histogram_opts!("bascule_queue_wait_seconds", "How long a Release waited for a worker", buckets),
            &["lane"],
        )?;
        let leader = IntGauge::new("bascule_is_leader", "1 in the one replica that writes")?;
        let turns = counters("bascule_leader_turns_total", "How often this replica has gained or lost leadership", &["turn"])?;
        let overlooked = IntCounter::new(
            "bascule_overlooked_total",
            "Releases with work due that only the resync found: more than 0 is a mistake in the controller",
        )?;
        let parameters = counters("bascule_parameter_calls_total", "Calls of Parameter Store", &["outcome"])?;
        let lookups = counters("bascule_lookups_total", "Questions about images and archives", &["kind", "outcome"])?;
        let hints = counters("bascule_hints_total", "Events of AWS that were heard, by what they are about", &["kind"])?;
        let queue_calls = counters("bascule_hint_queue_calls_total", "Questions to the queue of events", &["outcome"])?;
        let gate_samples = counters("bascule_gate_samples_total", "Questions of gates, by what they said", &["kind", "verdict"])?;
        let sweeps = Histogram::with_opts(histogram_opts!(
            "bascule_parameter_sweep_seconds",
            "How long it took to read all parameters of one scope once",
            vec![0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0]
        ))?;
        let sweep_calls = IntCounter::new(
            "bascule_parameter_sweep_calls_total",
            "Calls of whole sweeps: divided by the count of bascule_parameter_sweep_seconds, those of one",
        )?;
        let watched_parameters = IntGauge::new("bascule_parameters", "Parameters in the sweep that ended last")?;
        registry.register(Box::new(sweeps.clone()))?;
        registry.register(Box::new(sweep_calls.clone()))?;
        registry.register(Box::new(watched_parameters.clone()))?;
        registry.register(Box::new(overlooked.clone()))?;
        registry.register(Box::new(leader.clone()))?;
        registry.register(Box::new(depth.clone()))?;
        registry.register(Box::new(events_dropped.clone()))?;
        registry.register(Box::new(objects.clone()))?;
        registry.register(Box::new(waited.clone()))?;
        Ok(Self {
            registry,
            decisions,
            requests,
            depth,
            waited,
            watch_events,
            watch_errors,
            objects,
            events_dropped,
            notes,
            leader,
            turns,
            overlooked,
            parameters,
            sweeps,
            sweep_calls,
            watched_parameters,
            hints,
            lookups,
            queue_calls,
            gate_samples,
        })
    }

    pub(crate) fn decided(&self, action: &str) {
        self.decisions.with_label_values(&[action]).inc();
    }

    pub(crate) fn requested(&self, verb: &str, code: &str) {
        self.requests.with_label_values(&[verb, code]).inc();
    }

    pub(crate) fn depth(&self, depth: usize) {
        self.depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn waited(&self, lane: Lane, waited: Duration) {
        self.waited.with_label_values(&[lane.name()]).observe(waited.as_secs_f64());
    }

    pub(crate) fn watched(&self, kind: &str, objects: usize) {
        self.watch_events.with_label_values(&[kind]).inc();
        self.objects.with_label_values(&[kind]).set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    pub(crate) fn watch_failed(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn noted(&self, kind: &str) {
        self.notes.with_label_values(&[kind]).inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.turns.with_label_values(&[if leads { "gained" } else { "lost" }]).inc();
    }

    pub(crate) fn overlooked(&self) {
        self.overlooked.inc();
    }

    pub(crate) fn parameters(&self, told: &Told) {
        match told {
            Told::Called(outcome) => self.parameters.with_label_values(&[outcome]).inc(),
            Told::Swept { took, calls, parameters } => {
                self.sweeps.observe(took.as_secs_f64());
                self.sweep_calls.inc_by(u64::from(*calls));
                self.watched_parameters.set(i64::try_from(*parameters).unwrap_or(i64::MAX));
            }
        }
    }

    pub(crate) fn looked_up(&self, kind: &str, outcome: &str) {
        self.lookups.with_label_values(&[kind, outcome]).inc();
    }

    pub(crate) fn hinted(&self, kind: &str) {
        self.hints.with_label_values(&[kind]).inc();
    }

    pub(crate) fn asked_queue(&self, outcome: &str) {
        self.queue_calls.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn gate_sampled(&self, kind: &str, verdict: &str) {
        self.gate_samples.with_label_values(&[kind, verdict]).inc();
    }

    /// The text that a scrape gets.
    pub(crate) fn text(&self) -> String {
        let mut buffer = Vec::new();
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut buffer);
        String::from_utf8(buffer).unwrap_or_default()
    }
}
