//! Every way in which a request can be refused. Each says which field or stage is wrong, and after each nothing is left.

use crate::{HandleId, Stage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit of the graph. All of them are in the host's `Limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// Live handles in all.
    Handles,
    /// Live handles of one session.
    SessionHandles,
    /// Sessions that are open, or have ended with unread results.
    Sessions,
    /// Results of one session that nobody has taken.
    UnreadResults,
    /// Entries pushed by the host that nobody has taken, in one session.
    PushedEntries,
    /// Subscriptions to the inbox of one session.
    Subscriptions,
    /// Bytes on disk of the commands of one session.
    SessionOutputBytes,
    /// Calls that wait for their answer.
    OpenCalls,
}
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Handles => "live handles in all",
            Limit::SessionHandles => "live handles of one session",
            Limit::Sessions => {
                "sessions that are open or hold unread results (end them, and drain or discard)"
            }
            Limit::UnreadResults => "unread results (drain the inbox)",
            Limit::Subscriptions => "subscriptions to the inbox of one session",
            Limit::PushedEntries => "entries pushed by the host",
            Limit::SessionOutputBytes => "bytes on disk of the commands of one session",
            Limit::OpenCalls => "calls that wait for an answer",
        })
    }
}

/// What the kernel means by an errno.
fn said(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

pub(crate) fn of_limit(max: u64, leased: u64) -> String {
    match leased {
        0 => format!("at most {max}"),
        _ => format!("at most {max}, {leased} of them leased to readers"),
    }
}

fn of_launches(max: u64, count: u64, leased: u64, oldest: &[HandleId]) -> String {
    let mut text = format!("at most {max}; there are {count}");
    if leased > 0 {
        text += &format!(", {leased} of them leased to readers");
    }
    let names: Vec<String> = oldest.iter().map(HandleId::to_string).collect();
    if !names.is_empty() {
        text += &format!("; the oldest: {}", names.join(", "));
    }
    text
}

/// How many handles the error of a limit names: enough to see what fills it.
pub const OLDEST_HANDLES: usize = 3;

/// Why a command was not launched. No process, no directory and no handle is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LaunchError {
    /// `program` is "".
    #[error("program: it is empty")]
    EmptyProgram,
    /// A NUL byte, which no argument, path or variable can hold.
    #[error("{field}: it holds a NUL byte")]
    Nul {
        /// The field.
        field: String,
    },
    /// A variable's name is empty or holds `=`.
    #[error("env: {name:?} cannot be a variable's name (empty, or with '=')")]
    EnvName {
        /// The name.
        name: String,
    },
    /// A time limit of 0.
    #[error("{field}: a limit of 0 leaves no time at all; leave it out for no limit")]
    ZeroTime {
        /// The field.
        field: String,
    },
    /// A limit of 0 of something that every command needs.
    #[error("{field}: with a limit of 0 nothing runs; leave it out for no limit")]
    ZeroLimit {
        /// The field.
        field: String,
    },
    /// A limit of the tree that the kernel can't keep here.
    #[error("{field}: not to be had here: {reason}")]
    LimitUnavailable {
        /// The field.
        field: String,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A number beyond its limit.
    #[error("{field}: {value} is over the limit of {limit}")]
    TooLarge {
        /// The field.
        field: String,
        /// What it said.
        value: u64,
        /// The most it can say.
        limit: u64,
    },
    /// A label that can't be.
    #[error("label {name:?}: {reason}")]
    Label {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two fields that exclude each other.
    #[error("{field}: not with {other}: {reason}")]
    Excluded {
        /// The field.
        field: String,
        /// The other field.
        other: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The working directory does not exist.
    #[error("cwd: {cwd} does not exist")]
    CwdMissing {
        /// The path.
        cwd: String,
    },
    /// The working directory is something else.
    #[error("cwd: {cwd} is not a directory")]
    CwdNotDirectory {
        /// The path.
        cwd: String,
    },
    /// No such file, or none of that name in the command's `PATH`.
    #[error("program: {program} was not found")]
    ProgramNotFound {
        /// As it was asked for.
        program: String,
    },
    /// The program's path names a directory.
    #[error("program: {path} is a directory")]
    ProgramIsDirectory {
        /// The path.
        path: String,
    },
    /// The file exists, but the interpreter in its first line does not.
    #[error("program: {path} names an interpreter that does not exist ({interpreter})")]
    InterpreterMissing {
        /// The script, or a binary whose dynamic loader is missing.
        path: String,
        /// What its first line names.
        interpreter: String,
    },
    /// Not allowed to execute it, or to enter the directory.
    #[error("{stage}: permission denied for {path} ({})", said(*.errno))]
    PermissionDenied {
        /// `exec` or `cwd`.
        stage: Stage,
        /// The path.
        path: String,
        /// EACCES or EPERM.
        errno: i32,
    },
    /// Neither a binary for this machine nor a script with a `#!` line.
    #[error("program: {path} is not an executable format; a script needs a first line like #!/bin/sh")]
    NotExecutableFormat {
        /// The path.
        path: String,
    },
    /// The file is open for writing, and stayed so while it was tried again.
    #[error("program: {path} is being written to (ETXTBSY)")]
    TextBusy {
        /// The path.
        path: String,
    },
    /// E2BIG.
    #[error(
        "args and env: {bytes} bytes are too long for the kernel (E2BIG): all together may have a quarter of the stack limit, \
         one of them at most 131071, and the longest has {longest}; give long input by a file or stdin"
    )]
    ArgumentsTooLong {
        /// Arguments and environment together.
        bytes: u64,
        /// The longest argument or variable.
        longest: u64,
    },
    /// The session was never opened.
    #[error("session {session_id} is unknown; open it first")]
    SessionUnknown {
        /// The id.
        session_id: String,
    },
    /// The session has ended, or ended during the launch.
    #[error("session {session_id} is closed")]
    SessionClosed {
        /// The id.
        session_id: String,
    },
    /// Another request had this key, and its handle is still known.
    #[error("launch_key: {launch_key:?} belongs to another request of this session; use another key")]
    LaunchKeyReused {
        /// The key.
        launch_key: String,
    },
    /// A limit of the graph.
    #[error("limit reached: {limit} ({})", of_launches(*.max, *.count, *.leased, .oldest))]
    LimitReached {
        /// The limit.
        limit: Limit,
        /// Its value.
        max: u64,
        /// How many there are.
        count: u64,
        /// How many of them are on their way to a reader that has not acknowledged them.
        leased: u64,
        /// The handles that have been part of it for longest, at most [`OLDEST_HANDLES`].
        oldest: Vec<HandleId>,
    },
    /// The process, or the system, has no more descriptors.
    #[error("{stage}: no more descriptors ({}); raise RLIMIT_NOFILE or run fewer commands", said(*.errno))]
    NoDescriptors {
        /// Where.
        stage: Stage,
        /// EMFILE or ENFILE.
        errno: i32,
    },
    /// This user watches so many descriptors that no more can be watched (epoll(7)).
    #[error("watch: no more watches ({}); raise fs.epoll.max_user_watches or run fewer commands", said(*.errno))]
    NoWatches {
        /// ENOSPC or ENOMEM.
        errno: i32,
    },
    /// The kernel refused to make a process.
    #[error("fork: no more processes allowed ({}): {limit}", said(*.errno))]
    ProcessLimit {
        /// EAGAIN or ENOMEM.
        errno: i32,
        /// Which limit is likely behind it.
        limit: String,
    },
    /// Something killed the process between fork and exec; or, at the stage `helper`, its parent, before that could say that the program runs: then it may have
    /// begun, and is killed.
    #[error("{stage}: killed by {signal} before the program was seen to run")]
    KilledBeforeExec {
        /// How far it had come.
        stage: Stage,
        /// By which signal.
        signal: String,
    },
    /// Any other failure.
    #[error("{stage}: {}", said(*.errno))]
    Failed {
        /// Where.
        stage: Stage,
        /// What the kernel said.
        errno: i32,
    },
    /// Neither started nor failed in time (a dead network file system, for example); it is undone when it does start.
    #[error("start: not started within {limit_ms} ms")]
    StartTimedOut {
        /// The time that was given.
        limit_ms: u64,
    },
    /// An actor of ostler's crashed during the launch; the process, if any, is killed.
    #[error("ostler: an actor crashed during the launch")]
    Crashed,
}
