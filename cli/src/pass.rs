//! Passing output through as it comes, byte for byte.
//!
//! The bytes are read from the artifacts, so a slow reader of ostler's stdout never holds the command back, and memory
//! stays at one page whatever the distance.

use crate::{
    events::{Event, spawn},
    exit::Failure,
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
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

/// One page: large enough for a flood, small enough that a terminal shows it within a moment.
const PAGE_BYTES: u64 = 128 << 10;
/// Of the output of a cancelled command that is still to be shown on a terminal: nobody watches a flood scroll by for
/// minutes after Ctrl-C, and all of it is in the artifacts.
const AFTER_CANCEL_BYTES: u64 = 64 << 10;

/// What the threads that pass output through share with the others.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    /// Whether whatever stderr goes to shows an unfinished line.
    pub(crate) mid_line: AtomicBool,
    /// Whether the terminal does nothing about line feeds.
    pub(crate) raw: AtomicBool,
    /// Whether the command is cancelled.
    pub(crate) cancelled: AtomicBool,
}

/// Starts a thread for each stream, or one for both if stdout and stderr are the same file: then only the order in
/// which things came is right. Returns how many [`Event::Passed`] will follow.
pub(crate) fn begin(
    handle: &Handle,
    shared: &Arc<Passing>,
    events: &Sender<Event>,
) -> Result<usize, Failure> {
    let (stdout, stderr) = (duplicate(io::stdout().as_fd())?, duplicate(io::stderr().as_fd())?);
    let streams = match same_file(&stdout, &stderr) {
        true => vec![(OutputFile::Combined, stdout, true)],
        false => vec![(OutputFile::Stdout, stdout, false), (OutputFile::Stderr, stderr, true)],
    };
    let count = streams.len();
    for (which, to, is_stderr) in streams {
        let (handle, shared, events) = (handle.clone(), shared.clone(), events.clone());
        spawn(&format!("pass-{which}"), move || {
            let passed = pass(&handle, which, &to, &shared, is_stderr);
            let _ = match passed {
                Ok(passed) => events.send(Event::Passed(which, passed)),
                Err(error) => events.send(Event::Unreadable(error)),
            };
        })?;
    }
    Ok(count)
}

/// The descriptor itself, without the buffers of the standard library.
fn duplicate(fd: BorrowedFd<'_>) -> Result<File, Failure> {
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
    to: &File,
    shared: &Passing,
    is_stderr: bool,
) -> Result<io::Result<()>, Error> {
    let terminal = to.is_terminal();
    let mut offset = 0;
    loop {
        let page = handle.read().stream(which).offset(offset).length(PAGE_BYTES).wait_for(Duration::MAX);
        let page = page.wait()?;
        if let Err(error) = write_all(to, &page.content) {
            return Ok(Err(error));
        }
        if let Some(last) = page.content.last().filter(|_| is_stderr) {
            shared.mid_line.store(*last != b'\n', Ordering::Relaxed);
        }
        if page.eof {
            return Ok(Ok(()));
        }
        offset = page.next_offset;
        if terminal && shared.cancelled.load(Ordering::Relaxed) {
            let last = page.total_bytes.saturating_sub(AFTER_CANCEL_BYTES);
            if last > offset {
                let note = format!("\n[… {} bytes not shown …]\n", last - offset);
                if let Err(error) = write_all(to, note.as_bytes()) {
                    return Ok(Err(error));
                }
                offset = last;
            }
        }
    }
}

/// Also to a descriptor that somebody else has set to non-blocking: a terminal's flags are shared by all who use it.
fn write_all(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
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
