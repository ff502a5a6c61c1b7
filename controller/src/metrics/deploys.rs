//! What became of versions, and how long it took: what the four figures of DORA are made of.
//!
//! In: what each written status told. Out: histograms, and for each Release how often it came to which end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bascule_core::story::{Ending, Happening, Outcome, Restorer};
use bascule_crds::GateStage;
use jiff::SignedDuration;
use prometheus::{Error, HistogramVec, IntCounterVec};

use super::{fleet::Labels, maker::Maker};
use crate::queue::Key;

/// A switch is over in a moment, a bake takes minutes, a migration an hour.
const DEPLOYS: [f64; 14] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0];
/// From a commit to its users: a minute, or the next working day.
const LEADS: [f64; 14] =
    [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0, 604_800.0];
/// A switch back takes a moment, to notice takes a day.
const RESTORES: [f64; 14] =
    [0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 28_800.0, 86_400.0];

/// Who took a bad version away.
const RESTORERS: [&str; 2] = ["automatic", "person"];

#[derive(Debug)]
pub(super) struct Deploys {
    steps: HistogramVec,
    releases: HistogramVec,
    leads: HistogramVec,
    restores: HistogramVec,
    gates: IntCounterVec,
    ends: Mutex<BTreeMap<Key, Ends>>,
    /// Namespaces and environments that have histograms of their own.
    places: Mutex<BTreeSet<(String, String)>>,
}

/// Of one Release: its environment, and how often each end has come.
type Ends = (String, BTreeMap<Outcome, u64>);

impl Deploys {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, Error> {
        Ok(Self {
            steps: make.histograms(
                "bascule_step_duration_seconds",
                "How long a step of a release took",
                &["environment", "step"],
                &DEPLOYS,
            )?,
            releases: make.histograms(
                "bascule_release_duration_seconds",
                "From the start of a candidate to its end",
                &["environment", "outcome"],
                &DEPLOYS,
            )?,
            leads: make.histograms(
                "bascule_lead_time_seconds",
                "From the write of the parameter, else from the start, to all traffic",
                &["namespace", "environment"],
                &LEADS,
            )?,
            restores: make.histograms(
                "bascule_time_to_restore_seconds",
                "From a bad version's traffic to a good one's",
                &["namespace", "environment", "how"],
                &RESTORES,
            )?,
            gates: make.counters(
                "bascule_gate_results_total",
                "Gates that came to their end",
                &["environment", "stage", "result"],
            )?,
            ends: Mutex::default(),
            places: Mutex::default(),
        })
    }

    pub(super) fn told(&self, key: &Key, environment: &str, happening: &Happening) {
        match happening {
            Happening::Began => self.begins(key, environment),
            Happening::Passed { step, took } => {
                self.steps.with_label_values(&[environment, step.as_str()]).observe(secs(*took));
            }
            Happening::Gated { stage, passed } => {
                let stage = if *stage == GateStage::BeforeSwitch { "BeforeSwitch" } else { "AfterSwitch" };
                self.gates.with_label_values(&[environment, stage, if *passed { "Passed" } else { "Failed" }]).inc();
            }
            Happening::Arrived { lead } => {
                self.is_at(key, environment);
                self.leads.with_label_values(&[key.namespace.as_str(), environment]).observe(secs(*lead));
            }
            Happening::Restored { by, took } => {
                self.is_at(key, environment);
                let [automatic, person] = RESTORERS;
                let how = if *by == Restorer::Automatic { automatic } else { person };
                self.restores.with_label_values(&[key.namespace.as_str(), environment, how]).observe(secs(*took));
            }
            Happening::Ended(ending) => {
                let Ending { outcome, candidate, at, .. } = ending.as_ref();
                let took = secs(at.duration_since(candidate.started_at));
                self.releases.with_label_values(&[environment, outcome.as_str()]).observe(took);
                self.end(key, environment, Some(*outcome));
            }
        }
    }

    /// From here on everything that may come of it is shown as 0, so that the first of each is an increase.
    pub(super) fn begins(&self, key: &Key, environment: &str) {
        self.end(key, environment, None);
        self.is_at(key, environment);
        let _ = self.leads.with_label_values(&[key.namespace.as_str(), environment]);
        for how in RESTORERS {
            let _ = self.restores.with_label_values(&[key.namespace.as_str(), environment, how]);
        }
    }

    fn end(&self, key: &Key, environment: &str, outcome: Option<Outcome>) {
        let mut ends = locked(&self.ends);
        let (known, counts) = ends.entry(key.clone()).or_default();
        if known != environment {
            environment.clone_into(known);
        }
        if let Some(outcome) = outcome {
            *counts.entry(outcome).or_default() += 1;
        }
    }

    fn is_at(&self, key: &Key, environment: &str) {
        locked(&self.places).insert((key.namespace.clone(), environment.to_owned()));
    }

    /// Nothing is told of Releases that are gone, nor of namespaces without any: there may be one for each pull request.
    pub(super) fn keep_only(&self, keys: &[Key]) {
        let known: BTreeSet<_> = keys.iter().collect();
        locked(&self.ends).retain(|key, _| known.contains(key));
        let namespaces: BTreeSet<_> = keys.iter().map(|key| key.namespace.as_str()).collect();
        let is_there = |(namespace, _): &(String, String)| namespaces.contains(namespace.as_str());
        let mut places = locked(&self.places);
        for (namespace, environment) in places.iter().filter(|place| !is_there(place)) {
            let _ = self.leads.remove_label_values(&[namespace, environment]);
            for how in RESTORERS {
                let _ = self.restores.remove_label_values(&[namespace, environment, how]);
            }
        }
        places.retain(is_there);
    }

    pub(super) fn outcomes(&self, text: &mut String) {
        const NAME: &str = "bascule_release_outcomes_total";
        let _ = writeln!(text, "# HELP {NAME} How often a candidate came to this end\n# TYPE {NAME} counter");
        // Whoever has a version that came to its end waits for the copy, and not for the text.
        let ends = locked(&self.ends).clone();
        for (key, (environment, counts)) in &ends {
            for outcome in Outcome::ALL {
                let count = counts.get(&outcome).copied().unwrap_or(0);
                let _ = writeln!(text, "{NAME}{{{},outcome=\"{}\"}} {count}", Labels { key, environment }, outcome.as_str());
            }
        }
    }
}

/// Counts stay right where somebody who held them has panicked.
fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock may have been set back.
fn secs(took: SignedDuration) -> f64 {
    took.as_secs_f64().max(0.0)
}
