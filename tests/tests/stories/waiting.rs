use crate::story::{LONG, Story, same_every_time};
use insta::assert_snapshot;
use ostler::{
    CallError, Command, Condition, Error, Filter, HandleId, LeftoversPolicy, Met, Outcome, OutputFile, Ran,
    Status, WaitEnd,
    testing::{Descendant, OnTerminate, Program},
};
use ostler_tests::ms;

fn make() -> Program {
    Program::new().stdout_at(ms(100), "compiling\n").exits_at(ms(1_000), 2)
}

#[test]
fn a_result_is_taken_by_who_waits_for_it_by_its_handle() {
    let story = || {
        let story = Story::new().program("make", make());
        let handle = story.launch(Command::new("make"));
        // Two who take it together, one who only looks, and a reader of the inbox who came first.
        let reader = story.session.inbox().receive(Filter::results(), 1, LONG).begin();
        let other = handle.result().begin();
        let looks = handle.exited().begin();
        let result = handle.result().wait().unwrap();
        assert_eq!((result.taken, result.record.exit_code), (true, Some(2)));
        assert_eq!(other.wait().unwrap(), result);
        assert_eq!(*looks.wait().unwrap(), *result.record);
        drop(reader);
        assert!(story.drain().is_empty());
        // Whoever asks later gets a copy.
        let again = handle.result().wait().unwrap();
        assert_eq!((again.taken, &again.record), (false, &result.record));
        story
    };
    assert_snapshot!(same_every_time("result", story));
}

#[test]
fn a_waiter_that_is_gone_or_late_leaves_the_result_in_the_inbox() {
    let story = Story::new().program("make", make());
    let handle = story.launch(Command::new("make"));
    drop(handle.result().begin());
    assert_eq!(handle.result_within(ms(500)).wait().unwrap(), None);
    let so_far = handle.exited_within(ms(100)).wait().unwrap();
    assert_eq!((so_far.status, so_far.stdout.as_str()), (Status::Running, "compiling\n"));
    assert_eq!(story.result().exit_code, Some(2));
    // Of a result that is taken there are copies.
    assert!(!handle.result().wait().unwrap().taken);
    assert_snapshot!(story.told());
}

#[test]
fn an_unread_result_leaves_the_inbox_with_who_asks_for_it() {
    let story = Story::new().program("make", make());
    let handles = [story.launch(Command::new("make")), story.launch(Command::new("make"))];
    story.advance_ms(2_000);
    let reader = story.session.inbox().receive(Filter::handle(handles[0].id()), 1, LONG).begin();
    story.advance_ms(0);
    assert!(!handles[0].result().wait().unwrap().taken, "a reader holds it");
    assert!(handles[1].result().wait().unwrap().taken);
    assert_eq!(story.session.inbox().pending(Filter::any()).wait().unwrap(), 0);
    drop(reader);
    // It was not read: it is free again.
    let dropped = handles[0].result().begin();
    story.advance_ms(0);
    drop(dropped);
    assert!(handles[0].result().wait().unwrap().taken);
    assert!(story.drain().is_empty());
}

#[test]
fn a_command_that_is_run_for_a_time_gives_its_result_or_itself() {
    let story = || {
        let story = Story::new().program("make", make());
        let Ran::Running(handle) = story.session.run_for(Command::new("make"), ms(300)).wait().unwrap()
        else {
            panic!("it has not ended")
        };
        let so_far = handle.record().clone();
        assert_eq!((so_far.stdout.as_str(), so_far.output_offset), ("compiling\n", 10));
        assert_eq!(so_far.silence_ms, Some(200));
        // The rest goes the way of every other.
        assert_eq!(story.result().exit_code, Some(2));
        let Ran::Ended(ended) = story.session.run_for(Command::new("make"), LONG).wait().unwrap() else {
            panic!("it has ended")
        };
        assert_eq!((ended.taken, ended.record.exit_code), (true, Some(2)));
        assert!(story.drain().is_empty());
        story
    };
    assert_snapshot!(same_every_time("run_for", story));
}

#[test]
fn a_run_that_nobody_waits_for_any_more_goes_on() {
    let story = Story::new().program("make", make());
    let run = story.session.run_for(Command::new("make"), LONG).begin();
    story.advance_ms(500);
    drop(run);
    assert_eq!(story.session.list().wait().unwrap().len(), 1);
    assert_eq!(story.result().exit_code, Some(2));
    let Err(Error::Launch(_)) = story.session.run_for(Command::new("absent"), LONG).wait() else {
        panic!("there is no such program")
    };
}

#[test]
fn a_status_is_of_this_moment_and_a_list_says_how_old_and_how_silent_each_is() {
    let story = Story::new().program("make", make());
    let first = story.launch(Command::new("make"));
    story.advance_ms(400);
    let second = story.launch(Command::new("make"));
    let status = first.status().wait().unwrap();
    assert_eq!((status.status, status.stdout.as_str()), (Status::Running, "compiling\n"));
    assert_eq!((status.silence_ms, status.output_offset), (Some(300), 10));
    let listed = story.session.list().wait().unwrap();
    let seen: Vec<_> = listed.iter().map(|listed| (listed.handle.id(), listed.age, listed.silence)).collect();
    let times = [(first.id(), Some(ms(400)), Some(ms(300))), (second.id(), Some(ms(0)), Some(ms(0)))];
    assert_eq!(seen, times);
    story.advance_ms(700);
    let [live] = &story.session.list().wait().unwrap()[..] else { panic!("one lives") };
    assert_eq!(live.handle.id(), second.id());
    let all = story.session.list_all().wait().unwrap();
    let ended = all[0].handle.record();
    assert_eq!((all.len(), ended.status, ended.exit_code), (2, Status::Completed, Some(2)));
    assert_eq!((ended.stdout.as_str(), all[0].age, all[0].kept), ("", None, 0));
    assert_eq!(first.status().wait().unwrap().stdout, "compiling\n");
    assert_snapshot!(story.told());
}

#[test]
fn what_is_unread_is_never_forgotten_and_what_is_not_there_says_why() {
    let story = Story::with(|settings| settings.limits.replay_results = 1);
    story.world.program("true", Program::new().exits_at(ms(1), 0));
    let handles: Vec<_> = (0..4).map(|_| story.launch(Command::new("true"))).collect();
    story.advance_ms(10);
    assert!(handles.iter().all(|handle| handle.status().wait().is_ok()));
    assert_eq!(story.drain().len(), 4);
    let refused = |id| story.session.handle(id).wait().map(|handle| handle.id()).unwrap_err();
    let handle_id = handles[0].id();
    assert_eq!(refused(handle_id), CallError::HandleForgotten { handle_id }.into());
    assert_eq!(story.session.handle(handles[3].id()).wait().unwrap().record().exit_code, Some(0));
    let never = HandleId { n: 99, ..handle_id };
    assert_eq!(refused(never), CallError::HandleUnknown { handle_id: never }.into());
    let before = HandleId { host_pid: 77, ..handle_id };
    assert_eq!(refused(before), CallError::HandleOfOtherHost { handle_id: before }.into());
    let other = story.ostler.open_session().wait().unwrap();
    let handle_id = handles[3].id();
    assert_eq!(
        other.handle(handle_id).wait().map(drop).unwrap_err(),
        CallError::HandleOfOtherSession { handle_id }.into()
    );
}

#[test]
fn kept_leftovers_are_seen_and_stopped_by_a_cancel() {
    let story = || {
        let stubborn = Descendant::new("daemon").on_terminate(OnTerminate::Ignores);
        let start =
            Program::new().exits_at(ms(100), 0).descendant(stubborn).descendant(Descendant::new("pager"));
        let story = Story::new().program("start-daemon", start);
        let handle = story.launch(Command::new("start-daemon").leftovers(LeftoversPolicy::Keep));
        assert_eq!(story.result().exit_code, Some(0));
        let [listed] = &story.session.list().wait().unwrap()[..] else { panic!("it is still there") };
        assert_eq!((listed.kept, listed.handle.record().status), (2, Status::Completed));
        let first = handle.cancel().begin();
        story.advance_ms(200);
        let cancelled = handle.cancel().wait().unwrap();
        assert_eq!((cancelled.cancelled, cancelled.record.status), (true, Status::Completed));
        let outcomes = cancelled.record.leftovers.iter().flatten().map(|leftover| leftover.outcome);
        assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::Killed, Outcome::Terminated]);
        assert_eq!(first.wait().unwrap(), cancelled);
        assert!(story.session.list().wait().unwrap().is_empty() && story.drain().is_empty());
        assert_eq!(handle.cancel().wait().unwrap().record, cancelled.record, "as it was left");
        story
    };
    assert_snapshot!(same_every_time("kept", story));
}

/// A server that says when it is ready, and where.
fn server() -> Program {
    Program::new()
        .stdout_at(ms(100), "starting\nlistening on ")
        .stderr_at(ms(150), "warning: no cache\n")
        .stdout_at(ms(200), "localhost:3000\r\n")
        .listens_at(ms(200), 3000)
        .on_terminate(OnTerminate::Dies)
}

#[test]
fn a_wait_for_a_line_is_answered_when_the_line_is_there() {
    let story = || {
        let story = Story::new().program("server", server());
        let handle = story.launch(Command::new("server"));
        let ready = || Condition::regex(r"listening on (?<host>\w+):(\d+)").in_stream(OutputFile::Stdout);
        let waited = handle.wait_for([ready()], LONG).wait().unwrap();
        let found = waited.found().unwrap();
        assert_eq!((found.line.as_str(), found.offset), ("listening on localhost:3000", 9));
        assert_eq!(
            (found.groups[1].name.as_deref(), found.groups[2].text.as_deref()),
            (Some("host"), Some("3000"))
        );
        assert_eq!((waited.record.status, waited.record.byte_count), (Status::Running, 56));
        // What was written before counts, from any offset.
        let again = handle.wait_for([ready()], ms(0)).wait().unwrap();
        assert_eq!(again.found(), waited.found());
        let beyond = handle.wait_for([ready().from_offset(10)], ms(50)).wait().unwrap();
        assert_eq!(beyond.end, WaitEnd::TimedOut);
        story
    };
    assert_snapshot!(same_every_time("line", story));
}

#[test]
fn a_prompt_that_never_ends_its_line_is_found_when_it_has_stood_for_a_moment() {
    let prompt = Program::new().stdout_at(ms(100), "Contin").stdout_at(ms(150), "ue? [y/N] ");
    let story = Story::new().program("setup", prompt);
    let handle = story.launch(Command::new("setup"));
    let waited = handle.wait_for([Condition::regex(r"\? \[y/N\] $")], LONG).wait().unwrap();
    assert_eq!(waited.found().unwrap().line, "Continue? [y/N] ");
    assert_eq!(waited.record.silence_ms, Some(100));
    assert_snapshot!(story.told());
}

#[test]
fn the_first_condition_in_the_list_wins_and_an_exit_ends_every_wait() {
    let story = Story::new().program("server", server().exits_at(ms(5_000), 3));
    let handle = story.launch(Command::new("server"));
    story.advance_ms(1_000);
    let [silence, port, line] =
        [Condition::silence_ms(500), Condition::port(3000), Condition::text("starting")];
    for order in [[&silence, &port, &line], [&line, &silence, &port], [&port, &line, &silence]] {
        let waited = handle.wait_for(order.map(Clone::clone), LONG).wait().unwrap();
        assert_eq!(waited.condition(), Some(0), "{order:?}");
    }
    let waited =
        handle.wait_for([Condition::port(3001), Condition::text("ready")], ms(1_000)).wait().unwrap();
    assert_eq!((waited.end, waited.record.status), (WaitEnd::TimedOut, Status::Running));
    let quiet = handle.wait_for([Condition::silence_ms(2_500)], LONG).begin();
    let other = handle.wait_for([Condition::port(3001), Condition::text("ready")], LONG).begin();
    let waited = other.wait().unwrap();
    assert_eq!((&waited.end, waited.record.exit_code), (&WaitEnd::Exit, Some(3)));
    assert_eq!(quiet.wait().unwrap().end, WaitEnd::Met { index: 0, by: Met::Silence { ms: 2_500 } });
    // It took nothing.
    assert_eq!(story.result().exit_code, Some(3));
    let late = handle.wait_for([Condition::Exit, Condition::text("no cache")], ms(0)).wait().unwrap();
    assert_eq!(
        (late.condition(), late.found().unwrap().line.as_str()),
        (Some(1), "listening on warning: no cache")
    );
    assert_eq!(handle.wait_for([], ms(0)).wait().unwrap().end, WaitEnd::Exit);
    assert_snapshot!(story.told());
}

#[test]
fn waits_that_are_dropped_cancel_nothing_and_what_is_wrong_is_refused_by_name() {
    let story = Story::new().program("server", server());
    let handle = story.launch(Command::new("server"));
    for _ in 0..10 {
        drop(
            handle
                .wait_for([Condition::text("ready"), Condition::silence_ms(70), Condition::port(1)], LONG)
                .begin(),
        );
    }
    assert_eq!(handle.status().wait().unwrap().status, Status::Running);
    let refused = |condition| handle.wait_for([Condition::Exit, condition], LONG).wait().unwrap_err();
    for (pattern, why) in [("(", "unclosed"), ("x*", "no text at all"), ("", "empty")] {
        let Error::Call(CallError::BadCondition { index: 1, reason }) = refused(Condition::regex(pattern))
        else {
            panic!("{pattern}")
        };
        assert!(reason.contains(why), "{reason}");
    }
    let many = vec![Condition::Exit; 17];
    let error = handle.wait_for(many, LONG).wait().unwrap_err();
    assert_eq!(error, CallError::TooManyConditions { count: 17, limit: 16 }.into());
    story.advance_ms(300);
    let ports = handle.ports().wait().unwrap();
    assert_eq!((ports.ports[0].port, ports.ports.len(), ports.unseen), (3000, 1, 0));
}

#[test]
fn a_line_that_is_cut_by_a_page_of_what_was_written_before_is_searched_as_a_whole() {
    // The digits lie across the border of the first MiB.
    let mut log = "x".repeat(98) + "\n";
    log = log.repeat((1 << 20) / 99);
    log.push_str(&"y".repeat((1 << 20) - log.len() - 10));
    log.push_str("\nport 3000\n");
    let story = Story::new().program("server", Program::new().stdout_at(ms(0), log));
    let handle = story.launch(Command::new("server"));
    story.advance_ms(60_000);
    let waited = handle.wait_for([Condition::regex(r"port (\d+)")], ms(0)).wait().unwrap();
    assert_eq!(waited.found().unwrap().groups[1].text.as_deref(), Some("3000"));
    let story = Story::new().program("ends", Program::new().stdout_at(ms(0), b"caf\xc3").exits_at(ms(50), 0));
    let handle = story.launch(Command::new("ends"));
    let waited = handle.wait_for([Condition::regex("f.$")], LONG).wait().unwrap();
    assert_eq!(waited.condition(), Some(0), "a byte that is no character, at the end");
}
