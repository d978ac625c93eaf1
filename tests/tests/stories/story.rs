//! A graph on a scripted world, whose trace is told at the end.

use ostler::{
    Command, Config, Filter, Handle, Ostler, Session, TraceLog, TraceTo, narrate,
    testing::{Program, World},
};
use ostler::{Entry, Record};
use ostler_tests::Settings;
use std::{ops::ControlFlow, time::Duration};

/// Longer than any story.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) ostler: Ostler,
    pub(crate) session: Session,
    log: TraceLog,
}

impl Story {
    pub(crate) fn new() -> Story {
        Story::with(|_| ())
    }

    pub(crate) fn with(configure: impl FnOnce(&mut Settings)) -> Story {
        let log = TraceLog::default();
        let config = Config::new().trace(TraceTo::Memory(log.clone())).trace_pushed(true);
        let mut config = Settings { config, faults: Vec::new() };
        // The default depends on the machine.
        config.limits.handles = 1_000;
        configure(&mut config);
        let world = World::new();
        let ostler = config.start(Some(&world)).unwrap();
        let session = ostler.open_session_as("s").wait().unwrap();
        Story { world, ostler, session, log }
    }

    /// A program that the next launches can name.
    pub(crate) fn program(self, name: &str, program: Program) -> Story {
        self.world.program(name, program);
        self
    }

    pub(crate) fn launch(&self, command: Command) -> Handle {
        self.session.launch(command).wait().unwrap()
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.world.advance(Duration::from_millis(ms));
    }

    /// The next result from the inbox.
    pub(crate) fn result(&self) -> Record {
        let entries = self.session.inbox().receive(Filter::results(), 1, LONG).wait().unwrap();
        entries[0].record().unwrap().clone()
    }

    /// All that is in the inbox.
    pub(crate) fn drain(&self) -> Vec<Entry> {
        self.session.inbox().drain().wait().unwrap()
    }

    /// The whole trace so far, told to a person.
    pub(crate) fn told(&self) -> String {
        narrate(&self.trace())
    }

    /// An answer leaves the graph while the last messages of its cascade may still be on their way: no time at all has to
    /// pass first.
    pub(crate) fn trace(&self) -> String {
        self.advance_ms(0);
        self.log.text()
    }
}

/// Tells a story once for its snapshot, then a hundred times to see that it is the same to the byte; and replays it.
#[track_caller]
pub(crate) fn same_every_time(name: &str, story: impl Fn() -> Story) -> String {
    let first = story().trace();
    let changed = (0..100).try_for_each(|_| match story().trace() == first {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    });
    assert!(changed.is_continue(), "{name} is not the same every time");
    ostler::trace::replay_text(&first).unwrap().assert_identical();
    narrate(&first)
}
