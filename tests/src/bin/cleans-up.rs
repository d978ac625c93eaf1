//! `cleans-up FILE CODE MS`: says `ready`; at SIGTERM works for so long on its end, writes the file, says `cleaned up`,
//! and exits with the code.

use nix::sys::signal::{SigSet, Signal};
use std::{error::Error, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("FILE CODE MS");
    let (file, code, ms) = (next()?, next()?.parse::<i32>()?, next()?.parse()?);
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block()?;
    println!("ready");
    term.wait()?;
    std::thread::sleep(Duration::from_millis(ms));
    std::fs::write(file, "cleaned up")?;
    println!("cleaned up");
    std::process::exit(code);
}
