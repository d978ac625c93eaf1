//! What one command says, on its way into its files, its digest and its inline text.
//!
//! * in: bytes of two streams, in the order of arrival
//! * out: three files, and a fourth for kept leftovers, a digest, counts, a bounded text; at the end [`Output`]
//! * keeps: memory does not grow with the output

use crate::{
    Budget, DigestWorker, Directory, Growth, OutputFile, Paths, append_file::AppendFile,
    digest_worker::WORTH_BYTES, lines::Offered, result, said::Said,
};
use ostler_messages::{Capture, Output, Record, Stream, TextOnDisk};
use sha2::{Digest, Sha256};
use std::{io, mem, sync::Arc};

/// Where recorded bytes go.
#[derive(Debug)]
enum Files {
    /// In the order of [`OutputFile`].
    Disk(Directory, [AppendFile; 4]),
    /// Into [`Growth`]; the number of combined bytes after which every write fails, and how.
    Memory { full_at: Option<(u64, i32)> },
    /// They could not be made.
    None,
}

/// Records one command: everything that was read is counted, digested and shown; what can be written is in the files.
///
/// Nothing here panics or returns an error: whatever goes wrong with the files stands in
/// [`Output::artifact_error`], and the command goes on. Several causes are joined by `; `, in the order in which they
/// came; of write errors only the first stands there.
#[derive(Debug)]
pub struct Recorder {
    output_limit: Option<u64>,
    live: Arc<Growth>,
    files: Files,
    digest: Sha256,
    /// In the order of [`OutputFile`].
    offered: [Offered; 4],
    /// The first thing that went wrong.
    artifact_error: Option<String>,
    /// What its session may have on disk, and the number under which it takes of it.
    budget: Option<(Arc<Budget>, u64)>,
    /// Why nothing more is written: that is spent. For ever, also when others give back.
    spent: Option<String>,
    trouble_beside: Option<String>,
    sealed: Option<Output>,
}

impl Recorder {
    /// Into files that [`create`](crate::create) has made. They are opened at the first byte.
    ///
    /// Beyond `output_limit` combined bytes nothing more is recorded. At most
    /// [`MAX_INLINE_BYTES_LIMIT`](ostler_messages::MAX_INLINE_BYTES_LIMIT) bytes of text are held for each stream, whatever
    /// `capture` says.
    pub fn new(
        directory: Directory,
        capture: Capture,
        output_limit: Option<u64>,
        live: Arc<Growth>,
    ) -> Recorder {
        let append_files = OutputFile::ALL.map(|which| match which {
            OutputFile::Kept => AppendFile::made_later(which.file_name()),
            _ => AppendFile::new(which.file_name()),
        });
        Recorder::with(Files::Disk(directory, append_files), capture, output_limit, live)
    }

    /// The same where no files can be made, and why. Counts, digest and text are complete.
    pub fn without_files(why: String, capture: Capture, live: Arc<Growth>) -> Recorder {
        let mut recorder = Recorder::with(Files::None, capture, None, live);
        recorder.artifact_error = Some(why);
        recorder
    }

    /// The same without a disk: the "files" are in `live`, where readers find them, and grow without a limit.
    pub fn in_memory(capture: Capture, output_limit: Option<u64>, live: Arc<Growth>) -> Recorder {
        live.keep_in_memory();
        Recorder::with(Files::Memory { full_at: None }, capture, output_limit, live)
    }

    fn with(files: Files, capture: Capture, output_limit: Option<u64>, live: Arc<Growth>) -> Recorder {
        *live.said() = Some(Said::new(capture));
        Recorder {
            output_limit,
            live,
            files,
            digest: Sha256::new(),
            offered: Default::default(),
            artifact_error: None,
            budget: None,
            spent: None,
            trouble_beside: None,
            sealed: None,
        }
    }

    /// Shares this budget with other commands: when it is spent nothing more is recorded. To be called before the first byte.
    pub fn share(&mut self, budget: Arc<Budget>, n: u64) {
        self.budget = Some((budget, n));
    }

    /// Something else went wrong in its directory: it stands behind what goes wrong here.
    pub fn note_trouble(&mut self, trouble: String) {
        self.trouble_beside = Some(trouble);
    }

    /// Where it records to, if that is a disk.
    pub fn paths(&self) -> Option<&Paths> {
        match &self.files {
            Files::Disk(directory, _) => Some(directory.paths()),
            Files::Memory { .. } | Files::None => None,
        }
    }

    /// Scripts a disk that is full: after so many combined bytes every write fails with `errno`. Only for
    /// [`Recorder::in_memory`]; a real disk has errors of its own.
    pub fn fail_at(&mut self, combined_bytes: u64, errno: i32) {
        if let Files::Memory { full_at } = &mut self.files {
            *full_at = Some((combined_bytes, errno));
        }
    }

    /// Takes what was read from a stream. Allocates only while the inline text grows to its limit. After
    /// [`Recorder::seal`] it does nothing.
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        if self.sealed.is_none() {
            self.digest.update(bytes);
            self.write(stream, bytes);
        }
    }

    /// The same for the first `count` bytes, which another thread digests meanwhile if they are many. Afterwards nobody
    /// else has the bytes.
    pub fn append_with(
        &mut self,
        stream: Stream,
        bytes: &Arc<Vec<u8>>,
        count: usize,
        worker: &mut DigestWorker,
    ) {
        if count <= WORTH_BYTES || self.sealed.is_some() {
            return self.append(stream, &bytes[..count]);
        }
        let digest = mem::take(&mut self.digest);
        self.digest = worker.digest(digest, bytes, count, || self.write(stream, &bytes[..count]));
    }

    /// Takes what kept leftovers said after the command's end: it goes into a file of its own, under what is left of the
    /// output limit, and is in no count, digest or text of the record. Also after [`Recorder::seal`]. What can't be written is
    /// counted in [`Growth::missed_of`]; after the first error nothing more is written.
    pub fn append_kept(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let newlines = count_newlines(bytes);
        let (within, over) = self.within_limits(bytes, 1);
        let before = self.live.length(OutputFile::Kept);
        let (length, trouble) = self.put(OutputFile::Kept, within);
        self.give_back(within.len() as u64, length - before);
        self.live.advance_kept(length);
        self.note(OutputFile::Kept, bytes.len() as u64, newlines, || trouble.or(over));
    }

    /// All but the digest. What is shown comes first: the disk may not answer.
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let newlines = count_newlines(bytes);
        if let Some(said) = self.live.said().as_mut() {
            said.push(stream, bytes, newlines);
        }
        if !bytes.is_empty() {
            self.record(stream, bytes, newlines);
        }
    }

    /// Bytes of the command and of its leftovers so far, which share the limit.
    fn taken(&self) -> u64 {
        self.offered[OutputFile::Combined as usize].bytes + self.offered[OutputFile::Kept as usize].bytes
    }
    /// What may be written of it into so many files, and why no more.
    fn within_limits<'a>(&mut self, bytes: &'a [u8], files: u64) -> (&'a [u8], Option<String>) {
        let (within, over) = self.within_limit(bytes);
        let Some((budget, n)) = &self.budget else { return (within, over) };
        if self.spent.is_none() {
            let granted = usize::try_from(budget.take(*n, within.len() as u64, files)).unwrap_or(usize::MAX);
            if granted >= within.len() {
                return (within, over);
            }
            let limit = budget.limit();
            self.spent = Some(format!("the session's limit of {limit} bytes on disk reached"));
            return (&within[..granted], self.spent.clone());
        }
        (&[], self.spent.clone())
    }
    /// What was taken of the budget and could not be written.
    fn give_back(&self, taken: u64, written: u64) {
        if let Some((budget, n)) = self.budget.as_ref().filter(|_| written < taken) {
            budget.put_back(*n, taken - written);
        }
    }
    fn within_limit<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], Option<String>) {
        let Some(limit) = self.output_limit else { return (bytes, None) };
        let room = usize::try_from(limit.saturating_sub(self.taken())).unwrap_or(usize::MAX);
        match bytes.get(..room).filter(|within| within.len() < bytes.len()) {
            Some(within) => (within, Some(format!("output limit of {limit} bytes reached"))),
            None => (bytes, None),
        }
    }

    /// Writes what may still be written to the combined file and to the stream's.
    fn record(&mut self, stream: Stream, bytes: &[u8], newlines: u64) {
        let (within, over) = self.within_limits(bytes, 2);
        let own = OutputFile::from(stream);
        let before = self.live.length(OutputFile::Combined) + self.live.length(own);
        let (combined_length, trouble) = self.put(OutputFile::Combined, within);
        let (own_length, own_trouble) = self.put(own, within);
        self.give_back(2 * within.len() as u64, combined_length + own_length - before);
        self.live.advance(stream, combined_length, own_length);
        let count = bytes.len() as u64;
        self.note(OutputFile::Combined, count, newlines, || trouble.clone().or(over.clone()));
        self.note(own, count, newlines, || own_trouble.clone().or(over.clone()));
        if let Some(over) = &over {
            // The limit is that of all.
            OutputFile::SEALED.into_iter().for_each(|which| self.live.stop(which, || over.clone()));
        }
        if self.artifact_error.is_none() {
            self.artifact_error = trouble.or(own_trouble).or(over);
        }
    }

    /// Appends to one file as much as goes; its length then, and the first error.
    fn put(&mut self, which: OutputFile, bytes: &[u8]) -> (u64, Option<String>) {
        let taken = self.taken();
        match &mut self.files {
            Files::Disk(directory, append_files) => {
                let file = &mut append_files[which as usize];
                let trouble = file.append(directory, bytes);
                (file.written(), trouble)
            }
            Files::Memory { full_at } => {
                let Some(mut memory) = self.live.memory() else { return (0, None) };
                let left = full_at.map_or(u64::MAX, |(full, _)| full.saturating_sub(taken));
                let fits = usize::try_from(left).map_or(bytes.len(), |left| bytes.len().min(left));
                let failed = full_at.filter(|_| fits < bytes.len()).map(|(_, errno)| {
                    format!("writing {}: {}", which.file_name(), io::Error::from_raw_os_error(errno))
                });
                memory[which as usize].append(&bytes[..fits]);
                (memory[which as usize].length(), failed)
            }
            Files::None => (0, None),
        }
    }

    /// Counts what was offered to a file, and tells readers what of it is not there.
    fn note(&mut self, which: OutputFile, count: u64, newlines: u64, why: impl FnOnce() -> Option<String>) {
        let offered = &mut self.offered[which as usize];
        offered.add(count, newlines, |at, feeds| self.live.marks()[which as usize].push(at, feeds));
        let missed = offered.bytes.saturating_sub(self.live.length(which));
        if missed > 0 {
            self.live.set_missed(which, missed);
            let why = || why().or_else(|| self.artifact_error.clone()).unwrap_or_default();
            self.live.stop(which, why);
        }
    }

    /// What has flowed so far, with at most `inline_bytes` raw bytes of each text; no digest. A character whose last
    /// bytes have not come yet is left out.
    pub fn peek(&self, inline_bytes: u64) -> Output {
        Output {
            artifact_error: self.artifact_error.clone(),
            ..self.live.peek(inline_bytes).unwrap_or_default()
        }
    }

    /// Whether more was said than its output limit, or its session's, allows.
    pub fn is_over_limit(&self) -> bool {
        self.spent.is_some()
            || self
                .output_limit
                .is_some_and(|limit| self.offered[OutputFile::Combined as usize].bytes > limit)
    }

    /// Leftovers are kept: what they say is still to come. To be called before the seal.
    pub fn keep(&self) {
        self.live.keep();
    }

    /// Closes the files, looks whether they are still there, finishes the digest, writes `result.json` from `record`
    /// with the output filled in, and lets every reader see the end. The second call returns the same again.
    ///
    /// The files are not synced: they outlive the host, not a power cut.
    pub fn seal(&mut self, mut record: Record) -> Output {
        if let Some(output) = &self.sealed {
            return output.clone();
        }
        let mut output =
            self.live.said().as_ref().map(|said| said.output(u64::MAX, false)).unwrap_or_default();
        output.recorded_bytes = self.live.length(OutputFile::Combined);
        output.artifact_error = self.artifact_error.clone();
        self.trouble_beside.take().into_iter().for_each(|trouble| add_trouble(&mut output, trouble));
        output.output_sha256 = Some(sha256(&self.digest.finalize_reset()));
        if let Files::Disk(directory, append_files) = &mut self.files {
            let closed = OutputFile::SEALED.map(|which| append_files[which as usize].close(directory));
            output.recorded_bytes = closed[OutputFile::Combined as usize].0;
            let trouble = directory.trouble();
            if trouble.is_none() {
                closed
                    .into_iter()
                    .filter_map(|(_, trouble)| trouble)
                    .for_each(|t| add_trouble(&mut output, t));
            }
            trouble.into_iter().for_each(|trouble| add_trouble(&mut output, trouble));
            record.set_output(output.clone());
            match result::write(directory, &record) {
                Ok(()) => output.text_on_disk = TextOnDisk(directory.trouble().is_none()),
                Err(error) if directory.trouble().is_none() => {
                    add_trouble(&mut output, format!("writing result.json: {error}"));
                }
                // Said already.
                Err(_) => {}
            }
        }
        // Not before the disk has answered. From here on the output alone has the text.
        self.live.said().take();
        self.live.end();
        self.sealed.insert(output).clone()
    }
}

impl Drop for Recorder {
    /// A command that is given up without a seal must not leave its readers waiting, nor leftovers of which nobody hears.
    fn drop(&mut self) {
        self.live.end();
        self.live.end_kept();
    }
}

fn add_trouble(output: &mut Output, trouble: String) {
    output.artifact_error = Some(match output.artifact_error.take() {
        Some(earlier) => format!("{earlier}; {trouble}"),
        None => trouble,
    });
}

pub(crate) fn count_newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// As a record has a digest.
pub(crate) fn sha256(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = nibbles.map(|n| DIGITS[usize::from(n)] as char).collect();
    format!("sha256:{hex}")
}
