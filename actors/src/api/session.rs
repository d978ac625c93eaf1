//! A session, as a host holds it. It is a name: dropping it ends nothing.

use super::{Call, Command, Ended, Error, Handle, Inbox, Listed, Ostler, Ran};
use ostler_messages::{
    Answer, EndSession, GetStatus, HandleId, Labels, Launch, LaunchRequest, List, SessionId, Status, Tally,
};
use std::{sync::Arc, time::Duration};

/// One agent conversation: owns handles and an inbox. A clone is the same session.
#[derive(Clone, Debug)]
pub struct Session {
    ostler: Ostler,
    id: SessionId,
    recovered: bool,
}
impl Session {
    pub(crate) fn new(ostler: Ostler, id: SessionId) -> Session {
        Session { ostler, id, recovered: false }
    }
    pub(crate) fn recovered(ostler: Ostler, id: SessionId) -> Session {
        Session { ostler, id, recovered: true }
    }
    /// Whether it was open when an earlier life of the host ended: its inbox holds what was unread then.
    pub fn is_recovered(&self) -> bool {
        self.recovered
    }
    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }
    /// The graph it belongs to.
    pub fn ostler(&self) -> &Ostler {
        &self.ostler
    }
    /// Starts a command. The answer comes when the process has started, or has failed to
    /// ([`Error::Launch`](crate::Error::Launch)); nothing is left after an error.
    ///
    /// Dropped before it was begun or polled, nothing is launched. After that the launch stands, whenever the call is
    /// dropped: the handle is in [`list`](Session::list), its result goes to the inbox.
    pub fn launch(&self, command: Command) -> Call<Handle> {
        self.launch_request(command.into_request(&self.id))
    }
    /// The same for a request that came over a wire. Its `session_id` is replaced by this session's.
    pub fn launch_request(&self, mut request: LaunchRequest) -> Call<Handle> {
        request.session_id = self.id.clone();
        if let Err(error) = request.validate() {
            return self.ostler.refused(Error::Launch(error));
        }
        let ostler = self.ostler.clone();
        let request = Arc::new(request);
        self.ostler.call(
            |call| Launch { call, request, result_within_ms: None },
            move |answer| match answer {
                Answer::Launched(record) => Some(Handle::new(ostler, record.0)),
                _ => None,
            },
        )
    }
    /// Starts a command and waits for its result, up to `time` from its start: the result if it ends in time, which is taken as
    /// [`Handle::result`] takes it; else the handle and the output so far. Then the command goes on, and
    /// reading goes on at the record's `output_offset`: no byte is lost or repeated between the two (as long as no text was omitted
    /// and everything is recorded; see `stdout_truncated` and `artifact_error`).
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("make", Program::new().stdout_at(Duration::ZERO, "compiling\n"));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// match session.run_for(Command::new("make"), Duration::from_secs(10)).wait()? {
    ///     Ran::Ended(result) => println!("{}", result.record.summary()),
    ///     Ran::Running(handle) => println!("goes on as {}: {}", handle.id(), handle.record().stdout),
    /// #   _ => {}
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Dropped before it was begun or polled, nothing is launched. After that the launch stands, and the result goes to the inbox.
    pub fn run_for(&self, command: Command, time: Duration) -> Call<Ran> {
        let request = command.into_request(&self.id);
        if let Err(error) = request.validate() {
            return self.ostler.refused(Error::Launch(error));
        }
        let (ostler, request) = (self.ostler.clone(), Arc::new(request));
        let result_within_ms = Some(timeout_ms(time));
        self.ostler.call(
            |call| Launch { call, request, result_within_ms },
            move |answer| match answer {
                Answer::Result { taken, record } => Some(Ran::Ended(Ended { taken, record: record.0 })),
                Answer::Status(record) if record.status == Status::Running => {
                    Some(Ran::Running(Handle::new(ostler, record.0)))
                }
                Answer::Status(record) => Some(Ran::Ended(Ended { taken: false, record: record.0 })),
                _ => None,
            },
        )
    }
    /// A handle of this session by its id, as it stands now. Safe to drop.
    ///
    /// # Errors
    /// In [`Error::Call`](crate::Error::Call), which of these it is: `HandleUnknown` (never given out), `HandleForgotten` (finished, read
    /// and no longer kept), `HandleOfOtherSession`, `HandleOfOtherHost`.
    pub fn handle(&self, id: HandleId) -> Call<Handle> {
        let (ostler, session_id) = (self.ostler.clone(), Some(self.id.clone()));
        self.ostler.call(
            |call| GetStatus { call, handle_id: id, session_id },
            move |answer| match answer {
                Answer::Status(record) => Some(Handle::new(ostler, record.0)),
                _ => None,
            },
        )
    }
    /// The live handles, and those whose leftovers live on, in the order of their launches. Safe to drop.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("server", Program::new());
    /// # world.program("true", Program::new().exits_at(Duration::ZERO, 0));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server")).wait()?;
    /// session.launch(Command::new("true")).wait()?.exited().wait()?;
    /// ostler.sleep(Duration::from_secs(3)).wait()?;
    /// let live = session.list().wait()?;
    /// assert_eq!((live.len(), live[0].handle.id(), live[0].age), (1, server.id(), Some(Duration::from_secs(3))));
    /// assert_eq!(session.list_all().wait()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list(&self) -> Call<Vec<Listed>> {
        self.list_with(false, Labels::new())
    }
    /// The same, and those that have finished, as far as they are kept: as long as their results are unread, and the newest
    /// [`Limits::replay_results`](crate::Limits::replay_results) of the others.
    pub fn list_all(&self) -> Call<Vec<Listed>> {
        self.list_with(true, Labels::new())
    }
    /// Those of [`list_all`](Session::list_all) that have all of these labels.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("server", Program::new());
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let server = session.launch(Command::new("server").label("task", "t-17")).wait()?;
    /// session.launch(Command::new("server").label("task", "t-18")).wait()?;
    /// let of_task = session.list_labelled([("task", "t-17")]).wait()?;
    /// assert_eq!((of_task.len(), of_task[0].handle.id()), (1, server.id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list_labelled<N: Into<String>, V: Into<String>>(
        &self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Call<Vec<Listed>> {
        self.list_with(true, labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
    fn list_with(&self, finished: bool, labels: Labels) -> Call<Vec<Listed>> {
        let (ostler, session_id) = (self.ostler.clone(), self.id.clone());
        self.ostler.call(
            |call| List { call, session_id: Some(session_id), finished, labels },
            move |answer| match answer {
                Answer::Listed(listed) => {
                    Some(listed.into_iter().map(|listed| Listed::new(&ostler, listed)).collect())
                }
                _ => None,
            },
        )
    }
    /// Refuses new launches from now on, stops all handles at the same time, answers when all have ended. What is
    /// unread in the inbox can still be taken, and the session counts towards [`Limits::sessions`](crate::Limits::sessions)
    /// until it is. Dropped after it was begun or polled, the session ends all the same.
    pub fn end(&self) -> Call<Tally> {
        self.end_with(false)
    }
    /// The same, and what is unread is discarded; [`Tally::unread`] says how many results that were.
    pub fn end_and_discard(&self) -> Call<Tally> {
        self.end_with(true)
    }
    fn end_with(&self, discard: bool) -> Call<Tally> {
        let session_id = self.id.clone();
        self.ostler.call(
            |call| EndSession { call, session_id, discard },
            |answer| match answer {
                Answer::Ended(tally) => Some(tally),
                _ => None,
            },
        )
    }
    /// Where results and progress arrive. Each value is a reader of its own, with its clones.
    pub fn inbox(&self) -> Inbox {
        Inbox::new(self.ostler.clone(), self.id.clone())
    }
}

/// Longest wait of a call, a year: beyond it a number is a mistake.
const TIMEOUT_MAX_MS: u64 = ostler_messages::MAX_TIME_MS;

pub(crate) fn timeout_ms(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).min(TIMEOUT_MAX_MS)
}
