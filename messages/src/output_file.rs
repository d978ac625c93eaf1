//! The files of a command's output, and how they are shown.

use crate::{BadId, Stream};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One of a command's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFile {
    /// Both streams in order of arrival.
    #[default]
    Combined,
    /// All of stdout.
    Stdout,
    /// All of stderr.
    Stderr,
    /// What kept leftovers said after the command's end. It is there from their first byte on.
    Kept,
}
impl OutputFile {
    /// All four.
    pub const ALL: [OutputFile; 4] =
        [OutputFile::Combined, OutputFile::Stdout, OutputFile::Stderr, OutputFile::Kept];
    /// Those of the command itself, which its record seals.
    pub const SEALED: [OutputFile; 3] = [OutputFile::Combined, OutputFile::Stdout, OutputFile::Stderr];

    /// The file's name in the command's directory.
    pub fn file_name(self) -> &'static str {
        match self {
            OutputFile::Combined => "combined.txt",
            OutputFile::Stdout => "stdout.txt",
            OutputFile::Stderr => "stderr.txt",
            OutputFile::Kept => "kept.txt",
        }
    }
}
impl From<Stream> for OutputFile {
    fn from(stream: Stream) -> OutputFile {
        match stream {
            Stream::Stdout => OutputFile::Stdout,
            Stream::Stderr => OutputFile::Stderr,
        }
    }
}
impl fmt::Display for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputFile::Combined => "combined",
            OutputFile::Stdout => "stdout",
            OutputFile::Stderr => "stderr",
            OutputFile::Kept => "kept",
        })
    }
}
impl FromStr for OutputFile {
    type Err = BadId;
    fn from_str(text: &str) -> Result<OutputFile, BadId> {
        OutputFile::ALL.into_iter().find(|which| which.to_string() == text).ok_or_else(|| BadId {
            kind: "stream",
            text: text.to_owned(),
            form: "combined, stdout, stderr or kept",
        })
    }
}

/// How the bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// As they came.
    #[default]
    Raw,
    /// As text for models and people, see `Cleaner`. A page has whole lines: it ends at the end of a line, or
    /// at the end of the output, and what stands in an unfinished line is read when that is finished. So a prompt that waits
    /// for an answer is in the raw view only. `offset` is to be 0, the `next_offset` of a clean page, or where a line begins;
    /// from anywhere else the page may begin with the rest of a character or of an escape sequence.
    Clean,
}
