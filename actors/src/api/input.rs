//! What a host does to a command that runs: it writes to its stdin, closes that, resizes its terminal, sends it signals.

use super::{Call, Handle, session::timeout_ms};
use ostler_messages::{
    Answer, CloseStdin, Pause, Payload, Resize, Resume, SendSignal, TerminalSize, UnixSignal, Write,
};
use std::time::Duration;

/// What became of a write, in bytes: the three together are what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The command's end of the pipe has taken so many.
    pub taken: u64,
    /// So many are queued behind them, and go on as the command reads: the time of the call was up.
    pub queued: u64,
    /// So many were dropped, because the command has closed its stdin or has ended. It may not have read all that was taken either.
    pub dropped: u64,
}

impl Handle {
    /// Writes to the stdin of a command that was launched with [`stdin_open`](crate::Command::stdin_open), and answers when its end of
    /// the pipe (64 KiB) has taken all of it, or can't take any more of it.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// let world = World::new();
    /// world.program("greeter", Program::new()
    ///     .prompts_at(Duration::from_millis(5), "name? ")
    ///     .on_line(|name| Reaction::says(format!("hello {name}\n")).exits(0)));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let handle = session.launch(Command::new("greeter").stdin_open()).wait()?;
    /// assert_eq!(handle.write("world\n").wait()?.taken, 6);
    /// assert_eq!(handle.result().wait()?.record.stdout, "hello world\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// At most [`INPUT_MAX_BYTES`](crate::INPUT_MAX_BYTES) are queued for a command, and at most 1,024 writes. Writes are taken in the
    /// order in which they were begun.
    ///
    /// Dropped after it was begun or polled, the bytes stay queued.
    ///
    /// # Errors
    /// Then nothing was written. `NoStdin`: it was launched without an open stdin. `StdinClosed`: it was closed by either side.
    /// `HandleEnded`. `InputFull`: too much is queued. `InputTooLarge`: more than can ever be queued.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) -> Call<Written> {
        self.write_input(bytes.into(), None, None)
    }
    /// The same with a limit: when the time is up it answers how many bytes are taken. The rest stays queued.
    pub fn write_within(&self, bytes: impl Into<Vec<u8>>, time: Duration) -> Call<Written> {
        self.write_input(bytes.into(), None, Some(time))
    }
    /// The same under an id of the caller's own: the same id again gets the same answer, or waits for it, and writes nothing. So a
    /// write whose answer was lost can be repeated. The newest 256 ids of a handle are remembered, as long as the handle is.
    ///
    /// # Errors
    /// `WriteIdReused`: the id belongs to other bytes. `WriteIdLength`: it has more than 256 bytes.
    pub fn write_once(&self, write_id: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Call<Written> {
        self.write_input(bytes.into(), Some(write_id.into()), None)
    }
    /// The same with a limit, as [`write_within`](Handle::write_within).
    ///
    /// # Errors
    /// As [`write_once`](Handle::write_once).
    pub fn write_once_within(
        &self,
        write_id: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        time: Duration,
    ) -> Call<Written> {
        self.write_input(bytes.into(), Some(write_id.into()), Some(time))
    }
    fn write_input(&self, bytes: Vec<u8>, write_id: Option<String>, time: Option<Duration>) -> Call<Written> {
        let (handle_id, wait_ms, bytes) = (self.id(), time.map(timeout_ms), Payload::from(bytes));
        self.ostler.call(
            |call| Write { call, handle_id, bytes, write_id, wait_ms },
            |answer| match answer {
                Answer::Written { taken, queued, dropped } => Some(Written { taken, queued, dropped }),
                _ => None,
            },
        )
    }

    /// Ends the command's stdin: it reads what is queued, and then the end of file. Answers at once; again is no error. Dropped after it
    /// was begun or polled, stdin is closed all the same.
    ///
    /// # Errors
    /// `NoStdin`: it was launched without an open stdin. `StdinIsTerminal`: a terminal has no end of file; write Ctrl-D, `"\x04"`, at the
    /// beginning of a line. `HandleEnded`.
    pub fn close_stdin(&self) -> Call<()> {
        let handle_id = self.id();
        self.ostler.call(|call| CloseStdin { call, handle_id }, done)
    }

    /// Changes the size of its terminal, in characters; the command hears it as SIGWINCH. Dropped after it was begun or polled, the size
    /// changes all the same.
    ///
    /// # Errors
    /// `NoTerminal`: it was launched without one. `TerminalSize`: rows or columns are 0. `HandleEnded`.
    pub fn resize(&self, rows: u16, columns: u16) -> Call<()> {
        let (handle_id, size) = (self.id(), TerminalSize { rows, columns });
        self.ostler.call(|call| Resize { call, handle_id, size }, done)
    }

    /// Sends a signal to the leader's process group. It is no stop: the handle's state stays as it is, and a command that dies of it is
    /// `completed`. Answers when it is on its way. Dropped after it was begun or polled, it is sent all the same.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// let world = World::new();
    /// world.program("server", Program::new().on_signal(UnixSignal::SigHup, Reaction::says("reloaded\n").exits(0)));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let handle = session.launch(Command::new("server")).wait()?;
    /// handle.signal(UnixSignal::SigHup).wait()?;
    /// assert_eq!(handle.result().wait()?.record.stdout, "reloaded\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `HandleEnded`, also when only kept leftovers live on.
    pub fn signal(&self, signal: UnixSignal) -> Call<()> {
        let handle_id = self.id();
        self.ostler.call(|call| SendSignal { call, handle_id, signal }, done)
    }

    /// Stops the command and everything that descends from it where it is, and answers when all of it was seen to stand still: its
    /// cgroup is frozen where it has one, else each process gets SIGSTOP; one that waits in the kernel stops before it does anything else. Its deadline, its idle time and its silence stand still
    /// meanwhile; times that a call waits do not. What is written to it is queued, and signals wait. Again is no error.
    ///
    /// Whatever stops the command lets it go on first, so that it can clean up. Dropped after it was begun or polled, it is paused all the same.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("train", Program::new().exits_at(Duration::from_secs(60), 0));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let train = session.launch(Command::new("train").timeout(Duration::from_secs(90))).wait()?;
    /// train.pause().wait()?;
    /// assert!(train.status().wait()?.paused);
    /// ostler.sleep(Duration::from_secs(3600)).wait()?;
    /// train.resume().wait()?;
    /// assert_eq!(train.result().wait()?.record.exit_code, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `HandleEnded`, also when only kept leftovers live on. `HandleStopping`: a stop is under way. `NotPaused`: within two seconds
    /// not all of it stood still, because a process waits for a device (in a cgroup) or belongs to another user (elsewhere); or it was resumed meanwhile. It goes on then.
    pub fn pause(&self) -> Call<()> {
        let handle_id = self.id();
        self.ostler.call(|call| Pause { call, handle_id }, done)
    }

    /// Lets a paused command go on, all of it; also a process of it that had stopped itself, unless a cgroup froze it. One that is not
    /// paused is left alone, and is no error. Dropped after it was begun or polled, it goes on all the same.
    ///
    /// # Errors
    /// `HandleEnded`.
    pub fn resume(&self) -> Call<()> {
        let handle_id = self.id();
        self.ostler.call(|call| Resume { call, handle_id }, done)
    }
}

fn done(answer: Answer) -> Option<()> {
    matches!(answer, Answer::Done).then_some(())
}
