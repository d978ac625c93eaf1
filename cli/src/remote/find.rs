//! `ostler logs --pool`, `ostler cancel --pool`: a launch that somebody else may have asked for.

use super::{Failure, connect, list::list};
use crate::{
    args::{CancelArgs, LaunchPoolArgs, LogsArgs},
    exit, term,
};
use ostler::{Lines, OutputFile, ReadRequest, View};
use ostler_remote::{Handle, ListRequest, Listed, ListedState};
use std::{
    io::{self, Write},
    time::Duration,
};

/// Shortest beginning of an id that is taken for it: with less a slip would mean some launch.
const BEGINNING_MIN: usize = 4;
/// Longest wait of one read; who follows reads again.
const WAIT: Duration = Duration::from_secs(10);

/// The launch that a person means: by its id, by the beginning of it while that is unique, or `latest`.
fn find(args: &LaunchPoolArgs, text: &str) -> Result<(Handle, Listed), Failure> {
    let (remote, pool) = connect(&args.of)?;
    let request = match text {
        "latest" => ListRequest::new().newest(1),
        _ => {
            let beginning = text.to_owned();
            ListRequest::new().only(move |launch| launch.as_str().starts_with(&beginning))
        }
    };
    let listed = list(&remote, &pool, args.session.as_deref(), request)?.launches;
    let unknown = || Failure::Unknown { text: text.to_owned(), pool: pool.clone() };
    let fits = |exactly: bool| {
        let fits = move |one: &&Listed| {
            let id = one.launch.as_str();
            if exactly { id == text } else { text.len() >= BEGINNING_MIN && id.starts_with(text) }
        };
        listed.iter().filter(fits).collect::<Vec<_>>()
    };
    let meant = match text {
        "latest" => listed.iter().max_by_key(|one| one.at).into_iter().collect(),
        _ => Some(fits(true)).filter(|exact| !exact.is_empty()).unwrap_or_else(|| fits(false)),
    };
    let found = match meant[..] {
        [] => return Err(unknown()),
        [one] => one.clone(),
        _ => {
            let name = |one: &&Listed| format!("{} of session {}", one.launch, one.session);
            let fits = meant.iter().take(3).map(name).collect::<Vec<_>>().join(", ");
            return Err(Failure::Ambiguous { text: text.to_owned(), fits, count: meant.len() });
        }
    };
    let session = remote.session(found.session.clone(), &pool).wait()?;
    Ok((session.handle(&found.launch).wait()?, found))
}

/// `ostler logs --pool`.
pub(crate) fn logs(args: &LogsArgs) -> Result<u8, exit::Failure> {
    if args.root.artifacts.is_some() {
        let why = "its output is kept by its worker and the server";
        return Err(Failure::NotThere { option: "--artifacts", why }.into());
    }
    let which: OutputFile = args.stream.into();
    if which == OutputFile::Kept {
        let why = "what outlives a command is ended there";
        return Err(Failure::NotThere { option: "--stream kept", why }.into());
    }
    let (handle, _) = find(&args.pool, &args.id)?;
    let view = if args.clean { View::Clean } else { View::Raw };
    let request = ReadRequest::new().of(which).view(view);
    let mut next = match args.tail {
        Some(count) => request.lines(Lines::Last { count }),
        None => request,
    };
    let mut out = io::stdout().lock();
    // Without --follow what comes meanwhile is not chased.
    let mut until = None;
    loop {
        let mut read = handle.read().request(next);
        if args.follow {
            read = read.wait_for(WAIT);
        }
        let page = read.wait()?;
        out.write_all(&page.content)?;
        out.flush()?;
        next = request.offset(page.next_offset);
        let until = *until.get_or_insert(page.total_bytes);
        if page.eof || (!args.follow && (page.bytes_read == 0 || page.next_offset >= until)) {
            return Ok(0);
        }
    }
}

/// `ostler cancel --pool`: stops it, waits for its end, and says how it ended.
pub(crate) fn cancel(args: &CancelArgs) -> Result<u8, exit::Failure> {
    if args.root.artifacts.is_some() {
        return Err(Failure::NotThere { option: "--artifacts", why: "it is asked for by its launch" }.into());
    }
    let (handle, listed) = find(&args.pool, &args.id)?;
    if let ListedState::Ended(record) = &listed.state {
        return Err(Failure::Ended { launch: listed.launch, ending: record.ending() }.into());
    }
    let cancel = if args.now { handle.cancel_now_and_notify() } else { handle.cancel_and_notify() };
    term::summary(&Default::default(), &cancel.wait()?.record);
    Ok(0)
}
