//! The command line.

#[cfg(feature = "nats")]
mod pool;
mod server;

use crate::values::{Beyond, For, Left, Mode, Output, Tools, duration, label, seconds, signal, variable};
use bytesize::ByteSize;
use clap::{
    Args as Group, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
};
use clap_complete::Shell;
use ostler::UnixSignal;
#[cfg(feature = "nats")]
pub(crate) use pool::{LaunchPoolArgs, PoolArgs, ServerArgs, WorkerArgs};
pub(crate) use server::{ConfigArgs, McpArgs};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Looks after long-running commands: never loses one, never leaves a process behind, never blocks on one.
#[derive(Debug, Parser)]
#[command(
    name = "ostler",
    version,
    max_term_width = crate::shown::PROSE_COLUMNS,
    after_help = "Start with `ostler demo`; `ostler run --help` has examples."
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) what: What,
}

impl What {
    /// Whether a program reads what comes on stdout.
    pub(crate) fn json(&self) -> bool {
        match self {
            What::Run(args) => args.json || args.events,
            What::Config(args) => args.json,
            What::Ps(args) => args.json,
            What::Show(args) => args.json,
            What::Top(args) => args.json,
            What::Follow(args) => args.json,
            What::Replay(args) => args.json,
            _ => false,
        }
    }
    /// Whether it reads a line for each thing that happens.
    pub(crate) fn events(&self) -> bool {
        matches!(self, What::Run(args) if args.events)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// A guided tour of about five seconds: five commands at once, the inbox, and the messages between the actors
    Demo(DemoArgs),
    /// Run one command, pass its output through, and leave nothing of it behind
    #[command(after_long_help = RUN_HELP, override_usage = "ostler run [OPTIONS] -- PROGRAM [ARGS]...")]
    Run(Box<RunArgs>),
    /// List commands: those that run, or all that are kept
    Ps(PsArgs),
    /// Show what runs, and what it takes, until q is typed
    Top(TopArgs),
    /// Print what a command said, also from a second terminal while it runs
    Logs(LogsArgs),
    /// Say how a command stands or ended, its last lines, and where the rest is
    Show(ShowArgs),
    /// Wait for the end of a command, and exit as it did
    Wait(WaitArgs),
    /// Say of each command that ends from now on how it ended, a line each
    #[command(after_help = crate::follow::HELP)]
    Follow(crate::follow::FollowArgs),
    /// Stop a command of a host that lives, and wait for its end
    Cancel(CancelArgs),
    /// Remove commands of hosts that are gone, with their output
    Rm(RmArgs),
    /// Remove old commands of hosts that are gone
    Gc(GcArgs),
    /// Show what --trace has recorded: in words, as a diagram, a timeline or a page
    #[command(after_help = crate::trace::HELP)]
    Trace(crate::trace::TraceArgs),
    /// Tell from a trace what happened to each command, and why its result says what it says
    Explain(ExplainArgs),
    /// Run the inputs of a trace again, and compare every message: exit 0 if all came out the same, 1 if not
    Replay(ReplayArgs),
    /// Be a server of the Model Context Protocol on stdin and stdout, for an agent
    #[command(after_help = MCP_HELP)]
    Mcp(Box<McpArgs>),
    /// Run commands that hosts on other machines ask for, by way of a NATS server
    #[cfg(feature = "nats")]
    #[command(after_long_help = pool::WORKER_HELP)]
    Worker(Box<WorkerArgs>),
    /// Print what is set in ostler.toml, and from where
    Config(ConfigArgs),
    /// Add ostler to the configuration of an agent
    Init(crate::init::InitArgs),
    /// Print what lets a shell complete a command line of ostler
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Print a page of the manual: `ostler man run | man -l -`
    Man(ManArgs),
}

const ID_HELP: &str =
    "Its handle id, its command id, the beginning of either while that is unique, or 'latest'";

/// Of each subcommand.
#[derive(Debug, Default, Group)]
pub(crate) struct RootArg {
    /// Where the output of commands is kept [default: ~/.local/state/ostler/artifacts]
    #[arg(long, value_name = "DIR")]
    pub(crate) artifacts: Option<PathBuf>,
}

/// `ostler ps`.
#[derive(Debug, Group)]
pub(crate) struct PsArgs {
    /// Also those that have ended, the newest first
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only those of this session
    #[arg(long, value_name = "S")]
    pub(crate) session: Option<String>,
    /// Only those with this label; can be given several times
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Print each record as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) pool: PoolArgs,
}

/// `ostler top`.
#[derive(Debug, Group)]
pub(crate) struct TopArgs {
    /// Print the table once, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Print each command as a line of JSON, once; processor time and memory are null where they can't be known
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler logs`.
#[derive(Debug, Group)]
pub(crate) struct LogsArgs {
    #[arg(help = ID_HELP)]
    pub(crate) id: String,
    /// Go on until the command ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last lines, so many
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// As a terminal would show it in the end, without colours
    #[arg(long)]
    pub(crate) clean: bool,
    /// Output of its files [default: combined]
    #[arg(long, value_name = "S", value_enum, default_value_t = Output::Combined, hide_default_value = true)]
    pub(crate) stream: Output,
    #[command(flatten)]
    pub(crate) root: RootArg,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) pool: LaunchPoolArgs,
}

/// `ostler show`.
#[derive(Debug, Group)]
pub(crate) struct ShowArgs {
    #[arg(help = ID_HELP)]
    pub(crate) id: String,
    /// Print the record as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler wait`.
#[derive(Debug, Group)]
pub(crate) struct WaitArgs {
    #[arg(help = ID_HELP)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler cancel`.
#[derive(Debug, Group)]
pub(crate) struct CancelArgs {
    #[arg(help = ID_HELP)]
    pub(crate) id: String,
    /// Kill it at once, without its grace
    #[arg(long)]
    pub(crate) now: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) pool: LaunchPoolArgs,
}

/// `ostler rm`.
#[derive(Debug, Group)]
pub(crate) struct RmArgs {
    #[arg(help = ID_HELP, required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler gc`.
#[derive(Debug, Group)]
pub(crate) struct GcArgs {
    /// Not what is older [default: 7d]
    #[arg(long, value_name = "D", value_parser = duration, default_value = "7d", hide_default_value = true)]
    pub(crate) keep: Duration,
    /// Not the oldest beyond so many commands [default: 512]
    #[arg(long, value_name = "N", default_value_t = 512, hide_default_value = true)]
    pub(crate) max_count: usize,
    /// Not the oldest beyond so many bytes, like 10GiB or 500MB [default: 10GiB]
    #[arg(long, value_name = "SIZE", default_value = "10GiB", hide_default_value = true)]
    pub(crate) max_bytes: ByteSize,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

const COMPLETIONS_HELP: &str = "\
Once, for the shell that you use:
  ostler completions bash > ~/.local/share/bash-completion/completions/ostler
  ostler completions zsh > ~/.zfunc/_ostler        (with ~/.zfunc in fpath)
  ostler completions fish > ~/.config/fish/completions/ostler.fish";

/// `ostler completions`.
#[derive(Debug, Group)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: Shell,
}

/// `ostler man`.
#[derive(Debug, Group)]
pub(crate) struct ManArgs {
    /// The page of this subcommand [default: that of ostler]
    #[arg(value_name = "SUBCOMMAND")]
    pub(crate) of: Option<String>,
}

const RUN_HELP: &str = "\
Examples:
  ostler run -- cargo test
  ostler run --timeout 2m --idle-timeout 30s --progress 5s -- make -j8
  ostler run --env-mode inherit_clean --env-remove EDITOR -- env
  ostler run --json -- ls /nowhere | jq .exit_code
  ostler run --pty -- vim notes.txt
  ostler run --leftovers keep -- sh -c 'server &'
  ostler run --trace trace.jsonl -- sh -c 'trap \"echo bye\" TERM; sleep 9'

Signals:
  Ctrl-C (also SIGTERM and SIGHUP) cancels: the command and all its descendants get SIGTERM and, after --grace, SIGKILL (--signal \
for another than SIGTERM). A second one kills at once.

  Ctrl-Z stops it with ostler, and its time, until both are continued.

  When the reader of the output goes away (`| head -1`), the command is cancelled too.

  Its stdin is ostler's own, but /dev/null where that is a terminal (--stdin).

  With --pty Ctrl-C is a key like any other, and Ctrl-] three times within a second cancels.

Exit code:
  that of the command; 128+n if signal n ended it; or
  124  it timed out
  125  ostler failed, or its command line is wrong
  126  the program can't be executed
  127  the program was not found
  130  cancelled by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)
  141  cancelled because the reader of the output went away

After a timeout or a cancel a reader of the output that takes nothing for 2 s is not waited for.

Durations: seconds, or a number with its unit, like 90, 500ms, 10s, 2m, 1h, or '1m 30s'.";

/// `ostler demo`.
#[derive(Debug, Group)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler run`.
#[derive(Debug, Group)]
pub(crate) struct RunArgs {
    /// Stop the command after this time [default: no limit]
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Stop the command when it has written nothing for this time [default: no limit]
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) idle_timeout: Option<Duration>,
    /// What is sent first to stop the command: INT, HUP, QUIT, USR1, USR2 or TERM [default: TERM]
    #[arg(long, value_name = "NAME", value_parser = signal)]
    pub(crate) signal: Option<UnixSignal>,
    /// Time between that signal and SIGKILL [default: 2s]
    #[arg(long, value_name = "D", value_parser = seconds, default_value = "2s", hide_default_value = true)]
    pub(crate) grace: Duration,
    /// Report on stderr that the command is running: after this time, then at doubling intervals; not with --json
    #[arg(long, value_name = "D", value_parser = seconds, conflicts_with = "quiet")]
    pub(crate) progress: Option<Duration>,
    /// Say nothing on stderr but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Say at the end where its output is kept, also when all of it was shown
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) show_path: bool,
    /// What becomes of processes that outlive the command: 'kill' ends them, with 'keep' ostler stays until they are gone [default: kill]
    #[arg(long, value_name = "L", value_enum, default_value_t = Left::Kill, hide_default_value = true)]
    pub(crate) leftovers: Left,
    /// Working directory [default: this one]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Set a variable; can be given several times. It is never filtered, and its value is recorded nowhere
    #[arg(long = "env", value_name = "K=V", value_parser = OsStringValueParser::new().try_map(variable))]
    pub(crate) vars: Vec<(OsString, OsString)>,
    /// Variables the command inherits [default: patch]
    #[arg(long, value_name = "M", value_enum, default_value_t = Mode::Patch, hide_default_value = true)]
    pub(crate) env_mode: Mode,
    /// Do not inherit this variable; can be given several times. --env wins over it
    #[arg(long = "env-remove", value_name = "K")]
    pub(crate) env_remove: Vec<OsString>,
    /// Set variables for a purpose; --env wins over them [default: none]
    #[arg(long, value_name = "P", value_enum)]
    pub(crate) preset: Option<For>,
    /// Run it with the tools that its directory asks for: mise or asdf is asked [default: off]
    #[arg(long, value_name = "T", value_enum)]
    pub(crate) toolchain: Option<Tools>,
    /// Say something of it, for `ostler ps --label`; can be given several times
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How much text of each stream the result shows: the first quarter and the last three, in bytes
    /// [default: 50000]
    #[arg(long, value_name = "N", default_value_t = 50_000, hide_default_value = true)]
    pub(crate) max_inline_bytes: u64,
    /// Record, and pass through, so many bytes of output; the rest is read and counted only [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) output_limit: Option<u64>,
    /// What becomes of the command beyond --output-limit [default: stop_recording]
    #[arg(long, value_name = "P", value_enum, requires = "output_limit")]
    pub(crate) output_policy: Option<Beyond>,
    /// Most memory of the command and all its descendants, swap included, in bytes; needs a delegated cgroup
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) memory_limit: Option<u64>,
    /// Most processes and threads of them at a time; needs a delegated cgroup [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) processes_limit: Option<u64>,
    /// Their share of the processors, from 1 to 10000, beside other commands, which count 100 each; needs a delegated cgroup
    /// [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) cpu_share: Option<u64>,
    #[command(flatten)]
    pub(crate) root: RootArg,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) pool: LaunchPoolArgs,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    pub(crate) again: pool::LaunchIdArg,
    /// Write every message between the actors to this file, as JSON Lines; `ostler trace FILE` shows it
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// What the command reads: 'inherit' (what ostler is given), 'null' (nothing), or a file (./null is one)
    /// [default: inherit, but null if that is a terminal]
    #[arg(long, value_name = "inherit|null|FILE")]
    pub(crate) stdin: Option<OsString>,
    /// Give the command a terminal of its own, as large as this one: each key goes to it, Ctrl-C too. Ctrl-] three times within
    /// a second stops it
    #[arg(long)]
    pub(crate) pty: bool,
    /// Run ahead of a slow reader of the output. Without it the command waits for its reader, once it is 1 MiB ahead
    #[arg(long)]
    pub(crate) detach_output: bool,
    /// Stdout and stderr as one stream, in their exact order
    #[arg(long)]
    pub(crate) merge_stderr: bool,
    /// Print the result, or the error, as one line of JSON on stdout, and pass nothing through
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what happens as lines of JSON on stdout, as it happens: the start, progress, output, and the result or the error
    #[arg(long, conflicts_with = "json")]
    pub(crate) events: bool,
    /// The program, a path or a name in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) argv: Vec<OsString>,
}

const MCP_HELP: &str = "An agent starts it by one entry of its configuration:
  {\"mcpServers\": {\"ostler\": {\"command\": \"ostler\", \"args\": [\"mcp\"]}}}

It ends with its client, and its commands with it. --root bounds where commands start; what they do there is not confined.
What may run is for the client to decide.";

/// `ostler replay`.
#[derive(Debug, Group)]
pub(crate) struct ReplayArgs {
    /// A trace, as `ostler run --trace` or a host has written it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// As one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ostler explain`.
#[derive(Debug, Group)]
pub(crate) struct ExplainArgs {
    /// A trace, as `ostler run --trace` or a host has written it; also a part of one
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only this command, by its handle id or its number [default: all]
    #[arg(value_name = "HANDLE")]
    pub(crate) handle: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
