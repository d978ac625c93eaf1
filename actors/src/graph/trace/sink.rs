//! Where trace lines go: into memory, or through a thread of its own into a file; and into the recorder beside it.

use super::recorder::Recorder;
use crate::{
    backend::{StartError, thread::spawn},
    config::{TraceTo, lost_line},
};
use crossbeam_channel::{Receiver, bounded, unbounded};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use ostler_context::Sink;
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Bytes on their way to the file; what comes while the disk is further behind is counted and left out.
const BEHIND_BYTES: usize = 16 << 20;
/// Lines are handed over in pieces of this size, or when the graph is about to wait: not one wake-up per line.
const PIECE_BYTES: usize = 64 << 10;
/// What the graph says within this time after a line is written together: a command is said in a dozen pieces, and each would wake the writer and cost a
/// write. A host that is killed takes so much of its trace along, and whoever reads the trace of one that lives is so much behind.
const GATHER: Duration = Duration::from_millis(5);
/// Most bytes of one write, which the writer makes while the graph says more.
const GATHERED_BYTES: usize = 1 << 20;
/// How long the end of a graph waits for the rest of its trace.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The sink, and what to wait for at the end.
pub(crate) struct Tracing {
    pub(crate) sink: Option<Sink>,
    pub(crate) flushed: Option<Flushed>,
    pub(crate) recorder: Option<Recorder>,
}
impl Tracing {
    /// Each line is made once, and goes to the sink and to the recorder.
    pub(crate) fn beside(self, recorder: Option<Recorder>) -> Tracing {
        let Some(recorder) = recorder else { return self };
        // The recorder has the header by itself.
        let (ring, mut first, mut other) = (recorder.ring(), true, self.sink);
        let sink: Sink = Box::new(move |line| {
            if !line.is_empty() && !std::mem::take(&mut first) {
                ring.borrow_mut().push(line);
            }
            if let Some(other) = &mut other {
                other(line);
            }
        });
        Tracing { sink: Some(sink), recorder: Some(recorder), ..self }
    }
}

/// Waits, for a limited time, until the file is complete.
pub(crate) struct Flushed(Receiver<()>);
impl Flushed {
    pub(crate) fn wait(&self) {
        let _ = self.0.recv_timeout(FLUSH_LIMIT);
    }
}

/// Opens it, so that the host hears of a bad path.
pub(crate) fn open(to: &TraceTo) -> Result<Option<File>, StartError> {
    let TraceTo::File(path) = to else { return Ok(None) };
    create(path).map(Some).map_err(|source| StartError::Trace { path: path.clone(), source })
}

/// Makes or empties it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    // A pipe that nobody reads would be waited for; one that is read is written to as any file.
    let file = options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

/// On the graph's thread: the sink is not sent anywhere.
pub(crate) fn sink(to: &TraceTo, file: Option<File>) -> Tracing {
    match (to, file) {
        (TraceTo::Memory(log), _) => {
            let log = log.clone();
            Tracing { sink: Some(Box::new(move |line| log.write(line))), flushed: None, recorder: None }
        }
        (TraceTo::File(_), Some(file)) => to_file(file),
        _ => Tracing { sink: None, flushed: None, recorder: None },
    }
}

fn to_file(file: File) -> Tracing {
    let (lines, pieces) = unbounded::<Vec<u8>>();
    let (written, flushed) = bounded::<()>(0);
    let behind = Arc::new(AtomicUsize::new(0));
    let waiting = behind.clone();
    // Disconnects when the sink goes.
    let (alive, over) = bounded::<()>(0);
    let writer = spawn("ostler-trace", move || {
        // Disconnects when this thread ends.
        let _written = written;
        let mut writer = Writer { file, at: 0, last: Vec::new(), lost: 0, failed: false };
        while let Ok(mut piece) = pieces.recv() {
            let _ = over.recv_timeout(GATHER);
            while piece.len() < GATHERED_BYTES
                && let Ok(mut more) = pieces.try_recv()
            {
                piece.append(&mut more);
            }
            waiting.fetch_sub(piece.len(), Ordering::Relaxed);
            writer.put(piece);
        }
        writer.finish();
    });
    if writer.is_err() {
        return Tracing { sink: None, flushed: None, recorder: None };
    }
    let (mut piece, mut lost) = (Vec::new(), 0_u64);
    let sink: Sink = Box::new(move |line| {
        let _alive = &alive;
        if behind.load(Ordering::Relaxed) + piece.len() + line.len() > BEHIND_BYTES {
            lost += 1;
            return;
        }
        if lost > 0 {
            piece.extend_from_slice(lost_line(lost).as_bytes());
            lost = 0;
        }
        piece.extend_from_slice(line);
        if piece.len() >= PIECE_BYTES || (line.is_empty() && !piece.is_empty()) {
            behind.fetch_add(piece.len(), Ordering::Relaxed);
            let _ = lines.send(std::mem::take(&mut piece));
        }
    });
    Tracing { sink: Some(sink), flushed: Some(Flushed(flushed)), recorder: None }
}

/// Room for the line that says how many are missing.
const LOST_LINE_BYTES: usize = 40;

/// Writes whole lines as long as the disk takes them, and counts those that it does not.
struct Writer {
    file: File,
    /// Where the next line goes.
    at: u64,
    /// What was written last: on a full disk its end makes room for the line that says what is missing.
    last: Vec<u8>,
    lost: u64,
    failed: bool,
}

impl Writer {
    fn put(&mut self, mut piece: Vec<u8>) {
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            piece.splice(..0, lost_line(lost).into_bytes());
        }
        let written = self.write(&piece);
        if written == piece.len() {
            self.at += written as u64;
            self.last = piece;
            return;
        }
        // What the disk has given keeps room for the line that tells of the rest.
        let fits = &piece[..written.saturating_sub(LOST_LINE_BYTES)];
        let keep = fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.lost = lines(&piece[keep..]);
        if keep == 0 && lost > 0 {
            // The first of them stands for those before.
            self.lost += lost - 1;
        }
        self.at += keep as u64;
        if keep > 0 {
            self.last = piece[..keep].to_vec();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.failed && self.file.seek(SeekFrom::Start(self.at)).is_err() {
            return 0;
        }
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.failed |= written < bytes.len();
        written
    }

    /// Says what is missing at the end, in place of the last lines if there is no other room.
    fn finish(&mut self) {
        if self.lost > 0 && self.write(lost_line(self.lost).as_bytes()) < lost_line(self.lost).len() {
            let fits = &self.last[..self.last.len().saturating_sub(LOST_LINE_BYTES)];
            let keep = fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.lost += self.last[keep..].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.at -= (self.last.len() - keep) as u64;
            let _ = self.write(lost_line(self.lost).as_bytes());
        }
        if self.failed {
            let end = if self.lost > 0 { lost_line(self.lost).len() as u64 } else { 0 };
            // What lies behind it are parts of lines that were given up.
            let _ = self.file.set_len(self.at + end);
        }
    }
}
