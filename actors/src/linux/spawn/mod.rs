//! The spawn threads: from a request to a running program, or to the error that says why not.

mod failures;
pub(crate) mod launch;
mod lookup;
pub(crate) mod pending;
mod stdio;
pub(crate) mod toolchain;
