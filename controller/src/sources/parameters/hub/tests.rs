//! The hub under paused time, with a Parameter Store that counts.

use std::collections::BTreeSet;

use futures::{FutureExt as _, future::BoxFuture};

use bascule_core::{Answer, Parameter};

use super::*;

#[derive(Default)]
struct Counting {
    calls: Mutex<Vec<usize>>,
    names: Mutex<BTreeMap<ParameterName, usize>>,
    trouble: Mutex<Option<SourceError>>,
    /// Version, and what somebody who asks for its author is told.
    version: Mutex<i64>,
    author: Mutex<Option<Result<Option<String>, SourceError>>>,
    authors: Mutex<usize>,
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
            let version = *self.version.lock().unwrap();
            let parameter = || Parameter { value: "web:v1".into(), version, secure: false, modified_at: None, modified_by: None };
            Ok(Batch { found: names.iter().map(|name| (name.clone(), parameter())).collect(), ..Batch::default() })
        }
        .boxed()
    }

    fn author<'a>(&'a self, _: &'a Scope, _: &'a ParameterName, _: i64) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        *self.authors.lock().unwrap() += 1;
        let said = self.author.lock().unwrap().clone().unwrap_or(Ok(None));
        async move { said }.boxed()
    }
}

fn question(name: &str) -> ParameterQuestion {
    ParameterQuestion { name: ParameterName::parse(name).unwrap(), followed: None }
}

struct Scene {
    hub: ParameterHub<usize>,
    store: Arc<Counting>,
    told: Arc<Mutex<Vec<usize>>>,
    heard: Arc<Mutex<Vec<Swept>>>,
}

const EVERY: Duration = Duration::from_secs(15);

impl Scene {
    fn new() -> Self {
        let (store, told) = (Arc::new(Counting::default()), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (began, tell, hear) = (Instant::now(), told.clone(), heard.clone());
        let hub = ParameterHub::new(Wiring {
            store: store.clone(),
            now: Arc::new(move || Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(began.elapsed()).unwrap()),
            fraction: Arc::new(|| 1.0),
            changed: Arc::new(move |key| tell.lock().unwrap().push(key)),
            swept: Arc::new(move |swept| hear.lock().unwrap().push(swept)),
        });
        Self { hub, store, told, heard }
    }

    fn ask(&self, key: usize, names: impl IntoIterator<Item = String>) -> Parameters {
        let wanted = names.into_iter().enumerate().map(|(n, name)| (format!("a{n}"), question(&name)));
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
    let swept = |heard: &Swept| matches!(heard, Swept { calls: 300, parameters: 3_000, took } if took.as_secs() >= 58);
    sleep(Duration::from_millis(300)).await;
    assert!(scene.heard.lock().unwrap().iter().any(swept), "and metrics say so");
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

#[tokio::test(start_paused = true)]
async fn a_hint_brings_the_next_answer_at_once_and_nobody_elses() {
    let scene = Scene::new();
    scene.ask(1, ["/shop/web".to_owned()]);
    scene.ask(2, ["/shop/api".to_owned()]);
    sleep(Duration::from_secs(1)).await;
    let before = scene.calls();
    *scene.store.version.lock().unwrap() = 2;
    scene.hub.hint("/shop/nobody");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.calls(), before);
    for _ in 0..50 {
        scene.hub.hint("/shop/web");
    }
    scene.told.lock().unwrap().clear();
    sleep(Duration::from_millis(100)).await;
    assert_eq!((scene.calls(), scene.told.lock().unwrap().as_slice()), (before + 1, &[1][..]));
}

#[tokio::test(start_paused = true)]
async fn who_wrote_it_is_told_with_it_and_whoever_may_not_know_is_not_asked_again() {
    let scene = Scene::new();
    *scene.store.author.lock().unwrap() = Some(Ok(Some("arn:aws:iam::1:user/ci".into())));
    let author = |scene: &Scene| match scene.ask(1, ["/shop/web".to_owned()]).remove("a0") {
        Some(Answer::Known(Some(parameter))) => parameter.modified_by,
        other => panic!("{other:?}"),
    };
    scene.ask(1, ["/shop/web".to_owned()]);
    sleep(EVERY * 3).await;
    assert_eq!((author(&scene).as_deref(), *scene.store.authors.lock().unwrap()), (Some("arn:aws:iam::1:user/ci"), 1));
    *scene.store.author.lock().unwrap() = Some(Err(SourceError::Denied("not authorized".into())));
    for version in 2..10 {
        *scene.store.version.lock().unwrap() = version;
        sleep(EVERY).await;
    }
    assert_eq!((author(&scene), *scene.store.authors.lock().unwrap()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn the_roles_of_an_account_share_its_pace_and_another_account_has_its_own() {
    let calls = async |accounts: [&str; 2]| {
        let scene = Scene::new();
        for (key, account) in accounts.into_iter().enumerate() {
            let role = format!("arn:aws:iam::{account}:role/r{key}");
            let scope = Scope { role_arn: Some(role), region: Some("us-east-1".into()), ..Scope::default() };
            let wanted = (0..500).map(|n| (format!("a{n}"), question(&format!("/shop/r{key}/p{n}"))));
            scene.hub.ask(&key, &scope, EVERY, &wanted.collect());
        }
        sleep(Duration::from_secs(4)).await;
        scene.calls()
    };
    let (same, apart) = (calls(["1", "1"]).await, calls(["1", "2"]).await);
    assert!((20..=26).contains(&same) && (40..=52).contains(&apart), "{same} {apart}");
}
