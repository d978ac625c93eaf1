//! `ostler follow --ends`: a line for each end, for whoever is told of what happens while it does something else.
//!
//! * in: the commands of a root, whoever makes them
//! * out: a line on stdout for each that ends from now on, at most [`LINES`] in [`WINDOW`]; beyond that their number
//! * keeps: it takes nothing from any inbox, and sleeps while nothing happens. The death of a host, which no file tells, is seen within
//!   [`HOST_LOOK`]

use crate::{args::RootArg, exit::Failure, kin, stored, term, values::seconds};
use clap::Args;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use ostler::{CommandId, Record, Store, Stored, StoredState, counted, duration, on_one_line};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    io::{self, Write},
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How often it is looked whether the hosts of running commands live.
const HOST_LOOK: Duration = Duration::from_secs(2);
/// Most lines in a [`WINDOW`]: each may cost its reader a turn.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// A directory that is not there any more.
const GONE: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF);
/// Longest command in a line, in bytes: its middle is left out.
const COMMAND_MAX_BYTES: usize = 120;

pub(crate) const HELP: &str = "\
A line is a hint and takes nothing from anybody: whoever is to be told of an end is told all the same. Of many ends at once
the first 20 within 10 s have a line each, the others one together. It goes on until its reader is gone, or until SIGTERM.";

/// `ostler follow`.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    /// Follow the ends of commands (there is nothing else to follow yet)
    #[arg(long, required = true)]
    pub(crate) ends: bool,
    /// Only those of this session
    #[arg(long, value_name = "S")]
    pub(crate) session: Option<String>,
    /// Only those of hosts that were started by a program above this one, as an agent starts both
    #[arg(long)]
    pub(crate) same_agent: bool,
    /// Only those that ran so long at least
    #[arg(long, value_name = "D", value_parser = seconds)]
    pub(crate) longer_than: Option<Duration>,
    /// Print each end as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) root: RootArg,
}

/// `ostler follow --ends`.
pub(crate) fn follow(args: &FollowArgs) -> Result<u8, Failure> {
    let root = stored::root(args.root.artifacts.as_ref());
    let failed = |source: io::Error| Failure::Root { root: root.clone(), source };
    // A host to come would make it in the same way.
    DirBuilder::new().mode(0o700).recursive(true).create(&root).map_err(failed)?;
    let mut ends = Ends::watch(&root, args.same_agent).map_err(failed)?;
    // Before the first look, so that nothing is missed; and said, so that whoever starts it knows from when on it is told.
    for summary in stored::look(&root)?.summaries() {
        ends.newest = ends.newest.max(summary.command_id.unix_ns);
        if summary.state == StoredState::Running {
            ends.begins(summary.command_id);
        }
    }
    term::say(|out| writeln!(out, "follows what ends in {}", root.display()));
    let mut rate = Rate::default();
    loop {
        for record in ends.next(rate.due())? {
            if wanted(args, &record) && rate.has_room(Instant::now()) {
                print(args.json, line(&record), || in_json(&record))?;
            }
        }
        if let Some(more) = rate.left_out(Instant::now()) {
            let text = format!("{} ended too: `ostler ps --all` lists them", counted(more, "more command"));
            print(args.json, text, || json!({ "more": more }))?;
        }
    }
}

fn wanted(args: &FollowArgs, record: &Record) -> bool {
    let long_enough = args.longer_than.is_none_or(|least| {
        // How long one ran whose host died is not known.
        record.duration_ms.is_none_or(|ms| Duration::from_millis(ms) >= least)
    });
    long_enough && args.session.as_ref().is_none_or(|session| record.session_id.as_str() == session)
}

/// The command comes last: it alone may be long.
fn line(record: &Record) -> String {
    let after = record.duration_ms.map_or_else(String::new, |ms| format!(" after {}", duration(ms)));
    let command = on_one_line(&record.command, COMMAND_MAX_BYTES);
    format!("{} ended: {}{after}: {command}", record.handle_id, record.ending())
}

fn in_json(record: &Record) -> Value {
    json!({
        "handle_id": record.handle_id,
        "command_id": record.command_id,
        "session_id": record.session_id,
        "command": on_one_line(&record.command, COMMAND_MAX_BYTES),
        "status": record.status,
        "ending": record.ending(),
        "exit_code": record.exit_code,
        "duration_ms": record.duration_ms,
    })
}

fn print(as_json: bool, text: String, value: impl FnOnce() -> Value) -> io::Result<()> {
    let text = if as_json { value().to_string() } else { text };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// What runs, and what tells of its end.
struct Ends {
    root: PathBuf,
    inotify: Inotify,
    same_agent: bool,
    /// Without a watch where there can be none (inotify(7) has limits): then it is looked now and then.
    running: BTreeMap<CommandId, Option<WatchDescriptor>>,
    watched: BTreeMap<WatchDescriptor, CommandId>,
    of_root: WatchDescriptor,
    /// Those to look at: something has happened to them, or they ran already when they were first seen.
    changed: BTreeSet<CommandId>,
    /// When the newest that was seen was asked for, in unix nanoseconds: whatever is newer has not been seen.
    newest: u64,
    looked: Instant,
}

impl Ends {
    fn watch(root: &Path, same_agent: bool) -> io::Result<Ends> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | GONE | AddWatchFlags::IN_ONLYDIR;
        let of_root = inotify.add_watch(root, what)?;
        Ok(Ends {
            root: root.to_owned(),
            inotify,
            same_agent,
            running: BTreeMap::new(),
            watched: BTreeMap::new(),
            of_root,
            changed: BTreeSet::new(),
            newest: 0,
            looked: Instant::now(),
        })
    }

    fn begins(&mut self, id: CommandId) {
        self.newest = self.newest.max(id.unix_ns);
        // Asked now: a host that has ended has no parent.
        if self.running.contains_key(&id) || (self.same_agent && !kin::is_of_my_agent(id.host_pid)) {
            return;
        }
        let what = AddWatchFlags::IN_MOVED_TO | GONE | AddWatchFlags::IN_ONLYDIR;
        let watch = self.inotify.add_watch(&self.root.join(id.to_string()), what).ok();
        self.running.insert(id, watch);
        self.watched.extend(watch.map(|watch| (watch, id)));
        // What it did before it was watched has told nobody.
        self.changed.insert(id);
    }

    /// Sleeps until something has happened, or it is time to look anyway, or `until`; those that have ended meanwhile.
    fn next(&mut self, until: Option<Instant>) -> Result<Vec<Record>, Failure> {
        if self.changed.is_empty() {
            let look = (!self.running.is_empty()).then(|| self.looked + HOST_LOOK);
            self.sleep(until.into_iter().chain(look).min())?;
            self.take_events().map_err(|source| Failure::Root { root: self.root.clone(), source })?;
        }
        if self.looked.elapsed() >= HOST_LOOK {
            self.looked = Instant::now();
            self.changed.extend(self.running.keys());
        }
        let changed = std::mem::take(&mut self.changed);
        Ok(changed.into_iter().filter_map(|id| self.ended(id)).collect())
    }

    fn sleep(&self, until: Option<Instant>) -> Result<(), Failure> {
        // Rounded up: the last part of a millisecond would be waited for in a circle.
        let left =
            until.map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = left.map_or(PollTimeout::NONE, |left| left.try_into().unwrap_or(PollTimeout::MAX));
        let stdout = io::stdout();
        let mut fds = [
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            // Without a flag it tells only that its reader is gone.
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Failure::system("waiting")(errno.into())),
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        if fds[1].revents().is_some_and(|seen| seen.intersects(gone)) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(())
    }

    /// An error: the root is gone.
    fn take_events(&mut self) -> io::Result<()> {
        loop {
            let events = match self.inotify.read_events() {
                Err(Errno::EAGAIN) => return Ok(()),
                other => other?,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // Events were lost: of which, nobody knows.
                    self.changed.extend(self.running.keys());
                    let (store, newest) = (Store::look(&self.root)?, self.newest);
                    store.ids().iter().filter(|id| id.unix_ns > newest).for_each(|id| self.begins(*id));
                } else if event.wd != self.of_root {
                    self.changed.extend(self.watched.get(&event.wd));
                } else if event.mask.intersects(GONE) {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed"));
                } else if let Some(id) = event.name.and_then(|name| name.to_str()?.parse().ok()) {
                    self.begins(id);
                }
            }
        }
    }

    /// Its record, if it has ended; then it is watched no more.
    fn ended(&mut self, id: CommandId) -> Option<Record> {
        let watch = *self.running.get(&id)?;
        let stored = Stored::look(&self.root, id);
        if stored.as_ref().is_some_and(|stored| stored.state() == StoredState::Running) {
            return None;
        }
        self.running.remove(&id);
        if let Some(watch) = watch {
            self.watched.remove(&watch);
            // It went with its directory, if that is gone.
            let _ = self.inotify.rm_watch(watch);
        }
        stored.map(|stored| stored.record())
    }
}

/// How many lines there may be.
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}
impl Rate {
    /// Whether there is room for one more line; if not, it is counted.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) && self.left_out == 0 {
            (self.since, self.lines) = (Some(now), 0);
        }
        let room = self.lines < LINES;
        if room {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        room
    }
    /// When it is to be said how many were left out.
    fn due(&self) -> Option<Instant> {
        self.since.filter(|_| self.left_out > 0).map(|since| since + WINDOW)
    }
    /// How many those were, once it is time.
    fn left_out(&mut self, now: Instant) -> Option<u64> {
        self.due().filter(|due| *due <= now)?;
        (self.since, self.lines) = (Some(now), 1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_rate_ends_are_counted_and_their_number_is_said_once() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let shown = (0..LINES + 5).filter(|_| rate.has_room(begin)).count();
        assert_eq!(shown, LINES as usize);
        assert_eq!(rate.due(), Some(begin + WINDOW));
        assert_eq!(rate.left_out(begin + WINDOW / 2), None);
        // One that comes late, before the number was said, is counted too.
        assert!(!rate.has_room(begin + WINDOW));
        assert_eq!(rate.left_out(begin + WINDOW), Some(6));
        assert_eq!((rate.left_out(begin + WINDOW), rate.due()), (None, None));
        // The number was a line.
        let shown = (0..LINES).filter(|_| rate.has_room(begin + WINDOW)).count();
        assert_eq!(shown, LINES as usize - 1);
        assert!(!rate.has_room(begin + WINDOW) && rate.due().is_some());
    }

    #[test]
    fn a_quiet_time_makes_room_again() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        assert!((0..LINES).all(|_| rate.has_room(begin)));
        assert!((0..LINES).all(|_| rate.has_room(begin + WINDOW)));
        assert_eq!(rate.due(), None);
    }
}
