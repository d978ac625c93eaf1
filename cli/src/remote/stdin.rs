//! What a command of another machine reads: this program's own stdin, a file, or nothing.
//!
//! * in: `--stdin`; what there is to be read
//! * out: it, along with the launch if it is a short file; else to its worker, as fast as the command takes it
//! * keeps: a piece at a time is on its way, and at most [`INPUT_MAX_BYTES`](ostler::INPUT_MAX_BYTES) wait for the command with its worker

use super::run::Event;
use crate::{
    args::RunArgs,
    events::spawn,
    exit::Failure,
    stdin::{read, source},
};
use ostler::CallError;
use ostler_remote::{Error, Handle, Written};
use std::{
    fs,
    io::{Cursor, Read},
    path::Path,
    sync::mpsc::Sender,
    thread,
    time::Duration,
};

/// Longest file that is sent along: a launch is one message, of at most 1 MiB, in which bytes that are no text take a third more.
const ALONG_MAX_BYTES: u64 = 512 << 10;
/// Between two tries to write what there was no room for, or to end what can't be reached: the worker answers when it has waited for 20 s itself.
const AGAIN: Duration = Duration::from_secs(1);

/// Where it comes from.
pub(super) enum Input {
    Nothing,
    /// It is sent along.
    Along(Vec<u8>),
    /// It is passed on when the command runs.
    Passed(Box<dyn Read + Send>),
}

/// By `--stdin`, as on this machine. A short file is sent along: then the command has all of it, whatever becomes of this process.
pub(super) fn input(args: &RunArgs, says: impl FnOnce(&'static str)) -> Result<Input, Failure> {
    let asked = args.stdin.as_deref();
    let Some(mut source) = source(asked, false, says)? else { return Ok(Input::Nothing) };
    let is_file = |path| fs::metadata(path).is_ok_and(|data| data.is_file());
    if !asked.filter(|asked| *asked != "inherit").map(Path::new).is_some_and(is_file) {
        return Ok(Input::Passed(source));
    }
    let mut bytes = Vec::new();
    let taken = source.by_ref().take(ALONG_MAX_BYTES + 1).read_to_end(&mut bytes);
    taken.map_err(Failure::system("--stdin"))?;
    Ok(match bytes.len() as u64 > ALONG_MAX_BYTES {
        true => Input::Passed(Box::new(Cursor::new(bytes).chain(source))),
        false => Input::Along(bytes),
    })
}

/// Passes it on until either side ends. The thread may wait for input as long as this process lives. [`Event::Unfed`] follows if the command can't be
/// given the rest, which is not known to have come to its end then.
pub(super) fn pass(
    source: Box<dyn Read + Send>,
    handle: Handle,
    events: Sender<Event>,
) -> Result<(), Failure> {
    spawn("stdin", move || {
        let (mut failed, mut pieces) = (None, 0_u64);
        // Another one for each process of any machine: the command may have had input from one before.
        let own = super::run::own_session("stdin");
        let is_read = read(source, |bytes| {
            pieces += 1;
            let id = format!("{own}-{pieces}");
            loop {
                match next(handle.write_once(&id, bytes).wait()) {
                    Ok(Next::More) => return true,
                    Ok(Next::Nothing) => return false,
                    Ok(Next::Again) => thread::sleep(AGAIN),
                    Err(error) => {
                        failed = Some(error);
                        return false;
                    }
                }
            }
        });
        if let Some(error) = failed {
            // Whoever listens no more needs nothing.
            let _ = events.send(Event::Unfed(error));
        }
        // That can be asked for again: a worker that is away hears of it when it is back, or the command has ended.
        while is_read && matches!(handle.close_stdin().wait(), Err(error) if is_away(&error)) {
            thread::sleep(AGAIN);
        }
    })
}

/// What follows a piece.
#[derive(Debug, PartialEq)]
enum Next {
    /// The next one.
    More,
    /// It reads no more, or has ended.
    Nothing,
    /// The same: it was not written.
    Again,
}

fn next(written: Result<Written, Error>) -> Result<Next, Error> {
    match written {
        Ok(Written { dropped: 1.., .. })
        | Err(Error::HandleEnded { .. } | Error::Call(CallError::StdinClosed { .. })) => Ok(Next::Nothing),
        Ok(_) => Ok(Next::More),
        // There is no room behind what waits with its worker.
        Err(Error::Call(CallError::InputFull { .. })) => Ok(Next::Again),
        // It may be written: under its id it is not written twice. If its worker does not come back, the command is lost before long.
        Err(error) if is_away(&error) => Ok(Next::Again),
        Err(error) => Err(error),
    }
}

fn is_away(error: &Error) -> bool {
    matches!(error, Error::WorkerSilent { .. } | Error::Server { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_remote::LaunchId;

    #[test]
    fn what_there_is_no_room_for_is_written_again_and_what_may_be_written_is_not() {
        let written = |taken, queued, dropped| {
            let mut written = Written::default();
            (written.taken, written.queued, written.dropped) = (taken, queued, dropped);
            written
        };
        let launch: LaunchId = "l".parse().unwrap();
        let closed = CallError::StdinClosed { handle_id: launch.handle_id() };
        let full = CallError::InputFull { queued: 9, writes: 1, limit: 9, writes_limit: 9 };
        assert_eq!(next(Ok(written(9, 0, 0))).unwrap(), Next::More);
        assert_eq!(next(Ok(written(0, 9, 0))).unwrap(), Next::More);
        assert_eq!(next(Err(full.into())).unwrap(), Next::Again);
        assert_eq!(next(Ok(written(4, 0, 5))).unwrap(), Next::Nothing);
        assert_eq!(next(Err(closed.into())).unwrap(), Next::Nothing);
        assert_eq!(next(Err(Error::HandleEnded { launch })).unwrap(), Next::Nothing);
        let silent = Error::WorkerSilent { worker: "w".parse().unwrap(), within: AGAIN };
        assert_eq!(next(Err(silent)).unwrap(), Next::Again);
        next(Err(Error::Closed)).unwrap_err();
    }
}
