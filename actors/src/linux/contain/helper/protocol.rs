//! What the graph and the helper say to each other: fixed records over a SEQPACKET socket, so that each is read whole.

/// Descriptor of the helper's end.
pub(crate) const CONTROL_FD: i32 = 3;
/// First argument of the helper that runs one command.
pub(crate) const RUN: &str = "run";
/// First argument of the guard of a cgroup.
pub(crate) const GUARD: &str = "guard";

/// From the graph.
pub(crate) const TERMINATE: u8 = b't';
pub(crate) const KILL: u8 = b'k';
/// The leader is dead and known to be: take its zombie away, and report when nothing is left.
pub(crate) const SWEEP: u8 = b's';

/// From the helper: a kind and its values.
pub(crate) type Report = [i64; 8];
/// `[STARTED, pid]`; from a guard without a pid.
pub(crate) const STARTED: i64 = 1;
/// `[FAILED, stage, errno, signal that killed it]`; the helper exits.
pub(crate) const FAILED: i64 = 2;
/// `[EXITED, signalled, died of a signal, code or signal, user ms, system ms, max rss bytes, nobody else lives]`
pub(crate) const EXITED: i64 = 3;
/// Nothing is left of the tree; the helper exits.
pub(crate) const EMPTY: i64 = 4;

/// Stages of a start that fails in the helper, in the order of what it does.
pub(crate) const STAGE_FORK: i64 = 0;
pub(crate) const STAGE_SESSION: i64 = 1;
pub(crate) const STAGE_DEATH_SIGNAL: i64 = 2;
pub(crate) const STAGE_CWD: i64 = 3;
pub(crate) const STAGE_EXEC: i64 = 4;
/// The helper itself could not be set up.
pub(crate) const STAGE_HELPER: i64 = 5;
