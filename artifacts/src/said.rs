//! What a command has said, as far as it is shown: counts, and the head and tail of each stream.
//!
//! * in: the bytes of each stream, before they are written
//! * out: an [`Output`] without files and digest
//! * keeps: it is there also when the disk does not answer

use crate::{HeadTail, clean_text};
use ostler_messages::{Capture, MAX_INLINE_BYTES_LIMIT, Output, Stream, View};

#[derive(Debug)]
pub(crate) struct Said {
    /// What is shown of each stream; None: nothing.
    texts: [Option<HeadTail>; 2],
    view: View,
    byte_count: u64,
    newlines: u64,
    last_byte: u8,
}

impl Said {
    pub(crate) fn new(capture: Capture) -> Said {
        // No limit above 16 MiB gets here from a validated request; the bound keeps memory bounded all the same.
        let limit = capture.max_inline_bytes.min(MAX_INLINE_BYTES_LIMIT) as usize;
        let text = |shown: bool| shown.then(|| HeadTail::new(limit));
        Said {
            texts: [text(capture.stdout), text(capture.stderr)],
            view: capture.view,
            byte_count: 0,
            newlines: 0,
            last_byte: b'\n',
        }
    }

    /// Takes bytes of which so many are line feeds.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], newlines: u64) {
        let Some(&last) = bytes.last() else { return };
        self.byte_count += bytes.len() as u64;
        self.newlines += newlines;
        self.last_byte = last;
        if let Some(text) = &mut self.texts[stream.index()] {
            text.push(bytes);
        }
    }

    /// With at most so many raw bytes of each text. Of a command that runs, a character that is still coming is left out.
    pub(crate) fn output(&self, inline_bytes: u64, runs: bool) -> Output {
        let limit = usize::try_from(inline_bytes).unwrap_or(usize::MAX);
        let view = |text: &Option<HeadTail>| {
            let Some(text) = text else { return (String::new(), false) };
            let (mut shown, truncated) = text.view(limit);
            if runs && text.ends_within_a_character() {
                // What it shows as.
                shown.pop();
            }
            match self.view {
                View::Raw => (shown, truncated),
                View::Clean => (clean_text(shown.as_bytes()), truncated),
            }
        };
        let [(stdout, stdout_truncated), (stderr, stderr_truncated)] = self.texts.each_ref().map(view);
        Output {
            stdout,
            stderr,
            stdout_truncated,
            stderr_truncated,
            line_count: Some(self.newlines + u64::from(self.last_byte != b'\n')),
            byte_count: self.byte_count,
            ..Output::default()
        }
    }
}
