//! Worlds by chance, the same for the same seed.

use super::{Dice, Fault, start_with_faults};
use crate::{
    api::{Command, Ostler},
    backend::StartError,
    config::Config,
    scripted::{Descendant, OnTerminate, Program, World},
};
use ostler_messages::{ActorName, LaunchError, LaunchRequest, LeftoversPolicy, Stream};
use std::time::Duration;

/// Everything in a random world happens at times below this, in milliseconds, or twice as late: long enough for steps to fall together and apart.
pub const SPAN_MS: u64 = 3_000;
/// Actors of so many commands may crash: the first ones of each graph.
const CRASHING_COMMANDS: u64 = 12;
/// Messages at which an actor of a process may crash.
const PROCESS_MESSAGES: [&str; 9] =
    ["Exec", "Started", "Stop", "Drained", "TimerFired", "Exited", "TreeAlive", "TreeEmpty", "Sealed"];

/// A world in which every program there is does something by chance. See [`random_world`].
#[derive(Clone, Debug)]
pub struct RandomWorld {
    /// Every name is that of a program; each argv does the same whenever it is launched.
    pub world: World,
    /// For what else the test leaves to chance.
    pub dice: Dice,
}

/// A world by chance, the same for the same seed: programs that speak, fall silent, crash, leave children behind, can't be killed, can't be
/// started; disks that are full or hang; with [`start`](RandomWorld::start), parts of ostler that crash. Whatever the host does in it, what ostler
/// promises holds, which [`World::check`] looks at, and what the host promises should.
///
/// ```
/// use ostler::{Config, testing::random_world};
///
/// for seed in 1..20 {
///     let mut random = random_world(seed);
///     let ostler = random.start(Config::new())?;
///     let session = ostler.open_session().wait()?;
///     let command = random.command();
///     if let Ok(handle) = session.launch(command).wait() {
///         assert!(handle.cancel().wait()?.taken, "seed {seed}");
///     }
///     ostler.shutdown().wait()?;
///     random.world.check().map_err(|broken| format!("seed {seed}: {broken}"))?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn random_world(seed: u64) -> RandomWorld {
    let world = World::new();
    world.programs_by(move |request| Some(random_program(&mut Dice::new(mixed(seed, request)))));
    // Neighbouring seeds are to be nothing alike.
    RandomWorld { world, dice: Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
}

/// A seed of its own for each argv (FNV-1a).
fn mixed(seed: u64, request: &LaunchRequest) -> u64 {
    let words = std::iter::once(&request.program).chain(&request.args);
    let bytes = words.flat_map(|word| word.as_bytes().iter().chain(&[0]));
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes.fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl RandomWorld {
    /// A graph on it, some actors of which may crash, each at one message: a command whose actor has crashed is `lost`.
    ///
    /// # Errors
    /// As of [`Ostler::scripted`].
    pub fn start(&mut self, config: Config) -> Result<Ostler, StartError> {
        let faults = (0..self.dice.below(4)).map(|_| random_fault(&mut self.dice, 1)).collect();
        start_with_faults(config, Some(&self.world), faults)
    }

    /// One of four programs, with any limits.
    pub fn command(&mut self) -> Command {
        let name = self.dice.below(4);
        random_command(&mut self.dice, name)
    }
}

fn reaction(dice: &mut Dice) -> OnTerminate {
    match dice.below(3) {
        0 => OnTerminate::Dies,
        1 => OnTerminate::Ignores,
        _ => OnTerminate::Exits { after: dice.ms(SPAN_MS), says: "bye\n".into(), code: 4 },
    }
}

/// Anything that a program can do.
pub fn random_program(dice: &mut Dice) -> Program {
    let mut program = Program::new().on_terminate(reaction(dice));
    for _ in 0..dice.below(4) {
        let text = "x".repeat(dice.below(200) as usize);
        program = match dice.below(3) {
            0 => program.stderr_at(dice.ms(SPAN_MS), text),
            1 => program.closes_at(dice.ms(SPAN_MS), dice.one_of(&Stream::BOTH)),
            _ => program.stdout_at(dice.ms(SPAN_MS), text),
        };
    }
    program = match dice.below(4) {
        0 => program.dies_at(dice.ms(SPAN_MS), "SIGSEGV"),
        1 => program,
        _ => program.exits_at(dice.ms(SPAN_MS), dice.below(3) as i32),
    };
    for _ in 0..dice.below(3) {
        let mut descendant = Descendant::new("child").on_terminate(reaction(dice));
        if dice.one_in(2) {
            descendant = descendant.holds_pipes();
        }
        if dice.one_in(2) {
            descendant = descendant.ends_at(dice.ms(SPAN_MS * 2));
        }
        program = program.descendant(descendant);
    }
    match dice.below(16) {
        0 => program.never_starts(),
        1 => program.starts_after(dice.ms(SPAN_MS)),
        2 => program.unkillable(),
        3 => program.exit_seen_late(dice.ms(SPAN_MS)),
        4 => program.disk_full_at(dice.below(100)),
        5 => program.disk_hangs(),
        6 => program.fails(LaunchError::TextBusy { path: "busy".into() }),
        7 => program.disk_takes(dice.ms(SPAN_MS * 3)),
        8 => program.floods_at(dice.ms(SPAN_MS), dice.below(200_000), "flood\n"),
        9 => program.listens_at(dice.ms(SPAN_MS), 8_080),
        10 => program.prompts_at(dice.ms(SPAN_MS), "sure? "),
        _ => program,
    }
}

/// The program of this name, with any limits.
#[doc(hidden)]
pub fn random_command(dice: &mut Dice, name: u64) -> Command {
    let mut command = Command::new(name.to_string()).grace(dice.ms(SPAN_MS)).drain_grace(dice.ms(300));
    command = command.leftovers_grace(dice.ms(500));
    if dice.one_in(3) {
        command = command.timeout(dice.ms(SPAN_MS) + Duration::from_millis(1));
    }
    if dice.one_in(3) {
        command = command.idle_timeout(dice.ms(SPAN_MS) + Duration::from_millis(1));
    }
    if dice.one_in(3) {
        command = command.progress(dice.ms(300) + Duration::from_millis(10));
    }
    if dice.one_in(4) {
        command = command.leftovers(LeftoversPolicy::Keep);
    }
    if dice.one_in(6) {
        command = command.output_limit(dice.below(100));
    }
    command
}

/// An actor crashes at some message of one of the first processes from this number on.
#[doc(hidden)]
pub fn random_fault(dice: &mut Dice, first_n: u64) -> Fault {
    let n = first_n + dice.below(CRASHING_COMMANDS);
    let (actor, message) = match dice.below(4) {
        0 => (ActorName::Drain(n, dice.one_of(&Stream::BOTH)), dice.one_of(&["EndOfStream", "CloseStream"])),
        1 => (ActorName::Ticker(n), "TimerFired"),
        _ => (ActorName::Process(n), dice.one_of(&PROCESS_MESSAGES)),
    };
    Fault { actor, message: message.to_owned() }
}
