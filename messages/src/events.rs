//! kernel → process, drain, ticker, supervisor, inbox: what happened in the world. Whom each is for is decided in
//! `actors/src/graph/router.rs`.

use crate::{
    CallId, Containment, LaunchError, Leftover, ListeningPort, Mark, Met, Output, RecordingStopped,
    RecoveredCommand, RecoveredSession, SessionId, Stamp, Text, TimerKind, Usage,
    table::{readable_table, table},
};
use serde::{Deserialize, Serialize};

/// How the leader ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The real code; -1 for death by signal or unknown.
    pub exit_code: i32,
    /// Name of the signal.
    pub signal: Option<String>,
    /// What it used; null if someone else has reaped it.
    pub usage: Option<Usage>,
    /// When it was seen.
    pub ended_at: Stamp,
    /// From just before the spawn.
    pub duration_ms: u64,
    /// Whether the kernel has ended a process of the tree until then for want of memory; null if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
}

/// One process of a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenProcess {
    /// Its number.
    pub n: u64,
    /// Since its start.
    pub age_ms: u64,
    /// Since its last byte of output.
    pub silence_ms: u64,
    /// It is to stand still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// Why a tree does not stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotPaused {
    /// Its leader has ended.
    Ended,
    /// It is being stopped.
    Stopping,
    /// It was let go on before all of it stood still.
    Resumed,
    /// Not all of it could be stopped within so many milliseconds, or be looked at; it goes on.
    Failed(String),
}

readable_table! {
    /// Everything that a kernel can report.
    Event
    /// The program runs.
    Started {
        /// The leader.
        pid: u32,
        /// Its process group.
        process_group_id: u32,
        /// What holds the tree.
        containment: Containment,
        /// Where it runs.
        cwd: Text,
        /// When it was started.
        started_at: Stamp,
        /// Names of the host's variables that it did not get, because they are credentials.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env_withheld: Vec<String>,
        /// Why it runs without the tools that its directory asks for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        toolchain_error: Option<String>,
        /// When the leader was started, in clock ticks after the boot (proc_pid_stat(5), field 22): told only for a journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_ticks: Option<u64>,
    }
    /// The program does not run, and nothing is left of the attempt.
    StartFailed {
        /// Why it does not run.
        error: LaunchError,
    }
    /// The leader is dead.
    Exited {
        /// How it ended.
        exit: Exit,
        /// Whether a signal of ours had been sent before.
        signalled: bool,
        /// No other process of the tree lives: there is nothing to sweep. False also if that can't be seen yet.
        tree_empty: bool,
        /// Somebody has killed its parent, and it with it: how it ended is not known, and its tree is to be killed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lost: bool,
    }
    /// The time is up.
    TimerFired {
        /// What it is for.
        kind: TimerKind,
    }
    /// Processes of the tree live.
    TreeAlive {
        /// How many were seen.
        seen: u64,
        /// Who, if they are to be kept.
        kept: Option<Vec<Leftover>>,
    }
    /// No process of the tree lives, and the leader is reaped.
    TreeEmpty {
        /// Those that were found alive after the leader's exit; null if nobody was able to look.
        leftovers: Option<Vec<Leftover>>,
    }
    /// SIGKILL and the time after it did not end them. They are followed no longer, but reaped when they die.
    Survived {
        /// Those that live on; null if the tree could not be looked at.
        leftovers: Option<Vec<Leftover>>,
    }
    /// It has said more than its output limit, and is to be stopped for that. Told once.
    OutputLimitReached {}
    /// The stream's record is complete.
    EndOfStream {
        /// All that was read of it.
        bytes: u64,
    }
    /// The pipe could not be read any further.
    ReadFailed {
        /// What the kernel said.
        errno: i32,
    }
    /// How the output stands.
    Peeked {
        /// Counts and text so far.
        output: Output,
        /// Since the last byte.
        silence_ms: u64,
        /// For which call of the host; none: for its own sake.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// Its files are complete, and its result is on its way: that says how it stands, and not this.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sealed: bool,
        /// Its tree was asked to stand still, and not to go on since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        paused: bool,
    }
    /// A condition of a wait holds.
    ConditionMet {
        /// Its place in the caller's list.
        index: usize,
        /// How it was seen.
        by: Met,
    }
    /// It was looked for, and does not hold yet; told once, and when what could not be looked at has changed.
    ConditionOpen {
        /// Its place in the caller's list.
        index: usize,
        /// Processes that could not be looked at.
        unseen: u64,
    }
    /// It can't hold any more, or can't be looked for.
    ConditionNever {
        /// Its place in the caller's list.
        index: usize,
        /// Where the recording stopped; none: everything was searched to the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<RecordingStopped>,
        /// Why nobody can look here; the wait is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    }
    /// On which ports a tree listens.
    PortsSeen {
        /// For which call of the host.
        call: CallId,
        /// The ports, or why nobody can look.
        ports: Result<Vec<ListeningPort>, String>,
        /// Processes that could not be looked at.
        unseen: u64,
    }
    /// A tree stands still, or does not.
    Froze {
        /// The number of the process.
        n: u64,
        /// For which call of the host.
        call: CallId,
        /// Why it does not; none: all of it was seen to stand still.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<NotPaused>,
    }
    /// A tree goes on, or has ended; or it has not stood still.
    Thawed {
        /// The number of the process.
        n: u64,
        /// For which call of the host.
        call: CallId,
        /// It has ended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ended: bool,
    }
    /// How old processes are, and how silent.
    Surveyed {
        /// For which call of the host.
        call: CallId,
        /// Those that were found, in the order in which they were asked for.
        seen: Vec<SeenProcess>,
    }
    /// How far a write has come.
    Fed {
        /// The number of the process.
        n: u64,
        /// The call that has brought it.
        call: CallId,
        /// So many of its bytes are taken.
        taken: u64,
        /// So many were dropped.
        dropped: u64,
        /// Nothing more becomes of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ended: bool,
        /// Nobody read that stdin any more when it came.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refused: bool,
    }
    /// Its stdin is closed, by us or because nobody reads it any more.
    InputEnded {
        /// The number of the process.
        n: u64,
    }
    /// The files are complete.
    Sealed {
        /// Counts, digest and text.
        output: Output,
    }
    /// The time for completing the files is up: the disk does not answer. What was read all the same.
    Unsealed {
        /// Counts and text, no digest.
        output: Output,
    }
    /// What an earlier life of the host has left in the journal. The first input, if there is one.
    Recovered {
        /// Sessions that were open, and those that had ended.
        sessions: Vec<RecoveredSession>,
        /// Commands whose results somebody may ask for. All of them have one.
        commands: Vec<RecoveredCommand>,
        /// The number of the last anonymous session.
        anonymous: u64,
        /// The highest number of a command.
        last_n: u64,
    }
    /// Rows are written.
    Recorded {
        /// How far each actor's appends have come.
        marks: Vec<Mark>,
    }
    /// A session is this host's own, or another one's.
    SessionClaimed {
        /// Which.
        session_id: SessionId,
        /// The process id of the host that has it, or 0 if that can't be told; none: it is this one's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_by: Option<u32>,
        /// The number of its next entry, if another host has had it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// The journal can't be written. Whatever was on its way is not in it, nor is what comes before [`JournalBack`].
    JournalFailed {
        /// What was said, and what to do.
        error: String,
    }
    /// The journal can be written again.
    JournalBack {}
    /// It is time to remove artifacts.
    RetentionDue {}
    /// A thread of the kernel's crashed: everything is killed and the graph ends.
    KernelFailed {
        /// The name of the thread.
        thread: String,
    }
}
