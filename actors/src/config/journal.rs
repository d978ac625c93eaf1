//! What is to survive the host, and where.

use ostler_journal::Durability;
use std::path::PathBuf;

/// A journal: what sessions, commands and unread entries survive the host in.
///
/// A host that starts with a name that was used before goes on where the one before has ended, however that was: sessions that had not
/// ended are open under their ids, with what was unread; a command that had no result has one now, `lost`. Several living hosts of a name
/// are normal; only a session is open in one of them at a time.
///
/// ```
/// # use ostler::{*, testing::*}; use std::time::Duration;
/// let world = World::new();
/// world.program("make", Program::new().exits_at(Duration::from_secs(90), 0));
/// let config = || Config::new().journal(Journal::named("my-agent"));
///
/// let ostler = Ostler::scripted(config(), &world)?;
/// let session = ostler.open_session_as("chat").wait()?;
/// session.launch(Command::new("make").launch_key("build")).wait()?;
/// world.crash();
///
/// let ostler = Ostler::scripted(config(), &world)?;
/// let session = ostler.open_session_as("chat").wait()?;
/// let entries = session.inbox().drain().wait()?;
/// assert_eq!(entries[0].record().unwrap().status, Status::Lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub(crate) name: String,
    pub(crate) base: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) listens: bool,
}

impl Journal {
    /// Of this name: 1 to 64 letters, digits, '.', '_' or '-'. It lies below `$XDG_STATE_HOME/ostler/journals`, else
    /// `~/.local/state/ostler/journals`.
    pub fn named(name: impl Into<String>) -> Journal {
        Journal { name: name.into(), base: None, durability: Durability::default(), listens: true }
    }
    /// Below another directory.
    pub fn below(mut self, base: impl Into<PathBuf>) -> Journal {
        self.base = Some(base.into());
        self
    }
    /// Whether other processes of this user can ask the host (`ostler cancel`, `ostler rm`), through a socket beside its artifacts; by
    /// default they can. See [`Ostler::control`](crate::Ostler::control), which a host without a journal calls itself.
    pub fn listens(mut self, listens: bool) -> Journal {
        self.listens = listens;
        self
    }
    /// What it outlives; by default the death of the host, and not that of the machine.
    pub fn durability(mut self, durability: Durability) -> Journal {
        self.durability = durability;
        self
    }
}
