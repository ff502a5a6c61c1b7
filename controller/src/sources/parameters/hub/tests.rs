//! The hub under paused time, with a Parameter Store that counts.

use futures::{FutureExt as _, future::BoxFuture};

use bascule_core::{Answer, Parameter};

use super::*;

#[derive(Default)]
struct Counting {
    calls: Mutex<Vec<usize>>,
    names: Mutex<BTreeMap<ParameterName, usize>>,
    trouble: Mutex<Option<SourceError>>,
}

impl ParameterStore for Counting {
    fn read<'a>(&'a self, _: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        async move {
            sleep(Duration::from_millis(20)).await;
            self.calls.lock().unwrap().push(names.len());
            for name in names {
                *self.names.lock().unwrap().entry(name.clone()).or_default() += 1;
            }
            if let Some(error) = self.trouble.lock().unwrap().clone() {
                return Err(error);
            }
            let parameter = || Parameter { value: "web:v1".into(), version: 1, secure: false, modified_at: None };
            Ok(Batch { found: names.iter().map(|name| (name.clone(), parameter())).collect(), ..Batch::default() })
        }
        .boxed()
    }
}

struct Scene {
    hub: ParameterHub<usize>,
    store: Arc<Counting>,
    told: Arc<Mutex<Vec<usize>>>,
}

const EVERY: Duration = Duration::from_secs(15);

impl Scene {
    fn new() -> Self {
        let (store, told) = (Arc::new(Counting::default()), Arc::new(Mutex::new(Vec::new())));
        let (began, tell) = (Instant::now(), told.clone());
        let hub = ParameterHub::new(Wiring {
            store: store.clone(),
            now: Arc::new(move || Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(began.elapsed()).unwrap()),
            fraction: Arc::new(|| 1.0),
            changed: Arc::new(move |key| tell.lock().unwrap().push(key)),
            counted: Arc::new(|_| ()),
        });
        Self { hub, store, told }
    }

    fn ask(&self, key: usize, names: impl IntoIterator<Item = String>) -> Parameters {
        let wanted = names.into_iter().enumerate().map(|(n, name)| (format!("a{n}"), ParameterName::parse(&name).unwrap()));
        self.hub.ask(&key, &Scope::default(), EVERY, &wanted.collect())
    }

    fn calls(&self) -> usize {
        self.store.calls.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn three_thousand_parameters_of_a_thousand_releases_are_three_hundred_calls_in_a_minute() {
    let scene = Scene::new();
    for key in 0..1_000 {
        scene.ask(key, (0..3).map(|n| format!("/shop/r{key}/p{n}")));
    }
    let began = Instant::now();
    while scene.told.lock().unwrap().iter().collect::<BTreeSet<_>>().len() < 1_000 {
        sleep(Duration::from_millis(50)).await;
    }
    while scene.calls() < 300 {
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    println!("3,000 parameters: {} calls, {} s", scene.calls(), took.as_secs());
    assert!(scene.store.calls.lock().unwrap().iter().all(|names| *names == 10));
    // (300 - a burst of 5) / 5 a second.
    assert!((Duration::from_secs(58)..Duration::from_secs(61)).contains(&took), "{took:?}");
    let answers = scene.ask(7, (0..3).map(|n| format!("/shop/r7/p{n}")));
    assert!(answers.values().all(|answer| matches!(answer, Answer::Known(Some(_)))));
    // The next round follows at the same pace, and no faster.
    sleep(Duration::from_secs(60)).await;
    assert!((595..=605).contains(&scene.calls()), "{}", scene.calls());
    let names = scene.store.names.lock().unwrap();
    assert!(names.len() == 3_000 && names.values().all(|count| (1..=3).contains(count)), "none is left behind");
}

#[tokio::test(start_paused = true)]
async fn what_many_want_is_asked_once_in_a_round() {
    let scene = Scene::new();
    for key in 0..1_000 {
        scene.ask(key, ["/shop/web".to_owned()]);
    }
    sleep(EVERY * 3 + EVERY / 2).await;
    assert_eq!(scene.calls(), 4);
    assert_eq!(scene.told.lock().unwrap().len(), 1_000, "each is told once");
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_of_trouble_are_few_calls_and_told_once() {
    let scene = Scene::new();
    for key in 0..1_000 {
        scene.ask(key, [format!("/shop/r{key}")]);
    }
    sleep(Duration::from_secs(60)).await;
    scene.told.lock().unwrap().clear();
    *scene.store.trouble.lock().unwrap() = Some(SourceError::Unreachable("connection refused".into()));
    let before = scene.calls();
    sleep(Duration::from_secs(600)).await;
    let calls = scene.calls() - before;
    assert!(calls < 30, "{calls} calls");
    assert_eq!(scene.told.lock().unwrap().len(), 1_000);
    scene.told.lock().unwrap().clear();
    *scene.store.trouble.lock().unwrap() = None;
    // The last pause may be a minute, and a round takes 20 s.
    sleep(Duration::from_secs(100)).await;
    assert_eq!(scene.told.lock().unwrap().len(), 1_000, "and that it is over");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_asks_any_more_nobody_is_asked() {
    let scene = Scene::new();
    scene.ask(1, ["/shop/web".to_owned()]);
    sleep(Duration::from_secs(1)).await;
    scene.hub.forget(&1);
    let before = scene.calls();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(scene.calls(), before);
}
