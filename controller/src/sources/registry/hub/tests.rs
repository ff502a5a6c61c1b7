//! The hub under paused time, with a registry that is a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bascule_core::image::{Digest, Reference};
use bascule_core::sources::{Scope, Wish};
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::*;

type Key = &'static str;

/// Answers from its script, one for each attempt; when it is used up, the tag is resolved.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Digest, LookupError>>>,
    takes: Duration,
    swallows: Option<&'static str>,
    per_namespace: bool,
    asked: Mutex<Vec<(Duration, String)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    start: Mutex<Option<Instant>>,
}

impl Fetch for Script {
    fn describe<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        Box::pin(async move {
            let since = self.start.lock().unwrap().get_or_insert_with(Instant::now).elapsed();
            self.asked.lock().unwrap().push((since, question.to_string()));
            let _running = Running::enter(self);
            if self.swallows.is_some_and(|registry| registry == question.registry) {
                std::future::pending::<()>().await;
            }
            sleep(self.takes).await;
            self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(digest())).map(Described::from)
        })
    }

    fn reads_pull_secrets(&self) -> bool {
        self.per_namespace
    }
}

/// Counts attempts that run at the same time, also those that are dropped.
struct Running<'a>(&'a Script);

impl<'a> Running<'a> {
    fn enter(script: &'a Script) -> Self {
        let now = script.running.fetch_add(1, Ordering::SeqCst) + 1;
        script.most.fetch_max(now, Ordering::SeqCst);
        Self(script)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Script {
    fn answers(answers: impl IntoIterator<Item = Result<Digest, LookupError>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    /// When it was asked, in whole seconds since the first time.
    fn times(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|(time, _)| time.as_secs()).collect()
    }
}

struct Scene {
    hub: RegistryHub<Key>,
    script: Arc<Script>,
    told: UnboundedReceiver<Key>,
    attempts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

fn scene(script: Script) -> Scene {
    let script = Arc::new(script);
    let (tell, told) = unbounded_channel();
    let attempts = Arc::new(Mutex::new(BTreeMap::new()));
    let count = attempts.clone();
    let start = Instant::now();
    *script.start.lock().unwrap() = Some(start);
    let wiring = Wiring {
        fetch: Arc::new(Answering(Arc::clone(&script) as Arc<dyn Fetch>)),
        now: Arc::new(move || Timestamp::UNIX_EPOCH + start.elapsed()),
        fraction: Arc::new(|| 0.0),
        changed: Arc::new(move |key| {
            let _ = tell.send(key);
        }),
        counted: Arc::new(move |outcome| *count.lock().unwrap().entry(outcome).or_insert(0) += 1),
    };
    let per_namespace = script.per_namespace;
    Scene { hub: RegistryHub::new(wiring, per_namespace), script, told, attempts }
}

fn digest() -> Digest {
    Digest::from_sha256([7; 32])
}

fn image(text: &str) -> ImageRequest {
    ImageRequest {
        reference: Reference::parse(text).unwrap(),
        access: Access::of_pods("shop", [], None),
        aws: Scope::default(),
        wish: Wish::Digest,
        written: 0,
    }
}

fn resolved() -> Answer {
    Answer::Found(digest().into())
}

fn refused() -> LookupError {
    LookupError::Unreachable { what: "ghcr.io cannot be reached: connection refused".into(), retry_after: None }
}

impl Scene {
    fn ask(&self, key: Key, images: &[&str]) -> Vec<Answer> {
        self.hub.ask(&key, &images.iter().map(|text| image(text)).collect::<Vec<_>>())
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_later_and_stays() {
    let mut scene = scene(Script::default());
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [Answer::Pending]);
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [resolved()]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [resolved()]);
    assert_eq!(scene.script.times(), [0]);
    // Whoever still asks has no use for this answer: there may be a better one by now.
    sleep(Duration::from_secs(600)).await;
    assert!((4..=8).contains(&scene.script.times().len()), "{:?}", scene.script.times());
}

#[tokio::test(start_paused = true)]
async fn a_reference_with_a_digest_is_answered_at_once_and_asks_nobody() {
    let scene = scene(Script::default());
    let text = format!("ghcr.io/shop/web:v1@{}", digest());
    assert_eq!(scene.ask("web", &[&text]), [resolved()]);
    sleep(Duration::from_secs(60)).await;
    assert!(scene.script.times().is_empty());
}

#[tokio::test(start_paused = true)]
async fn spellings_and_askers_of_one_image_share_one_lookup() {
    let mut scene = scene(Script { takes: Duration::from_secs(1), ..Script::default() });
    scene.ask("web", &["nginx:1", "docker.io/library/nginx:1"]);
    scene.ask("api", &["index.docker.io/library/nginx:1"]);
    let mut told = [scene.told.recv().await.unwrap(), scene.told.recv().await.unwrap()];
    told.sort_unstable();
    assert_eq!(told, ["api", "web"]);
    assert_eq!(scene.ask("web", &["nginx:1", "docker.io/library/nginx:1"]), [resolved(), resolved()]);
    assert_eq!(scene.script.times().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn namespaces_share_answers_only_where_no_pull_secrets_are_read() {
    for (per_namespace, lookups) in [(true, 2), (false, 1)] {
        let scene = scene(Script { per_namespace, ..Script::default() });
        for (key, namespace) in [("a", "shop"), ("b", "bank")] {
            let access = Access::of_pods(namespace, ["regcred".to_owned()], None);
            scene.hub.ask(&key, &[ImageRequest { access, ..image("ghcr.io/shop/web:v1") }]);
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(scene.script.times().len(), lookups);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_with_growing_pauses_and_told_once() {
    let mut scene = scene(Script::answers((0..9).map(|_| Err(refused()))));
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    assert_eq!(scene.told.recv().await, Some("web"));
    sleep(Duration::from_secs(100)).await;
    let since = Timestamp::UNIX_EPOCH;
    let failed = Answer::Failed { why: refused().to_string(), category: "Unreachable", transient: true, since };
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [failed]);
    assert_eq!(scene.told.try_recv().ok(), None);

    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [resolved()]);
    assert_eq!(scene.script.times(), [0, 2, 6, 14, 30, 62, 126, 246, 366, 486]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_pushed_later_is_found_without_anybody_asking_again() {
    let gone = LookupError::NotFound { repository: "ghcr.io/shop/web".into(), tag: "v1".into() };
    let mut scene = scene(Script::answers([Err(gone.clone()), Err(gone)]));
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    assert_eq!(scene.told.recv().await, Some("web"));
    assert!(matches!(
        scene.ask("web", &["ghcr.io/shop/web:v1"])[..],
        [Answer::Failed { transient: false, category: "NotFound", .. }]
    ));
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v1"]), [resolved()]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_for_a_pause_is_left_alone_by_everybody() {
    let throttled = LookupError::Throttled { registry: "ghcr.io".into(), retry_after: Some(Duration::from_secs(30)) };
    let scene = scene(Script::answers([Err(throttled)]));
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    sleep(Duration::from_secs(1)).await;
    scene.ask("api", &["ghcr.io/shop/api:v1"]);
    scene.ask("db", &["quay.io/shop/db:v1"]);
    sleep(Duration::from_secs(60)).await;
    let asked = scene.script.asked.lock().unwrap().iter().map(|(time, what)| (time.as_secs(), what.clone())).collect::<Vec<_>>();
    assert_eq!(asked[0], (0, "ghcr.io/shop/web:v1".into()));
    assert_eq!(asked[1], (1, "quay.io/shop/db:v1".into()));
    assert_eq!(asked[2..].iter().map(|(time, _)| *time).collect::<Vec<_>>(), [30, 30]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_gets_no_answer_ends_at_its_deadline() {
    let mut scene = scene(Script { swallows: Some("ghcr.io"), ..Script::default() });
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    assert_eq!(scene.told.recv().await, Some("web"));
    let why = "no answer about ghcr.io/shop/web:v1 within 10 s".to_owned();
    let since = Timestamp::from_second(10).unwrap();
    assert_eq!(
        scene.ask("web", &["ghcr.io/shop/web:v1"]),
        [Answer::Failed { why, category: "Unreachable", transient: true, since }]
    );
}

#[tokio::test(start_paused = true)]
async fn never_more_than_eight_lookups_run_and_a_dead_registry_does_not_take_them_all() {
    let script = Script { swallows: Some("dead.example"), takes: Duration::from_millis(100), ..Script::default() };
    let scene = scene(script);
    let images = |registry: &str| (0..40).map(|n| format!("{registry}/shop/web:v{n}")).collect::<Vec<_>>();
    let all: Vec<String> = images("dead.example").into_iter().chain(images("a.example")).chain(images("b.example")).collect();
    scene.ask("web", &all.iter().map(String::as_str).collect::<Vec<_>>());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.script.most.load(Ordering::SeqCst), 8);
    let counts = scene.hub.counts();
    assert_eq!((counts.found, counts.pending), (80, 40));
    assert_eq!(*scene.attempts.lock().unwrap(), BTreeMap::from([("Found", 80)]));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_any_more_is_not_looked_up_any_more() {
    let scene = scene(Script { swallows: Some("ghcr.io"), ..Script::default() });
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    sleep(Duration::from_secs(1)).await;
    scene.hub.forget(&"web");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(scene.script.times(), [0]);
    assert_eq!(scene.script.running.load(Ordering::SeqCst), 0);
    assert_eq!(scene.hub.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_moves_on_to_another_tag_lets_go_of_the_former_one() {
    let mut scene = scene(Script::default());
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.ask("web", &["ghcr.io/shop/web:v2"]), [Answer::Pending]);
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.hub.counts().found, 1);
}

#[tokio::test(start_paused = true)]
async fn with_the_hub_its_lookups_end() {
    let scene = scene(Script { swallows: Some("ghcr.io"), ..Script::default() });
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    sleep(Duration::from_secs(1)).await;
    let Scene { hub, script, .. } = scene;
    drop(hub);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(script.running.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&script), 1);
}

fn watched(text: &str) -> ImageRequest {
    ImageRequest { wish: Wish::Watch, ..image(text) }
}

#[tokio::test(start_paused = true)]
async fn a_pinned_tag_is_looked_at_once_in_a_while_and_told_when_it_moves() {
    let moved = Digest::from_sha256([8; 32]);
    let mut scene = scene(Script::answers([Ok(digest()), Ok(digest()), Ok(moved.clone())]));
    let request = [watched("ghcr.io/shop/web:v1")];
    assert_eq!(scene.hub.ask(&"web", &request), [Answer::Pending]);
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.told.recv().await, Some("web"));
    assert_eq!(scene.hub.ask(&"web", &request), [Answer::Found(moved.into())]);
    let times = scene.script.times();
    assert!(times.len() == 3 && times[2] - times[1] >= 600, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hint_looks_at_what_is_watched_or_missing_at_once() {
    let gone = || LookupError::NotFound { repository: "ghcr.io/shop/web".into(), tag: "v1".into() };
    let mut scene = scene(Script::answers([Err(gone()), Err(gone()), Err(gone()), Err(gone()), Err(gone())]));
    scene.ask("web", &["ghcr.io/shop/web:v1"]);
    assert_eq!(scene.told.recv().await, Some("web"));
    sleep(Duration::from_secs(40)).await;
    let before = scene.script.times().len();
    scene.hub.hint("shop/web", Some("v2"));
    scene.hub.hint("shop/other", None);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(scene.script.times().len(), before);
    scene.hub.hint("shop/web", Some("v1"));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(scene.script.times().len(), before + 1);
    assert_eq!(scene.told.recv().await, Some("web"), "and it is there");
}

#[tokio::test(start_paused = true)]
async fn a_pointer_that_is_written_again_is_looked_up_again() {
    let mut scene = scene(Script::default());
    for written in 1..=3 {
        let request = [ImageRequest { written, ..image("ghcr.io/shop/web:v1") }];
        assert_eq!(scene.hub.ask(&"web", &request), [Answer::Pending]);
        assert_eq!(scene.told.recv().await, Some("web"));
        assert_eq!(scene.hub.ask(&"web", &request), [resolved()]);
    }
    assert_eq!(scene.script.times(), [0, 0, 0]);
}
