//! What a host sees: [`Ostler`], [`Session`], [`Handle`], [`Command`], and the [`Call`]s between them.

mod call;
mod command;
mod config;
mod env;
mod ostler;
mod read;
mod session;

pub use call::Call;
pub(crate) use call::{Answered, FromHost, HostRequest, Intake, OutputWatch, ReplyTo};
pub use command::Command;
pub use config::*;
pub(crate) use env::environment;
pub use env::{CREDENTIAL_NAMES, CREDENTIAL_PREFIXES, CREDENTIAL_SUFFIXES, CredentialRule};
pub(crate) use ostler::Shared;
pub use ostler::{DROP_LIMIT, Error, Ostler, StartError};
pub use read::ReadOutput;
pub use session::{Cancelled, Handle, InboxOf, Session};
