//! What the hosts among the fixtures share.

use ostler::{Filter, Handle, Record, Session};
use std::{error::Error, time::Duration};

/// Whatever goes wrong ends the host.
pub type Done<T> = Result<T, Box<dyn Error>>;

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// The result of a handle, from its session's inbox.
pub fn result(session: &Session, handle: &Handle) -> Done<Record> {
    let filter = Filter::results().and_handle(handle.id());
    let entries = session.inbox().receive(filter, 1, LIMIT).wait()?;
    Ok(entries.first().and_then(|entry| entry.record()).ok_or("no result in time")?.clone())
}

/// Waits until a command has written so many lines.
pub fn writes(handle: &Handle, lines: usize) -> Done<()> {
    let (mut written, mut offset) = (0, 0);
    while written < lines {
        let page = handle.read().offset(offset).wait_for(LIMIT).wait()?;
        if page.bytes_read == 0 {
            return Err("the lines did not come".into());
        }
        offset = page.next_offset;
        written += page.text().lines().count();
    }
    Ok(())
}
