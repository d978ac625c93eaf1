//! Looking into a command's output: for lines, and at a terminal's screen.

use super::{Call, Handle};
use crate::{
    errors::Error,
    words::{WorkerAsk, WorkerReply},
};
use ostler::{FindRequest, FoundLines, OutputFile, Page, PatternSource, Screen};
use ostler_artifacts::{Pattern, find};
use std::{future::IntoFuture, io, pin::Pin};

/// A search for lines in a command's output, as it is now: [`Handle::find`]. What is searched comes here first: from its worker while it runs, and once it has ended from the
/// store, once for all searches.
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
    /// [`Error::Option`] for a pattern that is refused; as [`Handle::read`].
    pub fn wait(self) -> Result<FoundLines, Error> {
        let pattern = Pattern::try_from(self.pattern)
            .map_err(|error| Error::Option { option: "pattern", why: error.to_string() })?;
        let (mut page, mut failed) = (Page::new("".into(), Vec::new()), None);
        let read = |offset: u64, to: &mut [u8]| {
            if !(page.offset..page.next_offset).contains(&offset) {
                match self.handle.read().stream(self.which).offset(offset).wait() {
                    Ok(next) => page = next,
                    Err(error) => {
                        failed = Some(error);
                        return Err(io::ErrorKind::Other.into());
                    }
                }
            }
            // The offset is in the page, or the page is empty.
            let at = usize::try_from(offset.saturating_sub(page.offset)).unwrap_or(usize::MAX);
            let rest = page.content.get(at..).unwrap_or_default();
            let length = rest.len().min(to.len());
            to[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        };
        let found = find(read, &pattern, &self.request);
        found.map_err(|error| {
            failed.unwrap_or(Error::Damaged { what: "output".into(), why: error.to_string() })
        })
    }
}
impl IntoFuture for FindLines {
    type Output = Result<FoundLines, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<FoundLines, Error>> + Send>>;
    /// On a thread of the connection's runtime that may block.
    fn into_future(self) -> Self::IntoFuture {
        let remote = self.handle.session().remote().clone();
        Box::pin(async move {
            let searching = async { tokio::task::spawn_blocking(move || self.wait()).await };
            remote.call(async { searching.await.unwrap_or(Err(Error::Closed)) }).await
        })
    }
}

impl Handle {
    /// Looks for lines in its output.
    pub fn find(&self, pattern: PatternSource) -> FindLines {
        FindLines { handle: self.clone(), pattern, which: OutputFile::Combined, request: FindRequest::new() }
    }
    /// The screen of its terminal, as a person would see it now, while it runs.
    ///
    /// # Errors
    /// It was launched without one; it has ended ([`Error::HandleEnded`]); [`Error::WorkerSilent`].
    pub fn screen(&self) -> Call<Screen> {
        let handle = self.clone();
        self.call(async move {
            match handle.ask_until_ended(&WorkerAsk::Screen { key: handle.key() }).await? {
                Some(WorkerReply::Screen { screen }) => Ok(screen),
                Some(other) => Err(handle.unexpected(other)),
                None => Err(handle.has_ended()),
            }
        })
    }
}
