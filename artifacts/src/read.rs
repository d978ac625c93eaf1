//! Reading a command's output by offset, while it runs and after.
//!
//! * in: a command's paths and a span
//! * out: a [`Page`] of at most [`READ_MAX_BYTES`]
//! * keeps: the end is looked at before the length: a page that says `eof` is the last

use crate::{
    Growth, Paths, RESULT_FILE, lock,
    result::open_to_read,
    text::{character_across, incomplete},
};

use ostler_messages::{CommandId, MAX_TIME_MS, OutputFile};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Most bytes in one page; a request for more gets this much. A page is held in memory and usually copied again into
/// some message, so a reader of a large file takes it in pieces.
pub const READ_MAX_BYTES: u64 = 1 << 20;

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReadRequest {
    /// Which of the files; on the wire `stream`. Default: combined.
    #[serde(rename = "stream")]
    pub which: OutputFile,
    /// Where to begin, in bytes. Default 0.
    pub offset: u64,
    /// How many bytes at most; above [`READ_MAX_BYTES`] is the same as that. Default [`READ_MAX_BYTES`].
    pub length: u64,
    /// How long to wait for a byte at `offset`, or the end. Absent or 0: not at all.
    pub wait_ms: Option<u64>,
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
}
impl Default for ReadRequest {
    fn default() -> ReadRequest {
        ReadRequest { which: OutputFile::Combined, offset: 0, length: READ_MAX_BYTES, wait_ms: None }
    }
}

/// A piece of a file. Pages read at each other's `next_offset` and joined give the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The file.
    pub path: PathBuf,
    /// Where the piece begins, as was asked.
    pub offset: u64,
    /// Length of `content`.
    pub bytes_read: u64,
    /// Where to go on.
    pub next_offset: u64,
    /// Bytes in the file when it was looked at.
    pub total_bytes: u64,
    /// Nothing follows, now or later.
    pub eof: bool,
    /// The bytes themselves.
    pub content: Vec<u8>,
}
impl Page {
    /// The content as text, invalid bytes as U+FFFD. A character that two pages share is in neither: whoever needs
    /// exact text joins the bytes first.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}
impl Serialize for Page {
    /// With `content` as [`Page::text`].
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut s = to.serialize_struct("Page", 7)?;
        s.serialize_field("path", &self.path.to_string_lossy())?;
        s.serialize_field("offset", &self.offset)?;
        s.serialize_field("bytes_read", &self.bytes_read)?;
        s.serialize_field("next_offset", &self.next_offset)?;
        s.serialize_field("total_bytes", &self.total_bytes)?;
        s.serialize_field("eof", &self.eof)?;
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
    fn new(path: &Path, error: &io::Error) -> ReadError {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::NotFound => ReadError::NotFound { path },
            _ => ReadError::Io { path, errno: error.raw_os_error().unwrap_or(nix::libc::EIO) },
        }
    }
}

/// Reads what is there, without waiting. An offset beyond the end gives an empty page.
///
/// The page is the last one (`eof`) if it reaches the end of the file and nothing can follow. With `live` that is when
/// the recorder has ended. Without it nobody in this process records the command, and it is when `result.json` is
/// there, or when no *other* process that has the host's pid in the command's id holds its lock: a host that died
/// leaves a file that has an end all the same.
///
/// # Errors
/// [`ReadError`]; a page is never partly an error.
pub fn read_now(paths: &Paths, live: Option<&Growth>, request: &ReadRequest) -> Result<Page, ReadError> {
    let path = paths.file(request.which);
    // The end first: a length that is looked at after the end is final.
    let ended = live.map_or_else(|| no_writer(paths), Growth::ended);
    let (cut, total_bytes) = match live.and_then(Growth::memory) {
        Some(memory) => {
            let all = memory[request.which as usize].as_slice();
            let total = all.len() as u64;
            let read = |(from, to): (u64, u64)| Ok(all[from as usize..to as usize].to_vec());
            (on_characters(span(request, total), total, ended, read), total)
        }
        None => {
            let file = open_to_read(&path).map_err(|error| ReadError::new(&path, &error))?;
            let on_disk = file.metadata().map_err(|error| ReadError::new(&path, &error))?.len();
            // While it grows, the file may already hold bytes that the recorder has not counted.
            let total = live.filter(|_| !ended).map_or(on_disk, |live| live.length(request.which));
            let read = |span| read_span(&file, span);
            (on_characters(span(request, total), total, ended, read), total)
        }
    };
    let (from, to) = span(request, total_bytes);
    let Cut { offset, content, waits } = cut.map_err(|error| ReadError::new(&path, &error))?;
    let bytes_read = content.len() as u64;
    let offset = if bytes_read == 0 { request.offset } else { offset };
    if bytes_read == 0 && to > from && !waits {
        // An empty page would make the caller ask again, for ever.
        return Err(ReadError::CutShort { path });
    }
    let next_offset = offset + bytes_read;
    Ok(Page {
        path,
        offset,
        bytes_read,
        next_offset,
        total_bytes,
        eof: ended && next_offset >= total_bytes,
        content,
    })
}

/// The same, on the caller's thread, after waiting for a byte at `offset`, or the end, at most `wait_ms`. It sleeps
/// until the recorder wakes it and never polls.
///
/// Without `live` there is nobody to wake it, and it does not wait.
///
/// # Errors
/// As [`read_now`].
pub fn read_blocking(paths: &Paths, live: Option<&Growth>, request: &ReadRequest) -> Result<Page, ReadError> {
    if let (Some(live), Some(wait_ms)) = (live, request.wait_ms.filter(|ms| *ms > 0)) {
        let deadline = Instant::now() + Duration::from_millis(wait_ms.min(MAX_TIME_MS));
        let mut offset = request.offset;
        while live.wait(request.which, offset, deadline) {
            let page = read_now(paths, Some(live), request)?;
            if page.bytes_read > 0 || page.eof || page.total_bytes <= request.offset {
                return Ok(page);
            }
            // The rest of a character is on its way.
            offset = page.total_bytes;
        }
    }
    read_now(paths, live, request)
}

/// Resolves when there is a byte at `offset`, or at the end. Reads that follow are short, so an async caller races this
/// with its own timer and calls [`read_now`]. Dropping it is fine at any time.
pub async fn next_byte(live: &Growth, which: OutputFile, offset: u64) {
    live.grow(which, offset).await;
}

/// A character has at most so many bytes beside its first.
const CHARACTER_SLACK: u64 = 3;

/// The bytes that a request means, in a file of this length.
fn span(request: &ReadRequest, total: u64) -> (u64, u64) {
    let from = request.offset.min(total);
    (from, from + request.length.min(READ_MAX_BYTES).min(total - from))
}

/// What was read of a span.
struct Cut {
    offset: u64,
    content: Vec<u8>,
    /// It is empty because all that there is is a part of a character, of which the rest may come.
    waits: bool,
}

/// Reads a span so that it begins and ends on a character (UTF-8), where there are characters. One that the beginning would
/// split is in it whole, one that the end would split is not, unless it is the first: then the span is longer by up to 3
/// bytes. Of one that is still coming nothing is read before it is whole, or the output has ended.
fn on_characters(
    (from, to): (u64, u64),
    total: u64,
    ended: bool,
    read: impl Fn((u64, u64)) -> io::Result<Vec<u8>>,
) -> io::Result<Cut> {
    let around = (from.saturating_sub(CHARACTER_SLACK), (to + CHARACTER_SLACK).min(total));
    if from == to {
        return Ok(Cut { offset: from, content: Vec::new(), waits: false });
    }
    let mut bytes = read(around)?;
    let get = |offset: u64| bytes.get(usize::try_from(offset.checked_sub(around.0)?).ok()?).copied();
    let begin = character_across(from, get).map_or(from, |(start, _)| start);
    let end = match character_across(to, get) {
        Some((start, _)) if start > begin => start,
        Some((_, end)) => end,
        None if to == total && !ended => to - incomplete(&bytes) as u64,
        None => to,
    };
    let within = |offset: u64| usize::try_from(offset - around.0).unwrap_or(usize::MAX).min(bytes.len());
    let (begin_at, end_at) = (within(begin), within(end));
    bytes.truncate(end_at);
    bytes.drain(..begin_at.min(bytes.len()));
    let waits = bytes.is_empty() && end < to;
    Ok(Cut { offset: begin, content: bytes, waits })
}

fn read_span(file: &File, (from, to): (u64, u64)) -> io::Result<Vec<u8>> {
    let mut content = vec![0; (to - from) as usize];
    let mut done = 0;
    while done < content.len() {
        match file.read_at(&mut content[done..], from + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(done);
    Ok(content)
}

/// Whether no process can be adding to a command that this one does not record.
fn no_writer(paths: &Paths) -> bool {
    if paths.dir.join(RESULT_FILE).symlink_metadata().is_ok() {
        return true;
    }
    let command = paths.dir.file_name().and_then(|name| name.to_str()?.parse::<CommandId>().ok());
    match (paths.dir.parent(), command) {
        (Some(root), Some(command)) if command.host_pid != std::process::id() => {
            !lock::is_held(root, command.host_pid)
        }
        _ => true,
    }
}
