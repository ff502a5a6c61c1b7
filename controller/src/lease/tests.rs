//! Contenders against a server, under paused time: who leads when, and that it is never two.

mod server;

use std::sync::{Mutex, atomic::AtomicUsize};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use server::{Server, Way};

const LEASE: &str = "the-lease";

/// A wall clock that is as wrong as the test wants it.
#[derive(Debug)]
struct Skewed(SignedDuration, Instant);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.1.elapsed()).unwrap();
        Timestamp::from_second(1_780_000_000).unwrap() + self.0 + passed
    }
}

struct Replica {
    name: &'static str,
    leadership: Leadership,
    contender: Contender,
    task: JoinHandle<()>,
    news: Arc<Mutex<Vec<News>>>,
}

impl Replica {
    fn start(server: &Server, name: &'static str) -> Self {
        Self::with_clock(server, name, SignedDuration::ZERO)
    }

    fn with_clock(server: &Server, name: &'static str, skew: SignedDuration) -> Self {
        let settings = Settings { namespace: "ns".into(), name: LEASE.into(), identity: name.into(), times: Times::default() };
        let leadership = Leadership::contended();
        let news = Arc::new(Mutex::new(Vec::new()));
        let heard = news.clone();
        let (contender, task) = contend(
            settings,
            Wiring {
                client: server.client(name),
                clock: Arc::new(Skewed(skew, Instant::now())),
                metrics: Metrics::new(&crate::Meters::new().unwrap()).unwrap(),
                leadership: leadership.clone(),
                seed: 1,
                warm: std::future::ready(()),
                tell: move |turn| heard.lock().unwrap().push(turn),
            },
        );
        Self { name, leadership, contender, task: tokio::spawn(task), news }
    }

    fn leads(&self) -> bool {
        self.leadership.leads_now()
    }

    /// Without another word.
    fn crash(self) {
        self.task.abort();
    }

    fn news(&self) -> Vec<News> {
        self.news.lock().unwrap().clone()
    }
}

/// Looks every 10 ms that at most one leads, until the test ends.
fn never_two(replicas: &[&Replica]) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let all: Vec<_> = replicas.iter().map(|replica| (replica.name, replica.leadership.clone())).collect();
    let looks = Arc::new(AtomicUsize::new(0));
    let count = looks.clone();
    let task = tokio::spawn(async move {
        loop {
            let leaders: Vec<_> = all.iter().filter(|(_, leadership)| leadership.leads_now()).map(|(name, _)| name).collect();
            assert!(leaders.len() <= 1, "two lead at once: {leaders:?}");
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            sleep(Duration::from_millis(10)).await;
        }
    });
    (looks, task)
}

/// How long until it holds; at most 20 s.
async fn until(holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s");
        sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `a` leads, `b` is its standby.
async fn pair(server: &Server) -> (Replica, Replica) {
    let a = Replica::start(server, "a");
    until(|| a.leads()).await;
    let b = Replica::start(server, "b");
    sleep(Duration::from_secs(2)).await;
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_together_one_leads_and_stays() {
    let server = Server::with_lease();
    let (a, b) = (Replica::start(&server, "a"), Replica::start(&server, "b"));
    let (looks, never) = never_two(&[&a, &b]);
    let took = until(|| a.leads() || b.leads()).await;
    assert!(took < ms(100), "a Lease of nobody is taken at once: {took:?}");
    let holder = server.holder();
    let before = server.writes();
    sleep(Duration::from_secs(80)).await;
    assert_eq!(server.holder(), holder);
    assert_eq!(a.news().len() + b.news().len(), 1, "one gain, and nothing after it");
    let renewals = server.writes() - before;
    assert!((95..=102).contains(&renewals), "one small write each 0.8 s, and none by the standby: {renewals}");
    assert!(!never.is_finished() && looks.load(std::sync::atomic::Ordering::Relaxed) > 7_000);
}

#[tokio::test(start_paused = true)]
async fn handing_over_takes_a_few_round_trips() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    let (_, never) = never_two(&[&a, &b]);
    let leadership = a.leadership.clone();
    let start = Instant::now();
    a.contender.resign(true).await;
    assert!(!leadership.leads_now());
    until(|| b.leads()).await;
    assert!(start.elapsed() < ms(100), "{:?}", start.elapsed());
    assert_eq!((server.holder().as_str(), server.lease()["spec"]["leaseTransitions"].as_i64()), ("b", Some(2)));
    assert!(!never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn in_memory_first_and_then_the_lease() {
    let server = Server::with_lease();
    let (a, _b) = pair(&server).await;
    let leadership = a.leadership.clone();
    let resigning = tokio::spawn(a.contender.resign(true));
    until(|| !leadership.leads_now()).await;
    assert_eq!(server.holder(), "a", "whoever looks now finds the Lease still held");
    assert_eq!(*a.news.lock().unwrap(), [News::Gained, News::Lost]);
    resigning.await.unwrap();
    assert_ne!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn what_is_still_on_its_way_is_not_handed_over() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    let leadership = a.leadership.clone();
    a.contender.resign(false).await;
    assert!(!leadership.leads_now());
    assert_eq!(server.holder(), "a", "it runs out by itself");
    let took = until(|| b.leads()).await;
    assert!((ms(3_000)..ms(4_100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_over_within_five_seconds_whenever_it_comes() {
    for after in (0..2_000).step_by(83) {
        let server = Server::with_lease();
        let (a, b) = pair(&server).await;
        sleep(ms(after)).await;
        a.crash();
        let took = until(|| b.leads()).await;
        assert!((ms(3_000)..ms(4_100)).contains(&took), "crash after {after} ms: {took:?}");
        b.crash();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    let (_, never) = never_two(&[&a, &b]);
    server.way("a", Way::Cut);
    let stopped = until(|| !a.leads()).await;
    assert!((ms(1_600)..=ms(2_500)).contains(&stopped), "{stopped:?}");
    let taken = stopped + until(|| b.leads()).await;
    assert!((ms(3_000)..ms(4_100)).contains(&taken), "{taken:?}");
    sleep(Duration::from_secs(3)).await;
    server.way("a", Way::Open);
    sleep(Duration::from_secs(30)).await;
    assert!(b.leads() && !a.leads());
    assert_eq!((a.news(), b.news()), (vec![News::Gained, News::Lost], vec![News::Gained]));
    assert!(!never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_nothing_stops_and_is_leader_again_when_it_hears() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    let (_, never) = never_two(&[&a, &b]);
    server.way("a", Way::Deaf);
    until(|| !a.leads()).await;
    server.way("a", Way::Open);
    let took = until(|| a.leads() || b.leads()).await;
    assert!(took < ms(5_000), "{took:?}");
    assert!(!never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_a_moment_costs_nothing() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    server.way("a", Way::Failing);
    server.way("b", Way::Failing);
    sleep(ms(1_500)).await;
    server.way("a", Way::Open);
    server.way("b", Way::Open);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((a.news(), b.news()), (vec![News::Gained], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_long_ends_in_one_leader() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    let (_, never) = never_two(&[&a, &b]);
    server.way("a", Way::Failing);
    server.way("b", Way::Failing);
    until(|| !a.leads()).await;
    sleep(Duration::from_secs(60)).await;
    assert!(!a.leads() && !b.leads());
    server.way("a", Way::Open);
    server.way("b", Way::Open);
    let took = until(|| a.leads() || b.leads()).await;
    assert!(took < ms(1_000), "{took:?}");
    sleep(Duration::from_secs(20)).await;
    assert!(a.leads() != b.leads() && !never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_standby_whose_watch_shows_nothing_disturbs_nobody_and_still_takes_over() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    server.way("b", Way::Blind);
    sleep(Duration::from_secs(40)).await;
    assert!(a.leads() && !b.leads());
    assert!((8..=12).contains(&server.conflicts()), "one failed attempt for each length: {}", server.conflicts());
    a.crash();
    let took = until(|| b.leads()).await;
    assert!(took < ms(8_200), "at worst twice the length: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn wrong_clocks_mean_nothing() {
    let server = Server::with_lease();
    let year = SignedDuration::from_hours(24 * 365);
    let a = Replica::with_clock(&server, "a", year);
    until(|| a.leads()).await;
    let b = Replica::with_clock(&server, "b", -year);
    let (_, never) = never_two(&[&a, &b]);
    sleep(Duration::from_secs(20)).await;
    assert!(a.leads() && !b.leads());
    a.crash();
    let took = until(|| b.leads()).await;
    assert!((ms(3_000)..ms(4_100)).contains(&took), "{took:?}");
    assert!(!never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_two_creators_conflict_and_one_leads() {
    let server = Server::default();
    let (a, b) = (Replica::start(&server, "a"), Replica::start(&server, "b"));
    let (_, never) = never_two(&[&a, &b]);
    let took = until(|| a.leads() || b.leads()).await;
    assert!((ms(4_000)..ms(4_100)).contains(&took), "{took:?}");
    assert_eq!(server.conflicts(), 1);
    sleep(Duration::from_secs(20)).await;
    assert!(a.leads() != b.leads() && !never.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_put_back_by_its_leader() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    server.delete();
    until(|| server.holder() == "a").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!((a.news(), b.news()), (vec![News::Gained], vec![]));
}

#[tokio::test(start_paused = true)]
async fn another_hand_that_takes_the_lease_away_is_obeyed() {
    let server = Server::with_lease();
    let (a, b) = pair(&server).await;
    server.edit(&json!({"metadata": {"labels": {"team": "platform"}}, "spec": {"holderIdentity": "somebody", "renewTime": "2026-01-01T00:00:00.000000Z"}}));
    let took = until(|| !a.leads()).await;
    assert!(took < ms(50), "{took:?}");
    let took = until(|| a.leads() || b.leads()).await;
    assert!((ms(3_900)..ms(4_100)).contains(&took), "nobody renews it: {took:?}");
    assert_eq!(server.lease()["metadata"]["labels"]["team"], "platform", "and what is beside it stays");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_has_not_read_everything_does_not_contend() {
    let server = Server::with_lease();
    let (warm, is_warm) = oneshot::channel::<()>();
    let leadership = Leadership::contended();
    let settings = Settings { namespace: "ns".into(), name: LEASE.into(), identity: "cold".into(), times: Times::default() };
    let (_contender, task) = contend(
        settings,
        Wiring {
            client: server.client("cold"),
            clock: Arc::new(Skewed(SignedDuration::ZERO, Instant::now())),
            metrics: Metrics::new(&crate::Meters::new().unwrap()).unwrap(),
            leadership: leadership.clone(),
            seed: 1,
            warm: async move {
                let _ = is_warm.await;
            },
            tell: |_| {},
        },
    );
    tokio::spawn(task);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(server.writes(), 0);
    warm.send(()).unwrap();
    assert!(until(|| leadership.leads_now()).await < ms(50));
}
