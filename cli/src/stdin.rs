//! What the command reads: this program's own stdin, a file, or nothing.
//!
//! * in: `--stdin`; what there is to be read
//! * out: it, to the command, as fast as that takes it
//! * keeps: a chunk at a time is on its way; the end of the one is the end of the other

use crate::exit::Failure;
use ostler::Handle;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, ErrorKind, IsTerminal, Read},
    path::Path,
    thread,
};

/// Read at a time: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// What is passed on; none: nothing.
pub(crate) type Source = Option<Box<dyn Read + Send>>;

/// By `--stdin`. Without it a terminal is not passed on: a person who waits for an answer need not know that a command reads; then `says`
/// is told.
pub(crate) fn source(asked: Option<&OsStr>, says: impl FnOnce(&str)) -> Result<Source, Failure> {
    let asked = asked.map(|asked| (asked.to_str(), asked));
    Ok(match asked {
        Some((Some("null"), _)) => None,
        None if io::stdin().is_terminal() => {
            says("stdin is a terminal and not passed on (--stdin inherit does)");
            None
        }
        None | Some((Some("inherit"), _)) => Some(Box::new(io::stdin())),
        Some((_, path)) => Some(Box::new(File::open(Path::new(path)).map_err(|error| {
            let said = io::Error::new(error.kind(), format!("{}: {error}", Path::new(path).display()));
            Failure::System { what: "--stdin", source: said }
        })?)),
    })
}

/// Passes it on until either side ends. The thread may wait for input as long as this process lives.
pub(crate) fn pass(mut source: Box<dyn Read + Send>, handle: Handle) -> Result<(), Failure> {
    let run = move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match source.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What can't be read any further has ended.
                Ok(0) | Err(_) => break,
                // It reads no more, or has ended.
                Ok(count) if handle.write(&chunk[..count]).wait().is_err() => return,
                Ok(_) => {}
            }
        }
        let _ = handle.close_stdin().wait();
    };
    thread::Builder::new().name("stdin".into()).spawn(run).map(drop).map_err(Failure::system("thread"))
}
