//! Looking into a command's output: for lines, and at a terminal's screen.

use super::{Call, Handle};
use crate::{
    errors::Error,
    words::{WorkerAsk, WorkerReply},
};
use ostler::{
    CallError, Condition, FindRequest, FoundLines, Met, OutputFile, Page, PatternSource, RecordingStopped,
    Screen, WaitEnd,
};
use ostler_artifacts::{Pattern, Search, find};
use std::{future::IntoFuture, io, pin::Pin, time::Instant};

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
    /// What of the conditions the output of a command meets that has ended: the first that is met. With why it could not be searched to its end.
    pub(super) async fn searched(
        &self,
        conditions: &[Condition],
        until: Option<Instant>,
    ) -> Result<(WaitEnd, Option<RecordingStopped>), Error> {
        let mut stopped = None;
        for (index, condition) in conditions.iter().enumerate() {
            let Condition::Output { pattern, stream, from, .. } = condition else { continue };
            let pattern = Pattern::try_from(pattern.clone())
                .map_err(|error| CallError::BadCondition { index, reason: error.to_string() })?;
            let mut search = Search::new(pattern, *from);
            let found = loop {
                let offset = search.offset();
                let page = match self.read().stream(*stream).offset(offset).await {
                    Ok(page) => page,
                    Err(error) => {
                        stopped = Some(RecordingStopped { offset, why: error.to_string() });
                        break None;
                    }
                };
                let skip = usize::try_from(offset.saturating_sub(page.offset)).unwrap_or(usize::MAX);
                let bytes = page.content.get(skip..).unwrap_or_default();
                if let Some(found) = search.feed(bytes, 0) {
                    break Some(found);
                }
                if page.eof || bytes.is_empty() {
                    break search.end();
                }
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok((WaitEnd::TimedOut, stopped));
                }
            };
            if let Some(found) = found {
                return Ok((WaitEnd::Met { index, by: Met::Output(found) }, stopped));
            }
        }
        Ok((WaitEnd::Exit, stopped))
    }
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
