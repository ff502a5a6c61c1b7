//! A load client that opens a new connection for each request, so that every request meets the Service as it is at that moment.
//!
//! In: an address and a rate. Out: how many were sent, which failed and why, which version answered, and how long it took.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

/// Longer than any healthy answer on loopback by three orders of magnitude: what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen since the last [`Load::take`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub sent: u64,
    pub failed: u64,
    pub by_version: BTreeMap<String, u64>,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The first few failures, in words.
    pub failures: Vec<String>,
    #[serde(skip)]
    micros: Vec<u64>,
}

impl Tally {
    fn finish(mut self) -> Self {
        self.micros.sort_unstable();
        self.p50_ms = percentile(&self.micros, 50);
        self.p99_ms = percentile(&self.micros, 99);
        self
    }
}

/// The value below which that share of the sorted values lies, in milliseconds.
#[allow(clippy::cast_precision_loss, reason = "micro seconds of a test run fit")]
pub fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |micros| *micros as f64 / 1000.0)
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<(Tally, Tally)>>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// `per_second` requests from `workers` workers, until stopped.
    pub fn start(address: SocketAddr, path: &str, workers: u32, per_second: u32) -> Self {
        let tally = Arc::new(Mutex::new((Tally::default(), Tally::default())));
        let (stop, stopped) = watch::channel(false);
        let pause = Duration::from_secs(1) * workers / per_second.max(1);
        let worker = |_| tokio::spawn(work(address, path.to_owned(), pause, tally.clone(), stopped.clone()));
        Self { workers: (0..workers).map(worker).collect(), tally, stop }
    }

    /// What happened since the last time this was asked.
    pub fn take(&self) -> Tally {
        let mut tally = self.tally.lock().expect("no worker panicked");
        std::mem::take(&mut tally.1).finish()
    }

    /// Waits for the requests under way, and gives the sum of everything.
    pub async fn stop(self) -> Tally {
        let _ = self.stop.send(true);
        for worker in self.workers {
            let _ = worker.await;
        }
        let mut tally = self.tally.lock().expect("no worker panicked");
        std::mem::take(&mut tally.0).finish()
    }
}

async fn work(
    address: SocketAddr,
    path: String,
    pause: Duration,
    tally: Arc<Mutex<(Tally, Tally)>>,
    stopped: watch::Receiver<bool>,
) {
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        tick.tick().await;
        let start = Instant::now();
        let outcome = tokio::time::timeout(PATIENCE, request(address, &path))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut tallies = tally.lock().expect("no worker panicked");
        let (total, recent) = &mut *tallies;
        for tally in [total, recent] {
            tally.sent += 1;
            tally.micros.push(micros);
            match &outcome {
                Ok(version) => *tally.by_version.entry(version.clone()).or_default() += 1,
                Err(why) => {
                    tally.failed += 1;
                    if tally.failures.len() < 10 {
                        tally.failures.push(why.clone());
                    }
                }
            }
        }
    }
}

/// One request on one connection; the body's first line is the version.
async fn request(address: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("send: {error}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| format!("receive: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer was cut short")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {}", head.lines().next().unwrap_or_default()));
    }
    Ok(body.lines().next().unwrap_or_default().to_owned())
}
