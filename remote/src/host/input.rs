//! What a running command is given: input, and what is done at once.

use super::{Call, Handle, handle::WORKER_TIME};
use crate::{
    words::{Order, WorkerAsk, WorkerReply},
    worker::READ_WAIT,
};
use ostler::{CallError, INPUT_MAX_BYTES, Text, UnixSignal};
use std::time::Duration;

/// Longest piece of a write: a message may have 1 MiB, and a byte that is no text takes four in it.
const WRITE_MAX_BYTES: usize = 128 << 10;

/// What became of a write, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The command's end of the pipe has taken so many.
    pub taken: u64,
    /// So many are queued behind them, and go on as the command reads.
    pub queued: u64,
    /// So many were dropped, because the command has closed its stdin or has ended.
    pub dropped: u64,
}

impl Handle {
    /// Writes to the stdin or terminal of the command, in pieces of 128 KiB, and answers when its end of the pipe has taken them, or 20 s later what of the last piece is
    /// queued. A piece whose answer was lost is sent again under the same id, and not written twice. After an error the pieces before it are written.
    ///
    /// # Errors
    /// More than [`INPUT_MAX_BYTES`], as on one machine; it was launched without; it has ended ([`HandleEnded`](crate::Error::HandleEnded)); [`WorkerSilent`](crate::Error::WorkerSilent): what was written before that is not known.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) -> Call<Written> {
        self.write_within(bytes, READ_WAIT)
    }
    /// The same, and each piece is waited for so long, at most 20 s.
    ///
    /// # Errors
    /// As [`write`](Handle::write).
    pub fn write_within(&self, bytes: impl Into<Vec<u8>>, time: Duration) -> Call<Written> {
        self.write_pieces(nuid::next().to_string(), bytes.into(), time)
    }
    /// The same as [`write`](Handle::write) under an id of the caller's own, of at most 200 bytes: the same bytes under the same id again are not written again, so one that
    /// has failed can be repeated, as long as the command is there.
    ///
    /// # Errors
    /// As [`write`](Handle::write); `WriteIdReused`: the id belongs to other bytes.
    pub fn write_once(&self, write_id: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Call<Written> {
        self.write_pieces(write_id.into(), bytes.into(), READ_WAIT)
    }
    fn write_pieces(&self, write_id: String, bytes: Vec<u8>, time: Duration) -> Call<Written> {
        let handle = self.clone();
        let wait_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.call(async move {
            let length = bytes.len() as u64;
            if length > INPUT_MAX_BYTES {
                return Err(CallError::InputTooLarge { bytes: length, limit: INPUT_MAX_BYTES }.into());
            }
            let mut all = Written::default();
            for (n, piece) in bytes.chunks(WRITE_MAX_BYTES).enumerate() {
                let (key, id) = (handle.key(), format!("{write_id}.{n}"));
                let ask = WorkerAsk::Write { key, id, bytes: Text::from_bytes(piece.to_vec()), wait_ms };
                match handle.ask_for(&ask, time.min(READ_WAIT) + WORKER_TIME).await? {
                    Some(WorkerReply::Written { taken, queued, dropped }) => {
                        all.taken += taken;
                        all.queued += queued;
                        all.dropped += dropped;
                    }
                    Some(other) => return Err(handle.unexpected(other)),
                    None => return Err(handle.has_ended()),
                }
            }
            Ok(all)
        })
    }
    /// Nothing more is written: the command reads the end of its input.
    ///
    /// # Errors
    /// As [`write`](Handle::write).
    pub fn close_stdin(&self) -> Call<()> {
        self.obey(Order::CloseStdin)
    }
    /// Its terminal has another size.
    ///
    /// # Errors
    /// As [`write`](Handle::write).
    pub fn resize(&self, rows: u16, columns: u16) -> Call<()> {
        self.obey(Order::Resize { rows, columns })
    }
    /// Sends a signal to the command itself; whether it ends is its affair.
    ///
    /// # Errors
    /// It has ended; [`WorkerSilent`](crate::Error::WorkerSilent): it is not known whether it was sent.
    pub fn signal(&self, signal: UnixSignal) -> Call<()> {
        self.obey(Order::Signal { signal })
    }
    /// Stops the whole tree, and its time.
    ///
    /// # Errors
    /// As [`signal`](Handle::signal).
    pub fn pause(&self) -> Call<()> {
        self.obey(Order::Pause)
    }
    /// Lets it go on.
    ///
    /// # Errors
    /// As [`signal`](Handle::signal).
    pub fn resume(&self) -> Call<()> {
        self.obey(Order::Resume)
    }
    fn obey(&self, order: Order) -> Call<()> {
        let handle = self.clone();
        self.call(async move {
            let ask = WorkerAsk::Obey { key: handle.key(), id: nuid::next().to_string(), order };
            match handle.ask_until_ended(&ask).await? {
                Some(WorkerReply::Done) => Ok(()),
                Some(other) => Err(handle.unexpected(other)),
                None => Err(handle.has_ended()),
            }
        })
    }
}
