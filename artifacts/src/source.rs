//! Where a file's bytes are: on disk, in memory, or nowhere yet.

use crate::{Growth, OutputFile, Paths, growth::Memory, result::open_to_read};
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    sync::MutexGuard,
};

pub(crate) enum Source<'a> {
    Disk(File),
    Memory(MutexGuard<'a, Memory>, OutputFile),
    /// The file of kept leftovers that have said nothing, or do not exist.
    Nothing,
}

impl Source<'_> {
    pub(crate) fn open<'a>(
        paths: &Paths,
        live: Option<&'a Growth>,
        which: OutputFile,
    ) -> io::Result<Source<'a>> {
        if let Some(memory) = live.and_then(Growth::memory) {
            return Ok(Source::Memory(memory, which));
        }
        match open_to_read(&paths.file(which)) {
            Err(error) if which == OutputFile::Kept && error.kind() == ErrorKind::NotFound => {
                // Of a command that there is not, or not any more, it is missing.
                let there = paths.combined().symlink_metadata();
                there.map(|_| Source::Nothing).map_err(|_| error)
            }
            file => file.map(Source::Disk),
        }
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            Source::Disk(file) => file.metadata().map(|about| about.len()),
            Source::Memory(memory, which) => Ok(memory[*which as usize].length()),
            Source::Nothing => Ok(0),
        }
    }

    /// Fills the buffer from an offset, as far as there is something; how far that was.
    pub(crate) fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = match self {
            Source::Disk(file) => file,
            Source::Memory(memory, which) => {
                return Ok(memory[*which as usize].read_at(to, offset));
            }
            Source::Nothing => return Ok(0),
        };
        let mut done = 0;
        while done < to.len() {
            match file.read_at(&mut to[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The bytes of a span that fits in memory, or what there is of it.
    pub(crate) fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let done = self.read_at(&mut bytes, from)?;
        bytes.truncate(done);
        Ok(bytes)
    }
}
