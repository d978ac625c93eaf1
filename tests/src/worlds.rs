//! What random scripted worlds are made of: the same for the same seed.

use crate::{Dice, ms};
use ostler::{
    ActorName, Command, Descendant, Error, LeftoversPolicy, OnTerminate, Program, Stream, testing::Fault,
};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

/// Handles of one world, at most.
pub const HANDLES: u64 = 12;
/// Everything in it happens at times below this.
pub const SPAN_MS: u64 = 3_000;
/// Messages at which an actor of its kind may crash.
const PROCESS_MESSAGES: [&str; 9] =
    ["Exec", "Started", "Stop", "Drained", "TimerFired", "Exited", "TreeAlive", "TreeEmpty", "Sealed"];

fn reaction(dice: &mut Dice) -> OnTerminate {
    match dice.below(3) {
        0 => OnTerminate::Dies,
        1 => OnTerminate::Ignores,
        _ => OnTerminate::Exits { after: dice.ms(SPAN_MS), says: "bye\n".into(), code: 4 },
    }
}

/// Anything that a program can do.
pub fn program(dice: &mut Dice) -> Program {
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
    match dice.below(12) {
        0 => program.never_starts(),
        1 => program.starts_after(dice.ms(SPAN_MS)),
        2 => program.unkillable(),
        3 => program.exit_seen_late(dice.ms(SPAN_MS)),
        4 => program.disk_full_at(dice.below(100)),
        5 => program.disk_hangs(),
        6 => program.fails(ostler::LaunchError::TextBusy { path: "busy".into() }),
        _ => program,
    }
}

/// The program of this name, with any limits.
pub fn command(dice: &mut Dice, name: u64) -> Command {
    let mut command = Command::new(name.to_string()).grace(dice.ms(SPAN_MS)).drain_grace(dice.ms(300));
    command = command.leftovers_grace(dice.ms(500));
    if dice.one_in(3) {
        command = command.timeout(dice.ms(SPAN_MS) + ms(1));
    }
    if dice.one_in(3) {
        command = command.idle_timeout(dice.ms(SPAN_MS) + ms(1));
    }
    if dice.one_in(3) {
        command = command.progress(dice.ms(300) + ms(10));
    }
    if dice.one_in(4) {
        command = command.leftovers(LeftoversPolicy::Keep);
    }
    if dice.one_in(6) {
        command = command.output_limit(dice.below(100));
    }
    command
}

/// An actor crashes at some message of one of [`HANDLES`] processes.
pub fn fault(dice: &mut Dice, first_n: u64) -> Fault {
    let n = first_n + dice.below(HANDLES);
    let (actor, message) = match dice.below(4) {
        0 => (ActorName::Drain(n, dice.one_of(&Stream::BOTH)), dice.one_of(&["EndOfStream", "CloseStream"])),
        1 => (ActorName::Ticker(n), "TimerFired"),
        _ => (ActorName::Process(n), dice.one_of(&PROCESS_MESSAGES)),
    };
    Fault { actor, message: message.to_owned() }
}

/// Sends a call, polls it so many times at most and then drops it; or waits for it. A host that has polled a call lets virtual time move
/// until it does something else, and how far that gets is not the same every time.
pub fn try_out<T>(dice: &mut Dice, polls: u64, call: ostler::Call<T>) -> Option<Result<T, Error>> {
    if !dice.one_in(4) {
        return Some(call.wait());
    }
    let mut call = pin!(call.begin().into_future());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..dice.below(3).min(polls) {
        if let std::task::Poll::Ready(answer) = call.as_mut().poll(&mut context) {
            return Some(answer);
        }
    }
    None
}
