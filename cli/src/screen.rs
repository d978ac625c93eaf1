//! A picture on the terminal that is drawn anew whenever it changes, beside what was there before.
//!
//! * in: lines
//! * out: the alternate screen, of which nothing is left
//! * keeps: a resize leaves no old line on it, as it would among the lines of before, which the terminal breaks anew

use crate::{
    exit::Failure,
    term::{self, fitted},
    terminal,
};
use signal_hook::{consts::SIGTSTP, low_level::emulate_default_handler};
use std::io::{self, IsTerminal, Write};

/// How wide a line is where no terminal says it: a command can be as long as the kernel lets it.
const PLAIN_COLUMNS: usize = 200;

/// Columns of what goes to stdout.
pub(crate) fn columns() -> usize {
    if io::stdout().is_terminal() { usize::from(terminal::size().1) } else { PLAIN_COLUMNS }
}

/// The alternate screen, without a cursor; as it was when this is dropped.
pub(crate) struct Screen(());
impl Screen {
    /// Whether stdout is a terminal, and one on which a cursor can be moved.
    pub(crate) fn can_be() -> bool {
        term::is_named() && io::stdout().is_terminal()
    }

    /// None: it can't be.
    pub(crate) fn begin() -> io::Result<Option<Screen>> {
        if !Screen::can_be() {
            return Ok(None);
        }
        Screen::enter()?;
        Ok(Some(Screen(())))
    }

    /// Lines, as many as there is room for, and below them another that always is seen.
    pub(crate) fn draw(&self, lines: &[String], last: &str) -> io::Result<()> {
        let (rows, columns) = terminal::size();
        let mut frame = b"\x1b[H".to_vec();
        for line in lines.iter().take(usize::from(rows).saturating_sub(1)) {
            write!(frame, "{line}\x1b[K\r\n")?;
        }
        // The last column is left alone: some terminals go to the next line with it.
        write!(frame, "\x1b[J{}", fitted(last, usize::from(columns).saturating_sub(1)))?;
        anstream::stdout().write_all(&frame)?;
        io::stdout().flush()
    }

    /// Ctrl-Z: stops this process, with the screen as it was before. Comes back when it goes on.
    pub(crate) fn suspend(&self) -> Result<(), Failure> {
        Screen::leave();
        emulate_default_handler(SIGTSTP).map_err(Failure::system("stopping"))?;
        Ok(Screen::enter()?)
    }

    fn enter() -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(b"\x1b[?1049h\x1b[?25l")?;
        stdout.flush()
    }

    fn leave() {
        // A terminal that is gone needs nothing.
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| io::stdout().flush());
    }
}
impl Drop for Screen {
    fn drop(&mut self) {
        Screen::leave();
    }
}
