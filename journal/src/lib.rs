//! What survives the host.
//!
//! ```text
//! journals/{name}/                 one folder for all hosts of a name
//!   host-{pid}-{nanoseconds}.db    what one host process has to remember: written by it alone, read by anybody of the user
//!   host-{pid}-{nanoseconds}.lock  held by that host as long as it lives (flock(2))
//!   takeover.lock                  held by whoever takes over what dead hosts have left
//!   sessions.lock                  a byte for each open session, locked by the host that has it (F_OFD_SETLK, fcntl_locking(2))
//! ```
//!
//! A host writes [`Row`](ostler_messages::Row)s, in their order, many in one transaction where many wait. What they come to is an
//! [`Image`], a pure structure; the [`Store`](store::Store) holds the same in SQLite's tables (feature `sqlite`). A new host
//! [takes over](folder::Folder::take_over) the images of dead ones, finishes what had not ended, and tells its graph.
//!
//! | table | row | key |
//! |---|---|---|
//! | `host` | who writes this database: process, boot, artifacts; the highest numbers that it gave out | one row |
//! | `sessions` | a session: whether it has ended, the number of its next entry | `session_id` |
//! | `commands` | a launch: what was asked, without the values of its environment | `command_id` |
//! | `started` | the handle response, as long as there is no result | `command_id` |
//! | `results` | how it ended | `command_id` |
//! | `taken` | a command whose result somebody has for good | `command_id` |
//! | `entries` | a delivery that nobody has acknowledged; the content of a result is its command's | `session_id, sequence` |
//! | `taken_over` | a database whose rows are in this one | `file` |
//!
//! A row is there as long as its graph can be asked for what it says. Output is in no table: it lies in the artifacts.

#[cfg(feature = "sqlite")]
mod claims;
#[cfg(feature = "sqlite")]
pub mod folder;
mod image;
#[cfg(feature = "sqlite")]
mod others;
#[cfg(feature = "sqlite")]
mod reader;
#[cfg(feature = "sqlite")]
pub mod store;

#[cfg(feature = "sqlite")]
pub use claims::Claims;
pub use image::{Command, Image, Kept, Session, Unread};
#[cfg(feature = "sqlite")]
pub use others::OfOthers;
#[cfg(feature = "sqlite")]
pub use reader::{CommandState, HostState, Reader, SessionState};

/// What the rows outlive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the host: nothing is synced on the way. After a power cut the database is whole, but its end may lack.
    #[default]
    HostDeath,
    /// That of the machine too: deliveries and acknowledgements are synced before they are told of, many at a time. Each such group costs
    /// a `syncfs(2)` of the artifacts, which writes what others have dirty there too, and a commit that waits for the disk.
    PowerLoss,
}
