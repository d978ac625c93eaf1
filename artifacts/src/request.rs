//! What a reader asks for: which file, from where, how much, and in which view.

use ostler_messages::{OutputFile, View};
use serde::{Deserialize, Serialize};

/// Most bytes in one page; a request for more gets this much. A page is held in memory and usually copied again into
/// some message, so a reader of a large file takes it in pieces.
pub const READ_MAX_BYTES: u64 = 1 << 20;

/// Which lines to read, instead of an offset. Lines are what ends with a line feed, and count from 1; what follows the last
/// line feed is a line once nothing can follow it. A page has whole lines, as many as fit. Only of a line longer than a page
/// it has a part: the beginning, or of the last lines the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lines {
    /// The last ones that there are now. Costs a look at the page, and for its number what [`Page::first_line`](crate::Page)
    /// says.
    Last {
        /// How many at most.
        count: u64,
    },
    /// From one on. The file is read from the nearest place whose line is known: of a command that this process knows that is
    /// mostly within 1 MiB of the line, otherwise the beginning of the file, at some GB/s from the page cache. A line that is
    /// not there yet is waited for, as `wait_ms` says; its page is empty.
    From {
        /// The first line; 0 is the same as 1.
        line: u64,
        /// How many at most.
        count: u64,
    },
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadRequest {
    /// Which of the files; on the wire `stream`. Default: combined.
    #[serde(rename = "stream")]
    pub which: OutputFile,
    /// Where to begin, in raw bytes. Default 0. Without a meaning beside `lines`.
    pub offset: u64,
    /// How many raw bytes at most; above [`READ_MAX_BYTES`] is the same as that. Default [`READ_MAX_BYTES`]. In the
    /// clean view one line may be longer.
    pub length: u64,
    /// How long to wait for a byte at `offset`, or the end; with `lines` and in the clean view for a whole line. Absent or 0:
    /// not at all.
    pub wait_ms: Option<u64>,
    /// How the bytes are shown. Default: raw.
    pub view: View,
    /// Lines instead of a span of bytes. Default: none.
    pub lines: Option<Lines>,
    /// Whoever reads is the follower of a command that was launched with `follow`: what lies before the page it has done with, and while
    /// it waits it is not behind. Without a meaning for any other command. Default: false.
    pub follows: bool,
}
impl ReadRequest {
    /// The first page of the combined output.
    pub fn new() -> ReadRequest {
        ReadRequest::default()
    }
    /// Which of the files.
    pub fn of(mut self, which: OutputFile) -> ReadRequest {
        self.which = which;
        self
    }
    /// Where to begin, in bytes.
    pub fn offset(mut self, offset: u64) -> ReadRequest {
        self.offset = offset;
        self
    }
    /// How many bytes at most.
    pub fn length(mut self, length: u64) -> ReadRequest {
        self.length = length;
        self
    }
    /// How long to wait for a byte, or the end.
    pub fn wait_ms(mut self, wait_ms: u64) -> ReadRequest {
        self.wait_ms = Some(wait_ms);
        self
    }
    /// How the bytes are shown.
    pub fn view(mut self, view: View) -> ReadRequest {
        self.view = view;
        self
    }
    /// Which lines, instead of an offset.
    pub fn lines(mut self, lines: Lines) -> ReadRequest {
        self.lines = Some(lines);
        self
    }

    /// Reads as the command's follower.
    pub fn follows(mut self) -> ReadRequest {
        self.follows = true;
        self
    }

    /// Where a byte must be before anything can be read. None: it depends, so look first.
    pub fn wait_at(&self) -> Option<u64> {
        self.lines.is_none().then_some(self.offset)
    }
    pub(crate) fn asks_for_nothing(&self) -> bool {
        let no_line = |lines| matches!(lines, Lines::Last { count: 0 } | Lines::From { count: 0, .. });
        self.length == 0 || self.lines.is_some_and(no_line)
    }
}
impl Default for ReadRequest {
    fn default() -> ReadRequest {
        ReadRequest {
            which: OutputFile::Combined,
            offset: 0,
            length: READ_MAX_BYTES,
            wait_ms: None,
            view: View::Raw,
            lines: None,
            follows: false,
        }
    }
}
