//! What a host has to know of the databases of others.
//!
//! * in: a folder
//! * out: where a session's numbers go on; which commands somebody else will be asked for
//! * keeps: nothing is taken over here, and nothing changed

use crate::{
    folder::{Folder, FolderError, Member},
    store::{self, StoreError},
};
use ostler_messages::{CommandId, SessionId};
use std::{collections::BTreeSet, path::Path};

/// How often databases are looked at that go away meanwhile.
const LOOKS_MAX: u32 = 3;

impl Folder {
    /// The highest number that any database knows for the next entry of a session, but for one's own.
    pub fn next_of(&self, session_id: &SessionId, own: &Path) -> Option<u64> {
        // One that is taken over while this looks is in another one then.
        for _ in 0..LOOKS_MAX {
            let others = self.members().ok()?.into_iter().filter(|member| member.path != own);
            let found: Result<Vec<Option<u64>>, StoreError> =
                others.map(|member| store::next_of(&member.path, session_id)).collect();
            if let Ok(found) = found {
                return found.into_iter().flatten().max();
            }
        }
        // One that can't be read at all: of the others it can be told.
        let others = self.members().ok()?.into_iter().filter(|member| member.path != own);
        others.filter_map(|member| store::next_of(&member.path, session_id).ok().flatten()).max()
    }

    /// Commands of which databases of other processes know, or may come to know: they are asked for by whoever takes those over.
    ///
    /// # Errors
    /// One of them can't be read: then it may be any.
    pub fn of_others(&self, own_pid: u32) -> Result<OfOthers, FolderError> {
        // A living one's own commands are kept by his lock, and what he has taken over by this.
        let is_own = |member: &Member| member.lives && member.pid == own_pid;
        let look = || -> Result<OfOthers, FolderError> {
            let mut others = OfOthers::default();
            for member in self.members()?.into_iter().filter(|member| !is_own(member)) {
                others.known.extend(store::command_ids(&member.path)?);
                others.above.push((member.pid, store::numbers(&member.path)?.last_n));
            }
            Ok(others)
        };
        // One that is taken over while this looks is in another one then.
        let again = (1..LOOKS_MAX).find_map(|_| look().ok());
        again.map_or_else(look, Ok)
    }
}

/// Commands of other databases of a name.
#[derive(Clone, Debug, Default)]
pub struct OfOthers {
    known: BTreeSet<CommandId>,
    /// Those of a process above a number may be on their way into its database.
    above: Vec<(u32, u64)>,
}
impl OfOthers {
    /// Whether one of them is meant.
    pub fn has(&self, command_id: CommandId) -> bool {
        let is_new = |(pid, last_n): &(u32, u64)| command_id.host_pid == *pid && command_id.n > *last_n;
        self.known.contains(&command_id) || self.above.iter().any(is_new)
    }
}
