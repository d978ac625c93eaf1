//! `result.json`: the record as it was at the end, beside the output.

use crate::{Directory, RESULT_FILE};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use ostler_messages::{CommandId, Record};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Largest `result.json` that is read back. Two texts of 16 MiB, the highest that a request may ask for, fit when each byte needs an
/// escape of six; a file above it is not ours.
pub const RESULT_MAX_BYTES: u64 = 256 << 20;

/// Name under which the result is written before it is whole.
pub(crate) const RESULT_TEMP_FILE: &str = ".result.json.tmp";

/// Writes the record under a temporary name and renames it, so that a `result.json` is always whole.
pub(crate) fn write(dir: &Directory, record: &Record) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(record)?;
    let mut file = match dir.create(RESULT_TEMP_FILE) {
        // Nobody else writes here: it is what a crashed host left, or what the command put there.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            dir.remove(RESULT_TEMP_FILE)?;
            dir.create(RESULT_TEMP_FILE)?
        }
        other => other?,
    };
    let written = file.write_all(&json).and_then(|()| dir.rename(RESULT_TEMP_FILE, RESULT_FILE));
    if written.is_err() {
        // Half a file under a temporary name is worth nothing; if it can't be removed, `discard` will try again.
        let _ = dir.remove(RESULT_TEMP_FILE);
    }
    written
}

/// Fills in the texts of a record that dropped them, from the `result.json` beside its `output_path`.
///
/// False, and the record unchanged, if the file is gone, is not a regular file, is above [`RESULT_MAX_BYTES`], can't be
/// parsed or belongs to another command.
pub fn reload_text(record: &mut Record) -> bool {
    let texts = record.output_path.parent().and_then(|dir| read::<Texts>(&dir.join(RESULT_FILE)));
    match texts.filter(|texts| texts.command_id == record.command_id) {
        Some(texts) => {
            record.stdout = texts.stdout;
            record.stderr = texts.stderr;
            record.text_omitted = false;
            true
        }
        None => false,
    }
}

/// The part of a record that is read back.
#[derive(Deserialize)]
struct Texts {
    command_id: CommandId,
    stdout: String,
    stderr: String,
}

#[derive(Deserialize)]
struct Counts {
    byte_count: u64,
    recorded_bytes: u64,
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = open_to_read(path).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() > RESULT_MAX_BYTES {
        return None;
    }
    let mut json = Vec::with_capacity(about.len() as usize);
    file.take(RESULT_MAX_BYTES).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// How many bytes a sealed command said that are not in its combined file, if its record can be read.
pub(crate) fn unrecorded_bytes(path: &Path) -> u64 {
    read::<Counts>(path).map_or(0, |counts| counts.byte_count.saturating_sub(counts.recorded_bytes))
}

/// Opens a file of a command directory: never through a link, and never blocking on a FIFO.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}
