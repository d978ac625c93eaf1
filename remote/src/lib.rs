//! Sessions of ostler over several machines.

mod core;
