//! Readers and cancellers that are dropped at every point at which they can be: after any number of polls, with or
//! without the wake-up that would have led to the next one. Each result has to come exactly once all the same, over the
//! answers and the inbox.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use futures_lite::future;
use ostler::{
    Cancelled, Command, Config, Ended, Entry, Filter, Handle, HandleId, Inbox, Ostler, Ran, Session,
    Subscribed, Subscription,
    testing::{OnTerminate, Program, World},
};
use ostler_tests::{Bench, Dice, Ground, LIMIT, Settings, in_every_tier, ms, seed_or, sh};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

const THREADS: u64 = 16;
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Steps of each thread.
const STEPS: u64 = 40;
/// More polls than any call needs: sent, answered, reloaded, and one to spare.
const POLLS: u64 = 5;
/// In a scripted world a call is looked at once more before its host counts as idle, and again whenever another one was answered.
const POLLS_AMONG_MANY: u64 = 100;

/// Polls a future so many times; if it is not ready then, drops it, at once or at its next wake-up.
struct Impatient<F> {
    call: F,
    polls: u64,
    until_woken: bool,
}
impl<F: Future + Unpin> Future for Impatient<F> {
    type Output = Option<F::Output>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match Pin::new(&mut self.call).poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if self.polls == 0 && !self.until_woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Waits for a call, or drops it somewhere on its way.
fn try_out<F: Future + Unpin>(dice: &mut Dice, call: F) -> Option<F::Output> {
    let most = if dice.one_in(2) { POLLS } else { POLLS_AMONG_MANY };
    let (polls, until_woken) = (dice.below(most), dice.one_in(2));
    future::block_on(Impatient { call, polls, until_woken })
}

/// What the host's threads were given.
#[derive(Default)]
struct Seen {
    /// How often each result came from an inbox for the first time, and how often again.
    read: BTreeMap<HandleId, (u64, u64)>,
    /// Results that a reader was given, who may not have acknowledged them.
    given: BTreeSet<HandleId>,
    /// Results that came as the answer to a cancel, and to nobody else.
    answered: BTreeMap<HandleId, u64>,
}
struct Host {
    sessions: Vec<Session>,
    commands: fn(u64) -> Command,
    handles: Mutex<Vec<Handle>>,
    seen: Mutex<Seen>,
}
impl Host {
    fn read(&self, entries: &[Entry]) {
        let mut seen = self.seen.lock().unwrap();
        for entry in entries.iter().filter(|entry| entry.is_result()) {
            let (first, again) = seen.read.entry(entry.record().unwrap().handle_id).or_default();
            *if entry.redelivered { again } else { first } += 1;
        }
    }
    /// Reads, acknowledges all, some or nothing, and is gone.
    fn step_of_a_reader(&self, inbox: Inbox, dice: &mut Dice) {
        let soon = Duration::from_millis(dice.below(30));
        let patient = dice.one_in(2);
        // In a scripted world other threads let much time pass meanwhile.
        let inbox = inbox.redeliver_after(if patient { YEAR } else { soon / 10 });
        let max = 1 + dice.below(3) as usize;
        let Some(Ok(entries)) = try_out(dice, inbox.read_within(Filter::any(), max, soon)) else {
            return;
        };
        self.read(&entries);
        let results = entries.iter().filter(|entry| entry.is_result()).filter_map(Entry::record);
        self.seen.lock().unwrap().given.extend(results.map(|record| record.handle_id));
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        match dice.below(3) {
            0 => {
                let count = inbox.acknowledge(last.sequence).wait().unwrap();
                assert!(!patient || count == entries.len() as u64, "{count} of {}", entries.len());
            }
            1 => drop(try_out(dice, inbox.acknowledge_these(&[first.sequence, last.sequence]))),
            _ => drop(try_out(dice, inbox.acknowledge(first.sequence))),
        }
    }
    fn answered(&self, cancelled: &Cancelled) {
        if cancelled.taken {
            self.took(cancelled.record.handle_id);
        }
    }
    fn ended(&self, ended: &Ended) {
        if ended.taken {
            self.took(ended.record.handle_id);
        }
    }
    fn took(&self, handle_id: HandleId) {
        *self.seen.lock().unwrap().answered.entry(handle_id).or_default() += 1;
    }
    fn some_handle(&self, dice: &mut Dice) -> Option<Handle> {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        (!handles.is_empty()).then(|| handles[dice.below(handles.len() as u64) as usize].clone())
    }

    fn step(&self, dice: &mut Dice) {
        let session = &self.sessions[dice.below(self.sessions.len() as u64) as usize];
        let inbox = session.inbox();
        let soon = Duration::from_millis(dice.below(30));
        match dice.below(24) {
            18..22 => self.step_of_a_reader(inbox, dice),
            22.. => step_of_a_subscriber(&inbox, dice),
            12..15 => {
                let Some(handle) = self.some_handle(dice) else { return };
                // Not for ever: nobody may be left who stops it.
                if let Some(Ok(Some(ended))) = try_out(dice, handle.result_within(10 * soon)) {
                    self.ended(&ended);
                }
            }
            15 => {
                let run = session.run_for((self.commands)(dice.below(3)), soon);
                match try_out(dice, run) {
                    Some(Ok(Ran::Ended(ended))) => self.ended(&ended),
                    Some(Ok(Ran::Running(handle))) => self.handles.lock().unwrap().push(handle),
                    _ => {}
                }
            }
            16 => {
                let Some(handle) = self.some_handle(dice) else { return };
                let (told, exited) = (handle.status(), handle.exited_within(soon));
                let _ = (try_out(dice, told), try_out(dice, exited));
            }
            0..4 => {
                let launch = session.launch((self.commands)(dice.below(3)));
                if let Some(Ok(handle)) = try_out(dice, launch) {
                    self.handles.lock().unwrap().push(handle);
                }
            }
            4..6 => {
                let max = 1 + dice.below(3) as usize;
                if let Some(Ok(entries)) = try_out(dice, inbox.receive(Filter::any(), max, soon)) {
                    self.read(&entries);
                }
            }
            6 => {
                if let Some(Ok(entries)) = try_out(dice, inbox.drain()) {
                    self.read(&entries);
                }
            }
            7 => {
                let Some(handle) = self.some_handle(dice) else { return };
                let filter = Filter::results().and_handle(handle.id());
                if let Some(Ok(entries)) = try_out(dice, inbox.drain_where(filter)) {
                    self.read(&entries);
                }
            }
            8..12 => {
                let Some(handle) = self.some_handle(dice) else { return };
                let call = match dice.below(4) {
                    0 => handle.cancel_within(soon),
                    1 => handle.revoke(),
                    _ => handle.cancel(),
                };
                if let Some(Ok(cancelled)) = try_out(dice, call) {
                    self.answered(&cancelled);
                }
            }
            _ => drop(try_out(dice, inbox.wait(Filter::results(), soon))),
        }
    }

    /// Ends the sessions, reads them to their end, and counts.
    fn finish(&self, seed: u64) {
        let mut launched = 0;
        for session in &self.sessions {
            let tally = session.end().wait().unwrap();
            assert_eq!(tally.lost, 0);
            launched += tally.completed + tally.killed + tally.timed_out;
            self.read(&session.inbox().drain().wait().unwrap());
            assert!(session.inbox().drain().wait().unwrap().is_empty());
        }
        let seen = self.seen.lock().unwrap();
        let wrong = |(id, times): &(&HandleId, &(u64, u64))| {
            // Whoever comes after a reader that did not acknowledge it is told, and nobody else.
            times.0 != 1 || (times.1 > 0 && !seen.given.contains(id))
        };
        let twice: Vec<_> = seen.read.iter().filter(wrong).collect();
        assert!(twice.is_empty(), "seed {seed}: read twice, or marked so: {twice:?}");
        let in_both = |id: &&HandleId| seen.read.contains_key(id) && !seen.given.contains(id);
        let both: Vec<_> = seen.answered.keys().filter(in_both).collect();
        assert!(both.is_empty(), "seed {seed}: answered and in the inbox: {both:?}");
        let only_answered = seen.answered.keys().filter(|id| !seen.read.contains_key(id)).count();
        let came = (seen.read.len() + only_answered) as u64;
        assert_eq!(came, launched, "seed {seed}: results that came, and commands that were launched");
    }
}

/// Looks for a while at what comes, and goes.
fn step_of_a_subscriber(inbox: &Inbox, dice: &mut Dice) {
    let Some(Ok(mut subscription)) = try_out(dice, inbox.subscribe(Filter::any())) else { return };
    let mut last = 0;
    for _ in 0..dice.below(8) {
        // Something comes, so that nobody waits for ever.
        drop(inbox.push("news", "adversary", last.into()).begin());
        if let Some(item) = try_out(dice, subscription.next()) {
            last = in_order(item, last);
        }
    }
}
fn in_order(item: Option<Subscribed>, last: u64) -> u64 {
    let Some(Subscribed::Entry(entry)) = item else { panic!("{item:?}") };
    assert!(entry.sequence > last, "{} after {last}", entry.sequence);
    entry.sequence
}

fn attack(ostler: &Ostler, commands: fn(u64) -> Command) {
    let seed = seed_or(u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let host = Host {
        sessions: (0..4).map(|_| ostler.open_session().wait().unwrap()).collect(),
        commands,
        handles: Mutex::default(),
        seen: Mutex::default(),
    };
    // They look when everything is over.
    let late = |session: &Session| session.inbox().subscribe(Filter::any()).wait().unwrap();
    let late: Vec<Subscription> = host.sessions.iter().map(late).collect();
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            let host = &host;
            scope.spawn(move || {
                let mut dice = Dice::new(seed.wrapping_mul(thread).wrapping_add(thread));
                (0..STEPS).for_each(|_| host.step(&mut dice));
            });
        }
    });
    host.finish(seed);
    for mut subscription in late {
        // Each ends with its session.
        subscription.iter().fold(0, |last, item| in_order(Some(item), last));
    }
    assert!(!host.handles.lock().unwrap().is_empty(), "seed {seed}: nothing was launched");
}

/// So that most results have to be reloaded, which is one more point at which a reader can be dropped.
fn few_texts(config: &mut Settings) {
    config.limits.results_with_text = 1;
}

fn real(which: u64) -> Command {
    let grace = Duration::from_millis(50);
    match which {
        0 => sh("echo at once").grace(grace),
        1 => sh("sleep 0.01; echo soon").grace(grace),
        _ => sh("echo begun; exec sleep 60").grace(grace),
    }
}

fn f46_each_result_comes_once_though_calls_are_dropped_at_every_point() {
    let bench = Bench::with(few_texts);
    attack(bench.ostler(), real);
}
in_every_tier!(f46_each_result_comes_once_though_calls_are_dropped_at_every_point);

#[test]
fn f46_and_in_a_scripted_world() {
    let world = World::new();
    world.program("0", Program::new().stdout_at(ms(0), "at once").exits_at(ms(0), 0));
    world.program("1", Program::new().stdout_at(ms(10), "soon").exits_at(ms(10), 0));
    let trap = OnTerminate::Exits { after: ms(5), says: "bye".into(), code: 0 };
    world.program("2", Program::new().stdout_at(ms(0), "begun").on_terminate(trap));
    let bench = Bench::scripted(&world, few_texts);
    attack(bench.ostler(), |which| Command::new(which.to_string()));
}

/// The first fault of its kind, by itself: 20 of 20 were lost.
#[test]
fn f46_a_receive_that_is_dropped_while_it_waits_takes_nothing() {
    let bench = Bench::new();
    let inbox = bench.session().inbox();
    for n in 0..20_u64 {
        let waits = inbox.receive(Filter::any(), 1, LIMIT);
        assert!(future::block_on(Impatient { call: waits, polls: 1, until_woken: false }).is_none());
        inbox.push("note", "test", n.into()).wait().unwrap();
        assert_eq!(inbox.receive(Filter::any(), 1, LIMIT).wait().unwrap().len(), 1);
    }
}

#[test]
fn f47_a_drain_that_is_dropped_while_texts_are_reloaded_takes_nothing() {
    let bench = Bench::with(|config| config.limits.results_with_text = 0);
    let mut dropped = 0;
    for round in 0..40 {
        let handle = bench.launch(sh("echo text"));
        bench.session().inbox().wait(Filter::results(), LIMIT).wait().unwrap();
        // Sent, woken by the answer, dropped while the text is read. A graph that is faster is a poll ahead.
        let drain = bench.session().inbox().drain();
        let patience = Impatient { call: drain, polls: 1 + round % 2, until_woken: round % 4 < 2 };
        let text = match future::block_on(patience) {
            Some(entries) => entries.unwrap()[0].record().unwrap().stdout.clone(),
            None => {
                dropped += 1;
                bench.result(&handle).stdout
            }
        };
        assert_eq!(text, "text\n");
    }
    assert!(dropped > 0, "no drain was dropped");
}

#[test]
fn f48_calls_that_were_begun_and_left_hold_up_nobody() {
    let bench = Bench::new();
    let inbox = bench.session().inbox();
    let begun: Vec<_> = (0..4_000).map(|_| inbox.pending(Filter::any()).begin()).collect();
    assert_eq!(inbox.pending(Filter::any()).wait().unwrap(), 0);
    assert!(begun.into_iter().all(|call| call.wait() == Ok(0)));
}

#[test]
fn f49_a_call_beyond_the_limit_of_open_calls_says_so() {
    let bench = Bench::with(|config| config.limits.open_calls = 3);
    let inbox = bench.session().inbox();
    let begun: Vec<_> = (0..3).map(|_| inbox.wait(Filter::any(), LIMIT).begin()).collect();
    for call in [inbox.pending(Filter::any()), inbox.pending(Filter::any()).begin()] {
        let error = call.wait().unwrap_err().to_string();
        assert_eq!(error, "limit reached: calls that wait for an answer (at most 3)");
    }
    drop(begun);
    // Their permits come back when the graph has closed them.
    let patience = std::time::Instant::now() + LIMIT;
    while inbox.pending(Filter::any()).wait().is_err() {
        assert!(std::time::Instant::now() < patience, "dropped calls stay open");
        std::thread::yield_now();
    }
}

#[test]
fn f50_a_call_that_is_begun_and_dropped_is_the_same_on_every_run() {
    let traces: Vec<String> = (0..100)
        .map(|_| {
            let log = ostler::TraceLog::default();
            let world = World::new();
            world.program("job", Program::new().exits_at(ms(5), 0));
            let bench = Bench::scripted(&world, |config| config.trace = ostler::TraceTo::Memory(log.clone()));
            let session = bench.session();
            drop(session.launch(Command::new("job")).begin());
            drop(session.inbox().receive(Filter::any(), 1, LIMIT).begin());
            world.advance(Duration::from_millis(10));
            drop(session.inbox().drain().begin());
            drop(bench.ostler().open_session().begin());
            // One is acknowledged while the other is on its way.
            let (one, two) = (bench.ostler().open_session().begin(), bench.ostler().open_session().begin());
            assert_ne!(one.wait().unwrap().id(), two.wait().unwrap().id());
            assert_eq!(session.inbox().drain().wait().unwrap().len(), 1);
            world.advance(Duration::ZERO);
            log.text()
        })
        .collect();
    for trace in &traces {
        assert_eq!(ostler::narrate(trace), ostler::narrate(&traces[0]), "not the same every time");
        assert_eq!(*trace, traces[0]);
    }
    assert!(traces[0].contains("\"Nack\""), "{}", traces[0]);
}

#[test]
fn an_anonymous_session_whose_open_is_dropped_is_ended() {
    let world = World::new();
    let bench = Bench::scripted(&world, |config| config.limits.sessions = 3);
    for _ in 0..10 {
        drop(bench.ostler().open_session().begin());
    }
    bench.ostler().open_session().wait().unwrap();
}

/// Nobody moves virtual time any more: it has to run by itself to the end of everything.
#[test]
fn a_scripted_graph_ends_with_its_last_handle_whatever_its_programs_do() {
    let ground = Ground::take();
    let begun = std::time::Instant::now();
    for program in [
        Program::new().never_starts(),
        Program::new().starts_after(ms(10_000)),
        Program::new().unkillable(),
        Program::new().exit_seen_late(ms(10_000)).exits_at(ms(0), 0),
        Program::new().disk_hangs(),
    ] {
        let world = World::new();
        world.program("job", program);
        let ostler = Ostler::scripted(Config::new(), &world).unwrap();
        let session = ostler.open_session().wait().unwrap();
        drop(session.launch(Command::new("job")).begin());
        drop((session, ostler));
    }
    assert!(begun.elapsed() < ostler::DROP_LIMIT, "a drop waited for its limit");
    ground.check(true);
}
