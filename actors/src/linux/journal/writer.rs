//! The thread that writes the journal.
//!
//! * in: appends and claims, in their order
//! * out: what is written; that it can't be, and that it can be again
//! * keeps: what waits while one transaction runs goes into the next; after a failure nothing is written until all that there is comes in
//!   one piece, into a database that is new

use crate::{backend::KernelEvent, linux::sys::ask_for_short_turns};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use nix::unistd::syncfs;
use ostler_journal::{
    Claims, Durability, Image,
    folder::{Folder, FolderError, Own},
    store::{Host, StoreError},
};
use ostler_messages::{
    ActorName, Append, ClaimSession, CommandId, Containment, Event, JournalBack, JournalFailed, Mark,
    Recorded, Row, SessionClaimed, SessionId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Most rows of one transaction: some thousand take ten milliseconds, and whoever waits for the first should not wait for all.
const ROWS_MAX: usize = 4_096;
/// From a failure to the first try; each later one comes after twice the time, up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// For how long results are gathered that are synced together, after two have come together: twice as long while it goes on so. A lone one waits for
/// nobody.
const GATHER_FIRST: Duration = Duration::from_millis(10);
const GATHER_MAX: Duration = Duration::from_millis(100);
/// How often a host says that it lives while it follows commands that only their group holds: who was of such a group then is proven to be
/// of it by the time of its own start, if nobody is left who could end it when the host dies.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What the graph asks of it.
pub(crate) enum WriterCommand {
    Append(Append),
    Claim(ClaimSession),
    Quit,
}

/// See the [module](self).
pub(crate) struct WriterThread {
    pub(crate) commands: Receiver<WriterCommand>,
    pub(crate) events: Sender<KernelEvent>,
    pub(crate) folder: Folder,
    pub(crate) claims: Claims,
    pub(crate) host: Host,
    pub(crate) durability: Durability,
    /// Where the artifacts lie, to sync them before what is told of them.
    pub(crate) artifact_root: PathBuf,
    /// Sessions that are open in this host: all are claimed again where the locks were removed.
    pub(crate) open: BTreeSet<SessionId>,
    /// Commands that live, and are held by their group alone.
    pub(crate) by_group: BTreeSet<CommandId>,
}

/// Whether it can be written.
enum State {
    Up(Own),
    Down {
        /// As it was when it failed: the next host finds it if this one dies meanwhile.
        old: Own,
        /// Made anew, and empty until all that there is comes.
        new: Option<Box<Own>>,
        /// Sessions that came after what will come was put together.
        claimed: Vec<Row>,
        at: Instant,
        after: Duration,
    },
}

impl WriterThread {
    pub(crate) fn run(mut self, own: Own) {
        // Results wait for it: beside commands that never sleep its turn would be late otherwise.
        ask_for_short_turns();
        let (mut state, mut gather) = (State::Up(own), Duration::ZERO);
        loop {
            let first = match &state {
                State::Down { new: None, at, .. } => self.commands.recv_deadline(*at),
                State::Up(_) if !self.by_group.is_empty() => self.commands.recv_timeout(ALIVE_EVERY),
                _ => self.commands.recv().map_err(RecvTimeoutError::from),
            };
            state = match first {
                Ok(WriterCommand::Quit) | Err(RecvTimeoutError::Disconnected) => return end(state),
                Err(RecvTimeoutError::Timeout) => match state {
                    State::Up(own) => self.write_up(own, &[]).0,
                    down => self.retry(down),
                },
                Ok(first) => {
                    let (batch, quits) = self.batch(first, &mut gather);
                    let next = self.write(state, batch);
                    if quits {
                        return end(next);
                    }
                    next
                }
            };
        }
    }

    /// Whatever waits by now, and whether it is the last. Where each batch is synced, more is waited for while results come in a row.
    fn batch(&self, first: WriterCommand, gather: &mut Duration) -> (Vec<WriterCommand>, bool) {
        let rows = |command: &WriterCommand| match command {
            WriterCommand::Append(append) => append.rows.len(),
            WriterCommand::Claim(_) | WriterCommand::Quit => 1,
        };
        let (mut count, mut batch) = (rows(&first), vec![first]);
        let until = Instant::now() + *gather;
        while count < ROWS_MAX {
            match self.commands.recv_deadline(until) {
                Ok(WriterCommand::Quit) => return (batch, true),
                Ok(command) => {
                    count += rows(&command);
                    batch.push(command);
                }
                Err(_) => break,
            }
        }
        if self.durability == Durability::PowerLoss {
            let results = batch.iter().filter(|command| match command {
                WriterCommand::Append(append) => append.rows.iter().any(tells_of_artifacts),
                WriterCommand::Claim(_) | WriterCommand::Quit => false,
            });
            *gather = match results.count() {
                0 | 1 => Duration::ZERO,
                _ => (*gather * 2).clamp(GATHER_FIRST, GATHER_MAX),
            };
        }
        (batch, false)
    }

    fn write(&mut self, state: State, batch: Vec<WriterCommand>) -> State {
        let (mut rows, mut marks, mut claimed) = (Vec::new(), BTreeMap::new(), Vec::new());
        for command in batch {
            match command {
                WriterCommand::Append(Append { by, n, rows: more }) => {
                    rows.extend(more);
                    if n > 0 {
                        marks.insert(by, n);
                    }
                }
                WriterCommand::Claim(ClaimSession { session_id }) => {
                    let held_by = self.claim(&session_id);
                    let own = match &state {
                        State::Up(own) | State::Down { old: own, .. } => own.store.path(),
                    };
                    let next = held_by.is_none().then(|| self.folder.next_of(&session_id, own)).flatten();
                    if held_by.is_none() {
                        rows.push(Row::SessionOpened { session_id: session_id.clone(), anonymous: None });
                    }
                    if let Some(next) = next {
                        rows.push(Row::Counted { session_id: session_id.clone(), next });
                    }
                    claimed.push(SessionClaimed { session_id, held_by, next });
                }
                WriterCommand::Quit => {}
            }
        }
        rows.iter().for_each(|row| self.note(row));
        if rows.contains(&Row::Reset) {
            // Whatever was opened while nobody could tell is claimed now.
            self.claim_all();
        }
        let ended = rows.iter().filter_map(|row| match row {
            Row::SessionEnded { session_id } => Some(session_id.clone()),
            _ => None,
        });
        let ended: Vec<SessionId> = ended.collect();
        let (state, written) = match state {
            State::Up(own) => self.write_up(own, &rows),
            down => self.write_down(down, rows),
        };
        // Not before that is written: the next one to open it is to find it ended.
        for session_id in ended.iter().filter(|session_id| !self.open.contains(*session_id)) {
            self.claims.release(session_id);
        }
        claimed.into_iter().for_each(|claimed| self.tell(claimed));
        if written && !marks.is_empty() {
            let marks = marks.into_iter().map(|(by, n)| Mark { by, n }).collect();
            self.tell(Recorded { marks });
        }
        state
    }

    fn note(&mut self, row: &Row) {
        match row {
            Row::Reset => {
                self.open.clear();
                self.by_group.clear();
            }
            Row::SessionEnded { session_id } => {
                self.open.remove(session_id);
            }
            Row::Started { record, .. } if record.containment == Some(Containment::Group) => {
                self.by_group.insert(record.command_id);
            }
            Row::Owed { record } => {
                self.by_group.remove(&record.command_id);
            }
            Row::Delivered(entry) => {
                entry.record().map(|record| self.by_group.remove(&record.command_id));
            }
            Row::SessionOpened { session_id, .. } => {
                self.open.insert(session_id.clone());
            }
            Row::Undone { command_id } => {
                self.by_group.remove(command_id);
            }
            _ => {}
        }
    }

    fn write_up(&self, mut own: Own, rows: &[Row]) -> (State, bool) {
        match self.store(&mut own, rows, None) {
            Ok(()) => (State::Up(own), true),
            Err(error) => {
                self.tell(JournalFailed { error });
                let (claimed, after) = (Vec::new(), RETRY_FIRST);
                (State::Down { old: own, new: None, claimed, at: Instant::now() + after, after }, false)
            }
        }
    }

    fn write_down(&self, state: State, rows: Vec<Row>) -> (State, bool) {
        let State::Down { old, mut new, mut claimed, at, after } = state else { return (state, false) };
        let all = rows.iter().position(|row| *row == Row::Reset);
        if all.is_some() && new.is_none() {
            // It was asked for too early: there is nothing yet to put it into.
            self.tell(JournalFailed { error: "its database is not made anew yet".to_owned() });
        }
        let (Some(begin), Some(mut own)) = (all, new.take_if(|_| all.is_some())) else {
            // Dropped, but for sessions: what will come may have been put together before they were this host's.
            let is_of_session = |row: &Row| matches!(row, Row::SessionOpened { .. } | Row::Counted { .. });
            claimed.extend(rows.into_iter().filter(is_of_session));
            return (State::Down { old, new, claimed, at, after }, false);
        };
        let rows = [&rows[begin..], &claimed].concat();
        let instead_of = old.store.path().file_name().map(|name| name.to_string_lossy().into_owned());
        match self.store(&mut own, &rows, instead_of.as_deref()) {
            Ok(()) => {
                old.remove();
                (State::Up(*own), true)
            }
            Err(error) => {
                own.remove();
                self.tell(JournalFailed { error });
                (
                    State::Down { old, new: None, claimed: Vec::new(), at: Instant::now() + after, after },
                    false,
                )
            }
        }
    }

    /// In words what was wrong, if something was.
    fn store(&self, own: &mut Own, rows: &[Row], instead_of: Option<&str>) -> Result<(), String> {
        if self.durability == Durability::PowerLoss && rows.iter().any(tells_of_artifacts) {
            let synced = File::open(&self.artifact_root).and_then(|root| Ok(syncfs(&root)?));
            synced.map_err(|error| format!("{}: syncing it: {error}", self.artifact_root.display()))?;
        }
        own.store.says_alive(!self.by_group.is_empty());
        own.store.write_instead_of(rows, instead_of).map_err(|error| error.to_string())
    }

    fn retry(&self, state: State) -> State {
        let State::Down { old, claimed, after, .. } = state else { return state };
        match self.begin_anew() {
            Ok(own) => {
                self.tell(JournalBack {});
                let (new, after) = (Some(Box::new(own)), (after * 2).min(RETRY_MAX));
                State::Down { old, new, claimed: Vec::new(), at: Instant::now(), after }
            }
            Err(_) => {
                let after = (after * 2).min(RETRY_MAX);
                State::Down { old, new: None, claimed, at: Instant::now() + after, after }
            }
        }
    }
    /// Also where the folder is gone.
    fn begin_anew(&self) -> Result<Own, FolderError> {
        let (base, name) = (self.folder.path().parent(), self.folder.path().file_name());
        if let (Some(base), Some(name)) = (base, name.and_then(|name| name.to_str())) {
            Folder::open(base, name)?;
        }
        self.folder.own(&self.host, self.durability, (&Image::default(), &[]))
    }

    /// Where the file of the locks is gone, or some were given without it.
    fn claim_all(&mut self) {
        // One that is there keeps what it has: to open it anew would let go of all for a moment.
        if !self.claims.is_there()
            && let Ok(claims) = Claims::open(&self.folder)
        {
            self.claims = claims;
        }
        // Whoever has got one of them meanwhile has it: nobody can take it from him.
        self.open.iter().for_each(|session_id| drop(self.claims.claim(session_id)));
    }

    /// The process that has the session, if it is not this one's now.
    fn claim(&mut self, session_id: &SessionId) -> Option<u32> {
        if !self.claims.is_there() {
            self.claim_all();
        }
        match self.claims.claim(session_id) {
            Ok(true) => None,
            Ok(false) => Some(self.folder.holder_of(session_id).unwrap_or(0)),
            // Without locks on this file system nobody is kept out.
            Err(_) => None,
        }
    }

    fn tell(&self, event: impl Into<Event>) {
        let event = event.into();
        // Once the graph has ended nobody hears it.
        let _ = self.events.send(KernelEvent::new(ActorName::Journal, event));
    }
}

/// Whether it says what lies in artifacts.
fn tells_of_artifacts(row: &Row) -> bool {
    match row {
        Row::Delivered(entry) => entry.is_result(),
        Row::Owed { .. } | Row::Amended { .. } => true,
        _ => false,
    }
}

/// The graph ends.
fn end(state: State) {
    // What can't be closed in order is whole all the same.
    let _: Result<(), StoreError> = match state {
        State::Up(own) => own.close(),
        State::Down { old, new, .. } => {
            new.into_iter().for_each(|new| new.remove());
            old.close()
        }
    };
}
