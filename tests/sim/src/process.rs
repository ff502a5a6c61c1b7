//! Controller processes: the production shell under virtual time, started, ended and killed like real ones.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bascule_controller::{
    Controller, Lookout, Settings,
    clock::Clock,
    lease::{self, Settings as Lease, Times},
    told::Told,
};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{network::Line, outside::World, server::Server, stage::NAMESPACE};

/// Work that is due is looked at within this time.
const OVERLOOKED_AFTER: Duration = Duration::from_millis(100);

/// One incarnation of a process, as its surroundings see it.
#[derive(Debug)]
pub struct Life {
    replica: usize,
    number: u64,
    dead: AtomicBool,
    died: Told<bool>,
    task: Mutex<Option<AbortHandle>>,
    cuts: Told<u64>,
    frozen_until: Mutex<Option<Instant>>,
}

impl Life {
    fn new(replica: usize, number: u64) -> Arc<Self> {
        Arc::new(Self {
            replica,
            number,
            dead: AtomicBool::new(false),
            died: Told::new(false),
            task: Mutex::new(None),
            cuts: Told::new(0),
            frozen_until: Mutex::new(None),
        })
    }

    pub fn replica(&self) -> usize {
        self.replica
    }

    /// Who the server thinks it is; also the incarnation, for the history.
    pub fn user(&self) -> String {
        format!("bascule-{}.{}", self.replica, self.number)
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// At once: it takes no further step, and whatever it has sent is on its way.
    pub fn kill(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
            self.died.tell(true);
        }
    }

    pub async fn until_dead(&self) {
        self.died.until(|dead| *dead).await;
    }

    pub fn cuts(&self) -> u64 {
        self.cuts.now()
    }

    /// All watches of it end.
    pub fn cut(&self) {
        self.cuts.tell(self.cuts.now() + 1);
    }

    pub async fn until_cut(&self, known: u64) {
        self.cuts.until(|cuts| *cuts != known).await;
    }

    pub fn is_parted(&self, server: &Server) -> bool {
        let now = u64::try_from(server.elapsed().as_millis()).unwrap_or(0);
        self.replica == 0 && server.inside().faults.parted(now)
    }

    /// It stands still until then: nothing goes in or out.
    pub fn freeze(&self, length: Duration) {
        *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + length);
    }

    pub async fn thaw(&self) {
        let until = *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until.filter(|until| *until > Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The clock of one replica: the run's time, and how far it is off.
#[derive(Clone, Debug)]
struct SkewedClock {
    server: Arc<Server>,
    skew: Arc<AtomicI64>,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let now = self.server.now() + SignedDuration::from_millis(self.skew.load(Ordering::Relaxed));
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// A replica: the same settings, one process after the other.
#[derive(Debug)]
pub struct Replica {
    server: Arc<Server>,
    /// Events of AWS.
    hears: bool,
    number: usize,
    seed: u64,
    elects: bool,
    skew: Arc<AtomicI64>,
    /// By how much its clock has been set, all in all.
    jumped: AtomicU64,
    started: AtomicU64,
    /// Somebody sees to it that it runs.
    wanted: AtomicBool,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    life: Arc<Life>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    lookout: Lookout,
}

impl Replica {
    /// With `elects` it only writes while it holds the Lease.
    pub fn new(server: &Arc<Server>, hears: bool, number: usize, seed: u64, elects: bool) -> Arc<Self> {
        Arc::new(Self {
            server: server.clone(),
            hears,
            number,
            seed,
            elects,
            skew: Arc::new(AtomicI64::new(0)),
            jumped: AtomicU64::new(0),
            started: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            running: Mutex::new(None),
        })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// It is to stay away.
    pub fn unwanted(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// Starts a process, unless one is alive.
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "these settings are ours")]
    pub fn start(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        if self.life().is_some_and(|life| !life.is_dead()) {
            return;
        }
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let life = Life::new(self.number, number);
        let stop = CancellationToken::new();
        let client = bascule_controller::client::over(Line { server: self.server.clone(), life: life.clone() });
        let world = Arc::new(World { server: self.server.clone(), hears: self.hears });
        let settings = Settings {
            namespace: None,
            listen: None,
            meters: None,
            cluster_reads: bascule_controller::ClusterReads::All,
            metrics_per_release: true,
            collector: None,
            registry_credentials: None,
            read_pull_secrets: false,
            plain_http_registries: Vec::new(),
            registries_elsewhere: Vec::new(),
            fetch: Some(world.clone()),
            cloud: Some(world.clone()),
            gates: Some(world),
            lease: self.elects.then(|| Lease {
                namespace: NAMESPACE.to_owned(),
                name: lease::NAME.to_owned(),
                identity: life.user(),
                times: Times::default(),
            }),
            seed: self.seed.wrapping_add(number),
            policy: bascule_core::Policy::default(),
        };
        let clock = Arc::new(SkewedClock { server: self.server.clone(), skew: self.skew.clone() });
        let controller = Controller::new(client, settings, clock).expect("put the controller together");
        let lookout = controller.lookout();
        let until = stop.clone();
        let ending = life.clone();
        let task = tokio::spawn(async move {
            let _ = controller.run(until).await;
            ending.kill();
        });
        *life.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        *self.running() = Some(Running { life, stop, task, lookout });
    }

    pub fn life(&self) -> Option<Arc<Life>> {
        self.running().as_ref().map(|running| running.life.clone())
    }

    /// What is due there and will not even be looked at. Timers were set by the clock as it was.
    pub fn overlooked(&self) -> Vec<String> {
        let patience = OVERLOOKED_AFTER + Duration::from_millis(self.jumped.load(Ordering::Relaxed));
        match &*self.running() {
            Some(running) if !running.life.is_dead() => running.lookout.overlooked(patience),
            _ => Vec::new(),
        }
    }

    pub fn kill(&self) {
        if let Some(life) = self.life() {
            life.kill();
        }
    }

    /// SIGTERM, and wait.
    pub async fn stop(&self) {
        let running = self.running().take();
        if let Some(running) = running {
            running.stop.cancel();
            let _ = running.task.await;
            running.life.kill();
        }
    }

    pub fn jump(&self, millis: i64) {
        self.skew.fetch_add(millis, Ordering::Relaxed);
        self.jumped.fetch_add(millis.unsigned_abs(), Ordering::Relaxed);
    }
}
