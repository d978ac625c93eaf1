//! What a host has to know of the databases of others.
//!
//! * in: a folder
//! * out: where a session's numbers go on; which commands somebody else will be asked for
//! * keeps: nothing is taken over here, and nothing changed

use crate::{
    folder::{Folder, FolderError, Member},
    store,
};
use ostler_messages::{CommandId, SessionId};
use std::{collections::BTreeSet, path::Path};

impl Folder {
    /// The highest number that any database knows for the next entry of a session, but for one's own.
    pub fn next_of(&self, session_id: &SessionId, own: &Path) -> Option<u64> {
        let others = self.members().ok()?.into_iter().filter(|member| member.path != own);
        others.filter_map(|member| store::next_of(&member.path, session_id).ok().flatten()).max()
    }

    /// Commands of which databases of other processes know, or may come to know: they are asked for by whoever takes those over.
    ///
    /// # Errors
    /// One of them can't be read: then it may be any.
    pub fn of_others(&self, own_pid: u32) -> Result<OfOthers, FolderError> {
        let mut others = OfOthers::default();
        // A living one's own commands are kept by his lock, and what he has taken over by this.
        let is_own = |member: &Member| member.lives && member.pid == own_pid;
        for member in self.members()?.into_iter().filter(|member| !is_own(member)) {
            let known =
                store::command_ids(&member.path).and_then(|ids| Ok((ids, store::numbers(&member.path)?)));
            match known {
                Ok((ids, numbers)) => {
                    others.known.extend(ids);
                    others.above.push((member.pid, numbers.last_n));
                }
                // Taken over meanwhile.
                Err(_) if !member.path.exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(others)
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
