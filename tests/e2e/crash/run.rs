//! One run of one story: a namespace, a proxy, a controller behind it that is started again whenever it dies, and users.
//!
//! In: the story, the faults, and what the run without faults came to. Out: what this one came to, or what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bascule_crds::{Operation, Release, Step};
use bascule_tests::{
    Bed, Controller,
    controller::Process,
    load::{Load, Tally},
    proxy::{Class, Entry, Fault, Proxy},
    stage::{from, make_environment, service_manifest},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Service},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::crash::{
    gate::Gate,
    sight::{self, Moves, Sight},
    story::{Act, Pods, Story, Want},
};

/// For each Service: enough that a gap of some 20 ms is hit, few enough for two cores with several runs side by side.
const RATE: u32 = 60;
const WORKERS: u32 = 4;
/// Longer than a reply that is held, a restart, pods and a bake together, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing is asked or written before it is over.
const QUIET: Duration = Duration::from_millis(1_200);
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) sight: Sight,
    pub(crate) moves: BTreeMap<String, Vec<String>>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) sent: u64,
    pub(crate) kills: u64,
    pub(crate) took: Duration,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs it and takes it down again, whatever comes of it.
pub(crate) async fn run(bed: &Bed, story: &Story, faults: &[Fault], expected: Option<&Report>) -> Result<Report, String> {
    let began = Instant::now();
    let mut run = Run::begin(bed, story).await?;
    let outcome = run.play(faults, expected).await;
    let kills = *run.proxy.kills().borrow();
    let outcome = match outcome {
        Ok((sight, moves, sent)) => Ok(Report { sight, moves, journal: run.proxy.journal(), sent, kills, took: began.elapsed() }),
        Err(why) => Err(format!("{why}\n{}", run.picture().await)),
    };
    run.end().await;
    outcome
}

struct Run<'a> {
    bed: &'a Bed,
    story: &'a Story,
    namespace: String,
    client: Client,
    proxy: Proxy,
    /// Until it is started.
    controller: Option<Controller>,
    keeper: Option<Keeper>,
    moves: Moves,
    gate: Option<Gate>,
    loads: Vec<Load>,
}

/// Who keeps the controller alive, and how to tell them to end it.
struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<(Controller, u32)>,
}

/// What the cluster shows, where the Services went, and how many requests users have sent.
type Came = (Sight, BTreeMap<String, Vec<String>>, u64);

impl<'a> Run<'a> {
    async fn begin(bed: &'a Bed, story: &'a Story) -> Result<Self, String> {
        let client = bed.admin().await;
        let namespace = format!("crash-{}-{}-{}", story.name, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        make_environment(&client).await;
        let labels = json!({"bascule.dev/environment": "staging", "bascule.dev/e2e": "true"});
        let object: Namespace =
            from(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}));
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.map_err(text)?;
        for service in story.services {
            let manifest = service_manifest(service, &namespace);
            let api = Api::<Service>::namespaced(client.clone(), &namespace);
            api.patch(service, &PatchParams::apply("team"), &Patch::Apply(&manifest)).await.map_err(text)?;
        }
        let moves = Moves::watch(client.clone(), &namespace);
        let process = Process::default();
        let victim = process.clone();
        let proxy = Proxy::start(upstream(bed).await?, Box::new(move || victim.kill())).await;
        let controller = Controller::through(bed, &namespace, &proxy.url(), process);
        let run = Self {
            bed,
            story,
            namespace,
            client,
            proxy,
            controller: Some(controller),
            keeper: None,
            moves,
            gate: None,
            loads: Vec::new(),
        };
        // The first way counts too.
        run.eventually("the watch sees the Services", || run.moves.complete(&run.client, &run.namespace, story)).await?;
        Ok(run)
    }

    async fn play(&mut self, faults: &[Fault], expected: Option<&Report>) -> Result<Came, String> {
        if let Some(want) = self.story.start {
            self.start_the_controller();
            self.want(&want).await?;
            let end = crate::crash::story::End { active: want.version, replicas: want.replicas, rejected: None };
            self.until("the start", |sight| sight::is_over(sight, &end)).await?;
            self.load().await?;
        }
        self.proxy.arm(faults.to_vec());
        if self.story.start.is_none() {
            self.start_the_controller();
        }
        for act in self.story.acts {
            self.act(act).await.map_err(|why| format!("{act:?}: {why}"))?;
        }
        if self.loads.is_empty() {
            self.load().await?;
        }
        let sight = match expected {
            None => self.until("the end", |sight| sight::is_over(sight, &self.story.end)).await?,
            Some(expected) => self.until_same(&expected.sight).await?,
        };
        self.only_the_right_one_answers().await?;
        let moves =
            self.eventually("all moves are seen", || self.moves.complete(&self.client, &self.namespace, self.story)).await?;
        for (service, ways) in &moves {
            let tracks: Vec<_> = ways.iter().map(|way| way.split(' ').next().unwrap_or_default()).collect();
            if tracks != self.story.ways {
                return Err(format!("Service {service} went {tracks:?} instead of {:?}", self.story.ways));
            }
        }
        if let Some(expected) = expected.filter(|expected| expected.moves != moves) {
            return Err(format!("traffic moved differently: {moves:#?}\ninstead of {:#?}", expected.moves));
        }
        let sent = self.nothing_was_lost().await?;
        let exits = self.stop_the_controller().await?;
        if exits > 0 {
            return Err(format!("the controller ended by itself {exits} times"));
        }
        Ok((sight, moves, sent))
    }

    async fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Want(want) => self.want(want).await,
            Act::UntilStarted => self.until_started().await,
            Act::UntilBaking => self.until_step(Step::Baking).await,
            Act::Abort => {
                let operation: Operation = from(json!({
                    "apiVersion": "bascule.dev/v1alpha1", "kind": "Operation",
                    "metadata": {"name": "abort", "namespace": self.namespace},
                    "spec": {"release": "web", "type": "Abort", "note": "a test"},
                }));
                let api = Api::<Operation>::namespaced(self.client.clone(), &self.namespace);
                api.create(&PostParams::default(), &operation).await.map(|_| ()).map_err(text)
            }
            Act::OneGoesBad(version) => match &self.gate {
                Some(gate) => gate.one_goes_bad(version).await,
                None => Err("no version of this story has a gate".into()),
            },
        }
    }

    async fn want(&mut self, want: &Want) -> Result<(), String> {
        if want.pods == Pods::Gated && self.gate.is_none() {
            self.gate = Some(Gate::open(self.client.clone(), &self.namespace));
        }
        let body = json!({
            "apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "metadata": {"name": "web", "namespace": self.namespace},
            "spec": want.spec(self.story.services, self.bed.variable("BASCULE_REGISTRY")),
        });
        let api = Api::<Release>::namespaced(self.client.clone(), &self.namespace);
        api.patch("web", &PatchParams::apply("team").force(), &Patch::Apply(&body)).await.map(|_| ()).map_err(text)
    }

    /// Its Deployments are there: else it would be chance whether an abort leaves some.
    async fn until_started(&self) -> Result<(), String> {
        let api = Api::<Release>::namespaced(self.client.clone(), &self.namespace);
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        self.eventually("the candidate is started", || async {
            let track = api.get("web").await.ok()?.status?.candidate?.track;
            deployments.get_opt(&track.deployment("web")).await.ok()?.map(|_| ())
        })
        .await
    }

    async fn until_step(&self, step: Step) -> Result<(), String> {
        let api = Api::<Release>::namespaced(self.client.clone(), &self.namespace);
        self.eventually("the candidate is so far", || async {
            let status = api.get("web").await.ok()?.status?;
            (status.candidate?.step >= step).then_some(())
        })
        .await
    }

    /// Users of each Service, from the first answer on.
    async fn load(&mut self) -> Result<(), String> {
        for service in self.story.services {
            let api = Api::<Service>::namespaced(self.client.clone(), &self.namespace);
            let ip = api.get(service).await.map_err(text)?.spec.and_then(|spec| spec.cluster_ip).ok_or("no address")?;
            let address: SocketAddr = format!("{ip}:80").parse().map_err(text)?;
            let probe = Load::start(address, "/", 1, 20);
            let answered =
                self.eventually("a first answer", || async { (!probe.take().by_version.is_empty()).then_some(()) }).await;
            probe.stop().await;
            answered?;
            self.loads.push(Load::start(address, "/", WORKERS, RATE));
        }
        Ok(())
    }

    async fn only_the_right_one_answers(&self) -> Result<(), String> {
        for load in &self.loads {
            let _ = load.take();
            self.eventually(&format!("{} answers alone", self.story.end.active), || async {
                tokio::time::sleep(POLL * 3).await;
                let tally = load.take();
                (tally.by_version.keys().eq([self.story.end.active])).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn nothing_was_lost(&mut self) -> Result<u64, String> {
        let mut sent = 0;
        for load in std::mem::take(&mut self.loads) {
            let tally: Tally = load.stop().await;
            sent += tally.sent;
            if tally.failed > 0 {
                return Err(format!("{} of {} requests were lost: {:?}", tally.failed, tally.sent, tally.failures));
            }
            let answered: BTreeSet<_> = tally.by_version.keys().map(String::as_str).collect();
            if !answered.iter().all(|version| self.story.answers.contains(version)) {
                return Err(format!("users met {answered:?}, and should only meet {:?}", self.story.answers));
            }
        }
        Ok(sent)
    }

    /// As the run without faults, and nothing more is asked or written.
    async fn until_same(&self, expected: &Sight) -> Result<Sight, String> {
        let found = self.until("the same end", |sight| sight == expected).await;
        let Err(why) = found else { return found };
        let sight = sight::look(&self.client, &self.namespace).await.map_err(text)?;
        Err(format!("{why}\n{}", sight::differences(expected, &sight)))
    }

    /// It holds, and the controller asks and writes nothing.
    async fn until(&self, what: &str, holds: impl Fn(&Sight) -> bool) -> Result<Sight, String> {
        let end = Instant::now() + PATIENCE;
        let mut since = None;
        loop {
            let count = self.proxy.journal().iter().filter(|entry| entry.class == Class::Request).count();
            let sight = sight::look(&self.client, &self.namespace).await.ok().filter(|sight| holds(sight));
            match (sight, since) {
                (Some(sight), Some((at, before))) if before == count => {
                    if Instant::now() >= at + QUIET {
                        return Ok(sight);
                    }
                }
                (Some(_), _) => since = Some((Instant::now(), count)),
                (None, _) => since = None,
            }
            if Instant::now() > end {
                let writes = if since.is_some() { ": it holds, and the controller goes on asking or writing" } else { "" };
                return Err(format!("{what}: not within {PATIENCE:?}{writes}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> Result<T, String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(found) = look().await {
                return Ok(found);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("{what}: not within {PATIENCE:?}"))
    }

    fn start_the_controller(&mut self) {
        let Some(controller) = self.controller.take() else { return };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep(controller, self.proxy.kills(), stopped));
        self.keeper = Some(Keeper { stop, task });
    }

    /// Gives how often it ended by itself.
    async fn stop_the_controller(&mut self) -> Result<u32, String> {
        let Some(Keeper { stop, task }) = self.keeper.take() else { return Ok(0) };
        let _ = stop.send(true);
        let (controller, exits) = task.await.map_err(text)?;
        self.controller = Some(controller);
        Ok(exits)
    }

    /// All there is, for a run that failed.
    async fn picture(&mut self) -> String {
        let journal: Vec<_> = self.proxy.journal().iter().map(ToString::to_string).collect();
        let sight = sight::look(&self.client, &self.namespace).await;
        let moves = self.moves.complete(&self.client, &self.namespace, self.story).await;
        let exits = self.stop_the_controller().await;
        let log = self.controller.as_ref().map(Controller::log_text).unwrap_or_default();
        format!(
            "--- what the cluster shows ---\n{sight:#?}\n{moves:#?}\n--- what passed the proxy ---\n{}\n--- the controller (ended by itself: {exits:?}) ---\n{log}",
            journal.join("\n")
        )
    }

    async fn end(mut self) {
        let _ = self.stop_the_controller().await;
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
        let _ = Api::<Namespace>::all(self.client.clone()).delete(&self.namespace, &DeleteParams::background()).await;
    }
}

/// What the kubelet is to a controller: starts it, and starts it again. Gives it back when told, and how often it ended by itself.
async fn keep(
    mut controller: Controller,
    mut kills: watch::Receiver<u64>,
    mut stopped: watch::Receiver<bool>,
) -> (Controller, u32) {
    let process = controller.process();
    let mut exits = 0;
    let mut look = tokio::time::interval(POLL);
    controller.launch();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Ok(()) = kills.changed() => controller.launch(),
            _ = look.tick() => if process.ended().is_some() {
                exits += 1;
                controller.kill();
                controller.launch();
            }
        }
    }
    controller.kill();
    (controller, exits)
}

/// The proxy's way on: the API server of the bed, with the rights of the controller.
async fn upstream(bed: &Bed) -> Result<Client, String> {
    let kubeconfig = Kubeconfig::read_from(bed.controller_kubeconfig()).map_err(text)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(text)?;
    // What fails is for the controller to see.
    config.default_retry = false;
    Client::try_from(config).map_err(text)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}
