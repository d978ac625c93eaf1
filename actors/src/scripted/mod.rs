//! A world that a test writes itself: no process, no file, no clock.

mod followed;
mod input;
mod journal;
mod player;
mod process;
mod program;
mod world;

pub use program::{Descendant, FLOOD_BYTES_PER_MS, OnTerminate, Program, Reaction};
pub use world::{NotQuiet, QUIET_EVENTS, World};

use crate::backend::{ContainmentReport, Containments, Facts, Outputs, Pace, Recovery, StartKernel, Trouble};
use crate::config::Config;
use ostler_messages::{Containment, Recovered, Stamp};
use player::{HOST_PID, Player, ROOT};
use std::{path::Path, sync::Arc};
use world::BEGIN;

/// The facts of every scripted world are the same, but for what earlier lives of its host have left.
pub(crate) fn start(world: &World, config: &Config, pace: Arc<Pace>) -> (Facts, StartKernel) {
    let outputs = Arc::new(Outputs::new(HOST_PID, config.limits.session_output_bytes));
    let began = Stamp(BEGIN.0 + world.disk(|disk| disk.elapsed_us) / 1_000);
    let header = config.header(HOST_PID, ROOT.into(), began);
    let report = ContainmentReport {
        tier: Containment::Group,
        host_death: None,
        host_is_parent: None,
        refused: Vec::new(),
    };
    let containment = Containments::new(report, Arc::default());
    let journal = config.journal.as_ref().map(|journal| journal.name.clone());
    let (mut last, mut recovered) = (0, None);
    if let Some(name) = &journal {
        (last, recovered) = world.disk(|disk| (disk.last_n(name), disk.recover(name, began)));
    }
    recovered.iter_mut().filter(|_| !config.trace_pushed).for_each(Recovered::withhold_pushed);
    for command in recovered.iter().flat_map(|recovered| &recovered.commands) {
        let command_id = command.record.command_id;
        if let Some(growth) = world.disk(|disk| disk.growths.get(&command_id).cloned()) {
            outputs.begin(command_id.n, command_id, growth);
            outputs.finish(command_id.n);
        }
    }
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
        journaled: journal.is_some(),
        journal_trouble: Trouble::default(),
        recovery: recovered.as_ref().map(Recovery::of).unwrap_or_default(),
        pace: Some(pace.clone()),
        dumps: None,
    };
    let world = world.clone();
    (
        facts,
        Box::new(move |requests| {
            Box::new(Player::new((world, pace), (journal, recovered, began), outputs, requests))
        }),
    )
}
