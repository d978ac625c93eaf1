use crate::story::Story;
use insta::assert_snapshot;
use ostler::{
    Capture, Command, Filter, OutputFile, OutputPolicy, Status, StopCause, Stream, View,
    testing::{OnTerminate, Program},
};
use ostler_tests::ms;
use std::time::Duration;

#[test]
fn progress_comes_at_doubling_intervals_and_an_unread_one_is_replaced() {
    let program =
        Program::new().stdout_at(ms(50), "one\n").stdout_at(ms(350), "two\n").exits_at(ms(1_000), 0);
    let story = Story::new().program("job", program);
    story.launch(Command::new("job").progress(Duration::from_millis(100)));
    story.advance_ms(800);
    let entries = story.drain();
    assert_eq!(entries.len(), 1);
    let progress = entries[0].record().unwrap();
    assert_eq!(
        (progress.stdout.as_str(), progress.output_offset, progress.silence_ms),
        ("one\ntwo\n", 8, Some(350))
    );
    assert_eq!(story.result().status, Status::Completed);
    assert!(story.drain().is_empty(), "no progress after the result");
    assert_snapshot!(story.told());
}

#[test]
fn a_full_disk_costs_neither_the_result_nor_the_process() {
    let program =
        Program::new().stdout_at(ms(1), "12345678").stdout_at(ms(2), "90").exits_at(ms(3), 0).disk_full_at(8);
    let story = Story::new().program("job", program);
    story.launch(Command::new("job"));
    let result = story.result();
    assert_eq!((result.byte_count, result.recorded_bytes, result.stdout.as_str()), (10, 8, "1234567890"));
    assert!(result.artifact_error.unwrap().contains("No space left"));
    assert_snapshot!(story.told());
}

#[test]
fn beyond_the_output_limit_nothing_is_recorded_but_everything_is_counted() {
    let program = Program::new().stdout_at(ms(1), "12345").stderr_at(ms(2), "67890").exits_at(ms(3), 0);
    let story = Story::new().program("job", program);
    let handle = story.launch(Command::new("job").output_limit(7));
    let result = story.result();
    assert_eq!((result.byte_count, result.recorded_bytes), (10, 7));
    assert_eq!(handle.read().wait().unwrap().text(), "1234567");
    assert_snapshot!(story.told());
}

#[test]
fn a_disk_that_does_not_answer_delays_the_result_by_its_limit_and_no_more() {
    let story =
        Story::new().program("job", Program::new().stdout_at(ms(1), "x").exits_at(ms(3), 0).disk_hangs());
    story.launch(Command::new("job"));
    let result = story.result();
    assert_eq!(result.status, Status::Completed);
    assert!(result.artifact_error.unwrap().contains("does not answer"));
    assert_snapshot!(story.told());
}

#[test]
fn a_host_that_never_reads_is_stopped_from_launching_and_loses_nothing() {
    let story = Story::with(|config| {
        config.limits.unread_results = 2;
        config.limits.results_with_text = 1;
    });
    let story = story.program("job", Program::new().stdout_at(ms(0), "text").exits_at(ms(1), 0));
    for _ in 0..2 {
        story.launch(Command::new("job"));
        story.advance_ms(1);
    }
    let error = story.session.launch(Command::new("job")).wait().unwrap_err();
    assert_eq!(
        error.to_string(),
        "limit reached: unread results (drain the inbox) (at most 2; there are 2; the oldest: hto-1-1, hto-1-2)"
    );
    assert_eq!(story.drain().len(), 2);
    story.launch(Command::new("job"));
    assert_snapshot!(story.told());
}

#[test]
fn a_stream_that_is_closed_early_is_not_the_end() {
    let program = Program::new()
        .stdout_at(ms(1), "out")
        .closes_at(ms(2), Stream::Stdout)
        .stderr_at(ms(50), "err")
        .exits_at(ms(90), 0);
    let story = Story::new().program("daemonish", program);
    let handle = story.launch(Command::new("daemonish"));
    story.advance_ms(10);
    assert!(story.drain().is_empty());
    let page = handle.read().stream(OutputFile::Stderr).wait_for(Duration::from_secs(1)).wait().unwrap();
    assert_eq!((page.text().as_str(), page.eof), ("err", false));
    assert_eq!(story.result().stderr, "err");
    assert_snapshot!(story.told());
}

#[test]
fn a_line_that_is_redrawn_is_read_when_it_is_whole_and_the_wait_has_its_time() {
    let drawn = |program: Program, n: u64| program.stdout_at(ms(300 * n), format!("\r\x1b[K{n}0%"));
    let program =
        (1..9).fold(Program::new(), drawn).stdout_at(ms(2_700), "\rdone\x1b[K\n").exits_at(ms(5_000), 0);
    let story = Story::new().program("bar", program);
    let handle = story.launch(Command::new("bar"));
    let read = |time| handle.read().clean().wait_for(ms(time)).wait().unwrap();
    let page = read(1_000);
    assert_eq!(
        (page.bytes_read, page.eof),
        (0, false),
        "each drawing wakes the reader, and none makes it wait longer"
    );
    let page = read(3_000);
    assert_eq!((page.text().as_str(), page.eof), ("done\n", false));
    let lines = handle.read().last_lines(1).wait().unwrap();
    assert_eq!((lines.first_line, lines.next_offset), (Some(1), page.next_offset));
    story.result();
    assert!(handle.read().kept().wait().unwrap().eof);
}

#[test]
fn the_hosts_own_entries_stand_in_line_with_the_results() {
    let story = Story::new().program("job", Program::new().exits_at(ms(5), 0));
    let inbox = story.session.inbox();
    inbox.push("user_message", "chat", "hello".into()).wait().unwrap();
    story.launch(Command::new("job"));
    assert_eq!(inbox.wait(Filter::results(), Duration::from_secs(1)).wait().unwrap(), 1);
    assert_eq!(inbox.pending(Filter::any()).wait().unwrap(), 2);
    let refused = inbox.push("tool_result", "me", 1.into()).wait().unwrap_err();
    assert!(refused.to_string().contains("ostler's own"));
    let kinds: Vec<_> = story.drain().into_iter().map(|entry| (entry.sequence, entry.kind)).collect();
    assert_eq!(kinds, [(1, "user_message".into()), (2, "tool_result".into())]);
    assert_snapshot!(story.told());
}

#[test]
fn a_command_that_is_to_stop_at_its_output_limit_is_stopped() {
    let says = Program::new().stdout_at(ms(10), "12345678").stdout_at(ms(20), "90").stdout_at(ms(30), "more");
    let trap = OnTerminate::Exits { after: ms(5), says: "bye".into(), code: 1 };
    let story = Story::new().program("says", says.on_terminate(trap));
    let command = Command::new("says").output_limit(8).output_policy(OutputPolicy::StopCommand);
    let record = story.launch(command).result().wait().unwrap().record;
    assert_eq!((record.status, record.stop_cause), (Status::Killed, Some(StopCause::OutputLimit)));
    assert_eq!((record.stdout.as_str(), record.recorded_bytes), ("1234567890bye", 8));
    assert_snapshot!(story.told());
}

#[test]
fn inline_text_can_be_as_a_terminal_would_show_it() {
    let bar = "\u{1b}[32mok\u{1b}[0m\n 10%\r 90%\r100%\nname? ";
    let story = Story::new().program("build", Program::new().stdout_at(ms(10), bar).exits_at(ms(20), 0));
    for (view, text) in [(View::Clean, "ok\n100%\nname? "), (View::Raw, bar)] {
        let command = Command::new("build").capture(Capture::default().view(view));
        let handle = story.launch(command);
        story.advance_ms(10);
        assert_eq!(handle.status().wait().unwrap().stdout, text);
        let record = handle.result().wait().unwrap().record;
        assert_eq!((record.stdout.as_str(), record.byte_count), (text, bar.len() as u64));
    }
}

#[test]
fn the_commands_of_a_session_share_what_it_may_have_on_disk() {
    let talks = |text: &'static str| Program::new().stdout_at(ms(10), text).exits_at(ms(20), 0);
    let story = Story::with(|settings| settings.config.limits.session_output_bytes = Some(20))
        .program("one", talks("123456\n"))
        .program("two", talks("abcdef\n"));
    story.launch(Command::new("one"));
    assert_eq!(story.result().artifact_error, None);
    story.launch(Command::new("two"));
    let record = story.result();
    assert_eq!((record.stdout.as_str(), record.recorded_bytes), ("abcdef\n", 3));
    let refused = story.session.launch(Command::new("one")).wait();
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("bytes on disk of the commands of one session (at most 20; there are 20; the oldest: hto-1-1, hto-1-2)"), "{text}");
    story.session.end().wait().unwrap();
    assert_snapshot!(story.told());
}

#[test]
fn what_a_full_disk_does_not_take_is_not_what_a_session_has_there() {
    let talks = Program::new().stdout_at(ms(10), "123456789\n").exits_at(ms(20), 0);
    let story = Story::with(|settings| settings.config.limits.session_output_bytes = Some(40))
        .program("full", talks.clone().disk_full_at(0))
        .program("talks", talks);
    for _ in 0..3 {
        story.launch(Command::new("full"));
        assert!(story.result().artifact_error.unwrap().contains("No space left"));
    }
    story.launch(Command::new("talks"));
    assert_eq!(story.result().artifact_error, None);
}
