//! What the command reads: this program's own stdin, a file, or nothing.
//!
//! * in: `--stdin`; what there is to be read
//! * out: it, to the command, as fast as that takes it
//! * keeps: a chunk at a time is on its way; the end of the one is the end of the other

use crate::{
    events::spawn,
    exit::Failure,
    terminal::{END_OF_FILE, Insists},
};
use ostler::Handle;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, ErrorKind, IsTerminal, Read},
    path::Path,
    time::{Duration, Instant},
};

/// Read at a time: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// What is passed on; none: nothing.
pub(crate) type Source = Option<Box<dyn Read + Send>>;

/// By `--stdin`. Without it a terminal is passed on only to a command that has one (`pty`): a person who waits for an answer need not know that a
/// command reads; then `says` is told.
pub(crate) fn source(
    asked: Option<&OsStr>,
    pty: bool,
    says: impl FnOnce(&'static str),
) -> Result<Source, Failure> {
    let asked = asked.map(|asked| (asked.to_str(), asked));
    Ok(match asked {
        Some((Some("null"), _)) => None,
        None if !pty && io::stdin().is_terminal() => {
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

/// Passes it on until either side ends. The thread may wait for input as long as this process lives. `insisted` is called when somebody
/// at the keyboard of a raw terminal insists; none: there is none. A terminal's input ends with a key.
pub(crate) fn pass(
    source: Box<dyn Read + Send>,
    handle: Handle,
    pty: bool,
    insisted: Option<impl Fn() + Send + 'static>,
) -> Result<(), Failure> {
    spawn("stdin", move || {
        let (mut open, mut insists) = (false, Insists::default());
        let is_read = read(source, |bytes| {
            open = bytes.last() != Some(&b'\n');
            if let Some(insisted) = insisted.as_ref().filter(|_| insists.typed(bytes, Instant::now())) {
                insisted();
            }
            written(&handle, bytes, insisted.is_some())
        });
        if !is_read {
            return;
        }
        let _ = match pty {
            // In the middle of a line the first one ends only that.
            true => handle.write(vec![END_OF_FILE; 1 + usize::from(open)]).wait().map(drop),
            false => handle.close_stdin().wait(),
        };
    })
}

/// Reads a piece, never an empty one, when the one before is written. Whether it came to its end; false: `write` wanted no more.
pub(crate) fn read(mut source: Box<dyn Read + Send>, mut write: impl FnMut(&[u8]) -> bool) -> bool {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match source.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What can't be read any further has ended.
            Ok(0) | Err(_) => return true,
            Ok(count) if write(&chunk[..count]) => {}
            Ok(_) => return false,
        }
    }
}

/// False: it reads no more, or has ended. What is typed waits for nobody, and is thrown away where nobody takes it: else the key that
/// insists would never be read.
fn written(handle: &Handle, bytes: &[u8], typed: bool) -> bool {
    match typed {
        true => {
            let _ = handle.write_within(bytes, Duration::ZERO).wait();
            true
        }
        false => handle.write(bytes).wait().is_ok(),
    }
}
