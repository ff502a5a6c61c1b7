//! Every alert of charts/bascule/files/alerts.yaml once, end to end: something is really wrong, the real controller tells of it, a real
//! Prometheus finds it out by the chart's own rules, and a real Alertmanager has it, with a link to a page that exists. Then the cause is
//! mended, and it ends by itself.
//!
//! `hack/testbed up --name e2e-fake --aws --prometheus`. The stories run one after the other: the controllers of one of them are all that
//! is scraped. What each rule says in detail is the matter of hack/alerts. `BasculeWakeUpOverlooked` is a mistake of the controller by
//! definition, so nobody can provoke it: it is tested there alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]
#![allow(clippy::print_stderr, reason = "figures are for whoever runs it")]

mod watch;

use std::{cell::RefCell, collections::BTreeSet, fs, process::Command, time::Duration};

use bascule_tests::{Bed, Controller, bed};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};
use watch::Watch;

mod alerts {
    mod controllers;
    mod releases;
    mod sources;

    /// What the stories provoke.
    pub(crate) const PROVOKED: [&[&str]; 3] = [releases::PROVOKES, sources::PROVOKES, controllers::PROVOKES];
}

/// Not provoked here: see above.
const LEFT_TO_HACK_ALERTS: &[&str] = &["BasculeWakeUpOverlooked"];

/// Minutes that are in an expression itself. A window stays longer than a scrape (1 s here) and a few; nothing else of a rule is touched.
const SHORTER: &[(&str, &str)] = &[("[3m]", "[4s]"), ("[5m]", "[10s]"), ("> 180", "> 2"), ("> 30", "> 1")];

/// No story here has gates, an event queue or a collector of traces.
const NOT_SHOWN: &[&str] =
    &["bascule_gate_results_total", "bascule_gate_samples_total", "bascule_hints_total", "bascule_traces_total"];

/// For a scrape, an evaluation and Alertmanager, after whatever was provoked.
const PATIENCE: Duration = Duration::from_secs(60);

/// One story at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What the stories so far have shown; the last of them looks at all.
static SCRAPES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Prometheus and Alertmanager, for one story.
struct Scene {
    bed: Bed,
    watch: Watch,
    provokes: &'static [&'static str],
    fired: RefCell<BTreeSet<String>>,
    ended: RefCell<BTreeSet<String>>,
    began: Instant,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    async fn begin(provokes: &'static [&'static str]) -> Self {
        let alone = ALONE.lock().await;
        let bed = Bed::named("e2e-fake");
        let watch = Watch::begin(&bed, SHORTER);
        let (fired, ended, began) = (RefCell::default(), RefCell::default(), Instant::now());
        Self { bed, watch, provokes, fired, ended, began, _alone: alone }
    }

    /// Nobody is told anything.
    async fn quiet(&self) {
        self.until("nobody is told anything", || self.watch.active().is_empty().then_some(()), || self.all()).await;
    }

    async fn fires(&self, name: &str, labels: &[(&str, &str)]) -> Value {
        let began = Instant::now();
        let alert = self.until(&format!("{name} {labels:?}"), || self.watch.fires(name, labels), || self.all()).await;
        watch::has_a_runbook(&alert);
        let summary = alert["annotations"]["summary"].as_str().unwrap();
        assert!(!summary.is_empty() && !summary.contains("{{") && !summary.contains("<no value>"), "{summary}");
        eprintln!("fires: {name} {labels:?} after {:.1} s: {summary}", began.elapsed().as_secs_f64());
        self.fired.borrow_mut().insert(name.to_owned());
        alert
    }

    async fn ends(&self, name: &str, labels: &[(&str, &str)]) {
        let began = Instant::now();
        let gone = || self.watch.fires(name, labels).is_none().then_some(());
        self.until(&format!("{name} {labels:?} is over"), gone, || self.all()).await;
        eprintln!("over:  {name} {labels:?} after {:.1} s", began.elapsed().as_secs_f64());
        self.ended.borrow_mut().insert(name.to_owned());
    }

    fn all(&self) -> String {
        let active: Vec<_> = self.watch.active().iter().map(|alert| alert["labels"].to_string()).collect();
        active.join("\n")
    }

    async fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>, instead: impl Fn() -> String) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}; instead:\n{}", instead());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the story promises has come, and gone.
    fn end(self) {
        let promised: BTreeSet<_> = self.provokes.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!((&*self.fired.borrow(), &*self.ended.borrow()), (&promised, &promised));
        let scrapes = SCRAPES.lock().unwrap().clone();
        if scrapes.len() == alerts::PROVOKED.len() {
            agrees(&self.bed, &scrapes);
        }
        self.watch.end(&self.bed);
        eprintln!("{} alerts came and went in {} s", promised.len(), self.began.elapsed().as_secs());
    }
}

/// What a story shows at this moment, for [`agrees`].
fn scraped(controller: &Controller) {
    let answer = controller.get("/metrics").unwrap();
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    let mut scrapes = SCRAPES.lock().unwrap();
    let file = bed::root().join(format!("target/e2e-logs/alerts-{}.metrics", scrapes.len()));
    fs::write(&file, text).unwrap();
    // Names, units and help, as Prometheus' own people want them.
    let lint = Command::new("promtool").args(["check", "metrics"]).stdin(fs::File::open(&file).unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&lint.stderr).into_owned() + &String::from_utf8_lossy(&lint.stdout);
    assert!(lint.status.success() && said.is_empty(), "{said}");
    scrapes.push(file.to_string_lossy().into_owned());
}

/// What alerts and dashboards use is in what the stories have shown, as docs/metrics.md lists it; and Prometheus answers whatever the
/// dashboards ask.
fn agrees(bed: &Bed, scrapes: &[String]) {
    let except = NOT_SHOWN.iter().map(|name| format!("--except={name}"));
    let arguments: Vec<_> = ["metrics".to_owned()].into_iter().chain(scrapes.iter().cloned()).chain(except).collect();
    eprint!("{}", hack_alerts(&arguments));

    let place = bed.variable("BASCULE_PROMETHEUS").trim_start_matches("http://");
    let queries = hack_alerts(&["queries".to_owned()]);
    for query in queries.lines() {
        let quoted: String = query.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect();
        let answer = watch::ask(place, "GET", &format!("/api/v1/query?query={quoted}"));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.0 200") && body["status"] == "success", "{query}\n{answer}");
    }
    eprintln!("  {} queries of the dashboards are answered", queries.lines().count());
    assert!(queries.lines().count() > 20, "{queries}");
}

fn hack_alerts(arguments: &[String]) -> String {
    let output = Command::new(bed::root().join("hack/alerts")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A new alert cannot be forgotten.
#[test]
fn every_alert_is_provoked() {
    let text = fs::read_to_string(bed::root().join("charts/bascule/files/alerts.yaml")).unwrap();
    let file: Value = serde_yaml_ng::from_str(&text).unwrap();
    let rules = file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let all: BTreeSet<_> = rules.filter_map(|rule| rule["alert"].as_str()).collect();
    let here: BTreeSet<_> = alerts::PROVOKED.into_iter().flatten().chain(LEFT_TO_HACK_ALERTS).copied().collect();
    assert_eq!(here, all);
}
