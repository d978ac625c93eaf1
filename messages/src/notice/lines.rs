//! Text of others, made fit to stand in a notice: clean, one line each, and bounded.

/// A line of output that is longer loses its middle: a minified file or a progress bar is one line of any length.
const LINE_BYTES: usize = 320;
/// So much of a long line is looked at, at each of its ends: escape sequences take room and are not shown.
const LINE_RAW_BYTES: usize = 4_096;
/// What stands for the middle that was left out.
const GAP: &str = " … ";
/// What begins a line of output, and its newline.
const QUOTE: &str = "| ";
const QUOTE_BYTES: usize = QUOTE.len() + 1;
/// A heading takes so much: a name, a count, its newline.
const HEADING_BYTES: usize = 40;

/// Lines that are shown of a text.
#[derive(Default)]
pub(super) struct Lines {
    /// Each with the mark of a quote before it.
    pub(super) quoted: Vec<String>,
    /// How many bytes of the text they are.
    pub(super) raw_bytes: u64,
    /// Whether that number is exact. It is not of lines that lost their middle, and of bytes that were no text.
    pub(super) exact: bool,
    /// Whether no line of the text is missing.
    all: bool,
}

impl Lines {
    /// What they take in the notice, heading included.
    pub(super) fn bytes(&self) -> usize {
        let lines: usize = self.quoted.iter().map(|line| line.len() + 1).sum();
        if lines == 0 { 0 } else { lines + HEADING_BYTES }
    }

    /// With a heading, if there are any. `truncated`: the text has a gap already.
    pub(super) fn under(self, name: &str, truncated: bool) -> Vec<String> {
        let heading = match self.quoted.len() {
            0 => return self.quoted,
            _ if self.all && !truncated => format!("{name}:"),
            1 => format!("{name}, last line:"),
            n => format!("{name}, last {n} lines:"),
        };
        std::iter::once(heading).chain(self.quoted).collect()
    }

    /// False if there is no room for it.
    fn add(&mut self, line: &str, room: &mut usize) -> bool {
        let ends = match line.len() > 2 * LINE_RAW_BYTES {
            true => clip(line, 2 * LINE_RAW_BYTES),
            false => line.to_owned(),
        };
        let clean = clean(&ends);
        let shown = clip(&clean, LINE_BYTES);
        let takes = shown.len() + QUOTE_BYTES;
        if takes > *room {
            return false;
        }
        *room -= takes;
        let whole = shown == clean && ends.len() == line.len();
        self.exact &= whole && !line.contains(char::REPLACEMENT_CHARACTER);
        self.raw_bytes += if whole { line.len() } else { shown.len() } as u64;
        self.quoted.push(format!("{QUOTE}{shown}"));
        true
    }
}

/// The last lines of a text, at most so many and so many bytes with their heading. Empty ones at its end are not shown.
pub(super) fn last_lines(text: &str, max_lines: usize, max_bytes: usize) -> Lines {
    let mut lines = Lines { exact: true, ..Lines::default() };
    let mut room = max_bytes.saturating_sub(HEADING_BYTES);
    let shown = text.trim_end_matches(['\n', '\r', ' ', '\t']);
    if shown.is_empty() {
        lines.raw_bytes = text.len() as u64;
        return lines;
    }
    let mut rest = Some(shown);
    while let Some(before) = rest {
        let (earlier, line) = match before.rsplit_once('\n') {
            Some((earlier, line)) => (Some(earlier), line),
            None => (None, before),
        };
        if lines.quoted.len() == max_lines || !lines.add(line, &mut room) {
            break;
        }
        rest = earlier;
    }
    lines.all = rest.is_none();
    if !lines.quoted.is_empty() {
        // Between them; the one at the end is part of what is not shown.
        let newlines = lines.quoted.len() - 1;
        lines.raw_bytes += (text.len() - shown.len() + newlines) as u64;
    }
    lines.quoted.reverse();
    lines
}

/// The first lines of a text, at most so many bytes.
pub(super) fn first_lines(text: &str, max_bytes: usize) -> Lines {
    let mut lines = Lines { exact: true, ..Lines::default() };
    let mut room = max_bytes;
    let mut count = 0;
    for line in text.lines() {
        if !lines.add(line, &mut room) {
            break;
        }
        count += 1;
    }
    // Their newlines; the last one may have none.
    lines.raw_bytes = (lines.raw_bytes + count).min(text.len() as u64);
    lines
}

/// A line as a terminal would leave it, nearly: no escape sequences, of what was overwritten from its beginning only the last, no
/// character that is not seen.
fn clean(line: &str) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    let last = plain.split('\r').rfind(|part| !part.trim().is_empty()).unwrap_or_default();
    last.chars().filter_map(seen).collect()
}

/// A tab is a space. None for what shows nothing, turns the direction of text, or ends a line for some readers.
fn seen(c: char) -> Option<char> {
    match c {
        '\t' => Some(' '),
        c if is_unseen(c) => None,
        c => Some(c),
    }
}

/// Whether a character is not seen, or changes how others are: it has no place on a line of ours.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Words of others on a line of ours: what is not seen is escaped, and the middle left out beyond `max` bytes.
pub(super) fn field(text: &str, max: usize) -> String {
    let mut escaped = String::new();
    for c in clip(text, max).chars() {
        match is_unseen(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    clip(&escaped, max)
}

/// At most `max` bytes of a text: the middle goes, and no character is split.
pub(super) fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let keep = max.saturating_sub(GAP.len());
    // A character has at most four bytes, so both end at once; 0 and the length are always borders.
    let (mut head, mut tail) = (keep / 2, text.len() - (keep - keep / 2));
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}
