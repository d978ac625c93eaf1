//! The searches of one wait in the files of one command, the same in every world.
//!
//! * in: that files have grown, or that time has passed
//! * out: [`Event`]s for the wait
//! * keeps: each byte is read once; each search tells once that it has looked at all there was, and once how it ended

use ostler_artifacts::{Growth, Page, Paths, Pattern, ReadError, ReadRequest, Search, read_now};
use ostler_messages::{
    Condition, ConditionMet, ConditionNever, ConditionOpen, Event, Met, OutputFile, RecordingStopped,
};
use std::sync::Arc;

/// What is read and searched at a time: enough that the calls cost nothing, so little that others get their turn within a millisecond.
const PAGE_BYTES: u64 = 1 << 20;

/// The files of a command.
pub(crate) struct Files {
    pub(crate) paths: Paths,
    /// While it is recorded, and for some time after.
    pub(crate) growth: Option<Arc<Growth>>,
}
impl Files {
    fn read(&self, which: OutputFile, offset: u64) -> Result<Page, ReadError> {
        let request = ReadRequest::new().of(which).offset(offset).length(PAGE_BYTES);
        read_now(&self.paths, self.growth.as_deref(), &request)
    }
    /// Whether there is nothing to read for now.
    fn is_exhausted(&self, which: OutputFile, offset: u64) -> bool {
        self.growth.as_ref().is_some_and(|growth| !growth.ended_of(which) && growth.length(which) <= offset)
    }
    fn stopped(&self, which: OutputFile) -> Option<RecordingStopped> {
        let stopped = self.growth.as_ref()?.stopped_of(which)?;
        Some(RecordingStopped { offset: stopped.offset, why: stopped.why })
    }
}

/// One search of a wait.
pub(crate) struct Follow {
    index: usize,
    pub(crate) which: OutputFile,
    search: Search,
    /// When what stands in the file already has come.
    old_us: Option<u64>,
    /// How much was there when nothing of it could be read.
    looked_at: u64,
}

/// What a turn of a search came to.
pub(crate) enum Turn {
    /// There is more to read.
    More,
    /// Until the file grows, or this time.
    Waits(Option<u64>),
    /// It is over.
    Finished,
}

impl Follow {
    /// None for a condition that is no search. A pattern was looked at before the wait began; one that is refused all the same never
    /// holds.
    pub(crate) fn new(index: usize, condition: &Condition, silent_since_us: u64) -> Option<Follow> {
        let Condition::Output { pattern, stream, from, .. } = condition else { return None };
        let pattern = Pattern::try_from(pattern.clone()).ok()?;
        let search = Search::new(pattern, *from);
        Some(Follow { index, which: *stream, search, old_us: Some(silent_since_us), looked_at: 0 })
    }

    /// Where the next byte is that it waits for.
    pub(crate) fn wait_at(&self) -> u64 {
        self.search.offset().max(self.looked_at)
    }

    /// Searches what there is, a page at most.
    pub(crate) fn turn(&mut self, files: &Files, now_us: u64, tell: &mut impl FnMut(Event)) -> Turn {
        let offset = self.search.offset();
        if files.is_exhausted(self.which, self.wait_at()) {
            return self.waits(now_us, tell);
        }
        let page = match files.read(self.which, offset) {
            Ok(page) => page,
            Err(error) => {
                let stopped = Some(RecordingStopped { offset, why: error.to_string() });
                return self.never(stopped, tell);
            }
        };
        // A page begins on a character; bytes before the offset are not ours.
        let skip = usize::try_from(offset.saturating_sub(page.offset)).unwrap_or(usize::MAX);
        let bytes = page.content.get(skip..).unwrap_or_default();
        let came_us = self.old_us.unwrap_or(now_us);
        if !bytes.is_empty() {
            // A line that is cut by the page, or whose rest is read late, has not stood still.
            self.search.goes_on(came_us);
        }
        if let Some(found) = self.search.feed(bytes, came_us) {
            return self.met(found, tell);
        }
        if page.eof {
            return match self.search.end() {
                Some(found) => self.met(found, tell),
                None => self.never(files.stopped(self.which), tell),
            };
        }
        if bytes.is_empty() {
            // The beginning of a character: it is read when the rest of it is there.
            self.looked_at = page.total_bytes;
            return self.waits(now_us, tell);
        }
        Turn::More
    }

    fn waits(&mut self, now_us: u64, tell: &mut impl FnMut(Event)) -> Turn {
        // Nothing more is there; a line that has been open for long enough counts as it stands.
        if let Some(found) = self.search.quiet(now_us) {
            return self.met(found, tell);
        }
        if self.old_us.take().is_some() {
            tell(ConditionOpen { index: self.index, unseen: 0 }.into());
        }
        Turn::Waits(self.search.quiet_at_us())
    }
    fn met(&mut self, found: ostler_messages::Found, tell: &mut impl FnMut(Event)) -> Turn {
        tell(ConditionMet { index: self.index, by: Met::Output(found) }.into());
        Turn::Finished
    }
    fn never(&mut self, stopped: Option<RecordingStopped>, tell: &mut impl FnMut(Event)) -> Turn {
        tell(ConditionNever { index: self.index, stopped, refused: None }.into());
        Turn::Finished
    }
}
