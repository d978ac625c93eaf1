//! `flood BYTES [both | whole]`: writes so many bytes without a newline to stdout, with `both` as many to stderr from
//! another thread at the same time, with `whole` (below the size of a pipe) by a single writev. The bytes are a pattern, so that one that is lost or doubled shows.

use std::io::{self, IoSlice, Write};

fn pattern(bytes: u64, mut to: impl Write) -> io::Result<()> {
    // 251 is prime, so a piece that is lost or doubled does not fit, whatever its size.
    let block: Vec<u8> = (0..251 * 260).map(|n| u8::try_from(n % 251).unwrap_or(0).max(b'\n' + 1)).collect();
    let mut left = bytes;
    while left > 0 {
        let piece = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        to.write_all(&block[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bytes = args.next().ok_or("BYTES")?.parse()?;
    let how = args.next().unwrap_or_default();
    // Past the line buffer of `Stdout`.
    let mut out = std::fs::File::from(std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?);
    if how == "whole" {
        let mut all = Vec::new();
        pattern(bytes, &mut all)?;
        let (one, other) = all.split_at(1);
        let written = out.write_vectored(&[IoSlice::new(one), IoSlice::new(other)])?;
        return if written == all.len() { Ok(()) } else { Err("not in one piece".into()) };
    }
    let other = (how == "both").then(|| std::thread::spawn(move || pattern(bytes, io::stderr())));
    pattern(bytes, out)?;
    if let Some(other) = other {
        other.join().map_err(|_| "stderr")??;
    }
    Ok(())
}
