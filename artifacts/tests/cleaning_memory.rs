//! An escape sequence that never ends takes no memory. Alone in its process, whose memory is looked at.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

use ostler_artifacts::{Cleaner, screen_of};

const PIECE: usize = 64 << 10;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_unfinished_sequence_of_100_mb_does_not_grow_memory() {
    // The parser behind it keeps all of a title.
    let begins = [("\x1b]0;", 1_600), ("\x1bP", 40), ("\x1b_", 40), ("\x1b[", 40), ("\x1b[?", 40)];
    for (begin, pieces) in begins {
        let (mut cleaner, mut text) = (Cleaner::new(), String::new());
        cleaner.push(b"before\n", &mut text);
        cleaner.push(begin.as_bytes(), &mut text);
        let piece = [b';'; PIECE];
        let before = resident_kib();
        for _ in 0..pieces {
            cleaner.push(&piece, &mut text);
            // The end that never came is given up: what follows is text.
            text.clear();
        }
        cleaner.push(b"\nafter\n", &mut text);
        assert!(text.ends_with("after\n"), "{begin:?}");
        assert!(resident_kib() - before < 8 << 10, "{begin:?}: {} KiB more", resident_kib() - before);
    }
    assert_eq!(screen_of(b"a\x1b]0;never", 2, 10).rows, ["a", ""]);
}
