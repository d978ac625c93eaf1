//! Passing output through as it comes, byte for byte.
//!
//! * in: the output of a command, read from its artifacts
//! * out: the same, to stdout and stderr, or to stdout as events
//! * keeps: memory stays at one page whatever the distance; a command is held back once it is [`MAX_AHEAD`] in front of its reader, as by
//!   a pipe, unless it is detached from that

use crate::{
    events::{Event, spawn},
    exit::Failure,
    json_lines::JsonLines,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use ostler::{Error, Handle, OutputFile};
use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

/// One page: large enough for a flood, small enough that a terminal shows it within a moment.
const PAGE_BYTES: u64 = 128 << 10;
/// Of the output of a cancelled command that is still to be shown on a terminal: nobody watches a flood scroll by for
/// minutes after Ctrl-C, and all of it is in the artifacts.
const AFTER_CANCEL_BYTES: u64 = 64 << 10;

/// How far a command may be in front of the reader of its output.
pub(crate) const MAX_AHEAD: u64 = 1 << 20;
/// The command is told how far its reader has come each time that it has come so much further: a part of what it may be ahead.
const REPORT_BYTES: u64 = MAX_AHEAD / 8;
/// One event: with each byte escaped it is a line of a hundred thousand.
const EVENT_BYTES: u64 = 16 << 10;

/// What the threads that pass output through share with the others.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    /// Whether whatever stderr goes to shows an unfinished line.
    pub(crate) mid_line: AtomicBool,
    /// Whether the terminal does nothing about line feeds.
    pub(crate) raw: AtomicBool,
    /// Whether there is output that was not shown, and will not be.
    pub(crate) hidden: AtomicBool,
    /// Whether the command is cancelled.
    pub(crate) cancelled: AtomicBool,
    /// Bytes of both streams that are passed on.
    passed: AtomicU64,
    /// Moves whenever a reader takes something.
    pub(crate) taken: AtomicU64,
}

/// Starts a thread for each stream, or one for both if stdout and stderr are the same file: then only the order in
/// which things came is right. With `lines` both streams become events. Returns how many [`Event::Passed`] will follow.
pub(crate) fn begin(
    handle: &Handle,
    shared: &Arc<Passing>,
    events: &Sender<Event>,
    lines: Option<&JsonLines>,
) -> Result<usize, Failure> {
    let streams = match lines {
        Some(lines) => {
            [OutputFile::Stdout, OutputFile::Stderr].map(|which| (which, To::Lines(lines.clone()))).into()
        }
        None => own_streams()?,
    };
    let count = streams.len();
    for (which, to) in streams {
        let (handle, shared, events) = (handle.clone(), shared.clone(), events.clone());
        spawn(&format!("pass-{which}"), move || {
            let passed = pass(&handle, which, &to, &shared);
            let whole = matches!(passed, Ok((Ok(()), Whole(true))));
            let _ = match passed {
                Ok((passed, _)) => events.send(Event::Passed(which, passed)),
                Err(error) => events.send(Event::Unreadable(error)),
            };
            // A reader that went away ends the command. What can't be read holds nobody back.
            if !whole {
                holds_nobody(&handle);
            }
        })?;
    }
    Ok(count)
}

/// Follows what the command has left, to its end: what it says goes to stdout, or nowhere if not `shown`. One
/// [`Event::Passed`] follows.
pub(crate) fn kept(
    handle: &Handle,
    shared: &Arc<Passing>,
    events: &Sender<Event>,
    lines: Option<&JsonLines>,
    shown: bool,
) -> Result<(), Failure> {
    let file = duplicate(io::stdout().as_fd())?;
    let to = match lines {
        Some(lines) => To::Lines(lines.clone()),
        None if shown => To::File { is_terminal: file.is_terminal(), file, is_stderr: false },
        None => To::Nowhere,
    };
    let (handle, shared, events) = (handle.clone(), shared.clone(), events.clone());
    spawn("pass-kept", move || {
        let _ = match pass(&handle, OutputFile::Kept, &to, &shared) {
            Ok((passed, _)) => events.send(Event::Passed(OutputFile::Kept, passed)),
            Err(error) => events.send(Event::Unreadable(error)),
        };
    })
}

/// The streams of this program, and what of a command goes to each.
pub(crate) fn own_streams() -> Result<Vec<(OutputFile, To)>, Failure> {
    let (stdout, stderr) = (duplicate(io::stdout().as_fd())?, duplicate(io::stderr().as_fd())?);
    let to = |file: File, is_stderr| To::File { is_terminal: file.is_terminal(), file, is_stderr };
    Ok(match same_file(&stdout, &stderr) {
        true => vec![(OutputFile::Combined, to(stdout, true))],
        false => vec![(OutputFile::Stdout, to(stdout, false)), (OutputFile::Stderr, to(stderr, true))],
    })
}

/// Where a stream goes.
pub(crate) enum To {
    File { file: File, is_terminal: bool, is_stderr: bool },
    Lines(JsonLines),
    Nowhere,
}

/// Whether all of a stream was there to be read.
struct Whole(bool);

/// Follows for nobody, until the command ends.
fn holds_nobody(handle: &Handle) {
    let mut offset = 0;
    // Where it can't be read there is nothing to be done; its time limits hold.
    while let Ok(page) = handle.read().offset(offset).length(1).follows().wait_for(Duration::MAX).wait() {
        if page.eof {
            return;
        }
        offset = page.total_bytes;
    }
}

/// The descriptor itself, without the buffers of the standard library.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> Result<File, Failure> {
    fd.try_clone_to_owned().map(File::from).map_err(Failure::system("output"))
}

fn same_file(one: &File, other: &File) -> bool {
    let id = |file: &File| file.metadata().map(|data| (data.dev(), data.ino())).ok();
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// The outer error is the reader's side, the inner one the writer's.
fn pass(
    handle: &Handle,
    which: OutputFile,
    to: &To,
    shared: &Passing,
) -> Result<(io::Result<()>, Whole), Error> {
    let (mut offset, page_bytes) = (0, if matches!(to, To::Lines(_)) { EVENT_BYTES } else { PAGE_BYTES });
    loop {
        let page = handle.read().stream(which).offset(offset).length(page_bytes).wait_for(Duration::MAX);
        let page = page.wait()?;
        if let Err(error) = put(to, which, offset, &page.content, shared) {
            return Ok((Err(error), Whole(false)));
        }
        report(handle, shared, page.bytes_read);
        if page.eof {
            return Ok((Ok(()), Whole(page.gap.is_none())));
        }
        offset = page.next_offset;
        let To::File { file, is_terminal: true, .. } = to else { continue };
        if shared.cancelled.load(Ordering::Relaxed) {
            let last = page.total_bytes.saturating_sub(AFTER_CANCEL_BYTES);
            if last > offset {
                shared.hidden.store(true, Ordering::Relaxed);
                let note = format!("\n[… {} bytes not shown …]\n", last - offset);
                if let Err(error) = write_all(file, note.as_bytes(), &shared.taken) {
                    return Ok((Err(error), Whole(false)));
                }
                offset = last;
            }
        }
    }
}

/// A piece of a stream, to where it goes.
pub(crate) fn put(to: &To, which: OutputFile, offset: u64, bytes: &[u8], shared: &Passing) -> io::Result<()> {
    match to {
        To::File { file, is_stderr, .. } => {
            write_all(file, bytes, &shared.taken)?;
            if let Some(last) = bytes.last().filter(|_| *is_stderr) {
                shared.mid_line.store(*last != b'\n', Ordering::Relaxed);
            }
            Ok(())
        }
        To::Nowhere => Ok(()),
        To::Lines(_) if bytes.is_empty() => Ok(()),
        To::Lines(lines) => lines.output(which, offset, bytes),
    }
}

/// Both streams together are the combined output, so the sum of both is where the reader of that would be.
fn report(handle: &Handle, shared: &Passing, bytes: u64) {
    let before = shared.passed.fetch_add(bytes, Ordering::Relaxed);
    let passed = before.saturating_add(bytes);
    if before / REPORT_BYTES != passed / REPORT_BYTES {
        // The byte itself is not wanted. One that is not there yet, or not any more, is no matter.
        let _ = handle.read().offset(passed).length(1).follows().wait();
    }
}

/// Also to a descriptor that somebody else has set to non-blocking: a terminal's flags are shared by all who use it.
/// `taken` is counted up with each piece.
pub(crate) fn write_all(mut to: &File, mut bytes: &[u8], taken: &AtomicU64) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut room = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut room, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
