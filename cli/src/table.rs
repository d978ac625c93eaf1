//! Tables for people, which fit the terminal: where there is no room for every column, some go, and the rest is cut.

use crate::term::{BOLD, fitted};
use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: usize = 2;

/// One of them. The last one takes what room there is.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    /// Numbers stand below each other.
    pub(crate) right: bool,
    /// How narrow it may become; 0: it may go.
    pub(crate) least: usize,
}
impl Column {
    /// One that stays as it is.
    pub(crate) const fn whole(heading: &'static str) -> Column {
        Column { heading, right: false, least: usize::MAX }
    }
}

/// What stands in one place.
pub(crate) struct Cell {
    text: String,
    style: Style,
}
impl Cell {
    pub(crate) fn styled(text: String, style: Style) -> Cell {
        Cell { text, style }
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, style: Style::new() }
    }
}

/// Lines of at most `room` columns, first the headings, in bold. Columns that may go do so, from the right, while the last has less room than
/// `last_least`; then others become narrower.
pub(crate) fn table<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    room: usize,
    last_least: usize,
) -> Vec<String> {
    let Some(last) = N.checked_sub(1) else { return Vec::new() };
    let widest = |n: usize| rows.iter().map(|row| row[n].text.width()).max().unwrap_or(0);
    let mut widths: [Option<usize>; N] =
        std::array::from_fn(|n| (n < last).then(|| widest(n).max(columns[n].heading.width())));
    let missing = |widths: &[Option<usize>; N]| {
        let taken: usize = widths.iter().flatten().map(|width| width + GAP).sum();
        (taken + last_least).saturating_sub(room)
    };
    for n in (0..last).rev().filter(|n| columns[*n].least == 0) {
        if missing(&widths) > 0 {
            widths[n] = None;
        }
    }
    for n in (0..last).rev() {
        let missing = missing(&widths);
        widths[n] = widths[n].map(|width| width.min(columns[n].least.max(width.saturating_sub(missing))));
    }
    let line = |cells: [(&str, Style); N]| {
        let (mut line, mut left) = (String::new(), room);
        for n in 0..N {
            let (text, style) = cells[n];
            let width = if n == last {
                left
            } else {
                let Some(width) = widths[n] else { continue };
                width.min(left)
            };
            let text = fitted(text, width);
            let pad = if n == last { 0 } else { width.saturating_sub(text.width()) };
            let gap = if n == last { 0 } else { GAP.min(left.saturating_sub(width)) };
            let (before, behind) = if columns[n].right { (pad, gap) } else { (0, pad + gap) };
            line += &format!("{:before$}{style}{text}{style:#}{:behind$}", "", "");
            left = left.saturating_sub(width + gap);
        }
        line.trim_end().to_owned()
    };
    let headings = line(std::array::from_fn(|n| (columns[n].heading, BOLD)));
    let rows = rows.iter().map(|row| line(std::array::from_fn(|n| (&*row[n].text, row[n].style))));
    std::iter::once(headings).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::whole("ID"),
        Column { heading: "STATUS", right: false, least: 6 },
        Column { heading: "AGE", right: true, least: 0 },
        Column::whole("COMMAND"),
    ];

    fn of(room: usize) -> Vec<String> {
        let row = ["hto-1", "session ended", "日本", "sh watch.sh"].map(|text| Cell::from(text.to_owned()));
        let lines = table(&COLUMNS, &[row], room, 8);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn columns_go_then_they_are_cut_and_no_line_is_longer_than_its_room() {
        assert_eq!(of(80)[1], "hto-1  session ended  日本  sh watch.sh");
        assert_eq!(of(30), ["ID     STATUS         COMMAND", "hto-1  session ended  sh watc…"]);
        assert_eq!(of(24)[1], "hto-1  sessio…  sh watc…");
        for room in 0..60 {
            assert!(of(room).iter().all(|line| line.width() <= room), "{room}: {:?}", of(room));
        }
    }
}
