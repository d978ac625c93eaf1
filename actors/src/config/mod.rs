//! What a host can set, and what follows from its machine.

mod capacity;
mod environment;
mod journal;
mod locales;
mod presets;
mod recorder;
mod settings;
#[cfg(feature = "tracing")]
mod spans;
mod toolchain;

pub(crate) use capacity::{cores, handles_by_descriptors, spawn_thread_count};
pub use environment::{CREDENTIAL_NAMES, CREDENTIAL_PREFIXES, CREDENTIAL_SUFFIXES, CredentialRule};
pub(crate) use environment::{Environment, Inherited, environment, own_variables, value_of};
pub use journal::Journal;
pub use recorder::{DumpHook, RECORDER_BYTES, TraceDump};
pub use settings::*;
pub(crate) use settings::{Decisive, lost_line};
#[cfg(feature = "tracing")]
pub use spans::{ContextHook, Spans};
pub(crate) use toolchain::Hook;
pub use toolchain::{TOOLCHAIN_LIMIT, ToolchainHook, Variables};
