//! Readers and subscribers on real threads: time that begins without another call, a stream in an async runtime, an actor in another actix system.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use actix::{Actor, Context, Handler, System};
use futures_lite::{StreamExt, future};
use ostler::{
    BACKLOG_ENTRIES, Command, Entry, Filter, Handle, Inbox, Notified, ON_ITS_WAY, Status, Subscribed,
};
use ostler_tests::{Bench, LIMIT, Settings, ms, sh};
use std::{
    sync::{
        Once,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

/// tokio's driver of signals keeps two sockets from the first runtime of a process on: they are there before anybody looks. So every test of
/// this file begins with it.
fn bench() -> Bench {
    bench_with(|_| ())
}
fn bench_with(change: impl FnOnce(&mut Settings)) -> Bench {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| std::thread::spawn(|| drop(System::new())).join().unwrap());
    Bench::with(change)
}

fn entry(item: Subscribed) -> Entry {
    match item {
        Subscribed::Entry(entry) => entry,
        lagged => panic!("{lagged:?}"),
    }
}

#[test]
fn what_a_reader_has_comes_again_in_time_though_nobody_calls() {
    let bench = bench();
    let reader = bench.session().inbox().redeliver_after(ms(20));
    reader.push("note", "host", 1.into()).wait().unwrap();
    let read = reader.read(Filter::any(), 1).begin();
    let next = bench.session().inbox().receive(Filter::any(), 1, LIMIT).begin();
    // The last that the graph hears from here, but for the answers that are taken.
    assert!(!read.wait().unwrap()[0].redelivered);
    assert!(next.wait().unwrap()[0].redelivered);
}

#[test]
fn a_reader_that_is_dropped_on_its_own_thread_gives_back_what_it_had() {
    let bench = bench();
    let reader = bench.session().inbox();
    reader.push("note", "host", 1.into()).wait().unwrap();
    let next = bench.session().inbox();
    std::thread::scope(|scope| {
        scope.spawn(move || assert_eq!(reader.read(Filter::any(), 1).wait().unwrap().len(), 1));
    });
    assert!(next.receive(Filter::any(), 1, LIMIT).wait().unwrap()[0].redelivered);
}

#[test]
fn a_stream_ends_with_its_session_and_has_every_result_with_its_text() {
    // So that each text has to be reloaded.
    let bench = bench_with(|config| config.limits.results_with_text = 0);
    let subscription = bench.session().inbox().subscribe(Filter::results()).wait().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let looks =
        runtime.spawn(subscription.map(|item| entry(item).record().unwrap().stdout.clone()).collect());
    for n in 0..3 {
        bench.run(sh(format!("echo {n}")));
    }
    bench.session().end().wait().unwrap();
    let texts: Vec<String> = runtime.block_on(looks).unwrap();
    assert_eq!(texts, ["0\n", "1\n", "2\n"]);
}

#[test]
fn a_look_that_is_dropped_while_a_text_is_reloaded_gives_it_to_the_next() {
    let bench = bench_with(|config| config.limits.results_with_text = 0);
    let mut subscription = bench.session().inbox().subscribe(Filter::results()).wait().unwrap();
    bench.run(sh("echo text"));
    let polled = future::block_on(future::poll_once(subscription.next())).flatten();
    let item = polled.or_else(|| subscription.iter().next());
    assert_eq!(entry(item.unwrap()).record().unwrap().stdout, "text\n");
}

/// Says what it is told; waits at its first message until it may go on.
struct Watcher {
    says: Sender<String>,
    may: Receiver<()>,
}
impl Actor for Watcher {
    type Context = Context<Watcher>;
}
impl Handler<Notified> for Watcher {
    type Result = ();
    fn handle(&mut self, notified: Notified, _: &mut Context<Watcher>) {
        let said = match &notified.item {
            Some(Subscribed::Entry(entry)) => entry.sequence.to_string(),
            Some(Subscribed::Lagged { missed }) => format!("{missed} missed"),
            None => "end".to_owned(),
        };
        self.says.send(said).unwrap();
        let _ = self.may.recv();
    }
}
/// An actix system of the host's own, with its address.
fn watcher() -> (actix::Addr<Watcher>, System, Sender<()>, Receiver<String>, JoinHandle<()>) {
    let ((says, said), (may, waits), (here, started)) = (channel(), channel(), channel());
    let thread = std::thread::spawn(move || {
        let runner = System::new();
        runner.block_on(async {
            here.send((Watcher { says, may: waits }.start(), System::current())).unwrap();
        });
        runner.run().unwrap();
    });
    let (addr, system) = started.recv().unwrap();
    (addr, system, may, said, thread)
}
fn push(inbox: &Inbox, count: usize) {
    for n in 0..count {
        inbox.push("note", "host", n.into()).wait().unwrap();
        inbox.drain().wait().unwrap();
    }
}

#[test]
fn an_actor_is_told_in_order_and_how_much_it_has_missed_when_it_is_slow() {
    let bench = bench();
    let (addr, system, may, said, thread) = watcher();
    let inbox = bench.session().inbox();
    let subscription = inbox.subscribe_to(Filter::any(), addr.recipient()).wait().unwrap();
    push(&inbox, ON_ITS_WAY + BACKLOG_ENTRIES + 3);
    drop(may);
    bench.session().end().wait().unwrap();
    let heard: Vec<String> = said.iter().take_while(|said| said != "end").collect();
    let (first, rest) = heard.split_at(ON_ITS_WAY);
    let numbers = |from: usize, to: usize| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(first, numbers(1, ON_ITS_WAY));
    assert_eq!(rest[0], "3 missed");
    let last = ON_ITS_WAY + BACKLOG_ENTRIES + 3;
    assert_eq!(rest[1..], numbers(ON_ITS_WAY + 4, last));
    drop(subscription);
    system.stop();
    thread.join().unwrap();
}

#[test]
fn an_actor_whose_subscription_is_dropped_or_that_is_gone_is_told_nothing_and_harms_nobody() {
    let bench = bench();
    let (addr, system, may, said, thread) = watcher();
    let inbox = bench.session().inbox();
    let dropped = inbox.subscribe_to(Filter::any(), addr.clone().recipient()).wait().unwrap();
    let kept = inbox.subscribe_to(Filter::kind("other"), addr.recipient()).wait().unwrap();
    push(&inbox, 1);
    assert_eq!(said.recv().unwrap(), "1");
    drop(dropped);
    push(&inbox, ON_ITS_WAY);
    drop(may);
    system.stop();
    thread.join().unwrap();
    assert!(said.iter().next().is_none());
    for _ in 0..2 * ON_ITS_WAY {
        inbox.push("other", "host", 1.into()).wait().unwrap();
    }
    drop(kept);
    assert_eq!(inbox.drain().wait().unwrap().len(), 2 * ON_ITS_WAY);
}

/// What another process asks the host to stop is delivered as if it had ended for any other reason: once.
#[test]
fn a_cancel_from_outside_takes_nothing_and_adds_nothing() {
    use std::io::{BufRead, BufReader, Write};
    let bench = bench();
    let control = bench.ostler().control().unwrap();
    let ask = |handle: &Handle| -> Vec<String> {
        let mut stream = std::os::unix::net::UnixStream::connect(control.path()).unwrap();
        writeln!(stream, r#"{{"cancel":{{"command_id":"{}"}}}}"#, handle.command_id()).unwrap();
        BufReader::new(stream).lines().map(Result::unwrap).collect()
    };
    let sleeps = || bench.launch(Command::new("sleep").arg("1000"));
    let waited_for = sleeps();
    let result = waited_for.result().begin();
    let said = ask(&waited_for);
    assert_eq!((said.len(), said[0].as_str()), (2, r#""heard""#));
    assert!(
        said[1].contains(r#""cancelled":true"#) && said[1].contains(r#""stop_cause":"cancelled""#),
        "{said:?}"
    );
    assert!(result.wait().unwrap().taken);
    assert_eq!(bench.unread(), 0);
    // Nobody waits for this one.
    let left_alone = sleeps();
    ask(&left_alone);
    assert_eq!(bench.unread(), 1);
    assert_eq!(bench.result(&left_alone).status, Status::Killed);
    let again = ask(&left_alone);
    assert!(again[1].contains(r#""cancelled":false"#), "{again:?}");
    assert_eq!(bench.unread(), 0);
}

/// A peer that waits for what does not end holds up nobody who wants to end.
#[test]
fn whoever_waits_from_outside_is_told_when_the_socket_closes() {
    use std::io::{BufRead, BufReader, Write};
    let bench = bench();
    let control = bench.ostler().control().unwrap();
    let sleeps = bench.launch(Command::new("sleep").arg("1000"));
    let mut stream = std::os::unix::net::UnixStream::connect(control.path()).unwrap();
    writeln!(stream, r#"{{"wait":{{"command_id":"{}"}}}}"#, sleeps.command_id()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), r#""heard""#);
    drop(control);
    // It is said before the drop has returned, and before its limit.
    assert!(lines.next().unwrap().contains("takes no calls any more"));
    assert_eq!(lines.next(), None);
    assert_eq!(bench.unread(), 0);
}
