//! What a host sees: [`Ostler`], [`Session`], [`Handle`], [`Command`], and the [`Call`]s between them.

mod call;
mod command;
#[cfg(test)]
mod conformance;
mod handle;
mod input;
mod ostler;
mod output;
mod session;
pub mod testing;

pub use call::Call;
pub use command::Command;
pub use handle::{Cancelled, Ended, Handle, Listed, Ran};
pub use input::Written;
pub(crate) use ostler::Client;
pub use ostler::{DROP_LIMIT, Error, Ostler};
pub use output::ReadOutput;
pub use session::{Inbox, Session};
