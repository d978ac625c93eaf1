use crate::story::{Story, same_every_time};
use insta::assert_snapshot;
use ostler::{
    CallError, Command, Error, INPUT_MAX_BYTES, UnixSignal,
    testing::{OnTerminate, Program, Reaction},
};
use ostler_tests::ms;

fn greeter() -> Program {
    Program::new()
        .prompts_at(ms(10), "name? ")
        .on_line(|name| match name {
            "" => Reaction::prompts("name? "),
            name => Reaction::says(format!("hello {name}\n")),
        })
        .on_stdin_end(Reaction::says("bye\n").exits(0))
}

#[test]
fn a_conversation_goes_on_until_its_stdin_ends() {
    let story = || {
        let story = Story::new().program("greeter", greeter());
        let handle = story.launch(Command::new("greeter").stdin_open());
        story.advance_ms(10);
        assert_eq!(handle.write("\nwor").wait().unwrap().taken, 4);
        assert_eq!(handle.write("ld\n").wait().unwrap().taken, 3);
        handle.close_stdin().wait().unwrap();
        let late = handle.write("late").wait();
        assert!(matches!(
            late,
            Err(Error::Call(CallError::HandleEnded { .. } | CallError::StdinClosed { .. }))
        ));
        assert_eq!(story.result().stdout, "name? name? hello world\nbye\n");
        story
    };
    assert_snapshot!(same_every_time("conversation", story));
}

#[test]
fn what_comes_with_the_launch_is_followed_by_the_end() {
    let story = Story::new().program("greeter", greeter());
    let handle = story.launch(Command::new("greeter").stdin_bytes("world"));
    assert_eq!(handle.result().wait().unwrap().record.stdout, "hello world\nbye\n");
    assert_snapshot!(story.told());
}

#[test]
fn a_command_that_never_reads_fills_its_queue_and_what_it_did_not_take_is_counted() {
    let cleans_up = OnTerminate::Exits { after: ms(20), says: String::new(), code: 1 };
    let deaf = Program::new().never_reads().on_terminate(cleans_up);
    let story = Story::new().program("deaf", deaf);
    let handle = story.launch(Command::new("deaf").stdin_open());
    let much = vec![b'x'; usize::try_from(INPUT_MAX_BYTES).unwrap()];
    let written = handle.write_within(much, ms(100)).wait().unwrap();
    assert_eq!((written.taken, written.queued, written.dropped), (65_536, 983_040, 0));
    let full = handle.write(vec![0; 70_000]).wait();
    assert!(matches!(full, Err(Error::Call(CallError::InputFull { queued: 983_040, .. }))), "{full:?}");
    let waits = handle.write("more").begin();
    // It can be written to in its grace too.
    let cancel = handle.cancel().begin();
    let late = handle.write("late").begin();
    cancel.wait().unwrap();
    let late = late.wait().unwrap();
    assert_eq!((late.taken, late.queued, late.dropped), (0, 0, 4));
    assert_eq!(waits.wait().unwrap(), late);
    assert_snapshot!(story.told());
}

#[test]
fn a_write_that_is_repeated_under_its_id_is_written_once() {
    let slow = greeter().reads_at(ms(50), 70_000);
    let story = Story::new().program("slow", slow);
    let handle = story.launch(Command::new("slow").stdin_open());
    let line = format!("{}\n", "x".repeat(69_999));
    // Its caller is gone before the answer.
    drop(handle.write_once("a", line.as_str()).begin());
    assert_eq!(handle.write_once("a", line.as_str()).wait().unwrap().taken, 70_000);
    assert_eq!(handle.write_once("a", line.as_str()).wait().unwrap().taken, 70_000);
    let other = handle.write_once("a", "y\n").wait();
    assert!(matches!(other, Err(Error::Call(CallError::WriteIdReused { .. }))), "{other:?}");
    handle.cancel().wait().unwrap();
    assert_snapshot!(story.told());
}

#[test]
fn a_command_that_closes_its_stdin_is_written_to_no_more() {
    let story = Story::new().program("closes", Program::new().closes_stdin_at(ms(10)));
    let handle = story.launch(Command::new("closes").stdin_open());
    story.advance_ms(10);
    let refused = handle.write("x").wait();
    assert!(matches!(refused, Err(Error::Call(CallError::StdinClosed { .. }))), "{refused:?}");
    handle.close_stdin().wait().unwrap();
    handle.cancel().wait().unwrap();
    assert_snapshot!(story.told());
}

#[test]
fn a_terminal_is_resized_and_a_signal_changes_nothing_but_what_the_command_does() {
    let editor = Program::new()
        .on_resize(|rows, columns| Reaction::says(format!("{rows}x{columns}\n")))
        .on_signal(UnixSignal::SigHup, Reaction::says("saved\n"));
    let story = Story::new().program("editor", editor);
    let handle = story.launch(Command::new("editor").terminal(24, 80).stop_signal(UnixSignal::SigInt));
    handle.resize(40, 132).wait().unwrap();
    handle.signal(UnixSignal::SigHup).wait().unwrap();
    let refused = handle.close_stdin().wait();
    assert!(matches!(refused, Err(Error::Call(CallError::StdinIsTerminal { .. }))), "{refused:?}");
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!((record.stdout.as_str(), record.signal.as_deref()), ("40x132\nsaved\n", Some("SIGINT")));
    let late = handle.signal(UnixSignal::SigHup).wait();
    assert!(matches!(late, Err(Error::Call(CallError::HandleEnded { .. }))), "{late:?}");
    assert_snapshot!(story.told());
}
