//! Reading a command's output, by offset, while it runs and after.

use super::{Error, Ostler, session::timeout_ms};
#[cfg(feature = "testing")]
use crate::backend::OutputWatch;
use crate::backend::Outputs;
use futures_lite::{FutureExt, future};
use ostler_artifacts::{
    Growth, Lines, OutputFile, Page, Paths, ReadRequest, View, next_byte, read_blocking, read_now,
};
use ostler_messages::{CallError, CommandId, HandleId};
use std::{
    future::IntoFuture,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// One page to be read. The bytes go from the file to the caller and never through the graph; reading takes nothing
/// away, and pages joined give the file.
///
/// [`wait`](ReadOutput::wait) reads on the calling thread; `.await` leaves the runtime's thread free.
#[must_use = "nothing is read before it is waited for or awaited"]
#[derive(Clone, Debug)]
pub struct ReadOutput {
    ostler: Ostler,
    target: Result<CommandId, HandleId>,
    request: ReadRequest,
}

impl ReadOutput {
    /// Which file; combined by default.
    pub fn stream(mut self, which: OutputFile) -> ReadOutput {
        self.request.which = which;
        self
    }
    /// Where to begin, in bytes; 0 by default.
    pub fn offset(mut self, offset: u64) -> ReadOutput {
        self.request.offset = offset;
        self
    }
    /// How many raw bytes at most; 1 MiB by default, and never more.
    pub fn length(mut self, length: u64) -> ReadOutput {
        self.request.length = length;
        self
    }
    /// As text for models and people, without escape sequences and with redrawn lines as they ended: see [`View::Clean`].
    pub fn clean(mut self) -> ReadOutput {
        self.request.view = View::Clean;
        self
    }
    /// The last lines that there are, instead of an offset: see [`Lines`].
    pub fn last_lines(mut self, count: u64) -> ReadOutput {
        self.request.lines = Some(Lines::Last { count });
        self
    }
    /// So many lines from one on, which count from 1, instead of an offset: see [`Lines`].
    pub fn from_line(mut self, line: u64, count: u64) -> ReadOutput {
        self.request.lines = Some(Lines::From { line, count });
        self
    }
    /// What kept leftovers said after the command's end: the stream [`OutputFile::Kept`].
    pub fn kept(self) -> ReadOutput {
        self.stream(OutputFile::Kept)
    }
    /// If there is nothing at the offset yet, or no whole line where lines or the clean view are asked for, waits for it or the
    /// end, by the graph's clock.
    pub fn wait_for(mut self, time: Duration) -> ReadOutput {
        self.request.wait_ms = Some(timeout_ms(time));
        self
    }
    /// Reads as the follower of a command that was launched with [`Command::follow`](crate::Command::follow): what lies before the page is
    /// done with, and the command may go on by as much. One that waits for more has done with all there is.
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # world.program("export", Program::new()
    /// #     .stdout_at(Duration::ZERO, "page 1\n").stdout_at(Duration::ZERO, "page 2\n").exits_at(Duration::ZERO, 0));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let export = session.launch(Command::new("export").follow(7)).wait()?;
    /// let (mut offset, mut text) = (0, String::new());
    /// loop {
    ///     let page = export.read().offset(offset).follows().wait_for(Duration::MAX).wait()?;
    ///     text += &page.text();
    ///     // Never more is there than what was read, and 7 bytes.
    ///     assert!(page.total_bytes <= offset + 7);
    ///     offset = page.next_offset;
    ///     if page.eof { break }
    /// }
    /// assert_eq!(text, "page 1\npage 2\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follows(mut self) -> ReadOutput {
        self.request.follows = true;
        self
    }
    /// All of it in one value, as it came over a wire.
    pub fn request(mut self, request: ReadRequest) -> ReadOutput {
        self.request = request;
        self
    }

    /// Reads on this thread.
    pub fn wait(self) -> Result<Page, Error> {
        if self.ostler.is_scripted() {
            return future::block_on(self.read());
        }
        let (paths, growth) = self.locate()?;
        read_blocking(&paths, growth.as_deref(), &self.request).map_err(Error::Read)
    }

    async fn read(self) -> Result<Page, Error> {
        let (paths, growth) = self.locate()?;
        let paths = Arc::new(paths);
        let mut wait_at = self.request.wait_at();
        let mut left = Duration::from_millis(self.request.wait_ms.unwrap_or(0));
        loop {
            if let (Some(growth), Some(offset)) = (&growth, wait_at) {
                left = self.grown(growth, offset, left).await?;
            }
            let (request, paths, growth) = (self.request, paths.clone(), growth.clone());
            let may_wait = growth.is_some() && !left.is_zero();
            let read = move || read_now(&paths, growth.as_deref(), &request);
            // In a scripted world there is no disk, and what a follower reads is a step of its host.
            let page = if self.ostler.is_scripted() { read() } else { blocking::unblock(read).await };
            let page = page.map_err(Error::Read)?;
            // A part of a character or of a line: its rest is waited for as the first byte was.
            wait_at = page.wait_at(&request);
            if wait_at.is_none() || !may_wait {
                return Ok(page);
            }
        }
    }

    /// Until there is something to read, or the time is up, without a thread that waits; how much of the time is left.
    async fn grown(&self, growth: &Arc<Growth>, offset: u64, left: Duration) -> Result<Duration, Error> {
        let which = self.request.which;
        if left.is_zero() || growth.ready(which, offset) {
            return Ok(left);
        }
        if self.request.follows {
            growth.follower_at(which, offset);
        }
        #[cfg(feature = "testing")]
        if self.ostler.is_scripted() {
            let wait_ms = timeout_ms(left);
            let (done, waited) = oneshot::async_channel();
            let watch = OutputWatch { growth: growth.clone(), which, offset, wait_ms, done };
            return Ok(Duration::from_millis(self.ostler.client().watched(watch, waited).await));
        }
        let started = Instant::now();
        let byte = async {
            next_byte(growth, which, offset).await;
            Ok(left.saturating_sub(started.elapsed()))
        };
        let over = async { self.ostler.sleep(left).await.map(|()| Duration::ZERO) };
        match byte.or(over).await {
            // The graph has ended, and with it every process: what there is can be read.
            Err(Error::Closed) => Ok(Duration::ZERO),
            other => other,
        }
    }

    fn locate(&self) -> Result<(Paths, Option<Arc<Growth>>), Error> {
        let outputs: &Outputs = self.ostler.outputs();
        let command_id = match self.target {
            Ok(id) => id,
            Err(handle_id) => {
                outputs.command_of(handle_id).ok_or(Error::Call(CallError::HandleUnknown { handle_id }))?
            }
        };
        let (root, growth) = (self.ostler.artifact_root(), outputs.growth(command_id));
        let paths =
            if growth.is_some() { Paths::of(root, command_id) } else { Paths::find(root, command_id) };
        Ok((paths, growth))
    }
}

impl IntoFuture for ReadOutput {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Page, Error>> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl Ostler {
    /// Reads the output of a command, running or finished, of this host or of one before.
    pub fn read_command(&self, command_id: CommandId) -> ReadOutput {
        ReadOutput { ostler: self.clone(), target: Ok(command_id), request: ReadRequest::default() }
    }
    /// Reads the output of a handle of this graph: of a growth one, or one of those that finished last.
    pub fn read_handle(&self, handle_id: HandleId) -> ReadOutput {
        ReadOutput { ostler: self.clone(), target: Err(handle_id), request: ReadRequest::default() }
    }
}
