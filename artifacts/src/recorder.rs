//! What one command says, on its way into its files, its digest and its inline text.
//!
//! * in: bytes of two streams, in the order of arrival
//! * out: three files, a digest, counts, a bounded text; at the end [`Output`]
//! * keeps: memory does not grow with the output

use crate::{
    DigestWorker, Directory, Growth, OutputFile, Paths, append_file::AppendFile, digest_worker::WORTH_BYTES,
    result, said::Said,
};
use ostler_messages::{Capture, Output, Record, Stream, TextOnDisk};
use sha2::{Digest, Sha256};
use std::{io, mem, sync::Arc};

/// Where recorded bytes go.
#[derive(Debug)]
enum Files {
    /// In the order of [`OutputFile`].
    Disk(Directory, [AppendFile; 3]),
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
    byte_count: u64,
    /// The first thing that went wrong.
    artifact_error: Option<String>,
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
        let append_files = OutputFile::ALL.map(|which| AppendFile::new(which.file_name()));
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
            byte_count: 0,
            artifact_error: None,
            sealed: None,
        }
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

    /// All but the digest. What is shown comes first: the disk may not answer.
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(said) = self.live.said().as_mut() {
            said.push(stream, bytes);
        }
        self.record(stream, bytes);
        self.byte_count += bytes.len() as u64;
    }

    /// Writes what may still be written to the combined file and to the stream's.
    fn record(&mut self, stream: Stream, bytes: &[u8]) {
        let room = self.output_limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.byte_count));
        let within = usize::try_from(room).map_or(bytes, |room| &bytes[..bytes.len().min(room)]);
        let mut trouble = None;
        if !within.is_empty() {
            let (combined, own) = (OutputFile::Combined as usize, OutputFile::from(stream) as usize);
            let lengths = match &mut self.files {
                Files::Disk(directory, append_files) => {
                    trouble = append_files[combined].append(directory, within);
                    let second = append_files[own].append(directory, within);
                    trouble = trouble.or(second);
                    (append_files[combined].written(), append_files[own].written())
                }
                Files::Memory { full_at } => {
                    let Some(mut memory) = self.live.memory() else { return };
                    let left = full_at.map_or(u64::MAX, |(full, _)| full.saturating_sub(self.byte_count));
                    let taken = usize::try_from(left).map_or(within.len(), |left| within.len().min(left));
                    if let Some((_, errno)) = full_at.filter(|_| taken < within.len()) {
                        let error = io::Error::from_raw_os_error(errno);
                        trouble = Some(format!("writing {}: {error}", OutputFile::Combined.file_name()));
                    }
                    for file in [combined, own] {
                        memory[file].extend_from_slice(&within[..taken]);
                    }
                    (memory[combined].len() as u64, memory[own].len() as u64)
                }
                Files::None => return,
            };
            self.live.advance(stream, lengths.0, lengths.1);
        }
        if self.artifact_error.is_none() {
            self.artifact_error = trouble.or_else(|| {
                let limit = self.output_limit.filter(|_| within.len() < bytes.len())?;
                Some(format!("output limit of {limit} bytes reached"))
            });
        }
    }

    /// What has flowed so far, with at most `inline_bytes` raw bytes of each text; no digest. A character whose last
    /// bytes have not come yet is left out.
    pub fn peek(&self, inline_bytes: u64) -> Output {
        Output { artifact_error: self.artifact_error.clone(), ..self.live.peek(inline_bytes) }
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
        output.output_sha256 = Some(format!("sha256:{}", hex(&self.digest.finalize_reset())));
        if let Files::Disk(directory, append_files) = &mut self.files {
            let closed = OutputFile::ALL.map(|which| append_files[which as usize].close(directory));
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
    /// A command that is given up without a seal must not leave its readers waiting.
    fn drop(&mut self) {
        self.live.end();
    }
}

fn add_trouble(output: &mut Output, trouble: String) {
    output.artifact_error = Some(match output.artifact_error.take() {
        Some(earlier) => format!("{earlier}; {trouble}"),
        None => trouble,
    });
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|n| DIGITS[usize::from(n)] as char).collect()
}
