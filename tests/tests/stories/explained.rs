//! Each way to end, explained to somebody who has never seen the code: a text for people, so read it as one when it changes.

use crate::story::Story;
use insta::assert_snapshot;
use ostler::{
    ActorName, Command, Config, HandleId, Journal, LeftoversPolicy, Ostler, OutputPolicy, TraceLog, TraceTo,
    testing::{Descendant, OnTerminate, Program},
    trace::Trace,
};
use ostler_messages::trace::Fault;
use ostler_tests::ms;

/// What became of a command that was left alone.
fn of(program: Program, command: Command) -> String {
    of_story(&run(Story::new(), program, command))
}
fn run(story: Story, program: Program, command: Command) -> Story {
    let story = story.program("job", program);
    if story.session.launch(command).wait().is_ok() {
        story.result();
    }
    story
}
fn of_story(story: &Story) -> String {
    Trace::parse(story.trace().as_bytes()).unwrap().explain(None)
}
fn job() -> Command {
    Command::new("job")
}
fn ends(code: i32) -> Program {
    Program::new().stdout_at(ms(10), "working\n").exits_at(ms(100), code)
}

#[test]
fn it_ended_by_itself() {
    assert_snapshot!("succeeded", of(ends(0), job()));
    assert_snapshot!("failed", of(ends(3), job()));
    assert_snapshot!("crashed", of(Program::new().dies_at(ms(100), "SIGSEGV"), job()));
}

#[test]
fn a_limit_has_passed() {
    assert_snapshot!("deadline", of(Program::new(), job().timeout(ms(500))));
    let stubborn = Program::new().on_terminate(OnTerminate::Ignores);
    assert_snapshot!("deadline_ignored", of(stubborn, job().timeout(ms(500))));
    assert_snapshot!("idle", of(Program::new().stdout_at(ms(50), "once\n"), job().idle_timeout(ms(500))));
    let loud = Program::new().stdout_at(ms(5), "x".repeat(2_000));
    let limited = job().output_limit(1_000).output_policy(OutputPolicy::StopCommand);
    assert_snapshot!("output_limit", of(loud, limited));
}

#[test]
fn the_host_has_stopped_it() {
    let story = Story::new().program("job", Program::new());
    let handle = story.launch(job());
    story.advance_ms(100);
    handle.cancel().wait().unwrap();
    assert_snapshot!("cancelled", of_story(&story));

    let story = Story::new().program("job", Program::new());
    story.launch(job());
    story.session.end().wait().unwrap();
    assert_snapshot!("session_ended", of_story(&story));

    let story = Story::new().program("job", Program::new());
    story.launch(job()).revoke().wait().unwrap();
    assert_snapshot!("lease_lost", of_story(&story));

    let late = Program::new().exits_at(ms(100), 0).exit_seen_late(ms(50));
    let story = Story::new().program("job", late);
    let handle = story.launch(job());
    story.advance_ms(120);
    handle.cancel().wait().unwrap();
    assert_snapshot!("cancelled_too_late", of_story(&story));
}

#[test]
fn some_of_its_tree_were_left() {
    let stubborn = Descendant::new("stubborn").on_terminate(OnTerminate::Ignores);
    let leaves = || Program::new().exits_at(ms(100), 0).descendant(Descendant::new("obeys"));
    assert_snapshot!("leftovers", of(leaves().descendant(stubborn), job()));
    assert_snapshot!("leftovers_kept", of(leaves(), job().leftovers(LeftoversPolicy::Keep)));
    let story = Story::new().program("job", Program::new().unkillable());
    let handle = story.launch(job());
    handle.cancel().wait().unwrap();
    assert_snapshot!("survived", of_story(&story));
    let holds = Program::new().exits_at(ms(100), 0).descendant(Descendant::new("server").holds_pipes());
    assert_snapshot!("pipes_held", of(holds, job()));
}

#[test]
fn something_went_wrong() {
    assert_snapshot!("not_found", of(Program::new(), Command::new("no-such-program")));
    assert_snapshot!("start_hangs", of(Program::new().never_starts(), job()));
    assert_snapshot!("disk_full", of(ends(0).disk_full_at(4), job()));
    assert_snapshot!("disk_hangs", of(ends(0).disk_hangs(), job()));
    let fault = Fault { actor: ActorName::Process(1), message: "Stop".into() };
    let story = Story::with(|config| config.faults.push(fault)).program("job", Program::new());
    story.launch(job()).cancel().wait().unwrap();
    assert_snapshot!("lost", of_story(&story));
}

#[test]
fn its_host_was_gone() {
    let journal = || Journal::named("agent");
    let story = Story::with(|config| config.journal = Some(journal())).program("job", Program::new());
    let job = story.launch(job());
    story.advance_ms(50);
    story.world.crash();
    let log = TraceLog::default();
    let config = Config::new().journal(journal()).trace(TraceTo::Memory(log.clone()));
    let ostler = Ostler::scripted(config, &story.world).unwrap();
    let session = ostler.open_session_as("s").wait().unwrap();
    assert_eq!(session.inbox().drain().wait().unwrap().len(), 1);
    story.advance_ms(0);
    let trace = Trace::parse(log.text().as_bytes()).unwrap();
    assert_snapshot!("host_gone", trace.explain(Some(job.id())));
}

#[test]
fn what_is_not_there_is_said() {
    let story = run(Story::new(), ends(0), job());
    let trace = story.trace();
    let whole = Trace::parse(trace.as_bytes()).unwrap();
    let other = HandleId { host_pid: 1, n: 99 };
    assert_eq!(whole.explain(Some(other)), "hto-1-99: nothing in this trace is about it.\n");
    // While it runs.
    let until = trace.find("\"message\":\"Exited\"").unwrap();
    assert_snapshot!("cut", Trace::parse(&trace.as_bytes()[..until]).unwrap().explain(None));
    let lines: Vec<&str> = trace.lines().collect();
    let begun = lines.iter().position(|line| line.contains("\"Started\"")).unwrap();
    let mut some = vec![lines[0], "{\"lost\":7}"];
    some.extend(&lines[begun + 1..]);
    let text = some.join("\n") + "\n";
    assert_snapshot!("gap", Trace::parse(text.as_bytes()).unwrap().explain(None));
}
