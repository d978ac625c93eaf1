//! `ostler logs` and `ostler wait`: a command of any host, as it goes on.
//!
//! * in: the files of a command
//! * out: its output, as it comes; its end
//! * keeps: it sleeps while nothing comes; the death of a host, which no file tells, is seen within [`HOST_LOOK`]

use crate::{
    args::{LogsArgs, WaitArgs},
    exit::{self, Failure},
    stored, term,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use ostler::{Lines, READ_MAX_BYTES, ReadRequest, Stored, StoredState, View};
use std::{
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

/// How often it is looked whether the host lives.
const HOST_LOOK: Duration = Duration::from_millis(500);

/// Tells when something happens in a directory.
struct Changes(Option<Inotify>);
impl Changes {
    /// Of its files' lengths too, or only of what is there. Where it can't be watched (inotify(7) has limits) it is looked now and then.
    fn of(dir: &Path, lengths: bool) -> Changes {
        let watch = || -> nix::Result<Inotify> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            let mut what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            what.set(AddWatchFlags::IN_MODIFY, lengths);
            inotify.add_watch(dir, what | AddWatchFlags::IN_DELETE_SELF)?;
            Ok(inotify)
        };
        Changes(watch().ok())
    }

    /// Until something has changed since the last call, or it is time to look anyway.
    fn wait(&self) {
        let timeout = PollTimeout::try_from(HOST_LOOK).unwrap_or(PollTimeout::ZERO);
        let Some(inotify) = &self.0 else {
            std::thread::sleep(HOST_LOOK);
            return;
        };
        // A signal only makes it look earlier.
        let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout);
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

/// `ostler logs`.
pub(crate) fn logs(args: &LogsArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    let command = stored::find(&root, &args.id)?;
    // Before the first look: what comes in between is not missed.
    let changes = Changes::of(&command.paths.dir, true);
    let view = if args.clean { View::Clean } else { View::Raw };
    let request = ReadRequest::new().of(args.stream.into()).view(view).length(READ_MAX_BYTES);
    let mut next = match args.tail {
        Some(count) => request.lines(Lines::Last { count }),
        None => request,
    };
    let mut out = io::stdout().lock();
    // Without --follow what comes meanwhile is not chased.
    let mut until = None;
    loop {
        let page = stored::read(&command, &next)?;
        out.write_all(&page.content)?;
        out.flush()?;
        next = request.offset(page.next_offset);
        let until = *until.get_or_insert(page.total_bytes);
        if page.eof || (!args.follow && (page.bytes_read == 0 || page.next_offset >= until)) {
            return Ok(0);
        }
        if page.bytes_read == 0 {
            changes.wait();
        }
    }
}

/// `ostler wait`: exits as the command did.
pub(crate) fn wait(args: &WaitArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    let mut command = stored::find(&root, &args.id)?;
    let changes = Changes::of(&command.paths.dir, false);
    loop {
        let unknown = || Failure::Unknown { text: args.id.clone(), root: root.clone() };
        command = Stored::look(&root, command.command_id).ok_or_else(unknown)?;
        if command.state() != StoredState::Running {
            let record = command.record();
            term::ended(&record);
            return Ok(exit::of_result(&record, None));
        }
        changes.wait();
    }
}
