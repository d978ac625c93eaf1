use crate::story::{Story, same_every_time};
use insta::assert_snapshot;
use ostler::{
    CallError, Command, Condition, Error, Status, StopCause, UnixSignal, WaitEnd,
    testing::{OnTerminate, Program, Reaction},
};
use ostler_tests::ms;

#[test]
fn no_time_passes_for_what_is_paused() {
    let story = || {
        let train =
            Program::new().stdout_at(ms(100), "half\n").stdout_at(ms(200), "whole\n").exits_at(ms(300), 0);
        let story = Story::new().program("train", train);
        let handle = story.launch(Command::new("train").timeout(ms(400)).idle_timeout(ms(150)));
        story.advance_ms(110);
        handle.pause().wait().unwrap();
        handle.pause().wait().unwrap();
        let quiet = handle.wait_for([Condition::silence_ms(60)], ms(100_000)).begin();
        story.advance_ms(60_000);
        let status = handle.status().wait().unwrap();
        assert_eq!((status.paused, status.silence_ms, status.stdout.as_str()), (true, Some(10), "half\n"));
        handle.resume().wait().unwrap();
        assert!(matches!(quiet.wait().unwrap().end, WaitEnd::Met { index: 0, .. }));
        let record = story.result();
        assert_eq!((record.stdout.as_str(), record.duration_ms), ("half\nwhole\n", Some(60_300)));
        let late = handle.pause().wait();
        assert!(matches!(late, Err(Error::Call(CallError::HandleEnded { .. }))), "{late:?}");
        story
    };
    assert_snapshot!(same_every_time("paused", story));
}

#[test]
fn a_stop_lets_it_go_on_first() {
    let cleans_up = OnTerminate::Exits { after: ms(20), says: "bye\n".into(), code: 3 };
    let story = Story::new().program("server", Program::new().on_terminate(cleans_up));
    let handle = story.launch(Command::new("server"));
    handle.pause().wait().unwrap();
    let cancel = handle.cancel().begin();
    let pause = handle.pause().wait();
    assert!(matches!(pause, Err(Error::Call(CallError::HandleStopping { .. }))), "{pause:?}");
    let record = cancel.wait().unwrap().record;
    assert_eq!((record.status, record.stdout.as_str()), (Status::Killed, "bye\n"));
    assert_snapshot!(story.told());
}

#[test]
fn the_deadline_goes_on_where_it_stood() {
    let story = Story::new().program("sleeps", Program::new());
    let handle = story.launch(Command::new("sleeps").timeout(ms(400)));
    story.advance_ms(100);
    handle.pause().wait().unwrap();
    story.advance_ms(5_000);
    handle.resume().wait().unwrap();
    let record = story.result();
    assert_eq!((record.stop_cause, record.duration_ms), (Some(StopCause::Deadline), Some(5_400)));
}

#[test]
fn input_signals_and_a_new_size_wait_for_what_is_paused() {
    let editor = Program::new()
        .on_line(|line| Reaction::says(format!("{line}!\n")))
        .on_resize(|rows, columns| Reaction::says(format!("{rows}x{columns}\n")))
        .on_signal(UnixSignal::SigHup, Reaction::says("saved\n"));
    let story = Story::new().program("editor", editor);
    let handle = story.launch(Command::new("editor").terminal(24, 80));
    handle.pause().wait().unwrap();
    assert_eq!(handle.write("text\n").wait().unwrap().taken, 5);
    handle.signal(UnixSignal::SigHup).wait().unwrap();
    handle.resize(40, 132).wait().unwrap();
    story.advance_ms(1_000);
    assert_eq!(handle.status().wait().unwrap().stdout, "");
    handle.resume().wait().unwrap();
    assert_eq!(handle.status().wait().unwrap().stdout, "saved\n40x132\ntext!\n");
}

#[test]
fn a_command_waits_for_its_follower_and_is_not_silent_meanwhile() {
    let story = || {
        let export = Program::new()
            .stdout_at(ms(10), "page 1\n")
            .stdout_at(ms(10), "page 2\n")
            .stdout_at(ms(20), "page 3\n")
            .exits_at(ms(30), 0);
        let story = Story::new().program("export", export);
        let handle = story.launch(Command::new("export").follow(7).idle_timeout(ms(100)));
        story.advance_ms(5_000);
        let status = handle.status().wait().unwrap();
        assert_eq!((status.stdout.as_str(), status.silence_ms), ("page 1\n", Some(0)));
        let (mut offset, mut text) = (0, String::new());
        loop {
            let page = handle.read().offset(offset).follows().wait_for(ms(1_000)).wait().unwrap();
            assert!(page.total_bytes <= offset + 7);
            (offset, text) = (page.next_offset, text + &page.text());
            if page.eof {
                break;
            }
        }
        assert_eq!((text.as_str(), story.result().duration_ms), ("page 1\npage 2\npage 3\n", Some(5_020)));
        story
    };
    assert_snapshot!(same_every_time("followed", story));
}

#[test]
fn the_end_of_a_command_waits_for_no_follower() {
    let cleans_up = OnTerminate::Exits { after: ms(20), says: "bye\n".into(), code: 3 };
    let talks = Program::new().stdout_at(ms(10), "much that nobody reads\n").on_terminate(cleans_up);
    let story = Story::new().program("talks", talks);
    let handle = story.launch(Command::new("talks").follow(4));
    story.advance_ms(100);
    assert_eq!(handle.status().wait().unwrap().stdout, "much");
    handle.pause().wait().unwrap();
    let record = handle.cancel().wait().unwrap().record;
    assert_eq!((record.stdout.as_str(), record.exit_code), ("much that nobody reads\nbye\n", Some(3)));
}

#[test]
fn a_follower_that_asks_again_and_again_for_a_whole_line_gets_it() {
    let talks = Program::new().stdout_at(ms(10), "a line longer than may be ahead\n").exits_at(ms(20), 0);
    let story = Story::new().program("talks", talks);
    let handle = story.launch(Command::new("talks").follow(5));
    let mut asked = 0;
    let line = loop {
        story.advance_ms(10);
        let page = handle.read().from_line(1, 1).follows().wait().unwrap();
        asked += 1;
        if page.bytes_read > 0 {
            break page.text();
        }
        assert!(asked < 100, "the line never comes");
    };
    assert_eq!(line, "a line longer than may be ahead\n");
    assert_eq!(story.result().exit_code, Some(0));
}
