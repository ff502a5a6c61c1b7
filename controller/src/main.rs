//! The controller's process: arguments, crypto provider, signals; everything else is in the library.

use std::{
    hash::{BuildHasher as _, RandomState},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use bascule_controller::{
    Controller, Meters, Settings, client,
    clock::SystemClock,
    config::{Arguments, AwsPolicy, Command},
    lease,
    policy::{self, Configuration},
    sources::AwsSources,
    telemetry,
    traces::Collector,
};
use bascule_core::sources::Scope;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// Returns the memory of a relist to the system without tuning.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(Command::AwsPolicy(wanted)) = arguments.command.take() {
        return print_policy(wanted);
    }
    telemetry::start(arguments.log_format);
    match start(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The policy on standard output, remarks on the other one.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what was asked for")]
fn print_policy(wanted: AwsPolicy) -> ExitCode {
    let AwsPolicy { environment, account, region, queue, key: keys, without_authors } = wanted;
    let configuration = Configuration { environment, account, region, queue, keys, without_authors };
    let needs = std::io::read_to_string(std::io::stdin())
        .map_err(|error| error.to_string())
        .and_then(|text| policy::needs(&policy::read(&text)?, &configuration));
    match needs {
        Ok((needs, remarks)) => {
            for remark in remarks {
                eprintln!("{remark}");
            }
            println!("{:#}", bascule_aws::policy::document(&needs));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "otlp")]
fn collector() -> anyhow::Result<Option<Arc<dyn Collector>>> {
    let named = bascule_controller::traces::otlp::Otlp::from_environment()?;
    Ok(named.map(|collector| Arc::new(collector) as Arc<dyn Collector>))
}

#[cfg(not(feature = "otlp"))]
fn collector() -> anyhow::Result<Option<Arc<dyn Collector>>> {
    Ok(None)
}

async fn start(arguments: Arguments) -> anyhow::Result<()> {
    let arguments = arguments.checked()?;
    // One provider for the API server and the registries; two in one process would panic at the first connection.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider is installed already"))?;
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    let unique = RandomState::new().hash_one(std::process::id());
    let lease =
        arguments.leader_elect.then(|| lease::Settings::of_this_process(arguments.lease_namespace, arguments.lease_name, unique));
    let meters = Meters::new().context("set up metrics")?;
    let queue = arguments.event_queue.filter(|queue| !queue.is_empty());
    let aws = Arc::new(AwsSources::new(queue, Arc::new(SystemClock), meters.clone()));
    let settings = Settings {
        cluster_reads: arguments.cluster_reads,
        namespace: arguments.namespace,
        listen: Some(arguments.listen),
        meters: Some(meters.clone()),
        metrics_per_release: arguments.metrics_per_release,
        collector: collector()?,
        registry_credentials: arguments.registry_credentials,
        read_pull_secrets: arguments.read_pull_secrets,
        plain_http_registries: arguments.plain_http_registry,
        fetch: None,
        registries_elsewhere: arguments.registry_at,
        cloud: Some(aws.clone()),
        gates: None,
        lease,
        seed: unique,
        policy: bascule_core::Policy::default(),
    };
    // Who the process is by itself, whatever the Environments say.
    aws.introduce(&Scope::default());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = settings.namespace.as_deref().unwrap_or("all"), "starting");
    let client = client::connect(meters).await?;
    Controller::new(client, settings, Arc::new(SystemClock))?.run(stop).await.context("run")
}
