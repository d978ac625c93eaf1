//! What the graph, its guard and the helpers say to each other, over SEQPACKET sockets: so each message is read whole.

/// Descriptor of the guard's end.
pub(crate) const CONTROL_FD: i32 = 3;

/// Second argument of the guard: whoever becomes its child and is no helper is an orphan of one that was killed, and is ended.
pub(crate) const END_ORPHANS: &str = "end-orphans";
pub(crate) const LEAVE_ORPHANS: &str = "leave-orphans";

/// To the guard: fork a helper, whose end of its link goes along.
pub(crate) const FORK: u8 = b'f';

/// To a helper that has nothing to do: start a command. `[LAUNCH, bytes of all texts, arguments, variables, flags]`, then the
/// texts, as far as they fit; the rest follows in messages of its own. Its files go along.
pub(crate) type Launch = [i64; 5];
pub(crate) const LAUNCH: i64 = 16;
/// Most bytes of texts in one message: well below what a socket takes by default (208 KiB).
pub(crate) const TEXT_BYTES: usize = 48 << 10;
/// Files of a launch: stdin, stdout, stderr, and two that flags name.
pub(crate) const FILES_MAX: usize = 5;
/// The helper is to be a subreaper, and to answer for the whole tree.
pub(crate) const SUBREAPER: i64 = 1;
/// The leader's zombie is kept until it is asked for ([`SWEEP`]).
pub(crate) const HOLD: i64 = 2;
/// A working directory goes along, open.
pub(crate) const OPEN_CWD: i64 = 4;
/// The directory of a cgroup goes along, in which the leader is born.
pub(crate) const IN_CGROUP: i64 = 8;

/// The leader's stdin is a terminal that is to control it.
pub(crate) const TERMINAL: i64 = 16;
/// From this bit on: what is sent first to stop the tree.
pub(crate) const STOP_SIGNAL_SHIFT: i64 = 8;

/// To a helper at work. From this byte on: send this signal, less the byte, to the leader's group.
pub(crate) const RAISE: u8 = 128;
pub(crate) const TERMINATE: u8 = b't';
pub(crate) const KILL: u8 = b'k';
/// The leader is dead and known to be: take its zombie away, and report when nothing is left.
pub(crate) const SWEEP: u8 = b's';

/// From the guard and the helpers: a kind and its values.
pub(crate) type Report = [i64; 11];
/// From a guard: `[WATCHES, whether /proc can be trusted, whether pidfds can be had]`.
pub(crate) const WATCHES: i64 = 5;
/// `[READY, pid]`: a helper is there. Without that word none ever was, and whatever it was asked has not begun.
pub(crate) const READY: i64 = 6;
/// `[STARTED, pid of the leader]`, with its pidfd.
pub(crate) const STARTED: i64 = 1;
/// `[FAILED, stage, errno, signal that killed it]`; the helper has nothing to do again.
pub(crate) const FAILED: i64 = 2;
/// `[EXITED, signalled, died of a signal, code or signal, user ms, system ms, max rss bytes, nobody else lives, leader was
/// reaped, monotonic clock in ns, wall clock in ms]`. If it was reaped, the helper has nothing to do again.
pub(crate) const EXITED: i64 = 3;
/// The leader was reaped, and nothing is left of what the helper answers for; it has nothing to do again.
pub(crate) const EMPTY: i64 = 4;

/// Stages of a start, in the order of what the leader does.
pub(crate) const STAGE_FORK: i64 = 0;
pub(crate) const STAGE_SESSION: i64 = 1;
pub(crate) const STAGE_DEATH_SIGNAL: i64 = 2;
pub(crate) const STAGE_STDIO: i64 = 3;
pub(crate) const STAGE_CWD: i64 = 4;
pub(crate) const STAGE_EXEC: i64 = 5;
/// The helper itself could not be set up.
pub(crate) const STAGE_HELPER: i64 = 6;
