//! Of `ostler mcp` and `ostler config`.

use super::RootArg;
use crate::values::{Mode, seconds};
use clap::Args as Group;
use std::{path::PathBuf, time::Duration};

/// `ostler mcp`.
#[derive(Debug, Default, Group)]
pub(crate) struct McpArgs {
    /// Name of the session: what was not told when it ended is told when it is opened again [default: one of its own]
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// Keep the session, and what runs in it, for so long after its client has gone: a later `ostler mcp` of that session goes on
    /// with it [default: it ends with its client]
    #[arg(long, value_name = "D", value_parser = seconds, requires = "session")]
    pub(crate) keep_for: Option<Duration>,
    #[arg(long, hide = true, requires = "session")]
    pub(crate) keeper: bool,
    /// Serve HTTP clients of this machine in place of stdin: 127.0.0.1:PORT (0: any), [::1]:PORT or unix:PATH. They send the token, and name
    /// their session by the header ostler-session
    #[cfg(feature = "http")]
    #[arg(long, value_name = "ADDRESS", value_parser = crate::mcp::address, conflicts_with_all = ["session", "keep_for"])]
    pub(crate) http: Option<crate::mcp::Address>,
    /// Where the token is, or is made [default: ~/.local/state/ostler/mcp-token]
    #[cfg(feature = "http")]
    #[arg(long, value_name = "FILE", requires = "http")]
    pub(crate) token_file: Option<PathBuf>,
    /// Commands start in this directory or below it, links resolved [default: anywhere]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Give commands a network of their own, with nothing but a loopback. It is no sandbox: sockets in files can be reached, and a command
    /// that runs as root can leave it. Without the right to do so the server becomes a user namespace, in which sudo does nothing
    #[arg(long)]
    pub(crate) no_network: bool,
    /// Append to this file what the server does, a line each; never values of variables or what is typed [default: what is wrong, to
    /// stderr]
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Write every message between the actors to this file, as JSON Lines, from the first call on; `ostler trace FILE` shows it. It has arguments
    /// and output of commands, never values of variables
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Stop each command after this time unless it is given another [default: no limit]
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Variables that commands inherit [default: inherit_clean]
    #[arg(long, value_name = "M", value_enum)]
    pub(crate) env_mode: Option<Mode>,
    /// Most commands at a time [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_commands: Option<u64>,
    /// Stop a command that writes more than so many bytes [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) output_limit: Option<u64>,
    /// Most memory of each command and all its descendants, in bytes; needs a delegated cgroup [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) memory_limit: Option<u64>,
    /// Most processes and threads of them at a time; needs a delegated cgroup [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) processes_limit: Option<u64>,
    /// Read this file in place of the user's and the machine's ostler.toml; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) artifacts: RootArg,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) pool: super::PoolArgs,
}

/// `ostler config`.
#[derive(Debug, Group)]
pub(crate) struct ConfigArgs {
    /// Read this file in place of the user's and the machine's
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// As one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
