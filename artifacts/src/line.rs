//! One line as a terminal of any width would show it.
//!
//! * in: characters and movements of the cursor
//! * out: the line's text
//! * keeps: as long as nothing is written over, the text is what was printed, and no column is counted

use unicode_width::UnicodeWidthChar;

/// How far a sequence moves or writes at once. Wider than terminals are; without it, eight bytes would make 64 KiB of blanks.
const MOVE_MAX: usize = 1_024;
/// A tab leads to the next multiple of it.
const TAB_COLUMNS: usize = 8;

/// A column: where its character, and what combines with it, stands in what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    start: u32,
    /// 0: no character.
    length: u32,
}
/// Never written, or erased.
const BLANK: Cell = Cell { start: 0, length: 0 };
/// Belongs to the character before: a wide one, or a tab.
const FILLER: Cell = Cell { start: u32::MAX, length: 0 };

/// The line on which the cursor is.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// What was printed, in the order of printing. Without columns it is the line.
    printed: String,
    /// The line by columns, from the moment on at which the cursor goes back and something is changed there.
    cells: Vec<Cell>,
    by_columns: bool,
    /// Each character so far has one column.
    narrow: bool,
    /// With columns, where the cursor is. Without, it is at the end, or at the beginning if `returned`.
    column: usize,
    returned: bool,
    /// Something was written over or erased.
    redrawn: bool,
    /// Columns that were moved or erased, each as often as it was.
    work: usize,
}

impl Line {
    /// How long it is: in bytes, or where they are known in columns.
    pub(crate) fn size(&self) -> usize {
        if self.by_columns { self.cells.len() } else { self.printed.len() }
    }
    pub(crate) fn is_redrawn(&self) -> bool {
        self.redrawn
    }
    /// Columns that were moved or erased: what a few bytes can ask for again and again.
    pub(crate) fn work(&self) -> usize {
        self.work
    }

    /// Gives the line away and begins the next one.
    pub(crate) fn take(&mut self, into: &mut String) {
        if self.by_columns {
            self.show(into);
        } else {
            into.push_str(&self.printed);
        }
        self.clear();
    }
    fn show(&self, into: &mut String) {
        let end = self.cells.iter().rposition(|cell| *cell != BLANK).map_or(0, |last| last + 1);
        // What stands together in what was printed.
        let mut run = 0..0;
        for cell in &self.cells[..end] {
            let start = cell.start as usize;
            if cell.length > 0 && start == run.end {
                run.end += cell.length as usize;
            } else if *cell != FILLER {
                into.push_str(&self.printed[run]);
                run = start..start + cell.length as usize;
                if *cell == BLANK {
                    into.push(' ');
                }
            }
        }
        into.push_str(&self.printed[run]);
    }
    fn clear(&mut self) {
        self.printed.clear();
        self.cells.clear();
        (self.by_columns, self.column, self.returned) = (false, 0, false);
        (self.redrawn, self.work) = (false, 0);
    }

    /// To be called before something is printed: what follows may count columns.
    pub(crate) fn prepare(&mut self) {
        if self.returned {
            self.count_columns();
        }
    }
    /// Prints text without control characters.
    pub(crate) fn print(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.prepare();
        let start = self.printed.len();
        self.printed.push_str(text);
        if self.by_columns {
            self.redrawn |= self.column < self.cells.len();
            self.place_all(start, text);
        }
    }
    /// Puts what was printed at the cursor.
    fn place_all(&mut self, start: usize, text: &str) {
        if self.narrow && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let (column, end) = (self.column, self.column + text.len());
            if self.cells.len() < end {
                self.cells.resize(end, BLANK);
            }
            for (cell, at) in self.cells[column..end].iter_mut().zip(start as u32..) {
                *cell = Cell { start: at, length: 1 };
            }
            self.column = end;
            return;
        }
        for (at, c) in text.char_indices() {
            let width = match c {
                '\t' => next_tab(self.column) - self.column,
                _ => c.width().unwrap_or(0),
            };
            self.place(start + at, c.len_utf8(), width);
        }
    }

    pub(crate) fn tab(&mut self) {
        self.prepare();
        if !self.by_columns {
            return self.printed.push('\t');
        }
        let next = next_tab(self.column);
        if self.column < self.cells.len() {
            self.column = next;
        } else {
            self.printed.push('\t');
            self.place(self.printed.len() - 1, 1, next - self.column);
        }
    }
    pub(crate) fn carriage_return(&mut self) {
        if !self.by_columns {
            self.returned = !self.printed.is_empty();
        } else if self.cells.is_empty() {
            // Nothing is left of it: no columns are needed.
            self.forget();
        } else {
            self.column = 0;
        }
    }
    pub(crate) fn backspace(&mut self) {
        self.back(1);
    }

    fn forget(&mut self) {
        let (redrawn, work) = (self.redrawn, self.work);
        self.clear();
        (self.redrawn, self.work) = (redrawn, work);
    }

    /// From here on, if it does not yet.
    fn count_columns(&mut self) {
        if self.by_columns {
            return;
        }
        self.by_columns = true;
        let printed = std::mem::take(&mut self.printed);
        self.narrow = true;
        self.place_all(0, &printed);
        self.printed = printed;
        if std::mem::take(&mut self.returned) {
            self.column = 0;
        }
    }

    /// Puts something that was printed at the cursor.
    fn place(&mut self, start: usize, length: usize, width: usize) {
        // What was printed of a line is far below 4 GiB.
        let cell = Cell { start: start as u32, length: length as u32 };
        let (column, end) = (self.column, self.column + width);
        if width == 0 {
            let before = column.min(self.cells.len());
            return combine(&mut self.cells[..before], cell);
        }
        if self.cells.len() < column {
            self.cells.resize(column, BLANK);
        }
        part(&mut self.cells, column);
        part(&mut self.cells, end);
        self.column = end;
        self.narrow &= width == 1;
        if self.cells.len() < end {
            self.cells.resize(end, FILLER);
        }
        self.cells[column] = cell;
        self.cells[column + 1..end].fill(FILLER);
    }

    /// A control sequence without a private marker; what acts on other lines, or on colours, changes nothing here.
    pub(crate) fn sequence(&mut self, action: char, parameter: u16) {
        // Of a count, 0 is the same as 1.
        let count = usize::from(parameter.max(1)).min(MOVE_MAX);
        match action {
            'K' | 'J' => self.erase(parameter),
            'G' | '`' if count == 1 => self.carriage_return(),
            'G' | '`' => {
                self.count_columns();
                self.column = count - 1;
            }
            'C' | 'a' => {
                self.count_columns();
                self.column = (self.column + count).min(MOVE_MAX.max(self.column));
            }
            'D' => self.back(count),
            'P' => {
                let (start, end) = self.border(count);
                self.work += self.cells.len() - start;
                self.cells.drain(start..end);
            }
            '@' => {
                let (start, _) = self.border(0);
                if start < self.cells.len() {
                    self.work += self.cells.len() - start;
                    self.cells.splice(start..start, std::iter::repeat_n(BLANK, count));
                }
            }
            'X' => {
                let (start, end) = self.border(count);
                self.cells[start..end].fill(BLANK);
            }
            _ => {}
        }
    }

    fn back(&mut self, count: usize) {
        self.count_columns();
        self.column = self.column.saturating_sub(count);
    }

    /// Makes the columns from the cursor on ones of their own, to be changed; those that there are.
    fn border(&mut self, count: usize) -> (usize, usize) {
        self.count_columns();
        let there = self.cells.len();
        let (start, end) = (self.column.min(there), (self.column + count).min(there));
        part(&mut self.cells, start);
        part(&mut self.cells, end);
        self.redrawn |= start < there;
        (start, end)
    }

    fn erase(&mut self, what: u16) {
        match what {
            // To the end.
            0 if !self.by_columns && !self.returned => {}
            0 | 2 if self.column == 0 && (self.by_columns || self.returned) => {
                self.redrawn |= self.size() > 0;
                self.forget();
            }
            0 => {
                let (start, _) = self.border(0);
                self.cells.truncate(start);
            }
            // From the beginning, the cursor's column included.
            1 => {
                let (_, end) = self.border(1);
                self.work += end;
                self.cells[..end].fill(BLANK);
                self.redrawn |= end > 0;
            }
            2 => {
                self.redrawn |= self.size() > 0;
                self.count_columns();
                self.cells.clear();
            }
            _ => {}
        }
    }
}

fn next_tab(column: usize) -> usize {
    column - column % TAB_COLUMNS + TAB_COLUMNS
}

/// Makes a border at a column: a wide character or a tab across it becomes blank.
fn part(cells: &mut [Cell], column: usize) {
    if cells.get(column) != Some(&FILLER) {
        return;
    }
    let start = cells[..column].iter().rposition(|cell| *cell != FILLER).unwrap_or(0);
    let fillers = cells[column..].iter().take_while(|cell| **cell == FILLER).count();
    cells[start..column + fillers].fill(BLANK);
}

/// Adds a combining character to the one before, if it was printed just then; elsewhere it is lost.
fn combine(before: &mut [Cell], mark: Cell) {
    let last = before.iter_mut().rev().find(|cell| **cell != FILLER);
    if let Some(last) = last.filter(|last| last.length > 0 && last.start + last.length == mark.start) {
        last.length += mark.length;
    }
}
