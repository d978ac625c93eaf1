//! Live progress: a row for each command, on a screen of their own, or, where none is, a line for each thing that happens.

use crate::{
    exit::Failure,
    locale,
    screen::{self, Screen},
    term::{BOLD, DIM, GOOD, fitted},
    tour::Stop,
};
use ostler::counted;
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

/// Without a screen, a command that goes on is reported this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);

/// All of them.
pub(crate) struct Board {
    since: Instant,
    rows: Vec<Row>,
    screen: Option<Screen>,
    heading: String,
}

struct Row {
    name: &'static str,
    about: &'static str,
    lines: u64,
    text: String,
    finished: bool,
    told: Option<Instant>,
}

impl Board {
    /// Shows them as started.
    pub(crate) fn begin(heading: &str, stops: &[Stop]) -> io::Result<Board> {
        let row = |stop: &Stop| Row {
            name: stop.name,
            about: stop.about,
            lines: 0,
            text: String::new(),
            finished: false,
            told: None,
        };
        let rows = stops.iter().map(row).collect();
        let board =
            Board { since: Instant::now(), rows, screen: Screen::begin()?, heading: heading.to_owned() };
        board.draw()?;
        Ok(board)
    }

    /// New output of one command: how many lines, and the newest.
    pub(crate) fn flowed(&mut self, n: usize, lines: u64, newest: &str) -> io::Result<()> {
        let Some(row) = self.rows.get_mut(n) else { return Ok(()) };
        row.lines += lines;
        newest.clone_into(&mut row.text);
        if self.screen.is_none() && row.told.is_some_and(|told| told.elapsed() < PLAIN_INTERVAL) {
            return Ok(());
        }
        row.told = Some(Instant::now());
        self.changed(n)
    }

    /// Something happened to one command.
    pub(crate) fn happened(&mut self, n: usize, what: &str) -> io::Result<()> {
        let Some(row) = self.rows.get_mut(n) else { return Ok(()) };
        what.clone_into(&mut row.text);
        self.changed(n)
    }

    /// It was the last thing.
    pub(crate) fn finish(&mut self, n: usize, what: &str) -> io::Result<()> {
        if let Some(row) = self.rows.get_mut(n) {
            row.finished = true;
        }
        self.happened(n, what)
    }

    /// Ctrl-Z: stops this process; the commands go on.
    pub(crate) fn suspend(&self) -> Result<(), Failure> {
        if let Some(screen) = &self.screen {
            screen.suspend()?;
        }
        Ok(self.draw()?)
    }

    /// The screen is gone; each row is left as it was in the end.
    pub(crate) fn leave(mut self) -> io::Result<()> {
        if self.screen.take().is_none() {
            return Ok(());
        }
        let mut text = Vec::new();
        for row in &self.rows {
            writeln!(text, "{}", row.line(screen::columns()))?;
        }
        anstream::stdout().write_all(&text)
    }

    /// As large as the terminal is now.
    pub(crate) fn draw(&self) -> io::Result<()> {
        let Some(screen) = &self.screen else { return Ok(()) };
        // The last column is left alone: some terminals go to the next line with it.
        let room = screen::columns().saturating_sub(1);
        let heading = [format!("{BOLD}{}{BOLD:#}", fitted(&self.heading, room)), String::new()];
        let rows = self.rows.iter().map(|row| row.line(room));
        // What each of them is about, as far as there is room.
        let about = self.rows.iter().map(|row| {
            let line = format!("  {:<7}  {}", row.name, row.about);
            format!("{DIM}{}{DIM:#}", fitted(&line, room))
        });
        let gap = || [String::new()];
        let lines: Vec<String> =
            heading.into_iter().chain(rows).chain(gap()).chain(about).chain(gap()).collect();
        screen.draw(&lines, "Ctrl-C ends it")
    }

    fn changed(&self, n: usize) -> io::Result<()> {
        let Some(row) = self.rows.get(n).filter(|_| self.screen.is_none()) else { return self.draw() };
        let passed = format!("{:.1} s", self.since.elapsed().as_secs_f64());
        let line = format!("{passed:>8}  {:<7} {}", row.name, row.what());
        writeln!(io::stdout(), "{}", fitted(&locale::shown(&line), screen::columns()))
    }
}

impl Row {
    fn what(&self) -> String {
        format!("{:>11}  {}", counted(self.lines, "line"), self.text)
    }

    fn line(&self, room: usize) -> String {
        let sign = locale::shown(if self.finished { "✓" } else { "…" }).chars().next().unwrap_or(' ');
        let what = locale::shown(&self.what()).into_owned();
        // Before it: the sign, and the name with what is around it.
        let what = fitted(&what, room.saturating_sub(12));
        format!("  {GOOD}{sign}{GOOD:#} {BOLD}{:<7}{BOLD:#} {what}", self.name)
    }
}
