use crate::story::{LONG, Story};
use insta::assert_snapshot;
use ostler::{
    Command, Config, Error, Filter, Journal, LaunchError, Ostler, Status, StopCause, testing::Program,
};
use ostler_tests::ms;
use std::time::Duration;

fn journaled() -> Story {
    Story::with(|config| config.journal = Some(Journal::named("agent")))
}
fn again(story: &Story) -> Ostler {
    let config = Config::new().journal(Journal::named("agent"));
    Ostler::scripted(config, &story.world).unwrap()
}

#[test]
fn answers_leave_when_what_they_say_is_written() {
    let story = journaled().program("job", Program::new().stdout_at(ms(1), "said\n").exits_at(ms(20), 0));
    story.world.journal_takes(ms(5));
    story.launch(Command::new("job"));
    assert_eq!(story.result().stdout, "said\n");
    let inbox = story.session.inbox();
    inbox.push("note", "host", 1.into()).wait().unwrap();
    let read = inbox.read(Filter::any(), 1).wait().unwrap();
    assert_eq!(inbox.acknowledge(read[0].sequence).wait(), Ok(1));
    assert_snapshot!(story.told());
}

#[test]
fn a_journal_that_fails_holds_nobody_up_and_is_told_everything_when_it_is_back() {
    let story = journaled().program("job", Program::new().exits_at(ms(10), 0));
    story.world.journal_fails("the disk is full");
    story.launch(Command::new("job"));
    assert_eq!(story.result().exit_code, Some(0));
    let told = story.drain();
    assert_eq!((told.len(), &*told[0].kind, &*told[0].source), (1, "journal_error", "ostler.journal"));
    assert_eq!(story.ostler.health().journal_error.as_deref(), Some("the disk is full"));
    story.session.inbox().push("note", "host", 1.into()).wait().unwrap();
    story.world.journal_works();
    story.advance_ms(1_000);
    assert_eq!(story.ostler.health().journal_error, None);
    story.world.crash();
    let ostler = again(&story);
    assert_eq!((ostler.recovered().sessions.len(), ostler.recovered().unread), (1, 1));
    assert_eq!(ostler.session("s").inbox().drain().wait().unwrap()[0].kind, "note");
    assert_snapshot!(story.told());
}

#[test]
fn a_disk_that_does_not_answer_holds_answers_up_for_five_seconds_once() {
    let story = journaled();
    story.world.journal_takes(Duration::from_secs(60));
    let began = story.session.inbox().push("note", "host", 1.into());
    assert_eq!(began.wait(), Ok(1));
    let error = story.ostler.health().journal_error.unwrap();
    assert!(error.contains("5000 ms"), "{error}");
    assert_eq!(
        story.session.inbox().push("note", "host", 2.into()).wait(),
        Ok(3),
        "the second was the word of it"
    );
    assert_snapshot!(story.told());
}

#[test]
fn what_a_crash_leaves_is_there_in_the_next_life() {
    let story = journaled()
        .program("done", Program::new().stdout_at(ms(1), "done\n").exits_at(ms(10), 0))
        .program("job", Program::new().stdout_at(ms(5), "half\n").exits_at(LONG, 0));
    let done = story.launch(Command::new("done"));
    let job = story.launch(Command::new("job").launch_key("job").label("for", "chat"));
    story.advance_ms(50);
    // It was on its way to who had asked for it.
    let cancelled = story.launch(Command::new("job"));
    let cancel = cancelled.cancel().begin();
    story.advance_ms(50);
    story.world.crash();
    assert_eq!(story.session.list().wait().unwrap_err(), Error::Closed);
    drop(cancel);

    let ostler = again(&story);
    let found = ostler.recovered();
    assert_eq!((found.sessions.len(), found.lost.as_slice(), found.unread), (1, [job.id()].as_slice(), 3));
    let session = ostler.open_session_as("s").wait().unwrap();
    assert!(session.is_recovered());
    let entries = session.inbox().drain().wait().unwrap();
    let brief: Vec<_> = entries
        .iter()
        .map(|entry| (entry.record().unwrap().handle_id, entry.redelivered, entry.record().unwrap().status))
        .collect();
    assert_eq!(
        brief,
        [
            (done.id(), true, Status::Completed),
            (job.id(), false, Status::Lost),
            (cancelled.id(), true, Status::Killed),
        ]
    );
    let lost = entries[1].record().unwrap();
    assert_eq!((lost.stdout.as_str(), lost.byte_count, lost.exit_code), ("half\n", 5, Some(-1)));
    assert_eq!((lost.stop_cause, lost.labels["for"].as_str()), (Some(StopCause::HostGone), "chat"));
    // By its old id, and by its key; and what it had said.
    let handle = session.handle(job.id()).wait().unwrap();
    assert_eq!(handle.read().wait().unwrap().text(), "half\n");
    let same = session.launch(Command::new("job").launch_key("job").label("for", "chat")).wait().unwrap();
    assert_eq!(same.id(), job.id());
    let other = session.launch(Command::new("done").launch_key("job")).wait().unwrap_err();
    assert!(matches!(other, Error::Launch(LaunchError::LaunchKeyReused { .. })), "{other}");
    assert!(!handle.cancel().wait().unwrap().cancelled);
    assert!(!handle.result().wait().unwrap().taken, "it was read");
    assert_eq!(session.list_all().wait().unwrap().len(), 3);
    let next = session.launch(Command::new("done")).wait().unwrap();
    assert!(next.id().n > cancelled.id().n);
    assert_snapshot!(story.told());
}

#[test]
fn a_session_that_had_ended_is_opened_anew_and_its_numbers_go_on() {
    let story = journaled();
    story.session.inbox().push("note", "host", 1.into()).wait().unwrap();
    story.session.end().wait().unwrap();
    story.ostler.shutdown().wait().unwrap();
    let ostler = again(&story);
    assert_eq!(ostler.recovered().sessions.len(), 0);
    let session = ostler.open_session_as("s").wait().unwrap();
    assert!(!session.is_recovered());
    assert_eq!(session.inbox().push("note", "host", 2.into()).wait(), Ok(2));
    let entries = session.inbox().drain().wait().unwrap();
    assert_eq!(entries.iter().map(|entry| entry.redelivered).collect::<Vec<_>>(), [true, false]);
}
