//! A handle, as a host holds it: a name, which ends nothing when it is dropped.

use super::{Call, Ostler, ReadOutput, session::timeout_ms};
use ostler_artifacts::Pattern;
use ostler_messages::{
    Answer, AwaitResult, CallError, Cancel, CommandId, Condition, Found, GetStatus, HandleId, ListPorts,
    Listed as ListedMessage, ListeningPort, Met, Record, RecordingStopped, WaitEnd, WaitFor,
    Waited as WaitedMessage,
};
use std::{sync::Arc, time::Duration};

/// What became of a cancel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cancelled {
    /// Whether this call stopped the command, or what was kept of it; false if it had ended before.
    pub cancelled: bool,
    /// Whether the result was taken with this answer: then it is not in the inbox, nor delivered again. False: it is in the inbox, or
    /// somebody took it before, or it is not there yet.
    pub taken: bool,
    /// The result; or, if the wait ran out, the record as it was.
    pub record: Arc<Record>,
}

/// A result, to who has asked for it by its handle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// Whether it was taken with this answer: then it is not in the inbox, nor delivered again. False if somebody else had it before, or
    /// may still come to have it: then this is a copy.
    pub taken: bool,
    /// The result.
    pub record: Arc<Record>,
}

/// The answer to [`Handle::wait_for`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Waited {
    /// What ended the wait.
    pub end: WaitEnd,
    /// The record as of that moment, with the output so far; the result, if the command has ended.
    pub record: Arc<Record>,
    /// Processes that could not be looked at, for `input` and `port`: where there are some, it is not known whether these hold.
    pub unseen: u64,
    /// The recording of the output has stopped: what came after it was not searched.
    pub recording_stopped: Option<RecordingStopped>,
}
impl Waited {
    fn new(waited: WaitedMessage) -> Waited {
        let WaitedMessage { end, record, unseen, recording_stopped } = waited;
        Waited { end, record: record.0, unseen, recording_stopped }
    }
    /// Which condition holds, by its place in the list.
    pub fn condition(&self) -> Option<usize> {
        match self.end {
            WaitEnd::Met { index, .. } => Some(index),
            _ => None,
        }
    }
    /// The match, if an `output` condition holds.
    pub fn found(&self) -> Option<&Found> {
        match &self.end {
            WaitEnd::Met { by: Met::Output(found), .. } => Some(found),
            _ => None,
        }
    }
}

/// The answer to [`Handle::ports`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ports {
    /// In the order of their numbers.
    pub ports: Vec<ListeningPort>,
    /// Processes that could not be looked at: they may listen too.
    pub unseen: u64,
}

/// What [`Session::run_for`](crate::Session::run_for) brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ran {
    /// The command ended in time.
    Ended(Ended),
    /// The time is up, and the command goes on. The handle's record is of this moment: its texts are the output so far, and its
    /// `output_offset` is where reading goes on.
    Running(Handle),
}

/// A handle in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// With what is known of it without asking for its output: of a live one as it was launched, of another its result, both without
    /// texts. [`Handle::status`] has them.
    pub handle: Handle,
    /// Of a live one, the time since its start.
    pub age: Option<Duration>,
    /// Of a live one, the time since its last byte of output.
    pub silence: Option<Duration>,
    /// Whether it is paused: [`Handle::pause`].
    pub paused: bool,
    /// How many of its leftovers were kept and live on, as they were seen at its end. [`Handle::cancel`] stops them.
    pub kept: u64,
}
impl Listed {
    pub(crate) fn new(ostler: &Ostler, listed: ListedMessage) -> Listed {
        let ListedMessage { record, age_ms, silence_ms, paused, kept } = listed;
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        let handle = Handle::new(ostler.clone(), record.0);
        Listed { handle, age: time(age_ms), silence: time(silence_ms), paused, kept }
    }
}

/// One running or finished command.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) ostler: Ostler,
    record: Arc<Record>,
}
impl Handle {
    pub(crate) fn new(ostler: Ostler, record: Arc<Record>) -> Handle {
        Handle { ostler, record }
    }
    /// The graph that runs it.
    pub fn ostler(&self) -> &Ostler {
        &self.ostler
    }
    /// Its name.
    pub fn id(&self) -> HandleId {
        self.record.handle_id
    }
    /// Names its artifact directory.
    pub fn command_id(&self) -> CommandId {
        self.record.command_id
    }
    /// The record as it was when this value was made: pid, paths, times. [`status`](Handle::status) asks anew.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Waits for the result and **takes** it: then it is not in the inbox, nor delivered again. It is there for who asks by the
    /// handle before any reader of the inbox; one that is unread already leaves the inbox. If a reader has it, or somebody took it before, the
    /// answer is a copy, with `taken: false`.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("make", Program::new().exits_at(Duration::from_secs(90), 2));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let handle = session.launch(Command::new("make")).wait()?;
    /// let result = handle.result().wait()?;
    /// assert_eq!((result.taken, result.record.exit_code), (true, Some(2)));
    /// assert!(session.inbox().drain().wait()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Dropped at whatever moment before it has returned, nothing is lost: the result goes to somebody else who waits for it by
    /// the handle, or to the inbox.
    pub fn result(&self) -> Call<Ended> {
        self.await_result(None, true, |answer| match answer {
            Answer::Result { taken, record } => Some(Ended { taken, record: record.0 }),
            Answer::Status(record) => Some(Ended { taken: false, record: record.0 }),
            _ => None,
        })
    }
    /// The same with a limit: none when the time is up. Then the result goes to the inbox as ever.
    pub fn result_within(&self, time: Duration) -> Call<Option<Ended>> {
        self.await_result(Some(time), true, |answer| match answer {
            Answer::Result { taken, record } => Some(Some(Ended { taken, record: record.0 })),
            Answer::Status(_) => Some(None),
            _ => None,
        })
    }
    /// Waits for the result and takes nothing: it goes where it goes without this call. Safe to drop.
    pub fn exited(&self) -> Call<Arc<Record>> {
        self.await_result(None, false, status)
    }
    /// The same with a limit: when the time is up, the record as it stands then, with `status: running`. Safe to drop.
    pub fn exited_within(&self, time: Duration) -> Call<Arc<Record>> {
        self.await_result(Some(time), false, status)
    }
    fn await_result<T>(
        &self,
        time: Option<Duration>,
        take: bool,
        convert: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Call<T> {
        let (handle_id, wait_ms) = (self.id(), time.map(timeout_ms));
        self.ostler.call(|call| AwaitResult { call, handle_id, wait_ms, take }, convert)
    }
    /// The record as it is at this moment: while it runs, the output so far with its counts, and its silence. Takes nothing. Safe to
    /// drop.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("make", Program::new().stdout_at(Duration::from_secs(1), "compiling\n"));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// # let make = session.launch(Command::new("make")).wait()?;
    /// ostler.sleep(Duration::from_secs(8)).wait()?;
    /// let status = make.status().wait()?;
    /// assert_eq!((status.status, status.stdout.as_str()), (Status::Running, "compiling\n"));
    /// assert_eq!(status.silence_ms, Some(7_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `HandleForgotten` when it has finished, its result is read, and it is no longer kept.
    pub fn status(&self) -> Call<Arc<Record>> {
        let handle_id = self.id();
        self.ostler.call(|call| GetStatus { call, handle_id, session_id: None }, status)
    }

    /// Waits for the first of these conditions that holds, up to `timeout`, and answers which one, and how it was seen; with
    /// [`WaitEnd::Exit`] whenever the command ends first, asked for or not, since nothing else can come; with [`WaitEnd::TimedOut`] if none
    /// did in time. What was written before counts. If several hold at once, the first in the list is answered; on a command that has ended a match in
    /// its output wins over its exit.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("server", Program::new().stdout_at(Duration::from_secs(2), "listening on port 3000\n"));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server")).wait()?;
    /// let ready = Condition::regex(r"listening on port (\d+)");
    /// let waited = server.wait_for([ready], Duration::from_secs(60)).wait()?;
    /// let WaitEnd::Met { by: Met::Output(found), .. } = waited.end else { panic!("{:?}", waited.end) };
    /// assert_eq!(found.groups[1].text.as_deref(), Some("3000"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Any number of waits can be on a handle. They cost no thread, and nothing while nothing happens; only `port` and `input` are looked at every 10
    /// to 200 ms, once for all waits of a tree, since no event tells of them. Safe to drop: it cancels nothing.
    ///
    /// # Errors
    /// `BadCondition` for a pattern that is refused, `CannotLook` where `port` or `input` can't be seen.
    pub fn wait_for(
        &self,
        conditions: impl IntoIterator<Item = Condition>,
        timeout: Duration,
    ) -> Call<Waited> {
        let conditions: Vec<Condition> = conditions.into_iter().collect();
        for (index, condition) in conditions.iter().enumerate() {
            if let Condition::Output { pattern, .. } = condition
                && let Err(error) = Pattern::try_from(pattern.clone())
            {
                let reason = error.to_string();
                return self.ostler.refused(CallError::BadCondition { index, reason }.into());
            }
        }
        let (handle_id, timeout_ms, conditions) = (self.id(), timeout_ms(timeout), Arc::new(conditions));
        self.ostler.call(
            |call| WaitFor { call, handle_id, conditions, timeout_ms },
            |answer| match answer {
                Answer::Waited(waited) => Some(Waited::new(*waited)),
                _ => None,
            },
        )
    }
    /// On which TCP ports a process of the tree listens now. Another process of the machine never counts, whatever it listens on.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("server", Program::new().listens_at(Duration::from_secs(1), 3000));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server")).wait()?;
    /// server.wait_for([Condition::port(3000)], Duration::from_secs(30)).wait()?;
    /// assert_eq!(server.ports().wait()?.ports[0].port, 3000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Safe to drop. The thread that looks also searches files: a disk that hangs
    /// delays it, so put a time limit around it where that matters.
    pub fn ports(&self) -> Call<Ports> {
        let handle_id = self.id();
        self.ostler.call(
            |call| ListPorts { call, handle_id },
            |answer| match answer {
                Answer::Ports { ports, unseen } => Some(Ports { ports, unseen }),
                _ => None,
            },
        )
    }

    /// Terminates the tree, kills after its grace what is left of it, and answers with the result. A second cancel
    /// means now. The result comes here and not to the inbox.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # let cleans_up = OnTerminate::Exits { after: Duration::from_millis(300), says: "bye\n".into(), code: 0 };
    /// # world.program("server", Program::new().on_terminate(cleans_up));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server")).wait()?;
    /// let result = server.cancel().wait()?;
    /// assert_eq!((result.record.status, result.record.stdout.as_str()), (Status::Killed, "bye\n"));
    /// assert!(session.inbox().drain().wait()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Of a command that has ended and whose leftovers were kept, it stops those, and answers with the record and what became of them.
    ///
    /// Dropped after it was begun or polled, the command is stopped all the same, and its result goes to another canceller that
    /// waits, or to the inbox.
    pub fn cancel(&self) -> Call<Cancelled> {
        self.ostler.cancel(self.id(), None, false)
    }
    /// The same, with a limit on the wait: after it the answer is what is known, and the result goes to the inbox.
    pub fn cancel_within(&self, wait: Duration) -> Call<Cancelled> {
        self.ostler.cancel(self.id(), Some(wait), false)
    }
    /// The same as [`cancel`](Handle::cancel); the result comes here and to the inbox.
    pub fn cancel_and_notify(&self) -> Call<Cancelled> {
        self.ostler.cancel(self.id(), None, true)
    }
    /// Stops the command because the right to run it was taken back, as when the lease of a worker has ended: the status is `killed`, with
    /// `stop_cause: lease_lost`. For hosts that run commands in the name of others; who has no more use for a command cancels it.
    ///
    /// The tree is terminated, and what is left of it is killed after its grace. Leftovers that were kept are stopped too: of a command that has
    /// ended it stops those, and the record keeps saying how it ended. The result goes to the inbox in any case, and nobody who
    /// waits for it by the handle takes it: they get copies, with `taken: false`.
    ///
    /// The first cause wins: revoking what is being stopped already changes neither its cause nor its grace, and nor does revoking it again. A
    /// [`cancel`](Handle::cancel) after it means now, as a second cancel does.
    ///
    /// ```
    /// # use ostler::{*, testing::*};
    /// # let world = World::new();
    /// # world.program("server", Program::new());
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server")).wait()?;
    /// let revoked = server.revoke().wait()?;
    /// assert_eq!((revoked.taken, revoked.record.stop_cause), (false, Some(StopCause::LeaseLost)));
    /// assert_eq!(session.inbox().drain().wait()?[0].record().unwrap().ending(), "lease lost, SIGTERM");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Dropped after it was begun or polled, the command is stopped all the same, and its result goes to the inbox.
    pub fn revoke(&self) -> Call<Cancelled> {
        self.ostler.stop(self.id(), None, true, true)
    }
    /// Reads the command's output; see [`ReadOutput`].
    pub fn read(&self) -> ReadOutput {
        self.ostler.read_command(self.command_id())
    }
}

fn status(answer: Answer) -> Option<Arc<Record>> {
    match answer {
        Answer::Status(record) | Answer::Result { record, .. } => Some(record.0),
        _ => None,
    }
}

impl Ostler {
    /// Stops a command by its id; see [`Handle::cancel`].
    pub fn cancel(
        &self,
        handle_id: HandleId,
        wait: Option<Duration>,
        notify_on_cancel: bool,
    ) -> Call<Cancelled> {
        self.stop(handle_id, wait, notify_on_cancel, false)
    }
    fn stop(
        &self,
        handle_id: HandleId,
        wait: Option<Duration>,
        notify_on_cancel: bool,
        lease_lost: bool,
    ) -> Call<Cancelled> {
        let wait_ms = wait.map(timeout_ms);
        self.call(
            |call| Cancel { call, handle_id, wait_ms, notify_on_cancel, lease_lost },
            |answer| match answer {
                Answer::Cancelled { cancelled, taken, record } => {
                    Some(Cancelled { cancelled, taken, record: record.0 })
                }
                _ => None,
            },
        )
    }
}
