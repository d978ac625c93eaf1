//! What a reader gets: a piece of a file, or why not.

use crate::ReadRequest;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// A piece of a file. Pages read at each other's `next_offset` and joined give the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The file.
    pub path: PathBuf,
    /// Where the piece begins, in raw bytes: as was asked, or where the character or the line begins.
    pub offset: u64,
    /// How many raw bytes the piece stands for: in the raw view the length of `content`, in the clean view what it was
    /// made from.
    pub bytes_read: u64,
    /// Where to go on, in raw bytes, whatever the view.
    pub next_offset: u64,
    /// Bytes in the file when it was looked at.
    pub total_bytes: u64,
    /// Nothing follows, now or later: the command has ended, or its output is not recorded any more.
    pub eof: bool,
    /// The number of the first line, where lines were asked for and there are some. It is counted from the nearest known place:
    /// of a command that this process knows mostly within 1 MiB. Otherwise from the beginning of the file, and null if that is
    /// more than 256 MiB away (about 50 ms from the page cache).
    pub first_line: Option<u64>,
    /// At the end of a file whose recording stopped: what is missing there.
    pub gap: Option<Gap>,
    /// The bytes themselves, or the clean text.
    pub content: Vec<u8>,
}

/// Bytes that the command wrote and nobody recorded: beyond the output limit, or after a failed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// Where they would stand in the file.
    pub offset: u64,
    /// How many, so far if the command runs. Of one stream of a command that this process does not know any more: those of
    /// both streams, since its record does not say whose they were.
    pub bytes: u64,
}

impl Page {
    /// One that begins at 0, and whose view is raw; what is otherwise is set afterwards. For whoever has it from another machine.
    pub fn new(path: PathBuf, content: Vec<u8>) -> Page {
        let length = content.len() as u64;
        Page {
            path,
            offset: 0,
            bytes_read: length,
            next_offset: length,
            total_bytes: length,
            eof: false,
            first_line: None,
            gap: None,
            content,
        }
    }
    /// The content as text, invalid bytes as U+FFFD. A character that two pages share is in neither: whoever needs
    /// exact text joins the bytes first.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Where to wait for a byte before the same is asked for again. None if this page is an answer: it has something, nothing
    /// can follow, or nothing was asked for.
    pub fn wait_at(&self, request: &ReadRequest) -> Option<u64> {
        let waits = self.bytes_read == 0 && !self.eof && !request.asks_for_nothing();
        let at =
            if request.lines.is_none() { self.total_bytes.max(request.offset) } else { self.total_bytes };
        waits.then_some(at)
    }
}
impl Serialize for Page {
    /// With `content` as [`Page::text`].
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut s = to.serialize_struct("Page", 9)?;
        s.serialize_field("path", &self.path.to_string_lossy())?;
        s.serialize_field("offset", &self.offset)?;
        s.serialize_field("bytes_read", &self.bytes_read)?;
        s.serialize_field("next_offset", &self.next_offset)?;
        s.serialize_field("total_bytes", &self.total_bytes)?;
        s.serialize_field("eof", &self.eof)?;
        s.serialize_field("first_line", &self.first_line)?;
        s.serialize_field("gap", &self.gap)?;
        s.serialize_field("content", &String::from_utf8_lossy(&self.content))?;
        s.end()
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such command, or its artifacts were removed.
    #[error("there is no {}", path.display())]
    NotFound {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The file is shorter than what was written to it: somebody cut it while the command runs.
    #[error("{} was cut short by others", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("reading {}: {}", path.display(), io::Error::from_raw_os_error(*errno))]
    Io {
        /// The file.
        path: PathBuf,
        /// Its errno(3).
        errno: i32,
    },
}
impl ReadError {
    pub(crate) fn new(path: &Path, error: &io::Error) -> ReadError {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::NotFound => ReadError::NotFound { path },
            _ => ReadError::Io { path, errno: error.raw_os_error().unwrap_or(nix::libc::EIO) },
        }
    }
}
