//! A world that a test writes itself: no process, no file, no clock.

mod actor;
mod play;
mod program;
mod world;

pub(crate) use play::Play;
pub use program::{Descendant, OnTerminate, Program};
pub use world::World;

use super::{Kernel, Outputs};
use crate::{graph::Facts, host::ContainmentReport};
use ostler_messages::{
    Containment,
    trace::{Header, TRACE_VERSION},
};
use play::{BEGIN, HOST_PID, ROOT};
use std::{path::Path, sync::Arc};

/// The facts of every scripted world are the same.
pub(crate) fn start(world: &World) -> (Facts, Kernel) {
    let outputs = Arc::new(Outputs::new(HOST_PID));
    let header = Header {
        ostler_trace: TRACE_VERSION,
        host_pid: HOST_PID,
        artifact_root: ROOT.into(),
        started_at: BEGIN,
    };
    let containment = ContainmentReport { tier: Containment::Group, host_death: None, refused: Vec::new() };
    let mut last = 0;
    let next_n = Box::new(move || {
        last += 1;
        last
    });
    let facts = Facts {
        header,
        artifact_root: Path::new(ROOT).into(),
        outputs: outputs.clone(),
        containment,
        texts_on_disk: false,
        next_n,
    };
    (facts, Kernel::Scripted(world.clone(), outputs))
}
