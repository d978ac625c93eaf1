//! The guard and the helpers of a graph: one small program that is carried inside the library and run from memory.
//!
//! ```text
//! host ── guard ─┬─ helper ── leader of a command ── …
//!                └─ helper (nothing to do)
//! ```
//!
//! * The **guard** ([`guard`]), one for each graph, forks helpers, takes away orphans, and ends all of it when the graph ends.
//! * A **helper** ([`helper`]) is the parent of one command's leader at a time. So whoever looks upwards from a command finds
//!   neither the host nor another command.
//!
//! No text of a command is among their arguments. They have one thread and no crate but the standard library, so that they are small
//! and forked in a moment.
#![allow(unsafe_code)]

#[path = "../../exec/clone3.rs"]
mod clone3;
mod guard;
mod helper;
mod leader;
mod line;
#[allow(dead_code)]
mod protocol;
mod sys;
#[path = "../../proc.rs"]
#[allow(dead_code)]
mod tree;

use std::{path::Path, process::exit};

/// `ostler-guard HOST_PID end-orphans|leave-orphans [CGROUP]`
fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    let host = args.get(1).and_then(|arg| arg.to_str()?.parse().ok());
    let ends_orphans = args.get(2).is_some_and(|arg| arg == protocol::END_ORPHANS);
    sys::begin();
    match host {
        Some(host) => guard::run(host, ends_orphans, args.get(3).map(Path::new)),
        None => exit(1),
    }
}
