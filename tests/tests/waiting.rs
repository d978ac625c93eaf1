//! Results by their handle, and waits for what matters, on real processes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

use ostler::{Condition, Error, Handle, LeftoversPolicy, Met, Outcome, OutputFile, Ran, Status, WaitEnd};
use ostler_tests::{Bench, LIMIT, alive, fixture, in_every_tier, sh};
use std::{net::TcpListener, time::Duration};

const SHORT: Duration = Duration::from_millis(50);

/// A command that goes on when something is written to this FIFO, which is waited for.
fn gate(bench: &Bench, name: &str) -> (std::path::PathBuf, impl FnOnce() + use<>) {
    let fifo = bench.fifo(name);
    let path = fifo.clone();
    (fifo, move || std::fs::write(path, "go\n").unwrap())
}

fn a_result_is_taken_by_who_asks_for_it_by_its_handle() {
    let bench = Bench::new();
    let handle = bench.launch(sh("echo done; exit 3"));
    let result = handle.result().wait().unwrap();
    assert_eq!(
        (result.taken, result.record.exit_code, result.record.stdout.as_str()),
        (true, Some(3), "done\n")
    );
    assert_eq!(bench.unread(), 0);
    assert!(!handle.result().wait().unwrap().taken, "it was taken");
    // Of one that is unread, it leaves the inbox; without a wait it stays there.
    let handle = bench.launch(sh("echo again"));
    assert_eq!(handle.exited().wait().unwrap().exit_code, Some(0));
    assert_eq!(bench.unread(), 1);
    assert!(handle.result().wait().unwrap().taken);
    assert_eq!(bench.unread(), 0);
    let handle = bench.launch(sh("exec sleep 100"));
    assert_eq!(handle.result_within(SHORT).wait().unwrap(), None);
    assert_eq!(handle.exited_within(SHORT).wait().unwrap().status, Status::Running);
    handle.cancel().wait().unwrap();
}

fn a_run_for_a_time_loses_no_byte_between_its_answer_and_what_is_read_after_it() {
    let bench = Bench::new();
    for _ in 0..20 {
        let count = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done";
        let ran = bench.session().run_for(sh(count), Duration::from_millis(2)).wait().unwrap();
        let (mut text, handle, mut offset) = match ran {
            Ran::Ended(ended) => {
                assert!(ended.taken && ended.record.exit_code == Some(0));
                continue;
            }
            Ran::Running(handle) => {
                (handle.record().stdout.clone(), handle.clone(), handle.record().output_offset)
            }
            _ => unreachable!(),
        };
        assert!(!handle.record().stdout_truncated);
        loop {
            let page = handle.read().offset(offset).wait_for(LIMIT).wait().unwrap();
            text.push_str(&page.text());
            offset = page.next_offset;
            if page.eof {
                break;
            }
        }
        let all: String = (1..=3000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(text, all);
        assert!(handle.result().wait().unwrap().taken);
    }
    assert_eq!(bench.unread(), 0);
}

fn a_status_is_of_this_moment_though_the_command_floods() {
    let bench = Bench::new();
    let handle = bench.launch(sh("exec yes"));
    handle.read().offset(1 << 20).wait_for(LIMIT).wait().unwrap();
    let first = handle.status().wait().unwrap();
    let second = handle.status().wait().unwrap();
    assert!(
        first.status == Status::Running
            && second.byte_count >= first.byte_count
            && first.byte_count > 1 << 20
    );
    let [listed] = &bench.session().list().wait().unwrap()[..] else { panic!("one lives") };
    assert!(listed.age.unwrap() < LIMIT && listed.silence.unwrap() < LIMIT);
    handle.cancel().wait().unwrap();
}

fn kept_leftovers_are_listed_and_stopped_by_a_cancel() {
    let bench = Bench::new();
    let ((ends, ended), (says, said)) = (gate(&bench, "ends"), gate(&bench, "says"));
    let script = format!(
        "sh -c 'trap \"\" TERM; echo early; read x <{}; echo late; exec sleep 100' </dev/null & read x <{}",
        says.display(),
        ends.display()
    );
    let keep = sh(script).leftovers(LeftoversPolicy::Keep).leftovers_grace(SHORT).drain_grace(SHORT);
    let handle = bench.launch(keep);
    bench.hears(&handle, "early\n", 1);
    ended();
    let result = handle.result().wait().unwrap().record;
    let kept = result.leftovers.as_ref().unwrap();
    assert!(kept.iter().all(|leftover| leftover.outcome == Outcome::Kept && alive(leftover.pid)));
    let [listed] = &bench.session().list().wait().unwrap()[..] else { panic!("it is there still") };
    assert_eq!((listed.kept, listed.handle.id()), (kept.len() as u64, handle.id()));
    assert_eq!(result.stdout, "early\n");
    // What they say afterwards has a file of its own.
    said();
    let page = handle.read().kept().wait_for(LIMIT).wait().unwrap();
    assert_eq!((page.text().as_str(), page.eof), ("late\n", false));
    let cancelled = handle.cancel().wait().unwrap();
    assert_eq!((cancelled.cancelled, cancelled.record.status), (true, Status::Completed));
    assert!(handle.read().kept().offset(5).wait_for(LIMIT).wait().unwrap().eof);
    let leftovers = cancelled.record.leftovers.as_ref().unwrap();
    // One of them may have ended by itself meanwhile.
    assert!(leftovers.iter().any(|leftover| leftover.outcome == Outcome::Killed), "{leftovers:?}");
    assert!(leftovers.iter().all(|leftover| !alive(leftover.pid)), "{leftovers:?}");
    assert!(bench.session().list().wait().unwrap().is_empty());
}

fn a_line_is_found_as_it_comes_and_as_it_stands() {
    let bench = Bench::new();
    let (fifo, go) = gate(&bench, "gate");
    let script = format!(
        "echo before; read x <{}; printf 'now at '; echo 42; printf 'name? '; exec sleep 100",
        fifo.display()
    );
    let handle = bench.launch(sh(script));
    let wait = |condition: Condition| handle.wait_for([condition], LIMIT);
    assert_eq!(wait(Condition::text("befor")).wait().unwrap().found().unwrap().line, "before");
    let number = wait(Condition::regex(r"^now at (\d+)$")).begin();
    let prompt = wait(Condition::regex(r"\? $").in_stream(OutputFile::Stdout)).begin();
    let never = handle.wait_for([Condition::text("never")], SHORT).wait().unwrap();
    assert_eq!((never.end, never.record.status), (WaitEnd::TimedOut, Status::Running));
    go();
    let number = number.wait().unwrap();
    assert_eq!(number.found().unwrap().groups[1].text.as_deref(), Some("42"));
    let prompt = prompt.wait().unwrap();
    assert_eq!((prompt.found().unwrap().line.as_str(), prompt.found().unwrap().offset), ("name? ", 21));
    assert!(prompt.record.stdout.ends_with("name? "));
    handle.cancel().wait().unwrap();
    let late = handle.wait_for([Condition::Exit, Condition::text("42")], LIMIT).wait().unwrap();
    assert_eq!((late.condition(), late.record.status), (Some(1), Status::Killed));
    assert_eq!(wait(Condition::text("43")).wait().unwrap().end, WaitEnd::Exit);
}

fn a_silence_is_the_commands_own() {
    let bench = Bench::new();
    let (fifo, go) = gate(&bench, "gate");
    let script = format!("while ! read x <{}; do :; done; exec sleep 100", fifo.display());
    let handle = bench.launch(sh(script));
    let began = std::time::Instant::now();
    let waited = handle.wait_for([Condition::silence_ms(100)], LIMIT).wait().unwrap();
    assert!(matches!(waited.end, WaitEnd::Met { index: 0, by: Met::Silence { .. } }));
    assert!(began.elapsed() >= Duration::from_millis(90));
    go();
    handle.cancel().wait().unwrap();
    let talks = bench.launch(sh("exec yes"));
    let waited = talks.wait_for([Condition::silence_ms(100)], Duration::from_millis(300)).wait().unwrap();
    assert_eq!(waited.end, WaitEnd::TimedOut);
    talks.cancel().wait().unwrap();
}

/// The port that a server said it has.
fn said_port(handle: &Handle) -> u16 {
    let waited = handle.wait_for([Condition::regex(r"^port (\d+)$")], LIMIT).wait().unwrap();
    waited.found().unwrap().groups[1].text.as_ref().unwrap().parse().unwrap()
}

fn a_port_counts_if_a_process_of_the_tree_listens_on_it() {
    let bench = Bench::new();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let strangers = stranger.local_addr().unwrap().port();
    let quiet = bench.launch(sh("exec sleep 100"));
    let ports = [Condition::port(strangers), Condition::any_port()];
    let waited = quiet.wait_for(ports, Duration::from_millis(200)).wait().unwrap();
    assert_eq!((waited.end, waited.unseen), (WaitEnd::TimedOut, 0), "a stranger's port");
    assert!(quiet.ports().wait().unwrap().ports.is_empty());
    let serves = fixture!("serves");
    for script in
        [format!("exec {serves}"), format!("{serves} & wait"), format!("(sh -c '{serves} &'); sleep 100")]
    {
        let server = bench.launch(sh(&script));
        let any = server.wait_for([Condition::any_port()], LIMIT).wait().unwrap();
        let WaitEnd::Met { by: Met::Port(found), .. } = any.end else { panic!("{script}: {:?}", any.end) };
        let port = said_port(&server);
        assert_eq!(found.port, port, "{script}");
        let ports = server.ports().wait().unwrap();
        assert_eq!(ports.ports.iter().map(|found| found.port).collect::<Vec<_>>(), [port]);
        let this = server.wait_for([Condition::port(port)], Duration::ZERO).wait().unwrap();
        assert_eq!(this.condition(), Some(0));
        server.cancel().wait().unwrap();
        let after = server.wait_for([Condition::port(port)], LIMIT).wait().unwrap();
        assert_eq!(after.end, WaitEnd::Exit);
    }
    quiet.cancel().wait().unwrap();
    assert!(matches!(quiet.ports().wait(), Err(Error::Call(_))));
}

fn input_is_waited_for_by_a_process_that_reads_it_and_by_no_other() {
    let bench = Bench::new();
    let input = |handle: &Handle, time| handle.wait_for([Condition::Input], time).wait().unwrap();
    let soon = Duration::from_millis(300);
    let reads = "printf 'name? '; read name; echo hello $name; exec sleep 100";
    for command in [sh(reads).stdin_open(), sh(reads).terminal(24, 80)] {
        let handle = bench.launch(command);
        let waited = input(&handle, LIMIT);
        let WaitEnd::Met { by: Met::Input { pid }, .. } = waited.end else { panic!("{:?}", waited.end) };
        assert!(alive(pid));
        // What was asked is recorded, or on its way: a drain may be a moment behind a process that waits.
        handle.wait_for([Condition::text("name? ")], LIMIT).wait().unwrap().found().unwrap();
        handle.write("you\n").wait().unwrap();
        handle.wait_for([Condition::text("hello you")], LIMIT).wait().unwrap().found().unwrap();
        let busy = input(&handle, soon);
        assert_eq!((busy.end, busy.unseen), (WaitEnd::TimedOut, 0), "it sleeps");
        handle.cancel().wait().unwrap();
    }
    // A descendant's counts; one that reads something else does not; and nobody waits for an stdin that is /dev/null.
    let deep = bench.launch(sh("exec 3<&0; cat <&3 & wait").stdin_open());
    assert!(matches!(input(&deep, LIMIT).end, WaitEnd::Met { .. }));
    let fifo = bench.fifo("other");
    let other = bench.launch(sh(format!("exec cat <>{}", fifo.display())).stdin_open());
    assert_eq!(input(&other, soon).end, WaitEnd::TimedOut);
    let none = bench.launch(sh("exec sleep 100"));
    assert_eq!(input(&none, soon).end, WaitEnd::TimedOut);
    for handle in [deep, other, none] {
        handle.cancel().wait().unwrap();
    }
}

fn a_screen_is_what_a_person_would_see() {
    let bench = Bench::new();
    let draws = "printf '\\033[2J\\033[Hmenu\\033[2;3Hone\\033[3;3Htwo\\rX'; exec sleep 100";
    let handle = bench.launch(sh(draws).terminal(5, 20));
    handle.wait_for([Condition::text("X")], LIMIT).wait().unwrap();
    let screen = handle.screen().unwrap();
    assert_eq!(
        (&screen.rows[..3], screen.size),
        (&["menu".into(), "  one".into(), "X two".to_owned()][..], (5, 20))
    );
    assert_eq!(screen.cursor, (2, 1));
    handle.resize(7, 30).wait().unwrap();
    handle.cancel().wait().unwrap();
    assert_eq!(handle.screen().unwrap().size, (7, 30));
    let none = bench.launch(sh("true"));
    assert!(matches!(none.screen(), Err(Error::Call(_))));
}

fn many_waits_on_one_handle_are_each_answered_once() {
    let bench = Bench::new();
    let (fifo, go) = gate(&bench, "gate");
    let handle = bench.launch(sh(format!("read x <{}; echo line 500; exec sleep 100", fifo.display())));
    let waits: Vec<_> = (0..1_000)
        .map(|n| {
            let conditions = [Condition::text(format!("line {n}")), Condition::silence_ms(100_000)];
            handle.wait_for(conditions, LIMIT).begin()
        })
        .collect();
    go();
    let mut left = Vec::new();
    for (n, wait) in waits.into_iter().enumerate() {
        match n {
            // Of 5, 50 and 500 the line has the text.
            5 | 50 | 500 => assert_eq!(wait.wait().unwrap().found().unwrap().line, "line 500"),
            _ if n % 2 == 0 => drop(wait),
            _ => left.push(wait),
        }
    }
    handle.cancel().wait().unwrap();
    assert!(left.into_iter().all(|wait| wait.wait().unwrap().end == WaitEnd::Exit));
}

fn a_wait_costs_nothing_while_half_a_character_stands_there() {
    let bench = Bench::new();
    let handle = bench.launch(sh("printf 'caf\\303'; exec sleep 100"));
    handle.wait_for([Condition::text("ca")], LIMIT).wait().unwrap();
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let times: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split(' ')
            .skip(12)
            .take(2)
            .map(|n| n.parse().unwrap())
            .collect();
        times[0] + times[1]
    };
    let before = ticks();
    let waited = handle.wait_for([Condition::text("never")], Duration::from_secs(1)).wait().unwrap();
    assert_eq!(waited.end, WaitEnd::TimedOut);
    let spent = ticks() - before;
    assert!(spent < 30, "{spent} hundredths of a second of processor time");
    handle.cancel().wait().unwrap();
}

fn when_its_files_are_gone_a_wait_for_output_says_so() {
    let mut bench = Bench::new();
    bench.spoils_artifacts();
    let handle = bench.launch(sh("echo ready"));
    handle.exited().wait().unwrap();
    let dir = handle.record().output_path.parent().unwrap().to_owned();
    std::fs::remove_dir_all(&dir).unwrap();
    let waited = handle.wait_for([Condition::text("ready")], LIMIT).wait().unwrap();
    assert_eq!(waited.end, WaitEnd::Exit);
    assert!(waited.recording_stopped.unwrap().why.contains("no"));
}

in_every_tier!(
    a_result_is_taken_by_who_asks_for_it_by_its_handle,
    a_run_for_a_time_loses_no_byte_between_its_answer_and_what_is_read_after_it,
    a_status_is_of_this_moment_though_the_command_floods,
    kept_leftovers_are_listed_and_stopped_by_a_cancel,
    a_line_is_found_as_it_comes_and_as_it_stands,
    a_silence_is_the_commands_own,
    a_port_counts_if_a_process_of_the_tree_listens_on_it,
    input_is_waited_for_by_a_process_that_reads_it_and_by_no_other,
    a_screen_is_what_a_person_would_see,
    many_waits_on_one_handle_are_each_answered_once,
    a_wait_costs_nothing_while_half_a_character_stands_there,
    when_its_files_are_gone_a_wait_for_output_says_so,
);
