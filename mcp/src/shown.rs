//! A command's output as an answer shows it: clean text, so much of it, and exactly what is missing.

use crate::place::{Error, Handle};
use ostler::{Page, ReadRequest, Record, clean_text};

/// Most output in one answer, in raw bytes: about 8,000 tokens. Models get worse with more, and clients cut or refuse it.
pub const SHOWN_MAX_BYTES: u64 = 30_000;

/// Some output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Raw bytes that the text stands for.
    pub(crate) bytes: u64,
    /// Raw bytes that were left out in its middle.
    pub(crate) omitted: u64,
}

/// The output of a record's moment from an offset on: all of it if it fits, else its first quarter and its last three.
pub(crate) async fn output(handle: &Handle, record: &Record, from: u64, max: u64) -> Shown {
    let shown = match from_files(handle, record, from, max).await {
        Ok(shown) => shown,
        // Its files are not whole, or can't be read: what its record has of it.
        Err(()) => {
            let text = [&*record.stdout, &*record.stderr].concat();
            Shown { bytes: record.byte_count, text, omitted: 0 }
        }
    };
    // A marker and the rest of a line come on top.
    Shown { text: fit(shown.text, max + 1_024), ..shown }
}

async fn from_files(handle: &Handle, record: &Record, from: u64, max: u64) -> Result<Shown, ()> {
    let end = record.output_offset;
    if from == 0 && end <= max {
        let streams = (record.stdout.is_empty(), record.stderr.is_empty());
        let cut = record.stdout_truncated || record.stderr_truncated;
        if let (true, Some(text)) = (!cut, only(record, streams)) {
            return Ok(Shown { text: text.to_owned(), bytes: record.byte_count, omitted: 0 });
        }
    }
    if record.recorded_bytes < record.byte_count && record.recorded_bytes < end {
        return Err(());
    }
    let all = end.saturating_sub(from);
    if all <= max {
        let page = piece(handle, from, all).await.map_err(drop)?;
        return Ok(Shown { bytes: page.bytes_read, text: clean_text(&page.content), omitted: 0 });
    }
    let head = piece(handle, from, max / 4).await.map_err(drop)?;
    let tail_from = line_after(handle, end - (max - max / 4)).await.map_err(drop)?;
    let tail = piece(handle, tail_from, end - tail_from).await.map_err(drop)?;
    let omitted = tail.offset.saturating_sub(head.next_offset);
    let mut text = clean_text(&head.content);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("[… {omitted} bytes omitted; read them from offset {} …]\n", head.next_offset);
    text += &clean_text(&tail.content);
    Ok(Shown { bytes: head.bytes_read + tail.bytes_read, text, omitted })
}

/// At most so many bytes of a text: of a longer one the middle goes. Clean text can be longer than the bytes that it was made from: a
/// sequence of a few bytes moves by thousands of columns, and a byte that is no text takes three.
pub(crate) fn fit(text: String, max: u64) -> String {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if text.len() <= max {
        return text;
    }
    let mut head = max / 4;
    let mut tail = text.len() - (max - head);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}\n[… {} bytes of text omitted …]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The text of the one stream that has said something.
fn only(record: &Record, empty: (bool, bool)) -> Option<&str> {
    match empty {
        (_, true) => Some(&record.stdout),
        (true, false) => Some(&record.stderr),
        (false, false) => None,
    }
}

/// Raw, and made clean as if nothing followed: a line without its end is a prompt, and shown.
async fn piece(handle: &Handle, offset: u64, length: u64) -> Result<Page, Error> {
    handle.read(ReadRequest::new().offset(offset).length(length)).await
}

/// Where a line begins, if one does soon after the offset.
async fn line_after(handle: &Handle, offset: u64) -> Result<u64, Error> {
    const SOON_BYTES: u64 = 1_024;
    let page = piece(handle, offset, SOON_BYTES).await?;
    let newline = page.content.iter().position(|byte| *byte == b'\n');
    Ok(newline.map_or(page.offset, |at| page.offset + at as u64 + 1))
}
