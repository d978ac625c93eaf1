//! What commands are told: input, signals, pauses, terminals.

use super::*;
use ostler_messages::{EndInput, Freeze, NotPaused, Raise, Stdin, TerminalSize, UnixSignal};

pub(super) fn what_is_written_is_taken_in_order_and_read(mut rig: Rig) {
    rig.starts_with(|request| request.stdin = Stdin::Open, READS);
    rig.feed(1, b"ho".to_vec());
    assert_eq!(rig.fed(), (1, 2, 0, true, false));
    rig.feed(2, b"pe\n".to_vec());
    assert_eq!(rig.fed(), (2, 3, 0, true, false));
    // Nobody reads it any more.
    rig.input_ended();
    rig.feed(3, b"x".to_vec());
    assert_eq!(rig.fed(), (3, 0, 1, true, true));
}

pub(super) fn bytes_of_a_launch_are_read_and_then_the_end(mut rig: Rig) {
    rig.starts_with(|request| request.stdin = Stdin::Bytes("hope".into()), READS);
    let (bytes, exit) = rig.runs_to_its_end();
    assert_eq!((bytes, exit.exit.exit_code), (9, 3));
}

pub(super) fn what_a_command_never_reads_fills_a_pipe_and_is_dropped_at_the_end(mut rig: Rig) {
    rig.starts_with(|request| request.stdin = Stdin::Open, SLEEPS_OPEN);
    rig.feed(1, vec![0; 100_000]);
    rig.feed(2, vec![0; 7]);
    assert_eq!(rig.fed(), (1, 65_536, 0, false, false));
    // The end comes behind what is queued.
    rig.perform(EndInput { n: N, now: false });
    rig.perform(EndInput { n: N, now: true });
    assert_eq!(rig.fed(), (1, 65_536, 34_464, true, false));
    assert_eq!(rig.fed(), (2, 0, 7, true, false));
    rig.input_ended();
    rig.feed(3, vec![0; 7]);
    assert_eq!(rig.fed(), (3, 0, 7, true, true));
    rig.signal(StopSignal::Kill);
    rig.exited();
}

pub(super) fn a_signal_of_the_hosts_is_no_stop(mut rig: Rig) {
    rig.starts(SLEEPS);
    rig.perform(Raise { n: N, signal: UnixSignal::SigUsr1 });
    let exited = rig.exited();
    assert_eq!((exited.exit.signal.as_deref(), exited.signalled), (Some("SIGUSR1"), false));
    rig.perform(Raise { n: N, signal: UnixSignal::SigUsr1 });
    rig.signal(StopSignal::Terminate);
    assert_eq!(rig.exited().exit, exited.exit, "it was not signalled again");
}

pub(super) fn a_pause_waits_for_a_standstill_and_a_stop_ends_it(mut rig: Rig) {
    let froze = |rig: &mut Rig| {
        rig.until("Froze", |event| match event {
            Event::Froze(froze) => Some(froze.refused),
            _ => None,
        })
    };
    rig.starts(SLEEPS);
    for _ in 0..2 {
        rig.perform(Freeze { n: N, call: CallId(1) });
        assert_eq!(froze(&mut rig), None);
    }
    rig.signal(StopSignal::Terminate);
    assert!(rig.exited().signalled, "it was let go on");
    rig.perform(Freeze { n: N, call: CallId(2) });
    assert_eq!(froze(&mut rig), Some(NotPaused::Ended));
}

pub(super) fn a_stop_begins_with_the_signal_that_was_asked_for(mut rig: Rig) {
    rig.starts_with(|request| request.stop_signal = Some(UnixSignal::SigInt), SLEEPS);
    rig.signal(StopSignal::Terminate);
    let exited = rig.exited();
    assert_eq!((exited.exit.signal.as_deref(), exited.signalled), (Some("SIGINT"), true));
}

pub(super) fn a_terminal_is_read_and_written(mut rig: Rig) {
    let size = TerminalSize { rows: 24, columns: 80 };
    rig.starts_with(|request| request.terminal = Some(size), READS_TERMINAL);
    rig.hears("ready\r\n");
    rig.feed(1, b"hope\n".to_vec());
    assert_eq!(rig.fed(), (1, 5, 0, true, false));
    assert_eq!(rig.exited().exit.exit_code, 3);
    rig.perform(Close { n: N, stream: Stream::Stdout });
    // As the terminal sends it: without an echo, lines with two bytes at their ends. There is no stderr.
    let bytes = rig.until("EndOfStream", |event| match event {
        Event::EndOfStream(end) => Some(end.bytes).filter(|bytes| *bytes > 0),
        _ => None,
    });
    assert_eq!(bytes, 17);
}
