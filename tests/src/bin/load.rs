//! `load --url http://10.0.0.1:80/`: sends requests until it is told to stop, and prints one line per second and a last one with the sum.

#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::net::ToSocketAddrs as _;

use anyhow::Context as _;
use bascule_tests::load::{Load, Tally};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(about = "Sends requests, each on a new connection, and counts what is lost")]
struct Arguments {
    /// Where to, for example <http://10.0.0.1:80/>.
    #[arg(long)]
    url: String,
    /// Requests per second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Requests at the same time.
    #[arg(long, default_value_t = 8)]
    workers: u32,
    /// One JSON object per line.
    #[arg(long)]
    json_lines: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let rest = arguments.url.strip_prefix("http://").context("--url must begin with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address = host
        .to_socket_addrs()
        .with_context(|| format!("look up {host}"))?
        .next()
        .with_context(|| format!("{host} has no address"))?;

    let load = Load::start(address, &format!("/{path}"), arguments.workers, arguments.rate);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    tick.tick().await;
    let mut seconds = 0;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                seconds += 1;
                say(&load.take(), Some(seconds), arguments.json_lines)?;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    say(&load.stop().await, None, arguments.json_lines)
}

fn say(tally: &Tally, second: Option<u64>, json: bool) -> anyhow::Result<()> {
    if json {
        let mut line = serde_json::to_value(tally)?;
        match second {
            Some(second) => line["t"] = second.into(),
            None => line["total"] = true.into(),
        }
        println!("{line}");
        return Ok(());
    }
    let versions: Vec<_> = tally.by_version.iter().map(|(version, count)| format!("{version} {count}")).collect();
    let when = second.map_or("total".to_owned(), |second| format!("{second:>4}s"));
    println!(
        "{when}  sent {:>6}  lost {:>4}  p50 {:>6.1} ms  p99 {:>6.1} ms  {}",
        tally.sent,
        tally.failed,
        tally.p50_ms,
        tally.p99_ms,
        versions.join("  ")
    );
    Ok(())
}
