//! Where trace lines go: into memory, or through a thread of its own into a file.

use crate::{
    backend::{StartError, thread::spawn},
    config::TraceTo,
};
use crossbeam_channel::{Receiver, bounded, unbounded};
use ostler_context::Sink;
use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
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
/// How long the end of a graph waits for the rest of its trace.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The sink, and what to wait for at the end.
pub(crate) struct Tracing {
    pub(crate) sink: Option<Sink>,
    pub(crate) flushed: Option<Flushed>,
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
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.map(Some).map_err(|source| StartError::Trace { path: path.clone(), source })
}

/// On the graph's thread: the sink is not sent anywhere.
pub(crate) fn sink(to: &TraceTo, file: Option<File>) -> Tracing {
    match (to, file) {
        (TraceTo::Memory(log), _) => {
            let log = log.clone();
            Tracing { sink: Some(Box::new(move |line| log.write(line))), flushed: None }
        }
        (TraceTo::File(_), Some(file)) => to_file(file),
        _ => Tracing { sink: None, flushed: None },
    }
}

fn to_file(mut file: File) -> Tracing {
    let (lines, pieces) = unbounded::<Vec<u8>>();
    let (written, flushed) = bounded::<()>(0);
    let behind = Arc::new(AtomicUsize::new(0));
    let waiting = behind.clone();
    let writer = spawn("ostler-trace", move || {
        // Disconnects when this thread ends.
        let _written = written;
        for piece in pieces {
            if file.write_all(&piece).is_err() {
                return;
            }
            waiting.fetch_sub(piece.len(), Ordering::Relaxed);
        }
    });
    if writer.is_err() {
        return Tracing { sink: None, flushed: None };
    }
    let (mut piece, mut lost) = (Vec::new(), 0_u64);
    let sink: Sink = Box::new(move |line| {
        if behind.load(Ordering::Relaxed) + piece.len() + line.len() > BEHIND_BYTES {
            lost += 1;
            return;
        }
        if lost > 0 {
            piece.extend_from_slice(format!("{{\"lost\":{lost}}}\n").as_bytes());
            lost = 0;
        }
        piece.extend_from_slice(line);
        if piece.len() >= PIECE_BYTES || (line.is_empty() && !piece.is_empty()) {
            behind.fetch_add(piece.len(), Ordering::Relaxed);
            let _ = lines.send(std::mem::take(&mut piece));
        }
    });
    Tracing { sink: Some(sink), flushed: Some(Flushed(flushed)) }
}
