//! What one command says, on its way into its files, its digest and its inline text.
//!
//! * in: bytes of two streams, in the order of arrival
//! * out: three files, a digest, counts, a bounded text; at the end [`Output`]
//! * keeps: memory does not grow with the output

use crate::{
    DigestWorker, Growth, HeadTail, OutputFile, Paths, append_file::AppendFile, digest_worker::WORTH_BYTES,
    result,
};
use ostler_messages::{Capture, MAX_INLINE_BYTES_LIMIT, Output, Record, Stream};
use sha2::{Digest, Sha256};
use std::{io, mem, path::PathBuf, sync::Arc};

/// Where recorded bytes go.
#[derive(Debug)]
enum Files {
    /// In the order of [`OutputFile`].
    Disk([AppendFile; 3]),
    /// Into [`Growth`]; the number of combined bytes after which every write fails, and how.
    Memory { full_at: Option<(u64, i32)> },
}

/// Records one command: everything that was read is counted, digested and shown; what can be written is in the files.
///
/// Nothing here panics or returns an error: whatever goes wrong with the files stands in
/// [`Output::artifact_error`], and the command goes on. Several causes are joined by `; `, in the order in which they
/// came; of write errors only the first stands there.
#[derive(Debug)]
pub struct Recorder {
    /// The rest of its paths is made when it is needed: thousands of recorders are idle.
    dir: PathBuf,
    capture: Capture,
    output_limit: Option<u64>,
    live: Arc<Growth>,
    files: Files,
    digest: Sha256,
    byte_count: u64,
    newlines: u64,
    last_byte: u8,
    /// What is shown as stdout and as stderr.
    texts: [HeadTail; 2],
    /// The first thing that went wrong.
    artifact_error: Option<String>,
    sealed: Option<Output>,
}

impl Recorder {
    /// For files that [`create`](crate::create) has made. They are opened at the first byte.
    ///
    /// Beyond `output_limit` combined bytes nothing more is recorded. At most
    /// [`MAX_INLINE_BYTES_LIMIT`] bytes of text are held for each stream, whatever `capture` says.
    pub fn new(paths: Paths, capture: Capture, output_limit: Option<u64>, live: Arc<Growth>) -> Recorder {
        let append_files = OutputFile::ALL.map(|which| AppendFile::new(which.file_name()));
        Recorder::with(Files::Disk(append_files), paths, capture, output_limit, live)
    }

    /// The same without a disk: the "files" are in `live`, where readers find them, and grow without a limit.
    pub fn in_memory(
        paths: Paths,
        capture: Capture,
        output_limit: Option<u64>,
        live: Arc<Growth>,
    ) -> Recorder {
        live.keep_in_memory();
        Recorder::with(Files::Memory { full_at: None }, paths, capture, output_limit, live)
    }

    fn with(
        files: Files,
        paths: Paths,
        capture: Capture,
        output_limit: Option<u64>,
        live: Arc<Growth>,
    ) -> Recorder {
        // No limit above 16 MiB gets here from a validated request; the bound keeps memory bounded all the same.
        let limit = capture.max_inline_bytes.min(MAX_INLINE_BYTES_LIMIT) as usize;
        Recorder {
            dir: paths.dir,
            capture,
            output_limit,
            live,
            files,
            digest: Sha256::new(),
            byte_count: 0,
            newlines: 0,
            last_byte: b'\n',
            texts: [HeadTail::new(limit), HeadTail::new(limit)],
            artifact_error: None,
            sealed: None,
        }
    }

    /// Where it records to.
    pub fn paths(&self) -> Paths {
        Paths { dir: self.dir.clone() }
    }

    /// Scripts a disk that is full: after so many combined bytes every write fails with `errno`. Only for
    /// [`Recorder::in_memory`]; a real disk has errors of its own.
    pub fn fail_at(&mut self, combined_bytes: u64, errno: i32) {
        if let Files::Memory { full_at } = &mut self.files {
            *full_at = Some((combined_bytes, errno));
        }
    }

    /// Takes what was read from a stream. Allocates only while the inline text grows to its limit, and takes no lock
    /// unless a reader waits. After [`Recorder::seal`] it does nothing.
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

    /// All but the digest.
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        self.record(stream, bytes);
        self.byte_count += bytes.len() as u64;
        self.newlines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.last_byte = last;
        let shown = match stream {
            Stream::Stdout => self.capture.stdout,
            Stream::Stderr => self.capture.stderr,
        };
        if shown {
            self.texts[stream.index()].push(bytes);
        }
    }

    /// Writes what may still be written to the combined file and to the stream's.
    fn record(&mut self, stream: Stream, bytes: &[u8]) {
        let room = self.output_limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.byte_count));
        let within = usize::try_from(room).map_or(bytes, |room| &bytes[..bytes.len().min(room)]);
        let mut trouble = None;
        if !within.is_empty() {
            let (combined, own) = (OutputFile::Combined as usize, OutputFile::from(stream) as usize);
            let lengths = match &mut self.files {
                Files::Disk(append_files) => {
                    let dir = &self.dir;
                    let path = |which: OutputFile| move || dir.join(which.file_name());
                    trouble = append_files[combined].append(path(OutputFile::Combined), within);
                    let second = append_files[own].append(path(stream.into()), within);
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
        let mut output = self.output(inline_bytes);
        for (text, shown) in self.texts.iter().zip([&mut output.stdout, &mut output.stderr]) {
            if text.ends_within_a_character() {
                // What it shows as.
                shown.pop();
            }
        }
        output
    }

    fn output(&self, inline_bytes: u64) -> Output {
        let limit = usize::try_from(inline_bytes).unwrap_or(usize::MAX);
        let [(stdout, stdout_truncated), (stderr, stderr_truncated)] =
            [self.texts[0].view(limit), self.texts[1].view(limit)];
        Output {
            stdout,
            stderr,
            stdout_truncated,
            stderr_truncated,
            line_count: self.newlines + u64::from(self.last_byte != b'\n'),
            byte_count: self.byte_count,
            recorded_bytes: self.live.length(OutputFile::Combined),
            output_sha256: None,
            artifact_error: self.artifact_error.clone(),
        }
    }

    /// Closes the files, looks whether they are still there, finishes the digest, writes `result.json` from `record`
    /// with the output filled in, and lets every reader see the end. The second call returns the same again.
    ///
    /// The files are not synced: they outlive the host, not a power cut.
    pub fn seal(&mut self, mut record: Record) -> Output {
        if let Some(output) = &self.sealed {
            return output.clone();
        }
        let mut output = self.output(u64::MAX);
        output.output_sha256 = Some(format!("sha256:{}", hex(&self.digest.finalize_reset())));
        let paths = self.paths();
        if let Files::Disk(append_files) = &mut self.files {
            let closed = OutputFile::ALL.map(|which| append_files[which as usize].close(&paths.file(which)));
            output.recorded_bytes = closed[OutputFile::Combined as usize].0;
            let removed = !paths.dir.is_dir();
            if removed {
                add_trouble(&mut output, "the artifact directory was removed".to_owned());
            } else {
                closed
                    .into_iter()
                    .filter_map(|(_, trouble)| trouble)
                    .for_each(|t| add_trouble(&mut output, t));
                record.set_output(output.clone());
                if let Err(error) = result::write(&paths, &record) {
                    add_trouble(&mut output, format!("writing result.json: {error}"));
                }
            }
        }
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
