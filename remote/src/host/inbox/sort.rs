//! What becomes of what the engine has delivered.

use super::{POLL, Reader, Slot};
use crate::{
    host::handle::whole,
    names::launch_key,
    store::{self, decode},
    words::{End, PROGRESS, Progress, Stored},
};
use async_nats::jetstream::{self, AckKind};
use futures_util::FutureExt;
use ostler::{CommandId, Content, Entry, SOURCE_EXIT, SOURCE_PROGRESS, TOOL_PROGRESS, TOOL_RESULT};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

impl Reader {
    /// Sorts out what was delivered.
    pub(super) async fn arrived(&self, message: jetstream::Message) {
        let said = match self.sort(&message).await {
            Sorted::Entry(_) if self.closed.load(Ordering::Acquire) => AckKind::Nak(None),
            Sorted::Entry(entry) => return self.is_ready(entry, message),
            // Somebody has it, or it says nothing any more.
            Sorted::Nothing => AckKind::Ack,
            Sorted::Taken(command) => {
                crate::host::lock(&self.buffer).forget(command);
                AckKind::Ack
            }
            Sorted::Later(time) => AckKind::Nak(Some(time)),
        };
        // One that does not arrive is answered for again.
        let _ = message.ack_with(said).await;
    }

    async fn sort(&self, message: &jetstream::Message) -> Sorted {
        let Ok(info) = message.info() else { return Sorted::Nothing };
        let (sequence, delivered) = (info.stream_sequence, info.delivered);
        if crate::host::lock(&self.buffer).done.contains(&sequence) {
            // It went out, and its acknowledgement was lost.
            return Sorted::Nothing;
        }
        let new = |(kind, source), record, at| {
            let kind = (Cow::Borrowed(kind), Cow::Borrowed(source));
            Entry::new(sequence, self.session.clone(), kind, Content::Record(record), at)
        };
        // A launch can be called so, too: it is the third part that counts.
        let key = message.subject.strip_prefix(&self.store.results.prefix).unwrap_or_default();
        if key.split('.').nth(2) == Some(PROGRESS) {
            let Ok(progress) = decode::<Progress>(&message.subject, &message.payload) else {
                return Sorted::Nothing;
            };
            let key = launch_key(self.session.as_str(), &progress.launch);
            // One that was late stands there beside the result that should have withdrawn it.
            return match store::read::<serde::de::IgnoredAny>(&self.store.results, &key).await {
                Ok(None) => Sorted::Entry(new(
                    (TOOL_PROGRESS, SOURCE_PROGRESS),
                    Arc::from(progress.record),
                    progress.at,
                )),
                Ok(Some(_)) => Sorted::Nothing,
                Err(_) => Sorted::Later(POLL),
            };
        }
        // A mark of the engine's own, or nothing that we have written.
        let Ok(stored) = decode::<Stored>(&message.subject, &message.payload) else { return Sorted::Nothing };
        let redelivered = match (&stored.end, stored.held_ms) {
            (End::Refused { .. }, _) => return Sorted::Nothing,
            (End::Result { record, .. }, _) if stored.taken.is_some() => {
                return Sorted::Taken(record.command_id);
            }
            // Whoever asked by the handle has so long to take it.
            (_, Some(ms)) if delivered == 1 => return Sorted::Later(Duration::from_millis(ms)),
            (_, held) => delivered > 1 + i64::from(held.is_some()),
        };
        let key = launch_key(self.session.as_str(), &stored.launch);
        let Ok(record) = whole(&self.store, &key, &stored).await else { return Sorted::Later(POLL) };
        let mut entry = new((TOOL_RESULT, SOURCE_EXIT), record, stored.at);
        entry.redelivered = redelivered;
        Sorted::Entry(entry)
    }

    fn is_ready(&self, entry: Entry, message: jetstream::Message) {
        let (sequence, of) = (entry.sequence, command(&entry));
        let slot = Slot { entry, message: Arc::new(message) };
        let mut buffer = crate::host::lock(&self.buffer);
        buffer.read.remove(&sequence);
        // What was said of a command before is withdrawn by its newest progress, and by its result.
        buffer.ready.retain(|there| {
            let stale =
                there.entry.is_progress() && command(&there.entry) == of && there.entry.sequence != sequence;
            if stale {
                // One that does not arrive is sorted out when it is delivered again.
                let _ = there.message.ack().now_or_never();
            }
            !stale
        });
        match buffer.ready.iter_mut().find(|there| there.entry.sequence == sequence) {
            Some(there) => *there = slot,
            None => buffer.ready.push_back(slot),
        }
        drop(buffer);
        self.came.notify_waiters();
    }
}

/// What becomes of what was delivered.
enum Sorted {
    Entry(Entry),
    /// Somebody has the result of this command, by its handle.
    Taken(CommandId),
    Nothing,
    Later(Duration),
}

pub(super) fn command(entry: &Entry) -> Option<CommandId> {
    entry.record().map(|record| record.command_id)
}
