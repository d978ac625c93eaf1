//! The files of one command: what it said, as it said it, and how to read it.
//!
//! ```text
//! {root}/.host-{pid}-{n}.lock      held by the host as long as it lives
//! {root}/.looked                   when a host has last looked for what may go
//! {root}/{command_id}/combined.txt   both streams in the order in which they were read
//!                     stdout.txt
//!                     stderr.txt
//!                     kept.txt       what kept leftovers said after its end, if they did
//!                     launch.json    who asked for what, from the first moment
//!                     result.json    the record, once the command has ended
//! {root}/trace_{unix nanoseconds}_{pid}.jsonl   what a flight recorder has written
//! ```
//!
//! * [`Root`]: the private directory; [`create`] and [`discard`] one command's directory in it.
//! * [`Recorder`]: appends, counts, digests; [`HeadTail`]: the text that is shown of a stream.
//! * [`Growth`], [`read_now`], [`read_blocking`], [`next_byte`]: reading by offset or by line while it grows, and after.
//! * [`Cleaner`], [`clean_text`]: the text in it, as a terminal would show each line. [`screen`]: a terminal's screen.
//! * [`Pattern`]: what to look for in a line; [`Search`]: its first match, as the bytes come; [`find`]: the lines
//!   that match.
//! * [`LaunchFile`], [`Stored`], [`Store`]: what other processes can know of a command.
//! * [`reload_text`]: texts that were dropped, back from disk. [`retain`]: age, count and bytes; [`Budget`]: bytes that several share.
//!
//! ```
//! use ostler_artifacts::{Growth, Paths, ReadRequest, Recorder, Root, create, read_now};
//! use ostler_messages::{Capture, CommandId, Stream};
//! use std::sync::Arc;
//!
//! let dir = tempfile::tempdir()?;
//! let root = Root::open(Some(dir.path().join("artifacts")), std::process::id())?;
//! let paths = Paths::of(root.path(), CommandId { host_pid: std::process::id(), unix_ns: 1, n: 1 });
//! let directory = create(&paths)?;
//!
//! let live = Arc::new(Growth::new());
//! let mut recorder = Recorder::new(directory, Capture::default(), None, live.clone());
//! recorder.append(Stream::Stdout, b"out\n");
//! recorder.append(Stream::Stderr, b"err\n");
//!
//! let page = read_now(&paths, Some(&live), &ReadRequest::new().offset(4))?;
//! assert_eq!((page.text().as_str(), page.eof), ("err\n", false));
//! assert_eq!(recorder.peek(1_000).line_count, Some(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trade-offs
//!
//! * **Trouble with files never costs a result.** A recorder has no errors to return: a full disk, a removed directory,
//!   an output limit are reported in `artifact_error`, while counts, digest and text go on covering every byte.
//! * **Written at once, not buffered.** Every append is two writes, so that a reader in another process, and whoever
//!   looks after the host has died, sees what the command had said. Not synced: a power cut may take it.
//! * **Everything is in the page cache twice**, combined and by stream: three files that are only ever appended to are
//!   simpler to trust, and to read with any tool, than one file and an index.
//! * **Cleaned when read**, not when recorded: what the command said stays there, and nobody pays who does not ask. A page of
//!   the clean view ends with a line, so that the next one needs to know nothing of it.
//! * **A lock per host, not a pid file.** The kernel lets go of it, so a host that was killed blocks nothing.
//! * **Removal by name.** Only names made here are ever unlinked; a directory with anything else in it stays.
//!
//! There is no actor here, no thread and no timer; everything runs on the caller's thread.

mod abandoned;
mod ahead;
mod append_file;
mod budget;
mod clean;
mod cut;
mod digest_worker;
mod dump;
mod find;
mod growth;
mod host;
mod launch_file;
mod line;
mod lines;
mod lock;
mod page;
mod paths;
mod pattern;
mod read;
mod recorder;
mod remembered;
mod request;
mod result;
mod retention;
mod root;
mod said;
mod screen;
mod search;
mod socket;
mod source;
mod store;
mod text;
mod turn;

pub use abandoned::{abandoned_result, said_until_now, seal_abandoned};
pub use budget::Budget;
pub use clean::{Cleaner, clean_text};
pub use digest_worker::DigestWorker;
pub use dump::{DUMPS_KEPT, DumpError};
pub use find::{
    FIND_MAX_AROUND, FIND_MAX_LINES, FIND_MAX_READ_BYTES, FIND_MAX_TEXT_BYTES, FindRequest, FoundLine,
    FoundLines, find, find_in,
};
pub use growth::{Growth, Stopped};
pub use host::{HostIdentity, boot_id, start_ticks};
pub use launch_file::{LAUNCH_FILE_VERSION, LaunchFile};
pub use ostler_messages::{Found, Group, OutputFile, PatternSource, Span, View};
pub use page::{Gap, Page, ReadError};
pub use paths::{Directory, Paths, create, discard};
pub(crate) use paths::{LAUNCH_FILE, RESULT_FILE};
pub use pattern::{
    PATTERN_MAX_BYTES, PATTERN_MAX_COMPILED_BYTES, PATTERN_MAX_GROUPS, PATTERN_MAX_PROPERTIES, Pattern,
    PatternError,
};
pub use read::{next_byte, read_blocking, read_now};
pub use recorder::Recorder;
pub use request::{Lines, READ_MAX_BYTES, ReadRequest};
pub use result::{RESULT_MAX_BYTES, reload_text};
pub use retention::{
    Others, RETENTION_AGE_HOURS, RETENTION_BYTES, RETENTION_COUNT, Retained, RetentionError, RetentionLimits,
    Wanted, remove_command, retain, would_go,
};
pub use root::{Root, RootError, default_root};
pub use screen::{SCREEN_TAIL_BYTES, Screen, screen, screen_of};
pub use search::{CARRY_BYTES, PIECE_BYTES, QUIET_US, SHOWN_BYTES, Search};
pub use socket::{HostSocket, connect_to_host};
pub use store::{RemoveError, Store, Stored, StoredState, Summary};
pub use text::HeadTail;
pub use turn::{STARTS_PER_LOOK, is_turn};
