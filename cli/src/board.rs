//! Live progress: a line for each command that changes in place, or, where no terminal is, a line for each piece of
//! news.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ostler::counted;
use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Without a terminal, a command that goes on is reported this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(80);

/// One row for each command.
pub(crate) struct Board {
    since: Instant,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    lines: u64,
    bar: Option<ProgressBar>,
    told: Option<Instant>,
}

impl Board {
    /// Shows them as started.
    pub(crate) fn new(names: &[&'static str]) -> Board {
        let bars =
            io::stdout().is_terminal().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        let row = |name: &&'static str| Row {
            name,
            lines: 0,
            bar: bars.as_ref().map(|bars| bar(bars, name)),
            told: None,
        };
        Board { since: Instant::now(), rows: names.iter().map(row).collect() }
    }

    /// New output of one command: how many lines, and the newest.
    pub(crate) fn flowed(&mut self, n: usize, lines: u64, newest: &str) -> io::Result<()> {
        let Some(row) = self.rows.get_mut(n) else { return Ok(()) };
        row.lines += lines;
        let text = format!("{:>11}  {newest}", counted(row.lines, "line"));
        match &row.bar {
            Some(bar) => bar.set_message(text),
            None if row.told.is_some_and(|told| told.elapsed() < PLAIN_INTERVAL) => {}
            None => {
                row.told = Some(Instant::now());
                plain(self.since, row.name, &text)?;
            }
        }
        Ok(())
    }

    /// Something happened to one command.
    pub(crate) fn happened(&mut self, n: usize, what: &str) -> io::Result<()> {
        self.report(n, what, false)
    }

    /// It was the last thing.
    pub(crate) fn finish(&mut self, n: usize, what: &str) -> io::Result<()> {
        self.report(n, what, true)
    }

    fn report(&mut self, n: usize, what: &str, finished: bool) -> io::Result<()> {
        let Some(row) = self.rows.get(n) else { return Ok(()) };
        let text = format!("{:>11}  {what}", counted(row.lines, "line"));
        match &row.bar {
            Some(bar) if finished => bar.finish_with_message(text),
            Some(bar) => bar.set_message(text),
            None => plain(self.since, row.name, &text)?,
        }
        Ok(())
    }

    /// The rows stay on the screen as they are.
    pub(crate) fn leave(&self) -> io::Result<()> {
        let bars: Vec<_> = self.rows.iter().filter_map(|row| row.bar.as_ref()).collect();
        for bar in bars.iter().filter(|bar| !bar.is_finished()) {
            bar.set_style(style("…"));
            bar.abandon();
        }
        // The cursor is behind the last row.
        if bars.is_empty() { Ok(()) } else { writeln!(io::stdout()) }
    }
}

fn bar(bars: &MultiProgress, name: &'static str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_style(style("✓"));
    bar.set_prefix(name);
    bar.enable_steady_tick(TICK);
    bar
}

/// With the sign of a row that changes no more.
fn style(last: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template("  {spinner:.green} {prefix:<7.bold} {wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", last])
}

fn plain(since: Instant, name: &str, text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "  {:>4.1} s  {name:<7} {text}", since.elapsed().as_secs_f64())
}
