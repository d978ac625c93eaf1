//! How a process is made: a child that borrows the host's memory until it runs its program.

pub(crate) mod clone;
pub(crate) mod clone3;
pub(crate) mod slots;
