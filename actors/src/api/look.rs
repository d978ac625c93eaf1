//! Looking into a command's output: for lines, and at a terminal's screen.

use super::{Error, Handle};
use ostler_artifacts::{FindRequest, FoundLines, Growth, Paths, Pattern, Screen, find_in, screen};
use ostler_messages::{CallError, OutputFile, PatternSource};
use std::{future::IntoFuture, pin::Pin, sync::Arc};

/// A search for lines in a command's output, as it is now: [`Handle::find`]. The bytes never go through the graph.
///
/// [`wait`](FindLines::wait) searches on the calling thread; `.await` leaves the runtime's thread free. Dropped, nothing happens.
#[must_use = "nothing is searched before it is waited for or awaited"]
#[derive(Clone, Debug)]
pub struct FindLines {
    handle: Handle,
    pattern: PatternSource,
    which: OutputFile,
    request: FindRequest,
}

impl FindLines {
    /// In which file; combined by default.
    pub fn stream(mut self, which: OutputFile) -> FindLines {
        self.which = which;
        self
    }
    /// From which offset on, in bytes; 0 by default. [`FoundLines::next_offset`] goes on.
    pub fn offset(mut self, offset: u64) -> FindLines {
        self.request = self.request.offset(offset);
        self
    }
    /// How many matching lines at most; 100 by default, and never more than 1,000.
    pub fn max(mut self, lines: usize) -> FindLines {
        self.request = self.request.max(lines);
        self
    }
    /// With so many lines before and after each, at most 50.
    pub fn around(mut self, before: usize, after: usize) -> FindLines {
        self.request = self.request.around(before, after);
        self
    }

    /// Searches on this thread.
    ///
    /// # Errors
    /// `BadCondition` for a pattern that is refused; [`Error::Read`] where the file is gone or can't be read.
    pub fn wait(self) -> Result<FoundLines, Error> {
        let pattern = Pattern::try_from(self.pattern).map_err(|error| {
            let reason = error.to_string();
            Error::Call(CallError::BadCondition { index: 0, reason })
        })?;
        let (paths, growth) = self.handle.files();
        find_in((&paths, self.which), growth.as_deref(), &pattern, &self.request).map_err(Error::Read)
    }
}
impl IntoFuture for FindLines {
    type Output = Result<FoundLines, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<FoundLines, Error>> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(blocking::unblock(move || self.wait()))
    }
}

impl Handle {
    /// Searches the output for lines that match, while it runs and after; see [`FindLines`].
    ///
    /// ```
    /// # use ostler::{*, testing::*}; use std::time::Duration;
    /// # let world = World::new();
    /// # let said = "building\nerror: no such file\n  at line 7\n";
    /// # world.program("make", Program::new().stdout_at(Duration::ZERO, said).exits_at(Duration::ZERO, 2));
    /// # let ostler = Ostler::scripted(Config::default(), &world)?;
    /// # let session = ostler.open_session().wait()?;
    /// let build = session.launch(Command::new("make")).wait()?;
    /// build.result().wait()?;
    /// let found = build.find(PatternSource::Regex("^error".into())).around(0, 1).wait()?;
    /// let lines: Vec<_> = found.lines.iter().map(|line| line.text.as_str()).collect();
    /// assert_eq!(lines, ["error: no such file", "  at line 7"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, pattern: PatternSource) -> FindLines {
        let (handle, request) = (self.clone(), FindRequest::new());
        FindLines { handle, pattern, which: OutputFile::Combined, request }
    }

    /// The screen of its terminal, as a person would see it now: made from what it has sent last, on the calling thread. In an async host
    /// call it within `spawn_blocking`: it takes milliseconds.
    ///
    /// # Errors
    /// `NoTerminal` for one that was launched without; [`Error::Read`] where its output can't be read.
    pub fn screen(&self) -> Result<Screen, Error> {
        let handle_id = self.id();
        let size = self.ostler().outputs().terminal(handle_id.n);
        let size = size.ok_or(Error::Call(CallError::NoTerminal { handle_id }))?;
        let (paths, growth) = self.files();
        screen(&paths, growth.as_deref(), size).map_err(Error::Read)
    }

    fn files(&self) -> (Paths, Option<Arc<Growth>>) {
        let (ostler, command_id) = (self.ostler(), self.command_id());
        (Paths::of(ostler.artifact_root(), command_id), ostler.outputs().growth(command_id))
    }
}
