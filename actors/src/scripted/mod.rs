//! A world that a test writes itself: no process, no file, no clock.

mod followed;
mod input;
mod player;
mod process;
mod program;
mod world;

pub use program::{Descendant, OnTerminate, Program, Reaction};
pub use world::World;

use crate::backend::{ContainmentReport, Containments, Facts, Outputs, StartKernel};
use crate::config::Limits;
use ostler_messages::{Containment, trace::Header};
use player::{HOST_PID, Player, ROOT};
use std::{path::Path, sync::Arc};
use world::BEGIN;

/// The facts of every scripted world are the same.
pub(crate) fn start(world: &World, limits: &Limits) -> (Facts, StartKernel) {
    let outputs = Arc::new(Outputs::new(HOST_PID, limits.session_output_bytes));
    let header = Header::new(HOST_PID, ROOT.into(), BEGIN);
    let report = ContainmentReport {
        tier: Containment::Group,
        host_death: None,
        host_is_parent: None,
        refused: Vec::new(),
    };
    let containment = Containments::new(report, Arc::default());
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
        next_n,
    };
    let world = world.clone();
    (facts, Box::new(move |requests| Box::new(Player::new(world, outputs, requests))))
}
