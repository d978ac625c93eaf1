//! Reading a command's output, by offset, while it runs and after.

use super::{Error, Ostler, session::timeout_ms};
use crate::backend::{OutputWatch, Outputs};
use futures_lite::{FutureExt, future};
use ostler_artifacts::{Growth, OutputFile, Page, Paths, ReadRequest, next_byte, read_blocking, read_now};
use ostler_messages::{CallError, CommandId, HandleId};
use std::{future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

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
    /// How many bytes at most; 1 MiB by default, and never more.
    pub fn length(mut self, length: u64) -> ReadOutput {
        self.request.length = length;
        self
    }
    /// If there is nothing at the offset yet, waits for the next byte or the end, by the graph's clock.
    pub fn wait_for(mut self, time: Duration) -> ReadOutput {
        self.request.wait_ms = Some(timeout_ms(time));
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
        let mut offset = self.request.offset;
        loop {
            match (&growth, self.ostler.is_scripted()) {
                (Some(growth), true) => self.scripted(growth, offset).await,
                (Some(growth), false) => self.grown(growth, offset).await?,
                (None, _) => {}
            }
            let (request, paths, growth) = (self.request, paths.clone(), growth.clone());
            let page = blocking::unblock(move || read_now(&paths, growth.as_deref(), &request)).await;
            let page = page.map_err(Error::Read)?;
            // A part of a character: its rest, at most three bytes, is waited for as the first byte was.
            let waits = page.bytes_read == 0 && !page.eof && page.total_bytes > offset;
            if !waits || request.wait_ms.unwrap_or(0) == 0 {
                return Ok(page);
            }
            offset = page.total_bytes;
        }
    }

    fn wait_ms(&self, growth: &Growth, offset: u64) -> Option<u64> {
        let ReadRequest { which, wait_ms, .. } = self.request;
        wait_ms.filter(|ms| *ms > 0 && !growth.ended() && growth.length(which) <= offset)
    }

    /// Until there is something to read, or the time is up, without a thread that waits.
    async fn grown(&self, growth: &Growth, offset: u64) -> Result<(), Error> {
        let Some(wait_ms) = self.wait_ms(growth, offset) else { return Ok(()) };
        let sleep = self.ostler.sleep(Duration::from_millis(wait_ms));
        let byte = async {
            next_byte(growth, self.request.which, offset).await;
            Ok(())
        };
        match byte.or(sleep).await {
            // The graph has ended, and with it every process: what there is can be read.
            Err(Error::Closed) => Ok(()),
            other => other,
        }
    }

    /// The same in virtual time.
    async fn scripted(&self, growth: &Arc<Growth>, offset: u64) {
        let Some(wait_ms) = self.wait_ms(growth, offset) else { return };
        let (done, waited) = oneshot::async_channel();
        let which = self.request.which;
        self.ostler.watch(OutputWatch { growth: growth.clone(), which, offset, wait_ms, done });
        // Closed when the graph has ended: what there is can be read.
        let _ = waited.await;
    }

    fn locate(&self) -> Result<(Paths, Option<Arc<Growth>>), Error> {
        let outputs: &Outputs = self.ostler.outputs();
        let command_id = match self.target {
            Ok(id) => id,
            Err(handle_id) => {
                outputs.command_of(handle_id).ok_or(Error::Call(CallError::HandleUnknown { handle_id }))?
            }
        };
        let paths = Paths::of(self.ostler.artifact_root(), command_id);
        Ok((paths, outputs.growth(command_id)))
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
