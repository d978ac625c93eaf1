//! What stands in a journal, seen by another process than the ones that write it.
//!
//! * in: a name
//! * out: its hosts, and of each what it has to remember, as of one moment
//! * keeps: nothing is changed, and no host waits for a reader

use crate::{
    folder::{Folder, FolderError, file_name},
    image::Image,
    store::{self, Host},
};
use ostler_messages::{CommandId, Entry, Record, SessionId};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// The journals of one name, to be read.
///
/// ```no_run
/// let reader = ostler_journal::Reader::open("my-agent", None)?;
/// for host in reader.hosts()? {
///     println!("pid {}, {}", host.pid, if host.lives { "lives" } else { "is gone" });
///     for session in &host.sessions {
///         println!("  {}: {} unread", session.session_id, session.unread.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    folder: Folder,
}

/// One host of a journal, that lives or is gone, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostState {
    /// Its process id.
    pub pid: u32,
    /// Whether it lives.
    pub lives: bool,
    /// Who it is, and where its artifacts lie.
    pub host: Host,
    /// Its sessions, by their ids.
    pub sessions: Vec<SessionState>,
    /// Its commands that can be asked for, in the order in which they were.
    pub commands: Vec<CommandState>,
}
/// A session of a host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionState {
    /// Its id.
    pub session_id: SessionId,
    /// It has ended.
    pub ended: bool,
    /// The number of its next entry.
    pub next: u64,
    /// What nobody has acknowledged, in order; of a result the texts are left out where they are in its `result.json`.
    pub unread: Vec<Entry>,
}
/// A command of a host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandState {
    /// Names its artifacts.
    pub command_id: CommandId,
    /// The session that owns it.
    pub session_id: SessionId,
    /// How it ended, or, without that, as it was when it had started; none: it is being started.
    pub record: Option<Arc<Record>>,
    /// Somebody has its result.
    pub taken: bool,
}

impl Reader {
    /// Of a name; below `base`, or where journals lie by default. Nothing is looked at yet.
    ///
    /// # Errors
    /// [`FolderError::Name`]; [`FolderError::NoHome`].
    pub fn open(name: &str, base: Option<&Path>) -> Result<Reader, FolderError> {
        let default = crate::folder::default_base();
        let base =
            base.or(default.as_deref()).ok_or_else(|| FolderError::NoHome { name: name.to_owned() })?;
        Ok(Reader { folder: Folder::named(base, name)? })
    }

    /// Its hosts, the oldest first. One whose database goes away meanwhile, because another one takes it over, is left out; the other one has
    /// what was in it.
    ///
    /// # Errors
    /// What reading said.
    pub fn hosts(&self) -> Result<Vec<HostState>, FolderError> {
        let mut found = Vec::new();
        for member in self.folder.members()? {
            match store::load(&member.path) {
                Ok(loaded) => found.push((member, loaded)),
                Err(_) if !member.path.exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Whoever was killed before he had removed it has all of it.
        let taken_over: BTreeSet<String> =
            found.iter().flat_map(|(_, loaded)| loaded.taken_over.iter().cloned()).collect();
        found.retain(|(member, _)| !taken_over.contains(&file_name(&member.path)));
        let hosts = found.into_iter();
        Ok(hosts
            .map(|(member, loaded)| state(member.pid, member.lives, loaded.host, &loaded.image))
            .collect())
    }
}

fn state(pid: u32, lives: bool, host: Host, image: &Image) -> HostState {
    let sessions = image.recovered_sessions(&|_| true).into_iter().map(|session| SessionState {
        session_id: session.session_id,
        ended: session.ended,
        next: session.next,
        unread: session.entries.into_iter().map(|unread| unread.entry).collect(),
    });
    let commands = image.commands.iter().map(|(command_id, command)| CommandState {
        command_id: *command_id,
        session_id: command.session_id.clone(),
        record: command.result.clone().or_else(|| command.started.clone()),
        taken: command.taken,
    });
    HostState { pid, lives, host, sessions: sessions.collect(), commands: commands.collect() }
}
