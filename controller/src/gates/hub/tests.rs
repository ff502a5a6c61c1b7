//! The hub under paused time, with sessions that do as they are told.

use std::collections::BTreeSet;

use bascule_core::gate::{HttpAsk, PrometheusAsk, Target, WebhookAsk};
use bascule_crds::{GateStage, Method};
use futures::future::BoxFuture;
use jiff::SignedDuration;
use tokio::time::sleep;

use super::*;

/// What a session does in each sample; the last one again and again.
#[derive(Clone, Debug)]
enum Does {
    Says(Verdict),
    Takes(u64, Verdict),
    NeedsFirst(u64),
    HasNowhereToAsk,
    Panics,
    PanicsFirst,
}

#[derive(Default)]
struct Seen {
    opened: usize,
    /// When a sample began, in milliseconds, and of which gate.
    began: Vec<(u64, String)>,
    now: usize,
    most: usize,
}

struct Scripted {
    scripts: Mutex<BTreeMap<String, Vec<Does>>>,
    seen: Arc<Mutex<Seen>>,
    start: Instant,
}

struct Script {
    name: String,
    does: Vec<Does>,
    seen: Arc<Mutex<Seen>>,
    start: Instant,
}

impl Asks for Scripted {
    fn open(&self, _: &Key, probe: &Probe) -> Box<dyn Session> {
        self.seen.lock().unwrap().opened += 1;
        let name = probe.id.name.clone();
        let mut does = self.scripts.lock().unwrap().get(&name).cloned().unwrap_or_else(|| vec![Does::Says(Verdict::Pass)]);
        does.reverse();
        Box::new(Script { name, does, seen: self.seen.clone(), start: self.start })
    }
}

/// Counts down also when it is dropped on the way.
struct Inside(Arc<Mutex<Seen>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.lock().unwrap().now -= 1;
    }
}

impl Session for Script {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), String>> {
        let next = self.does.last().cloned();
        async move {
            match next {
                Some(Does::NeedsFirst(seconds)) => sleep(Duration::from_secs(seconds)).await,
                Some(Does::HasNowhereToAsk) => return Err("nobody is there".to_owned()),
                Some(Does::PanicsFirst) => panic!("on purpose"),
                _ => {}
            }
            Ok(())
        }
        .boxed()
    }

    fn sample(&mut self, _: Instant) -> BoxFuture<'_, Verdict> {
        let next = if self.does.len() > 1 { self.does.pop() } else { self.does.last().cloned() };
        let inside = {
            let mut seen = self.seen.lock().unwrap();
            seen.began.push((u64::try_from(self.start.elapsed().as_millis()).unwrap(), self.name.clone()));
            seen.now += 1;
            seen.most = seen.most.max(seen.now);
            Inside(self.seen.clone())
        };
        async move {
            let _inside = inside;
            match next {
                Some(Does::Says(verdict)) => verdict,
                Some(Does::Takes(seconds, verdict)) => {
                    sleep(Duration::from_secs(seconds)).await;
                    verdict
                }
                Some(Does::Panics) => panic!("on purpose"),
                _ => Verdict::Pass,
            }
        }
        .boxed()
    }
}

type History = Vec<(u64, String)>;

struct Scene {
    gates: Gates,
    asks: Arc<Scripted>,
    told: Arc<Mutex<History>>,
    counted: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    fn new(scripts: &[(&str, Vec<Does>)]) -> Self {
        let start = Instant::now();
        let scripts = scripts.iter().map(|(name, does)| ((*name).to_owned(), does.clone())).collect();
        let asks = Arc::new(Scripted { scripts: Mutex::new(scripts), seen: Arc::default(), start });
        let (told, counted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (tell, count) = (told.clone(), counted.clone());
        let gates = Gates::new(Wiring {
            ask: asks.clone(),
            now: Arc::new(move || Timestamp::UNIX_EPOCH + SignedDuration::try_from(start.elapsed()).unwrap()),
            changed: Arc::new(move |key: Key| {
                tell.lock().unwrap().push((u64::try_from(start.elapsed().as_millis()).unwrap(), key.name));
            }),
            counted: Arc::new(move |kind, verdict| count.lock().unwrap().push(format!("{kind} {verdict}"))),
        });
        Self { gates, asks, told, counted }
    }

    fn began(&self, name: &str) -> Vec<u64> {
        let seen = self.asks.seen.lock().unwrap();
        seen.began.iter().filter(|(_, of)| of == name).map(|(at, _)| *at).collect()
    }

    /// Passes, failures and the last verdict of the only one that was sampled.
    fn only(&self) -> (u32, u32, Verdict) {
        let samples = self.gates.samples(&web());
        let [one] = samples.as_slice() else { panic!("{samples:?}") };
        (one.passes, one.failures, one.last.clone())
    }

    fn most_at_once(&self) -> usize {
        self.asks.seen.lock().unwrap().most
    }
}

fn key(name: &str) -> Key {
    Key { namespace: "shop".into(), name: name.into() }
}

fn web() -> Key {
    key("web")
}

fn http() -> Ask {
    Ask::Http(HttpAsk {
        to: Target::Service { name: "web".into(), port: 80 },
        tls: false,
        method: Method::Get,
        path: "/".into(),
        headers: BTreeMap::new(),
        body: None,
        expect: "status == 200".into(),
    })
}

fn prometheus(address: &str) -> Ask {
    let query = PrometheusAsk {
        address: address.into(),
        secret: None,
        query: "up".into(),
        expect: "value == 1".into(),
        door: bascule_core::gate::Door::default(),
    };
    Ask::Prometheus(query)
}

fn probe_of(name: &str, ask: Ask) -> Probe {
    let id = ProbeId {
        revision: "abc".into(),
        attempt: Timestamp::UNIX_EPOCH,
        stage: GateStage::BeforeSwitch,
        name: name.into(),
        question: String::new(),
    };
    Probe { id, ask, every: SignedDuration::from_secs(5), within: SignedDuration::from_secs(3) }
}

fn probe(name: &str) -> Probe {
    probe_of(name, http())
}

async fn after(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

fn fail() -> Verdict {
    Verdict::Fail("no".into())
}

fn unknown() -> Verdict {
    Verdict::Unknown("hm".into())
}

#[tokio::test(start_paused = true)]
async fn the_first_sample_is_taken_at_once_and_the_next_one_an_interval_after_its_start() {
    let scene = Scene::new(&[("smoke", vec![Does::Takes(2, Verdict::Pass)])]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    assert!(scene.gates.samples(&web()).is_empty(), "nothing is known before a sample is through");
    after(11.0).await;
    assert_eq!(scene.began("smoke"), [0, 5_000, 10_000]);
    assert_eq!(scene.only(), (2, 0, Verdict::Pass));
    assert_eq!(scene.gates.samples(&web())[0].at, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn samples_that_take_longer_than_the_interval_follow_each_other_and_never_overlap() {
    let scene = Scene::new(&[("slow", vec![Does::Takes(12, Verdict::Pass)])]);
    scene.gates.want(&web(), vec![Probe { within: SignedDuration::from_secs(20), ..probe("slow") }]);
    after(30.0).await;
    assert_eq!((scene.began("slow"), scene.most_at_once()), (vec![0, 12_000, 24_000], 1));
}

#[tokio::test(start_paused = true)]
async fn passes_count_in_a_row_and_failures_in_all() {
    let says = |verdict: &Verdict| Does::Says(verdict.clone());
    let story = [
        (Verdict::Pass, (1, 0)),
        (Verdict::Pass, (2, 0)),
        (unknown(), (0, 0)),
        (Verdict::Pass, (1, 0)),
        (fail(), (0, 1)),
        (Verdict::Pass, (1, 1)),
        (fail(), (0, 2)),
        (unknown(), (0, 2)),
    ];
    let scene = Scene::new(&[("smoke", story.iter().map(|(verdict, _)| says(verdict)).collect())]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(0.5).await;
    for (verdict, (passes, failures)) in story {
        assert_eq!(scene.only(), (passes, failures, verdict));
        after(5.0).await;
    }
    assert_eq!(scene.counted.lock().unwrap()[..3], ["http pass", "http pass", "http unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_told_of_what_is_new_and_of_nothing_else() {
    let scene =
        Scene::new(&[("smoke", vec![Does::Says(unknown()), Does::Says(unknown()), Does::Says(unknown()), Does::Says(fail())])]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(21.0).await;
    // Unknown for the same reason says nothing new; a failure more does.
    assert_eq!(*scene.told.lock().unwrap(), [(0, "web".into()), (15_000, "web".into()), (20_000, "web".into())]);
}

#[tokio::test(start_paused = true)]
async fn what_is_as_before_goes_on_what_changed_begins_anew_and_what_is_no_longer_wanted_ends() {
    let scene = Scene::new(&[]);
    scene.gates.want(&web(), vec![probe("kept"), probe("changed"), probe("gone")]);
    after(6.0).await;
    let other = Probe { every: SignedDuration::from_secs(60), ..probe("changed") };
    scene.gates.want(&web(), vec![probe("new"), other.clone(), probe("kept")]);
    let counts = || scene.gates.samples(&web()).into_iter().map(|one| (one.id.name, one.passes)).collect::<Vec<_>>();
    assert_eq!(counts(), [("kept".into(), 2)], "what is new has said nothing yet");
    after(5.0).await;
    assert_eq!(counts(), [("changed".into(), 1), ("kept".into(), 3), ("new".into(), 1)], "sorted, and with their own counts");
    assert_eq!(scene.began("gone"), [0, 5_000]);
    assert_eq!(scene.began("changed"), [0, 5_000, 6_000]);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_of_the_same_gate_begins_anew() {
    let scene = Scene::new(&[]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(6.0).await;
    let mut next = probe("smoke");
    next.id.attempt = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60);
    scene.gates.want(&web(), vec![next.clone()]);
    assert!(scene.gates.samples(&web()).is_empty());
    after(0.1).await;
    assert_eq!((scene.gates.samples(&web())[0].id.clone(), scene.only().0), (next.id, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_was_on_its_way_for_an_earlier_probe_is_never_seen() {
    let scene = Scene::new(&[("smoke", vec![Does::Takes(2, fail())])]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(1.0).await;
    scene.asks.scripts.lock().unwrap().insert("smoke".into(), vec![Does::Says(Verdict::Pass)]);
    scene.gates.want(&web(), vec![Probe { every: SignedDuration::from_secs(7), ..probe("smoke") }]);
    after(4.0).await;
    assert_eq!(scene.only(), (1, 0, Verdict::Pass));
    assert_eq!(*scene.told.lock().unwrap(), [(1_000, "web".into())]);
    assert_eq!(*scene.counted.lock().unwrap(), ["http pass"]);
}

#[tokio::test(start_paused = true)]
async fn a_sample_that_has_ended_while_its_probe_was_replaced_is_never_seen() {
    let asks = Scene::new(&[("smoke", vec![Does::Takes(1, fail())])]).asks;
    let (gates, told) = (Arc::new(Mutex::new(None::<Gates>)), Arc::new(Mutex::new(0)));
    let (other_worker, tell) = (gates.clone(), told.clone());
    *gates.lock().unwrap() = Some(Gates::new(Wiring {
        ask: asks,
        // The sample is there and is not counted yet: just now somebody decides anew.
        now: Arc::new(move || {
            let gates = other_worker.lock().unwrap().clone();
            if let Some(gates) = gates {
                gates.want(&web(), vec![Probe { every: SignedDuration::from_secs(7), ..probe("smoke") }]);
            }
            Timestamp::UNIX_EPOCH
        }),
        changed: Arc::new(move |_| *tell.lock().unwrap() += 1),
        counted: Arc::new(|_, _| {}),
    }));
    let ours = gates.lock().unwrap().clone().unwrap();
    ours.want(&web(), vec![probe("smoke")]);
    after(1.5).await;
    assert_eq!((ours.samples(&web()), *told.lock().unwrap()), (Vec::new(), 0));
    after(0.6).await;
    assert_eq!(ours.samples(&web()).len(), 1, "and the new one counts");
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_asked_no_more() {
    let scene = Scene::new(&[("smoke", vec![Does::Takes(2, Verdict::Pass)])]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(1.0).await;
    scene.gates.forget(&web());
    after(60.0).await;
    assert!(scene.gates.samples(&web()).is_empty() && scene.told.lock().unwrap().is_empty());
    assert_eq!((scene.began("smoke"), scene.asks.seen.lock().unwrap().now), (vec![0], 0));
}

#[tokio::test(start_paused = true)]
async fn all_ends_with_the_hub() {
    let scene = Scene::new(&[]);
    scene.gates.want(&web(), vec![probe("smoke")]);
    after(6.0).await;
    let Scene { gates, asks, .. } = scene;
    drop(gates);
    after(60.0).await;
    assert_eq!(asks.seen.lock().unwrap().began.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn releases_without_gates_leave_nothing_behind() {
    let scene = Scene::new(&[]);
    for index in 0..10_000 {
        scene.gates.want(&key(&format!("r{index}")), Vec::new());
    }
    assert!(scene.gates.shared.lock().releases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_bad_answer_of_the_candidate_and_no_answer_of_anybody_else() {
    let never = || vec![Does::Takes(3_600, Verdict::Pass)];
    let scene = Scene::new(&[("pods", never()), ("errors", never())]);
    scene.gates.want(&web(), vec![probe("pods"), probe_of("errors", prometheus("http://p:9090"))]);
    after(3.1).await;
    let verdicts: Vec<_> = scene.gates.samples(&web()).into_iter().map(|one| (one.id.name, one.last)).collect();
    let silence = || "no answer within 3s".to_owned();
    assert_eq!(verdicts, [("errors".into(), Verdict::Unknown(silence())), ("pods".into(), Verdict::Fail(silence()))]);
}

#[tokio::test(start_paused = true)]
async fn time_to_find_out_whom_to_ask_is_not_the_candidates() {
    let scene = Scene::new(&[
        ("late", vec![Does::NeedsFirst(4)]),
        ("never", vec![Does::NeedsFirst(3_600)]),
        ("nobody", vec![Does::HasNowhereToAsk]),
    ]);
    let probes = ["late", "never", "nobody"].map(|name| Probe { within: SignedDuration::from_secs(1), ..probe(name) });
    scene.gates.want(&web(), probes.to_vec());
    after(5.1).await;
    let verdicts: Vec<_> = scene.gates.samples(&web()).into_iter().map(|one| one.last).collect();
    let unknown = |why: &str| Verdict::Unknown(why.to_owned());
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Unknown(unprepared()), unknown("nobody is there")]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_no_answer_and_the_next_sample_begins_afresh() {
    for does in [Does::Panics, Does::PanicsFirst] {
        let scene = Scene::new(&[("smoke", vec![does])]);
        scene.gates.want(&web(), vec![probe("smoke")]);
        after(1.0).await;
        let (0, 0, Verdict::Unknown(why)) = scene.only() else { panic!() };
        assert_eq!(why, "the controller made a mistake while it asked; its log says more");
        scene.asks.scripts.lock().unwrap().clear();
        after(5.0).await;
        assert_eq!((scene.only(), scene.asks.seen.lock().unwrap().opened), ((1, 0, Verdict::Pass), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_team_nor_a_server_takes_all_the_places_and_everybodys_turn_comes() {
    let scene = Scene::new(&[("slow", vec![Does::Takes(2, Verdict::Pass)])]);
    let of = |namespace: &str, index: usize| Key { namespace: namespace.to_owned(), name: format!("{namespace}-{index}") };
    for index in 0..60 {
        scene.gates.want(&of("one", index), vec![probe_of("slow", prometheus(&format!("http://p{index}:9090")))]);
    }
    after(1.0).await;
    assert_eq!(scene.most_at_once(), 16, "of one namespace, however many servers it asks");
    for index in 0..60 {
        scene.gates.want(&of(&format!("ns{}", index % 4), index), vec![probe_of("slow", prometheus("http://shared:9090"))]);
    }
    after(1.0).await;
    assert_eq!(scene.most_at_once(), 16 + 32, "of one server, whoever asks it");
    for index in 0..60 {
        scene
            .gates
            .want(&of(&format!("more{index}"), index), vec![probe_of("slow", prometheus(&format!("http://m{index}:9090")))]);
    }
    after(60.0).await;
    assert_eq!(scene.most_at_once(), 64, "and in all");
    let answered: BTreeSet<_> = scene.told.lock().unwrap().iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(answered.len(), 180);
}

#[tokio::test(start_paused = true)]
async fn time_in_the_queue_is_not_the_candidates() {
    let scene = Scene::new(&[("slow", vec![Does::Takes(2, Verdict::Pass)])]);
    for index in 0..200 {
        scene.gates.want(&key(&format!("r{index}")), vec![probe("slow")]);
    }
    after(40.0).await;
    let counted = scene.counted.lock().unwrap();
    assert!(counted.len() >= 200 && counted.iter().all(|one| one == "http pass"));
}

#[tokio::test(start_paused = true)]
async fn the_same_story_gives_the_same_history() {
    let mut histories = Vec::new();
    for _ in 0..3 {
        let scene = Scene::new(&[("slow", vec![Does::Takes(2, Verdict::Pass)]), ("bad", vec![Does::Says(fail())])]);
        for index in 0..50 {
            scene.gates.want(&key(&format!("r{index}")), vec![probe("slow"), probe("bad"), probe("good")]);
        }
        after(20.0).await;
        histories.push((scene.told.lock().unwrap().clone(), scene.asks.seen.lock().unwrap().began.clone()));
    }
    assert!(histories[0] == histories[1] && histories[1] == histories[2]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_nothing_is_a_second() {
    let scene = Scene::new(&[]);
    scene.gates.want(&web(), vec![Probe { every: SignedDuration::ZERO, ..probe("smoke") }]);
    after(3.5).await;
    assert_eq!(scene.began("smoke"), [0, 1_000, 2_000, 3_000]);
}

#[test]
fn what_shares_places_are_the_pods_of_a_namespace_or_a_server() {
    let webhook = |url: &str| {
        let door = bascule_core::gate::Door::default();
        Ask::Webhook(WebhookAsk { url: url.into(), secret: None, body: serde_json::Value::Null, door })
    };
    let own = Lane::Namespace("shop".to_owned());
    let server = |host: &str| vec![own.clone(), Lane::Server(host.to_owned())];
    assert_eq!(lanes(&web(), &http()), vec![own.clone()]);
    assert_eq!(lanes(&web(), &prometheus("http://Prom.svc:9090/x")), server("prom.svc:9090"));
    assert_eq!(lanes(&web(), &webhook("https://hooks.example.com?x")), server("hooks.example.com"));
}
