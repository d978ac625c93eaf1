//! One line as a terminal of any width would show it.
//!
//! * in: characters and movements of the cursor
//! * out: the line's text
//! * keeps: as long as nothing is written over, the text is what was printed, and no column is counted; nor is one as long as each
//!   character is a byte and a column

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

/// What is known of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// What was printed, and the cursor is behind it.
    #[default]
    Appended,
    /// The same, and the cursor is at its beginning.
    Returned,
    /// Each byte is a column, and the cursor is at one of them or behind the last.
    Bytes,
    /// The cells.
    Columns,
}

/// The line on which the cursor is.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// What was printed, in the order of printing. Without cells it is the line.
    printed: String,
    /// The line by columns, from the moment on at which the cursor goes back and something is changed there that bytes can't tell.
    cells: Vec<Cell>,
    mode: Mode,
    /// Each character so far has one column.
    narrow: bool,
    /// Where the cursor is, with bytes or cells.
    column: usize,
    /// Something was written over or erased.
    redrawn: bool,
    /// Columns that were moved or erased, each as often as it was.
    work: usize,
}

impl Line {
    /// How long it is: in bytes, or where they are known in columns.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        if self.mode == Mode::Columns { self.cells.len() } else { self.printed.len() }
    }
    #[inline]
    pub(crate) fn is_redrawn(&self) -> bool {
        self.redrawn
    }
    /// Columns that were moved or erased: what a few bytes can ask for again and again.
    #[inline]
    pub(crate) fn work(&self) -> usize {
        self.work
    }

    /// Gives the line away and begins the next one.
    pub(crate) fn take(&mut self, into: &mut String) {
        if self.mode == Mode::Columns {
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
    #[inline]
    fn clear(&mut self) {
        self.printed.clear();
        self.cells.clear();
        (self.mode, self.column) = (Mode::Appended, 0);
        (self.redrawn, self.work) = (false, 0);
    }

    /// To be called before something is printed: what follows may count columns.
    #[inline]
    pub(crate) fn prepare(&mut self) {
        if self.mode == Mode::Returned && !self.move_in_bytes(0) {
            self.count_columns();
        }
    }
    /// Prints text without control characters.
    #[inline]
    pub(crate) fn print(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.prepare();
        if self.mode == Mode::Bytes {
            if is_plain(text) {
                return self.print_bytes(text);
            }
            self.count_columns();
        }
        let start = self.printed.len();
        self.printed.push_str(text);
        if self.mode == Mode::Columns {
            self.redrawn |= self.column < self.cells.len();
            self.place_all(start, text);
        }
    }
    /// Over what stands at the cursor.
    fn print_bytes(&mut self, text: &str) {
        let (there, end) = (self.printed.len(), self.column + text.len());
        self.redrawn |= self.column < there;
        if end < there {
            let mut bytes = std::mem::take(&mut self.printed).into_bytes();
            bytes[self.column..end].copy_from_slice(text.as_bytes());
            // Each byte is ASCII.
            self.printed = String::from_utf8(bytes).unwrap_or_default();
        } else {
            self.printed.truncate(self.column);
            self.printed.push_str(text);
        }
        self.column = end;
    }
    /// Moves the cursor to a column of what there is, if each byte of it is one.
    #[inline]
    fn move_in_bytes(&mut self, column: usize) -> bool {
        let is_there = match self.mode {
            Mode::Columns => false,
            Mode::Bytes => column <= self.printed.len(),
            Mode::Appended | Mode::Returned => column <= self.printed.len() && is_plain(&self.printed),
        };
        if is_there {
            (self.mode, self.column) = (Mode::Bytes, column);
        }
        is_there
    }
    /// Where the cursor is, if no cells are needed to say it: else the bytes are no columns.
    #[inline]
    fn cursor(&self) -> usize {
        match self.mode {
            Mode::Appended => self.printed.len(),
            Mode::Returned => 0,
            Mode::Bytes | Mode::Columns => self.column,
        }
    }
    /// Puts what was printed at the cursor.
    fn place_all(&mut self, start: usize, text: &str) {
        if self.narrow && is_plain(text) {
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
        if self.mode == Mode::Appended {
            return self.printed.push('\t');
        }
        self.count_columns();
        let next = next_tab(self.column);
        if self.column < self.cells.len() {
            self.column = next;
        } else {
            self.printed.push('\t');
            self.place(self.printed.len() - 1, 1, next - self.column);
        }
    }
    #[inline]
    pub(crate) fn carriage_return(&mut self) {
        match self.mode {
            Mode::Appended if self.printed.is_empty() => {}
            Mode::Appended | Mode::Returned => self.mode = Mode::Returned,
            // Nothing is left of it: no columns are needed.
            Mode::Columns if self.cells.is_empty() => self.forget(),
            Mode::Bytes | Mode::Columns => self.column = 0,
        }
    }
    pub(crate) fn backspace(&mut self) {
        self.back(1);
    }

    #[inline]
    fn forget(&mut self) {
        let (redrawn, work) = (self.redrawn, self.work);
        self.clear();
        (self.redrawn, self.work) = (redrawn, work);
    }

    /// From here on, if it does not yet.
    fn count_columns(&mut self) {
        if self.mode == Mode::Columns {
            return;
        }
        let column = match self.mode {
            Mode::Returned => Some(0),
            Mode::Bytes => Some(self.column),
            Mode::Appended | Mode::Columns => None,
        };
        self.mode = Mode::Columns;
        let printed = std::mem::take(&mut self.printed);
        (self.narrow, self.column) = (true, 0);
        self.place_all(0, &printed);
        self.printed = printed;
        self.column = column.unwrap_or(self.column);
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
    #[inline]
    pub(crate) fn sequence(&mut self, action: char, parameter: u16) {
        // Of a count, 0 is the same as 1.
        let count = usize::from(parameter.max(1)).min(MOVE_MAX);
        match action {
            'K' | 'J' => self.erase(parameter),
            'G' | '`' if count == 1 => self.carriage_return(),
            'G' | '`' if self.move_in_bytes(count - 1) => {}
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
        if self.move_in_bytes(self.cursor().saturating_sub(count)) {
            return;
        }
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

    #[inline]
    fn erase(&mut self, what: u16) {
        match what {
            // To the end.
            0 if self.mode == Mode::Appended => {}
            0 | 2 if self.mode != Mode::Appended && self.cursor() == 0 => {
                self.redrawn |= self.size() > 0;
                self.forget();
            }
            0 if self.mode == Mode::Bytes => {
                self.redrawn |= self.column < self.printed.len();
                self.printed.truncate(self.column);
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

/// Whether each byte is a character of one column.
fn is_plain(text: &str) -> bool {
    // A look at all of them, many at once, is faster than one that stops at the first.
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
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
