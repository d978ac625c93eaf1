//! Of what goes to other machines: `ostler worker`, and `--pool` of others.

use super::RootArg;
use crate::values::{label, seconds};
use bytesize::ByteSize;
use clap::Args as Group;
use ostler_remote::{LaunchId, Pool, WorkerName};
use std::{path::PathBuf, time::Duration};

/// Below this the options of a pool stand in the help.
const HEADING: &str = "Commands of other machines";

pub(crate) const WORKER_HELP: &str = "\
Whoever may publish to the server's subjects of the pool may run commands as the user of this worker: give it an account of its own, with \
permissions and TLS. docs/beyond-one-machine.md has both.

Signals:
  Ctrl-C (also SIGTERM and SIGHUP) ends it in order: it takes nothing more, stops what runs, and stores the results, for up to 30 s. A \
second one ends it at once; what runs is killed, and its results are stored by the next start of this worker.

Exit code:
  0    ended in order
  125  it could not start or go on, or something is left to be stored
  128+n  ended at once by a second signal n";

/// The server, and who we are to it.
#[derive(Debug, Default, Group)]
pub(crate) struct ServerArgs {
    /// The NATS server: nats://HOST:PORT, or tls://…; several with commas [default: $NATS_URL]
    #[arg(long = "nats", value_name = "URL", requires = "pool", help_heading = HEADING)]
    pub(crate) url: Option<String>,
    /// A file with a JWT and a key, as `nsc` and `nats` write them [default: $NATS_CREDS, or none]
    #[arg(long, value_name = "FILE", requires = "pool", help_heading = HEADING)]
    pub(crate) credentials: Option<PathBuf>,
    /// Certificates that the server's is signed by [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "pool", help_heading = HEADING)]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate of our own [default: none]
    #[arg(long, value_name = "FILE", requires = "pool", requires = "key", help_heading = HEADING)]
    pub(crate) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "pool", requires = "cert", help_heading = HEADING)]
    pub(crate) key: Option<PathBuf>,
}

/// Workers that run it, in place of this machine.
#[derive(Debug, Default, Group)]
pub(crate) struct PoolArgs {
    /// The workers of this pool, by way of a NATS server, in place of this machine
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) pool: Option<Pool>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The same, of one launch.
#[derive(Debug, Default, Group)]
pub(crate) struct LaunchPoolArgs {
    #[command(flatten)]
    pub(crate) of: PoolArgs,
    /// The session of the pool; it stays open [default for `run`: one of its own, which ends with it; else: that of the launch]
    #[arg(long, value_name = "ID", requires = "pool", help_heading = HEADING)]
    pub(crate) session: Option<String>,
}

/// Of `ostler run`.
#[derive(Debug, Default, Group)]
pub(crate) struct LaunchIdArg {
    /// The id of the launch, unique in its session: one that was launched before is not run again, and its result is the result [default: a new one]
    #[arg(long, value_name = "ID", requires = "session", help_heading = HEADING)]
    pub(crate) launch_id: Option<LaunchId>,
}

impl PoolArgs {
    /// Whether it goes to another machine.
    pub(crate) fn is_given(&self) -> bool {
        self.pool.is_some()
    }
}
impl LaunchPoolArgs {
    /// Whether it goes to another machine.
    pub(crate) fn is_given(&self) -> bool {
        self.of.is_given()
    }
}

/// `ostler worker`.
#[derive(Debug, Group)]
pub(crate) struct WorkerArgs {
    /// Whose launches it takes: 1 to 32 letters, digits, '-' or '_'
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Pool,
    /// Its own name, the same after a restart [default: that of the host]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<WorkerName>,
    /// Most commands at a time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// How long it runs on what it has when it has lost the server; then it stops it [default: 60s]
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) lease: Option<Duration>,
    /// How long the server keeps results and output, if this is the first worker of the pool [default: 7d]
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) keep: Option<Duration>,
    /// On how many servers of a cluster, if this is the first worker of the pool: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "N", value_parser = replicas)]
    pub(crate) replicas: Option<usize>,
    /// The server has `sync_interval: always`, which nobody but its operator can see: then there is nothing to warn of
    #[arg(long)]
    pub(crate) synced: bool,
    /// Say something of it, for `ostler ps`; can be given several times
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Longest file of output that the server keeps, like 64MiB or 500MB; a longer one is read from the worker only [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) output_limit: Option<ByteSize>,
    /// Where its journal lies [default: ~/.local/state/ostler]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

fn replicas(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|n| [1, 3, 5].contains(n)).ok_or("write 1, 3 or 5")
}
