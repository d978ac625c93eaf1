//! What `ostler run` can't do on another machine.

use super::Failure;
use crate::{args::RunArgs, values::Left};
use std::{fs::File, io, io::Read, path::Path};

/// Longest file that is sent along: a launch is one message, of at most 1 MiB, in which bytes that are no text take a third more.
const STDIN_MAX_BYTES: u64 = 512 << 10;

/// The first option that was asked for and can't be had.
pub(super) fn refused(args: &RunArgs) -> Result<(), Failure> {
    let not = |option, why| Err(Failure::NotThere { option, why });
    if args.pty {
        return not("--pty", "a terminal there would not be this one");
    }
    if args.events {
        return not("--events", "--json has the result");
    }
    if args.progress.is_some() {
        return not("--progress", "`ostler ps --pool` shows what runs, from a second terminal");
    }
    if args.leftovers == Left::Keep {
        return not("--leftovers keep", "what outlives a command is ended there");
    }
    if args.show_path {
        return not("--show-path", "its output is kept by the server; `ostler logs --pool` prints it");
    }
    if args.trace.is_some() {
        return not("--trace", "the actors are those of its worker");
    }
    if args.root.artifacts.is_some() {
        return not("--artifacts", "it is an option of `ostler worker`");
    }
    if args.stdin.as_ref().is_some_and(|stdin| stdin == "inherit") {
        return not("--stdin inherit", "give it a file, which is sent along");
    }
    Ok(())
}

/// What is sent along to be read. None: nothing.
pub(super) fn stdin(args: &RunArgs) -> Result<Option<Vec<u8>>, crate::exit::Failure> {
    let Some(path) = args.stdin.as_ref().filter(|stdin| *stdin != "null").map(Path::new) else {
        return Ok(None);
    };
    let failed = |error: io::Error| {
        let source = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        crate::exit::Failure::System { what: "--stdin", source }
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(STDIN_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > STDIN_MAX_BYTES {
        return Err(Failure::NotThere {
            option: "--stdin",
            why: "the file is longer than 512 KiB, which is what one message carries",
        }
        .into());
    }
    Ok(Some(bytes))
}

/// Whether somebody may expect that ostler's own stdin is passed on, as it is on this machine.
pub(super) fn expects_stdin(args: &RunArgs) -> bool {
    use std::os::{fd::AsFd, unix::fs::MetadataExt};
    let own = || {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok::<bool, io::Error>(file.metadata()?.rdev() == std::fs::metadata("/dev/null")?.rdev())
    };
    args.stdin.is_none() && !own().unwrap_or(true)
}
