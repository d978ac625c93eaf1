//! How every thread of ours is made.

use nix::sys::signal::{SigSet, SigmaskHow};
use std::{
    io,
    thread::{Builder, JoinHandle},
};

/// A thread that no signal of the host's interrupts, not even in its first moment: a host that waits for its signals with
/// `signalfd` or `sigwait` gets each of them.
///
/// # Errors
/// What clone(2) said: EAGAIN if there is no room for another thread.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread begins with the mask of the one that makes it. Both calls are refused only for arguments that are wrong.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let thread = Builder::new().name(name.to_owned()).spawn(body);
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    thread
}
