//! `ostler logs --pool`, `ostler cancel --pool`: a launch that somebody else may have asked for.

use super::{Failure, connect, list::list};
use crate::{
    args::{CancelArgs, LaunchPoolArgs, LogsArgs},
    exit, term,
};
use ostler::{Lines, OutputFile, ReadRequest, View};
use ostler_remote::{Handle, List, ListRequest, Listed, ListedState};
use std::{
    cmp::Reverse,
    io::{self, Write},
    time::Duration,
};

/// Shortest beginning of an id that is taken for it: with less a slip would mean some launch.
const BEGINNING_MIN: usize = 4;
/// So many launches are named where several fit.
const NAMED: usize = 3;
/// Longest wait of one read; who follows reads again.
const WAIT: Duration = Duration::from_secs(10);

/// The launch that a person means: by its id, by the beginning of it while that is unique, or `latest`.
fn find(args: &LaunchPoolArgs, text: &str) -> Result<(Handle, Listed), Failure> {
    let (remote, pool) = connect(&args.of)?;
    let list = |request| list(&remote, &pool, args.session.as_deref(), request);
    let is_it = |fits: fn(&str, &str) -> bool| {
        let text = text.to_owned();
        ListRequest::new().only(move |launch| fits(launch.as_str(), &text))
    };
    let meant = match text {
        "latest" => {
            let mut latest = list(ListRequest::new().newest(1))?;
            latest.launches.sort_by_key(|one| Reverse(one.at));
            latest.launches.truncate(1);
            latest.more = 0;
            latest
        }
        _ => match list(is_it(|launch, text| launch == text))? {
            List { launches, .. } if launches.is_empty() && text.len() >= BEGINNING_MIN => {
                // More than one is too many: some are named, and the others counted.
                list(is_it(|launch, text| launch.starts_with(text)).newest(NAMED))?
            }
            exactly => exactly,
        },
    };
    let found = match &meant.launches[..] {
        [] => return Err(Failure::Unknown { text: text.to_owned(), pool }),
        [one] if meant.more == 0 => one.clone(),
        several => {
            let name = |one: &Listed| format!("{} of session {}", one.launch, one.session);
            let fits = several.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
            let count = several.len() + usize::try_from(meant.more).unwrap_or(usize::MAX);
            return Err(Failure::Ambiguous { text: text.to_owned(), fits, count });
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
