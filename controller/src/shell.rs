//! What all parts of the shell share, and how they are put together.
//!
//! `watch` and `sources` fill the cache and the queue, `worker` takes keys and asks the core, `execute` writes. Tests drive the very
//! same shell through `kube::Client::new(service)`.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bascule_core::{
    Policy, ReleaseView,
    story::{Happening, story},
};
use bascule_crds::ReleaseStatus;
use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    clock::Clock,
    events::Emitter,
    execute::Gate,
    gates::{self, Asks, Gates},
    http,
    lease::{self, Leadership, News},
    metrics::{Meters, Metrics},
    overlooked::overlooked,
    queue::{Key, Lane, Queue, backoff::Random},
    sources::{
        Cloud, NoCloud, Sources, archives,
        configs::Configs,
        hints,
        lookup::{self, Lookups},
        parameters::{self, ParameterHub},
        registry::{self, CredentialFile, Fetch, KubePullSecrets, PlainHttp, PullSecrets, RegistryClient, RegistryHub, Resolver},
    },
    tasks::Tasks,
    told::Told,
    traces::{About, Collector, Tracer},
    watch::{self, ClusterReads},
    worker,
};

/// Decisions at the same time: each waits for at most a few requests, and a slow one must not hold up the others.
const WORKERS: usize = 16;
/// Every Release is decided about again this often, without a read: to be sure.
const RESYNC: Duration = Duration::from_secs(600);
/// A timer may be so late: the clock may have been set since.
const OVERLOOKED_AFTER: Duration = Duration::from_secs(60);
/// What is in flight when the process is told to end has this long; less than the 30 s after which Kubernetes kills.
const GRACE: Duration = Duration::from_secs(10);

/// What the command line says.
#[derive(Clone)]
pub struct Settings {
    /// Only this namespace.
    pub namespace: Option<String>,
    pub cluster_reads: ClusterReads,
    /// Where health and metrics are served; None: nowhere.
    pub listen: Option<SocketAddr>,
    /// What the clients count with; None: nobody counts.
    pub meters: Option<Meters>,
    /// Whether each Release has lines of its own in a scrape.
    pub metrics_per_release: bool,
    /// Who gets the traces of deploys; None: nobody.
    pub collector: Option<Arc<dyn Collector>>,
    pub registry_credentials: Option<PathBuf>,
    pub read_pull_secrets: bool,
    pub plain_http_registries: Vec<String>,
    /// Who resolves tags; None: the registries themselves, over the network.
    pub fetch: Option<Arc<dyn Fetch>>,
    /// Registries that are reached at another `host[:port]` than their name says.
    pub registries_elsewhere: Vec<(String, String)>,
    /// Who is asked for everything of AWS; None: nobody is, and status says so.
    pub cloud: Option<Arc<dyn Cloud>>,
    /// Who asks for gates; None: the network.
    pub gates: Option<Arc<dyn Asks>>,
    /// None: no election; this is the only process, and it always leads.
    pub lease: Option<lease::Settings>,
    /// For jitter.
    pub seed: u64,
    pub policy: Policy,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("namespace", &self.namespace).field("listen", &self.listen).finish_non_exhaustive()
    }
}

pub(crate) struct Shell {
    pub(crate) client: Client,
    pub(crate) namespace: Option<String>,
    pub(crate) cluster_reads: ClusterReads,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Queue,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_per_release: bool,
    pub(crate) events: Emitter,
    pub(crate) tracer: Tracer,
    pub(crate) sources: Sources,
    pub(crate) gates: Gates,
    pub(crate) policy: Policy,
    pub(crate) leadership: Leadership,
    pub(crate) gate: Gate,
    pub(crate) seed: u64,
    cache: Mutex<Cache>,
    synced: Told<bool>,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Shell {
    /// Never held over an await.
    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_synced(&self) {
        if !self.synced.tell(true) {
            tracing::info!("all watches have been read");
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced.now()
    }

    /// Waits until every watch has been read once: before that most is unknown, and there is nothing to decide.
    pub(crate) async fn until_synced(&self) {
        self.synced.until(|synced| *synced).await;
    }

    /// The caches are warm in every replica. What begins with leadership is work, and with it what a restart would forget.
    fn turned(&self, news: News) {
        match news {
            News::Gained => {
                let work = {
                    let mut cache = self.cache();
                    cache.distrust();
                    cache.work()
                };
                self.queue.open(work);
            }
            News::Lost => {
                self.queue.close();
                // A standby asks nobody.
                let keys = self.cache().keys();
                for key in &keys {
                    self.sources.forget(key);
                    self.gates.forget(key);
                }
            }
        }
    }

    /// A status has been written: those who count are told what it tells.
    pub(crate) fn tell_story(&self, key: &Key, release: &ReleaseView, after: &ReleaseStatus) {
        let told = story(&release.status, after, self.clock.now());
        if told.is_empty() {
            return;
        }
        let (environment, trace) = {
            let cache = self.cache();
            let annotated = cache.releases.get(&key.namespace, &key.name).and_then(|release| release.trace.clone());
            (cache.environment_of(&key.namespace).to_owned(), annotated)
        };
        self.metrics.told(key, &environment, &told);
        let about = About { key, uid: &release.uid, environment: &environment, trace };
        let endings = told.iter().filter_map(|it| if let Happening::Ended(ending) = it { Some(ending) } else { None });
        endings.for_each(|ending| self.tracer.ended(&about, ending));
    }

    /// Caches are complete, and it is not about to end. A standby is ready too: ready to take over.
    pub(crate) fn ready(&self) -> bool {
        self.is_synced() && !self.stopping.load(Ordering::Relaxed)
    }
}

/// The whole of it, put together.
#[derive(Debug)]
pub struct Controller {
    shell: Arc<Shell>,
    lease: Option<lease::Settings>,
    listen: Option<SocketAddr>,
    cloud: Option<Arc<dyn Cloud>>,
    tasks: Tasks,
}

impl Controller {
    pub fn new(client: Client, settings: Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let meters = settings.meters.clone().map_or_else(Meters::new, Ok).context("set up metrics")?;
        let metrics = Metrics::new(&meters).context("set up metrics")?;
        let queue = Queue::new(settings.seed, metrics.clone());
        let tasks = Tasks::new();
        let leadership = match &settings.lease {
            Some(lease) => {
                lease.times.check().map_err(anyhow::Error::msg).context("times of the lease")?;
                Leadership::contended()
            }
            None => Leadership::sole(),
        };
        let events = Emitter::start(client.clone(), metrics.clone(), clock.clone(), &tasks);
        let tracer = Tracer::start(settings.collector.clone(), metrics.clone(), &tasks);
        let shell = Arc::new(Shell {
            sources: sources(&client, &settings, &clock, &queue, &metrics)?,
            gates: gates(&client, &settings, &clock, &queue, &metrics),
            client,
            namespace: settings.namespace,
            cluster_reads: settings.cluster_reads,
            queue,
            metrics,
            metrics_per_release: settings.metrics_per_release,
            events,
            tracer,
            policy: settings.policy,
            gate: Gate::new(leadership.clone()),
            leadership,
            seed: settings.seed,
            cache: Mutex::new(Cache::new(settings.seed, clock.now())),
            clock,
            synced: Told::new(false),
            stopping: AtomicBool::new(false),
        });
        Ok(Self { shell, lease: settings.lease, listen: settings.listen, cloud: settings.cloud, tasks })
    }

    /// Asks from outside, while it runs, for wake-ups that were lost.
    pub fn lookout(&self) -> Lookout {
        Lookout { shell: Arc::downgrade(&self.shell) }
    }

    /// Runs until `stop`, and ends cleanly.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { shell, lease, listen, cloud, tasks } = self;
        // Watches, HTTP and Events go on while the last plans finish.
        let end = CancellationToken::new();
        if let Some(address) = listen {
            http::start(&shell, address, &tasks, &end).await?;
        }
        let contender = contend(&shell, lease, &tasks);
        watch::start(&shell, &tasks, &end);
        let workers = Tasks::new();
        for _ in 0..WORKERS {
            workers.spawn(worker::run(shell.clone(), stop.clone()));
        }
        tasks.spawn(resync(shell.clone(), end.clone()));
        if let Some(queue) = cloud.filter(|cloud| cloud.exists()) {
            tasks.spawn(hints::listen(shell.clone(), queue, stop.clone()));
        }

        stop.cancelled().await;
        tracing::info!("ending: what is in flight is finished first");
        shell.stopping.store(true, Ordering::Relaxed);
        let finished = tokio::time::timeout(GRACE, workers.ended()).await.is_ok();
        if !finished {
            tracing::warn!(
                "some requests were still in flight after {GRACE:?}; the next start continues from what the cluster shows"
            );
        }
        // Not before: while something of ours is on its way, nobody else is invited to write.
        if let Some(contender) = contender {
            contender.resign(finished).await;
        }
        shell.events.close();
        shell.tracer.close();
        end.cancel();
        let _ = tokio::time::timeout(GRACE, tasks.ended()).await;
        Ok(())
    }
}

/// Looks into a running controller, and touches nothing.
#[derive(Clone, Debug)]
pub struct Lookout {
    shell: Weak<Shell>,
}

impl Lookout {
    /// Releases with something to do that nobody will look at within this time, and what it is. There must be none.
    pub fn overlooked(&self, patience: Duration) -> Vec<String> {
        let Some(shell) = self.shell.upgrade() else { return Vec::new() };
        if shell.stopping.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let keys = shell.cache().keys();
        let found = |key: &Key| Some(format!("{key}: {}", overlooked(&shell, key, patience)?));
        keys.iter().filter_map(found).collect()
    }
}

/// With an election work begins when it is won, without one at once.
fn contend(shell: &Arc<Shell>, settings: Option<lease::Settings>, tasks: &Tasks) -> Option<lease::Contender> {
    let Some(settings) = settings else {
        shell.metrics.leads(true);
        shell.turned(News::Gained);
        return None;
    };
    let (warm, told) = (shell.clone(), shell.clone());
    let (contender, task) = lease::contend(
        settings,
        lease::Wiring {
            client: shell.client.clone(),
            clock: shell.clock.clone(),
            metrics: shell.metrics.clone(),
            leadership: shell.leadership.clone(),
            seed: shell.seed,
            warm: async move { warm.until_synced().await },
            tell: move |news| told.turned(news),
        },
    );
    tasks.spawn(task);
    Some(contender)
}

fn sources(
    client: &Client,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    queue: &Queue,
    metrics: &Metrics,
) -> anyhow::Result<Sources> {
    let fetch = match &settings.fetch {
        Some(fetch) => fetch.clone(),
        None => Arc::new(resolver(client, settings)?),
    };
    let random = Arc::new(Mutex::new(Random::new(settings.seed)));
    let fraction: Arc<dyn Fn() -> f64 + Send + Sync> =
        Arc::new(move || f64::from(random.lock().unwrap_or_else(PoisonError::into_inner).below(1_000)) / 1_000.0);
    let (clock, queue, metrics) = (clock.clone(), queue.clone(), metrics.clone());
    let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || clock.now());
    let changed: Arc<dyn Fn(Key) + Send + Sync> = Arc::new(move |key| queue.push(key, Lane::Parameter));
    let counted = |kind: &'static str| -> Arc<dyn Fn(&'static str) + Send + Sync> {
        let metrics = metrics.clone();
        Arc::new(move |outcome| metrics.looked_up(kind, outcome))
    };
    let images = RegistryHub::new(
        lookup::Wiring {
            now: now.clone(),
            fraction: fraction.clone(),
            changed: changed.clone(),
            fetch: Arc::new(registry::Answering(fetch.clone())),
            counted: counted("image"),
        },
        fetch.reads_pull_secrets(),
    );
    let cloud = settings.cloud.clone().unwrap_or_else(|| Arc::new(NoCloud));
    let archives = Lookups::new(lookup::Wiring {
        now: now.clone(),
        fraction: fraction.clone(),
        changed: changed.clone(),
        fetch: Arc::new(archives::Answering(cloud.clone())),
        counted: counted("archive"),
    });
    let swept = Arc::new(move |swept: parameters::Swept| metrics.swept(&swept));
    let wiring = parameters::Wiring { store: cloud.clone(), now, fraction, changed: changed.clone(), swept };
    let parameters = ParameterHub::new(wiring);
    let configs = Configs::new(client.clone(), changed.clone(), settings.seed);
    Ok(Sources::new(parameters, images, archives, configs, fetch, cloud))
}

fn gates(client: &Client, settings: &Settings, clock: &Arc<dyn Clock>, queue: &Queue, metrics: &Metrics) -> Gates {
    let network = || Arc::new(gates::Network::new(client.clone(), clock.clone())) as Arc<dyn Asks>;
    let (now, queue, metrics) = (clock.clone(), queue.clone(), metrics.clone());
    Gates::new(gates::Wiring {
        ask: settings.gates.clone().unwrap_or_else(network),
        now: Arc::new(move || now.now()),
        // What a gate says may be that traffic must go back.
        changed: Arc::new(move |key| queue.push(key, Lane::Switch)),
        counted: Arc::new(move |kind, verdict| metrics.gate_sampled(kind, verdict)),
    })
}

/// The registries themselves.
fn resolver(client: &Client, settings: &Settings) -> anyhow::Result<Resolver> {
    let places = PlainHttp::new(settings.plain_http_registries.clone()).reached_at(settings.registries_elsewhere.clone());
    let registry = RegistryClient::new(places).context("set up the registry client")?;
    let file = settings.registry_credentials.clone().map(CredentialFile::new);
    let secrets = settings.read_pull_secrets.then(|| Arc::new(KubePullSecrets::new(client.clone())) as Arc<dyn PullSecrets>);
    let ecr = settings.cloud.clone().map(|cloud| cloud as Arc<dyn registry::EcrLogins>);
    Ok(Resolver::new(registry, file, secrets).with_ecr(ecr))
}

/// What is due and nobody will look at, also a moment later: what a watch has just shown is pushed right after.
async fn still_overlooked(shell: &Shell, key: &Key) -> Option<String> {
    overlooked(shell, key, OVERLOOKED_AFTER)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    overlooked(shell, key, OVERLOOKED_AFTER)
}

/// Pushes every key once in a while, spread over the whole time so that nothing comes in waves.
async fn resync(shell: Arc<Shell>, end: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = tokio::time::sleep(RESYNC) => {}
        }
        let keys = shell.cache().keys();
        let step = RESYNC / u32::try_from(keys.len().max(1)).unwrap_or(u32::MAX) / 2;
        for key in keys {
            if let Some(due) = still_overlooked(&shell, &key).await {
                tracing::error!(release = %key, due, "this was due, and nobody would have looked: a mistake in the controller; going on now");
                shell.metrics.overlooked();
            }
            // Not by the queue's timers: they are for what is due, and what is only to be sure must stay behind it.
            shell.queue.push(key, Lane::Resync);
            tokio::select! {
                biased;
                () = end.cancelled() => return,
                () = tokio::time::sleep(step) => {}
            }
        }
    }
}
