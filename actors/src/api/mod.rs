//! What a host sees: [`Ostler`], [`Session`], [`Handle`], [`Command`], and the [`Call`]s between them.

mod call;
mod command;
#[cfg(test)]
mod conformance;
mod control;
mod dump;
pub mod from_tokio_process;
mod handle;
mod inbox;
mod input;
mod look;
mod ostler;
mod output;
mod session;
mod subscribed_actor;
mod subscription;
mod told;
#[cfg(feature = "testing")]
mod virtual_time;

pub use call::Call;
pub use command::Command;
pub use control::Control;
pub use dump::{DumpError, DumpTrace};
pub use handle::{Cancelled, Ended, Handle, Listed, Ports, Ran, Waited};
pub use inbox::Inbox;
pub use input::Written;
pub use look::FindLines;
pub(crate) use ostler::Client;
pub use ostler::{DROP_LIMIT, Error, Health, Ostler};
#[cfg(feature = "testing")]
pub(crate) use ostler::{start_on, start_with};
pub use output::ReadOutput;
pub use session::Session;
pub use subscribed_actor::{ActorSubscription, Notified, ON_ITS_WAY};
pub use subscription::{Entries, NextEntry, Subscription};
