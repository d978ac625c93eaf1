//! ostler looks after the long-running commands of AI agents.
//!
//! A host asks for a command and gets a [`Handle`] at once. The command runs on; its output goes to files on disk;
//! progress and exactly one result arrive in the session's inbox. Cancel, deadline, idle time and session end stop the
//! whole process tree, and the result says what was really seen of it.
//!
//! ```
//! use ostler::{Command, Config, Filter, Ostler};
//! use std::time::Duration;
//!
//! # let artifacts = tempfile::tempdir()?;
//! let ostler = Ostler::start(Config::new().artifact_root(artifacts.path().join("artifacts")))?;
//! let session = ostler.open_session().wait()?;
//!
//! // The handle is there at once, and the command runs on.
//! let build = Command::new("sh").args(["-c", "echo compiling; sleep 0.1; echo done"]);
//! let handle = session.launch(build.timeout(Duration::from_secs(60))).wait()?;
//!
//! // Its output can be read while it grows.
//! let page = handle.read().wait_for(Duration::from_secs(5)).wait()?;
//! assert!(page.text().starts_with("compiling\n"));
//!
//! // Exactly one result arrives in the inbox.
//! let entries = session.inbox().receive(Filter::results(), 1, Duration::from_secs(5)).wait()?;
//! let result = entries[0].record().unwrap();
//! assert_eq!((result.exit_code, result.stdout.as_str()), (Some(0), "compiling\ndone\n"));
//!
//! // Nothing is left behind.
//! session.end().wait()?;
//! ostler.shutdown().wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Calling it
//!
//! Every call to the graph is a [`Call`]: `.wait()` blocks a plain thread, `.await` works in any async runtime and never
//! blocks its thread. Handles to the graph are `Send + Sync + Clone`. The graph runs on a thread of its own, so it can be
//! embedded in a plain program, in tokio, and in another actix system.
//!
//! # The program
//!
//! This crate is the library. The program `ostler` is in the package `ostler-cli` (`cargo install ostler-cli`).
//!
//! # Debug builds
//!
//! Without optimisation the digest takes seven times as long as everything else. A host whose debug builds read much output
//! adds to its own workspace, where alone cargo takes it from:
//!
//! ```toml
//! [profile.dev.package.sha2]
//! opt-level = 3
//! ```
//!
//! # Testing a host
//!
//! With the feature `testing`, `Ostler::scripted` runs the same graph on a `World` that the test writes: programs that do what
//! they are told, in virtual time, without a process, a file or a clock. What happened can be held against a snapshot in one line,
//! and random worlds look for what nobody thought of. See the module `testing`.
//!
//! # What is promised
//!
//! * **One result.** A handle that was given out comes to exactly one result, whatever happens: in the inbox, or as the
//!   answer to whoever cancelled it. A call can be dropped at any await: what it would have brought stays where it was.
//! * **Bounds.** Memory for one handle does not grow with its output; every queue has a limit; nothing waits for ever.
//! * **Panics.** A panic in an actor costs its handle (`status: lost`, the tree killed), not the graph. This needs
//!   unwinding: a host built with `panic = "abort"` is ended by any panic, and then the kernel ends the commands.
//! * **Signals.** No signal is ever sent to a number that may have been given to somebody else.

// From the ground up: each knows only what stands before it.
mod api;
mod backend;
mod config;
mod core;
mod graph;
mod linux;
mod replay;
#[cfg(feature = "testing")]
mod scripted;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;

pub use api::*;
pub use backend::{ContainmentReport, Recovery, Refused, StartError};
pub use config::{
    CREDENTIAL_NAMES, CREDENTIAL_PREFIXES, CREDENTIAL_SUFFIXES, Config, CredentialRule, DumpHook, Journal,
    Limits, OPEN_CALLS, RECORDER_BYTES, REPLAY_RESULTS, RETENTION_INTERVAL, Retention, SEAL_TIMEOUT,
    SESSION_HANDLES, SESSIONS, START_TIMEOUT, TOOLCHAIN_LIMIT, TRACE_LOG_BYTES, Times, ToolchainHook,
    TraceDump, TraceLog, TraceTo, UNKILLABLE_TIME, UNREAD_RESULTS, Variables,
};
#[cfg(feature = "tracing")]
pub use config::{ContextHook, Spans};
pub use graph::trace::narrate;
pub use ostler_artifacts::{
    Cleaner, FindRequest, FoundLine, FoundLines, Gap, LaunchFile, Lines, OutputFile, Page, READ_MAX_BYTES,
    ReadError, ReadRequest, RemoveError, Retained, RetentionLimits, RootError, Screen, Stopped, Store,
    Stored, StoredState, Summary, View, Wanted, clean_text, connect_to_host, default_root, read_now, retain,
    screen_of, would_go,
};
pub use ostler_inbox::BACKLOG_ENTRIES;
pub use ostler_journal::Durability;
pub use ostler_messages::{
    ActorName, CONDITIONS_MAX, CONTROL_ANSWER_MAX_BYTES, CallError, CallId, Capture, CommandId, Condition,
    Containment, Content, ControlAnswer, ControlAsk, Entry, EnvMode, EnvVars, Filter, Found, Group, HandleId,
    INPUT_MAX_BYTES, Labels, LaunchError, LaunchRequest, Leftover, LeftoversPolicy, Limit, ListeningPort,
    Met, NOTICE_BYTES, Outcome, OutputPolicy, PatternSource, Preset, REDELIVER_MS, Record, RecordingStopped,
    SOURCE_EXIT, SOURCE_PROGRESS, SessionId, Span, Stage, Stamp, Status, Stdin, StopCause, Stream,
    Subscribed, TOOL_PROGRESS, TOOL_RESULT, Tally, TerminalSize, Text, Toolchain, TraceContext, UnixSignal,
    Usage, WaitEnd, counted, duration, on_one_line,
    trace::{Delivery, Header, Incident},
};

/// Journals, seen by other processes than the hosts that write them.
#[cfg(feature = "journal")]
pub mod journal {
    pub use ostler_journal::{
        CommandState, HostState, Reader, SessionState,
        folder::{FolderError, default_base},
        store::{Host, StoreError},
    };
}
