//! The terminal of whoever runs ostler, for a command that gets one of its own (`--pty`).
//!
//! * in: the size of it, what is typed
//! * out: the same to the command; a stop, when somebody insists
//! * keeps: its modes are as they were before, however ostler ends but by a signal that nobody handles

use crate::{exit::Failure, pass::Passing};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Where nobody looks: what terminals have had for ever.
const SIZE: (u16, u16) = (24, 80);
/// `Ctrl-]`, so many times within so long, stops the command: every key goes to it, and one that hangs may read none.
pub(crate) const ESCAPE: u8 = 0x1d;
const ESCAPES: usize = 3;
const ESCAPE_TIME: Duration = Duration::from_secs(1);
/// What ends the input of a terminal, at the beginning of a line.
pub(crate) const END_OF_FILE: u8 = 4;

/// Rows and columns of the terminal that is there, as stdin, stdout or stderr.
pub(crate) fn size() -> (u16, u16) {
    let of = |size: rustix::io::Result<termios::Winsize>| {
        let size = size.ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
    };
    of(termios::tcgetwinsize(io::stdin()))
        .or_else(|| of(termios::tcgetwinsize(io::stdout())))
        .or_else(|| of(termios::tcgetwinsize(io::stderr())))
        .unwrap_or(SIZE)
}

/// A terminal that passes on each key as it comes and shows what it is sent as it is. As it was before when this is dropped.
pub(crate) struct Raw {
    saved: Termios,
    passing: Arc<Passing>,
}
impl Raw {
    /// None: stdin is no terminal.
    pub(crate) fn begin(passing: &Arc<Passing>) -> Result<Option<Raw>, Failure> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let failed = |errno: rustix::io::Errno| Failure::system("terminal")(errno.into());
        let raw = Raw { saved: termios::tcgetattr(io::stdin()).map_err(failed)?, passing: passing.clone() };
        raw.apply().map_err(failed)?;
        Ok(Some(raw))
    }

    /// Again, after ostler was stopped: a shell has set the terminal for itself meanwhile.
    pub(crate) fn apply(&self) -> rustix::io::Result<()> {
        let mut raw = self.saved.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        self.passing.raw.store(true, Ordering::Relaxed);
        Ok(())
    }
}
impl Drop for Raw {
    fn drop(&mut self) {
        self.passing.raw.store(false, Ordering::Relaxed);
        // One that is gone needs nothing.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.saved);
    }
}

/// A terminal that gives each key at once and does not show it; Ctrl-C and Ctrl-Z are as ever. As it was before when this is dropped.
pub(crate) struct Keys(Termios);
impl Keys {
    /// None: stdin is no terminal.
    pub(crate) fn begin() -> Result<Option<Keys>, Failure> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let failed = |errno: rustix::io::Errno| Failure::system("terminal")(errno.into());
        let saved = termios::tcgetattr(io::stdin()).map_err(failed)?;
        let mut keys = saved.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys).map_err(failed)?;
        Ok(Some(Keys(saved)))
    }
}
impl Drop for Keys {
    fn drop(&mut self) {
        // One that is gone needs nothing.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Whether somebody insists.
#[derive(Debug, Default)]
pub(crate) struct Insists(VecDeque<Instant>);
impl Insists {
    /// What was typed, all of which goes on to the command.
    pub(crate) fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        for byte in bytes {
            if *byte != ESCAPE {
                self.0.clear();
                continue;
            }
            self.0.push_back(now);
            self.0.retain(|at| now.duration_since(*at) <= ESCAPE_TIME);
            if self.0.len() >= ESCAPES {
                self.0.clear();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_within_a_second_and_nothing_between_them() {
        let now = Instant::now();
        let mut insists = Insists::default();
        assert!(!insists.typed(b"a\x1d\x1d", now));
        assert!(insists.typed(b"\x1d", now + ESCAPE_TIME));
        assert!(!insists.typed(b"\x1d\x1d", now), "it begins anew");
        assert!(!insists.typed(b"\x1d", now + ESCAPE_TIME * 2), "too late for the first two");
        assert!(insists.typed(b"\x1d\x1d", now + ESCAPE_TIME * 2), "the last three count");
        assert!(!insists.typed(b"\x1dx\x1d\x1d", now + ESCAPE_TIME * 2));
        assert!(insists.typed(b"\x1d\x1d\x1d\x1d", now + ESCAPE_TIME * 9));
    }
}
