//! The command line, parsed and checked once.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::{ClusterReads, lease};

/// Watches Releases and brings each to the version that it wants: starts it beside the running one, proves it, switches, watches, and
/// switches back when it goes bad.
#[derive(Clone, Debug, Parser)]
#[command(name = "bascule-controller", version)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Only this namespace; all without it.
    #[arg(long, env = "BASCULE_NAMESPACE")]
    pub namespace: Option<String>,

    /// What to read of objects that are in no namespace: Environments, the labels of namespaces, and Nodes. Anything less than all only where the
    /// rights are less.
    #[arg(long, env = "BASCULE_CLUSTER_READS", default_value = "all", value_name = "WHAT")]
    pub cluster_reads: ClusterReads,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "BASCULE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Credentials for registries: a file in the format of Docker's config.json. It is read again when it changes.
    #[arg(long, env = "BASCULE_REGISTRY_CREDENTIALS", value_name = "FILE")]
    pub registry_credentials: Option<PathBuf>,

    /// Resolve images also with the pull secrets that the pods name; needs the right to read Secrets.
    #[arg(long, env = "BASCULE_READ_PULL_SECRETS")]
    pub read_pull_secrets: bool,

    /// A registry that speaks plain HTTP, as host or host:port; can be given more than once. Loopback addresses always do.
    #[arg(long, value_name = "HOST")]
    pub plain_http_registry: Vec<String>,

    /// A registry that is reached at another host or host:port than its name says; can be given more than once.
    #[arg(long, value_name = "NAME=HOST", value_parser = elsewhere)]
    pub registry_at: Vec<(String, String)>,

    /// The SQS queue into which EventBridge puts the events of parameters, images and archives: with it a change is seen at once. It is
    /// only a hint; everything works without.
    #[arg(long, env = "BASCULE_EVENT_QUEUE", value_name = "URL")]
    pub event_queue: Option<String>,

    /// Write only while this process holds the Lease, so that several replicas can run. false: this is the only one.
    #[arg(long, env = "BASCULE_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,

    /// Where the Lease is. Default: the namespace that the process runs in, and outside a cluster bascule-system.
    #[arg(long, env = "BASCULE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// The name of the Lease.
    #[arg(long, env = "BASCULE_LEASE_NAME", value_name = "NAME", default_value = lease::NAME)]
    pub lease_name: String,

    /// Whether each Release has lines of its own on /metrics. Without them there are only sums, and most alerts have nothing to go by.
    #[arg(long, env = "BASCULE_METRICS_PER_RELEASE", default_value_t = true, action = ArgAction::Set, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub metrics_per_release: bool,

    /// How to write the log; what is written is chosen by `BASCULE_LOG`, for example `debug` or `bascule_controller=debug`.
    #[arg(long, env = "BASCULE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

impl Arguments {
    /// What clap cannot say.
    pub fn checked(self) -> anyhow::Result<Self> {
        let reads_nothing = self.cluster_reads == ClusterReads::None && self.namespace.is_none();
        anyhow::ensure!(!reads_nothing, "--cluster-reads=none needs --namespace: without it every namespace is read");
        Ok(self)
    }
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print the policy for IAM that Environments need, and no more. They are read from standard input: kubectl get environments -o json.
    AwsPolicy(AwsPolicy),
}

#[derive(Clone, Debug, Args)]
pub struct AwsPolicy {
    /// For the role of this Environment. Default: for the controller's own identity.
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,

    /// Of Environments without a role.
    #[arg(long, value_parser = account)]
    pub account: Option<String>,

    /// Of Environments that name none.
    #[arg(long)]
    pub region: Option<String>,

    /// The queue of events, which the controller itself reads.
    #[arg(long, value_name = "ARN", value_parser = arn, conflicts_with = "environment")]
    pub queue: Option<String>,

    /// A key of your own, by which secret parameters are encrypted; can be given more than once.
    #[arg(long, value_name = "ARN", value_parser = arn)]
    pub key: Vec<String>,

    /// Without the right to read who wrote a parameter.
    #[arg(long)]
    pub without_authors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

fn account(text: &str) -> Result<String, String> {
    let fits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("an account has twelve digits".to_owned()) }
}

fn arn(text: &str) -> Result<String, String> {
    let fits = text.starts_with("arn:aws") && text.split(':').count() >= 6;
    if fits { Ok(text.to_owned()) } else { Err("it must be an ARN: arn:aws:<service>:<region>:<account>:<name>".to_owned()) }
}

fn elsewhere(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok((name.to_owned(), host.to_owned())),
        _ => Err("it must be <name of the registry>=<host[:port]>".to_owned()),
    }
}
