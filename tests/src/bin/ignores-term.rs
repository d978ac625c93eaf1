//! Says `ready` and takes no notice of SIGTERM.

use nix::sys::signal::{SigSet, Signal};

fn main() -> nix::Result<()> {
    // Blocked, which for a program that never unblocks it is the same as ignored, and needs no handler.
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block()?;
    println!("ready");
    loop {
        std::thread::park();
    }
}
