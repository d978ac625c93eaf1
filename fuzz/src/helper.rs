//! What the guard and the helpers report, on sockets that keep messages apart: the first byte of each is its length.

use crate::files::made;
use ostler::testing::helper_reports;

/// How long a whole report is: a kind and ten values.
const REPORT_BYTES: usize = 88;

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((&length, after)) = rest.split_first() {
        // A socket gives no empty message: that is its end (unix(7)).
        let (message, others) = after.split_at(usize::from(length.max(1)).min(after.len()));
        messages.extend(Some(message).filter(|message| !message.is_empty()));
        rest = others;
    }
    let reports = made(helper_reports(&messages));
    // The first that is no report ends it.
    let whole = messages.iter().take_while(|message| message.len() >= REPORT_BYTES).count();
    assert!(reports.len() <= whole, "{} reports in {whole} whole messages: {reports:?}", reports.len());
}
