//! What authors of hosts test with: stories that are the same every time, worlds that come to rest, floods, checks.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use futures_lite::{FutureExt, StreamExt, future};
use ostler::{
    Command, Config, Filter, Journal, Ostler, Session, Status,
    testing::{BrokenPromise, Program, QUIET_EVENTS, World},
};
use ostler_tests::{ms, rss_peak_bytes, rss_peak_reset};
use std::time::Duration;

fn host(world: &World) -> (Ostler, Session) {
    let ostler = Ostler::scripted(Config::new(), world).unwrap();
    let session = ostler.open_session_as("s").wait().unwrap();
    (ostler, session)
}

/// Tells it a hundred times more.
#[track_caller]
fn is_the_same_every_time(story: impl Fn() -> String) {
    let first = story();
    for round in 0..100 {
        let again = story();
        let same = first.lines().zip(again.lines()).take_while(|(one, two)| one == two).count();
        let around =
            |story: &str| story.lines().skip(same.saturating_sub(9)).take(14).collect::<Vec<_>>().join("\n");
        assert!(first == again, "round {round}:\n{}\n\nat first:\n{}", around(&again), around(&first));
    }
}

fn busy() -> World {
    let world = World::new();
    world.programs_by(|request| {
        let at = request.program.to_string().parse().ok()?;
        let text = Program::new().stdout_at(ms(at / 2), "half\n").stdout_at(ms(at), "done\n");
        Some(text.exits_at(ms(at), 0))
    });
    world
}

#[test]
fn a_story_with_a_select_is_the_same_every_time() {
    is_the_same_every_time(|| {
        let world = busy();
        let (ostler, session) = host(&world);
        future::block_on(async {
            for round in 1..10_u64 {
                let slow = session.launch(Command::new((round * 70).to_string())).await.unwrap();
                let quick = session.launch(Command::new((round * 10).to_string())).await.unwrap();
                // Whichever order they are looked at in, the loser is dropped with its call begun.
                let lost = async { slow.result().await.map(|_| "slow") };
                let won = async { quick.result().await.map(|_| "quick") };
                assert_eq!(lost.or(won).await.unwrap(), "quick");
                let never = async { session.inbox().receive(Filter::any(), 9, ms(0)).await.map(|_| ()) };
                ostler.sleep(ms(3)).or(never).await.unwrap();
            }
            session.end().await.unwrap();
        });
        world.story()
    });
}

#[test]
fn a_story_on_tokio_is_the_same_every_time() {
    is_the_same_every_time(|| {
        let world = busy();
        let (ostler, session) = host(&world);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut news = session.inbox().subscribe(Filter::results()).await.unwrap();
            for round in 1..10_u64 {
                let handle = session.launch(Command::new((round * 50).to_string())).await.unwrap();
                // Else tokio chooses by chance which branch is looked at first.
                tokio::select! {
                    biased;
                    _ = ostler.sleep(ms(20)) => {}
                    _ = handle.result() => panic!("it is slower"),
                    item = news.next() => assert!(item.is_some()),
                }
                tokio::select! {
                    biased;
                    item = news.next() => assert!(item.is_some()),
                    page = handle.read().offset(0).wait_for(ms(60_000)) => drop(page.unwrap()),
                }
                session.inbox().drain().await.unwrap();
            }
            // Each of these is dropped after one look.
            let handle = session.launch(Command::new("30")).await.unwrap();
            assert!(future::poll_once(handle.result()).await.is_none());
            assert!(future::poll_once(ostler.sleep(ms(5))).await.is_none());
            let _ = future::poll_once(news.next()).await;
            let (one, two) = tokio::join!(ostler.sleep(ms(7)), handle.cancel());
            one.unwrap();
            two.unwrap();
        });
        world.story()
    });
}

#[test]
fn what_comes_at_the_same_moment_is_seen_in_the_order_in_which_it_comes() {
    is_the_same_every_time(|| {
        let world = busy();
        let (ostler, session) = host(&world);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let won = runtime.block_on(async {
            let mut news = session.inbox().subscribe(Filter::results()).await.unwrap();
            let mut won = String::new();
            for _ in 0..20 {
                let one = session.launch(Command::new("40")).await.unwrap();
                let two = session.launch(Command::new("40")).await.unwrap();
                // All of it is there after 40 ms, by several messages of that moment.
                won += tokio::select! {
                    biased;
                    _ = two.result() => "two ",
                    _ = ostler.sleep(ms(40)) => "time ",
                    item = news.next() => item.map_or("end ", |_| "news "),
                    _ = two.exited() => "exit two ",
                    _ = one.read().offset(10).wait_for(ms(40)) => "page ",
                    _ = one.result() => "one ",
                    _ = one.exited() => "exit one ",
                };
                ostler.sleep(ms(100)).await.unwrap();
                session.inbox().drain().await.unwrap();
                while future::poll_once(news.next()).await.is_some() {}
            }
            won
        });
        format!("{won}\n{}", world.story())
    });
}

#[test]
fn tasks_that_wait_beside_each_other_all_go_on() {
    let world = busy();
    let (_ostler, session) = host(&world);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let tasks = (1..=60_u64).map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                let handle = session.launch(Command::new((n * 10).to_string())).await.unwrap();
                let held = future::poll_once(handle.exited()).await;
                assert!(handle.result().await.unwrap().taken);
                drop(held);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    world.check().unwrap();
}

#[test]
fn a_call_that_nobody_looks_at_any_more_holds_up_nobody() {
    let world = busy();
    let (ostler, session) = host(&world);
    future::block_on(async {
        let handle = session.launch(Command::new("10")).await.unwrap();
        let mut held = handle.result();
        // Announced, then left lying until long after its answer.
        assert!(
            (&mut held)
                .or(async { ostler.sleep(ms(1)).await.and(Err(ostler::Error::Closed)) })
                .await
                .is_err()
        );
        ostler.sleep(ms(100)).await.unwrap();
        ostler.sleep(ms(100)).await.unwrap();
        assert_eq!(held.await.unwrap().record.status, Status::Completed);
    });
}

#[test]
fn a_world_comes_to_rest_when_nothing_happens_without_the_host() {
    let world = World::new();
    world.program("server", Program::new().listens_at(ms(20), 80).stdout_at(ms(30), "ready\n"));
    world.program("job", Program::new().exits_at(Duration::from_secs(7 * 86_400), 0));
    assert_eq!(world.run_until_quiet(), Ok(Duration::ZERO), "nobody runs on it");
    let (ostler, session) = host(&world);
    let server = session.launch(Command::new("server")).wait().unwrap();
    assert_eq!(world.run_until_quiet(), Ok(ms(30)));
    session.launch(Command::new("job")).wait().unwrap();
    assert_eq!(world.run_until_quiet(), Ok(Duration::from_secs(7 * 86_400)));
    assert_eq!(session.inbox().drain().wait().unwrap().len(), 1);
    world.check().unwrap();
    let waits = server.result().begin();
    let broken = world.check().unwrap_err();
    assert!(matches!(broken, BrokenPromise::WaitsForEver { life: 1, .. }), "{broken}");
    drop(waits);
    world.check().unwrap();
    ostler.shutdown().wait().unwrap();
    assert_eq!(world.run_until_quiet(), Ok(Duration::ZERO));
    world.check().unwrap();
}

#[test]
fn a_world_without_rest_says_what_moves() {
    let world = World::new();
    world.program("server", Program::new());
    let (_ostler, session) = host(&world);
    session.launch(Command::new("server").progress(ms(10))).wait().unwrap();
    world.journal_fails("disk full");
    let not_quiet = world.run_until_quiet();
    match not_quiet {
        // Progress comes at doubling intervals, up to a limit.
        Err(error) => {
            assert!(error.to_string().contains("timer Progress of ticker/1"), "{error}");
            assert!(error.to_string().contains(&QUIET_EVENTS.to_string()), "{error}");
        }
        Ok(passed) => panic!("quiet after {passed:?}"),
    }
}

#[test]
fn ten_gigabytes_are_counted_read_and_never_held() {
    const GIB: u64 = 1 << 30;
    let world = World::new();
    world.program(
        "flood",
        Program::new().floods_at(ms(0), 10 * GIB, "0123456\n").exits_at(Duration::from_secs(11), 0),
    );
    let (_ostler, session) = host(&world);
    rss_peak_reset();
    let before = rss_peak_bytes();
    let handle = session.launch(Command::new("flood")).wait().unwrap();
    let record = handle.result().wait().unwrap().record;
    assert_eq!((record.byte_count, record.line_count), (10 * GIB, Some(10 * GIB / 8)));
    let page = handle.read().offset(7 * GIB + 3).wait().unwrap();
    assert!(page.text().starts_with("3456\n0123456\n"), "{:?}", &page.text()[..20]);
    let grown = rss_peak_bytes() - before;
    assert!(grown < 200 << 20, "{grown} bytes");
    world.check().unwrap();
}

#[test]
fn a_flood_waits_for_its_follower_and_ends_with_its_program() {
    let world = World::new();
    world.program("flood", Program::new().floods_at(ms(0), u64::MAX, "x"));
    let (_ostler, session) = host(&world);
    let limited = Command::new("flood").output_limit(5 << 20).timeout(ms(50));
    let record = session.launch(limited).wait().unwrap().result().wait().unwrap().record;
    assert_eq!(record.status, Status::TimedOut);
    assert!(record.byte_count >= 50 << 20, "{}", record.byte_count);
    let followed = session.launch(Command::new("flood").follow(1 << 20)).wait().unwrap();
    world.advance(ms(1_000));
    assert_eq!(followed.read().wait().unwrap().total_bytes, 1 << 20);
    followed.cancel().wait().unwrap();
    world.check().unwrap();
}

#[test]
fn a_slow_disk_delays_a_result_and_one_that_is_too_slow_is_not_waited_for() {
    let world = World::new();
    let program = Program::new().stdout_at(ms(1), "said\n").exits_at(ms(10), 0);
    world.program("slow", program.clone().disk_takes(ms(700)));
    world.program("too-slow", program.disk_takes(Duration::from_secs(60)));
    let (_ostler, session) = host(&world);
    for (name, after, whole) in [("slow", 710, true), ("too-slow", 5_010, false)] {
        let handle = session.launch(Command::new(name)).wait().unwrap();
        assert_eq!(world.run_until_quiet(), Ok(ms(after)), "{name}");
        let record = handle.result().wait().unwrap().record;
        assert_eq!((record.status, record.stdout.as_str()), (Status::Completed, "said\n"), "{name}");
        assert_eq!(record.output_sha256.is_some(), whole, "{name}: {:?}", record.artifact_error);
    }
    world.check().unwrap();
}

#[test]
fn the_lives_of_a_host_are_told_one_after_the_other() {
    let world = World::new();
    world.program("job", Program::new());
    for life in 0..2 {
        let ostler = Ostler::scripted(Config::new().journal(Journal::named("agent")), &world).unwrap();
        let session = ostler.open_session_as("s").wait().unwrap();
        assert_eq!(session.is_recovered(), life == 1);
        session.launch(Command::new("job")).wait().unwrap();
        world.crash();
    }
    let story = world.story();
    assert_eq!(story.matches("Exec job").count(), 2, "{story}");
    assert_eq!(story.lines().filter(|line| *line == "life 2").count(), 1, "{story}");
    world.check().unwrap();
}

#[test]
fn a_stream_in_a_world_ends_with_its_session() {
    let world = busy();
    let (_ostler, session) = host(&world);
    future::block_on(async {
        let news = session.inbox().subscribe(Filter::results()).await.unwrap();
        for n in 1..4_u64 {
            session.launch(Command::new((n * 10).to_string())).await.unwrap();
        }
        assert_eq!(news.take(3).count().await, 3);
    });
}
