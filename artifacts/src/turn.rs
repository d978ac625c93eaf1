//! Whose turn it is to look through a root: a host that lives for a moment must not do it each time.
//!
//! * in: a root, limits, the interval
//! * out: whether this start has to look
//! * keeps: a look at the latest after the interval, or after so many starts

use crate::RetentionLimits;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// So many starts of hosts may leave what they made before one looks: few beside the commands that are kept.
pub const STARTS_PER_LOOK: usize = 64;
/// A line with four numbers, and a byte for each start.
const NOTED_MAX_BYTES: u64 = 256;

/// Whether a host that starts has to [`retain`](crate::retain): not if within this time another one with the same limits has begun to, and fewer than
/// [`STARTS_PER_LOOK`] have started since. Each call counts as a start. In doubt it has to.
///
/// It is noted in `.looked` in the root: when, with which limits, and a byte for each start.
pub fn is_turn(root: &Path, limits: &RetentionLimits, interval: Duration) -> bool {
    noted(root, limits, interval).unwrap_or(true)
}

fn noted(root: &Path, limits: &RetentionLimits, interval: Duration) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    // Nothing but a file of ours is written to, or waited for.
    let mut file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(root.join(".looked"))?;
    let mut noted = Vec::new();
    (&mut file).take(NOTED_MAX_BYTES).read_to_end(&mut noted)?;
    let text = String::from_utf8_lossy(&noted);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let of_limits = format!("{} {} {}", limits.age.as_secs(), limits.commands, limits.bytes);
    let since = text.split_once('\n').and_then(|(line, starts)| {
        let (at_s, limits) = line.split_once(' ')?;
        let since = now.as_secs().checked_sub(at_s.parse().ok()?)?;
        (limits == of_limits && starts.len() + 1 < STARTS_PER_LOOK).then_some(since)
    });
    if since.is_some_and(|since_s| since_s < interval.as_secs()) {
        // At the end: two that start at once may count as one.
        file.write_all(b".")?;
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{} {of_limits}\n", now.as_secs()).as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    const HOUR: Duration = Duration::from_secs(3_600);
    const LIMITS: RetentionLimits = RetentionLimits { age: HOUR, commands: 512, bytes: 1 << 30 };

    #[test]
    fn one_of_many_starts_looks_and_whoever_has_other_limits() {
        let dir = tempfile::tempdir().unwrap();
        let turns = |limits, count| (0..count).filter(|_| is_turn(dir.path(), limits, HOUR)).count();
        assert_eq!(turns(&LIMITS, STARTS_PER_LOOK), 1);
        assert_eq!(turns(&LIMITS, STARTS_PER_LOOK), 1);
        let fewer = RetentionLimits { commands: 5, ..LIMITS };
        assert_eq!((turns(&fewer, 9), turns(&LIMITS, 9)), (1, 1));
        assert!(is_turn(dir.path(), &LIMITS, Duration::ZERO));
    }

    #[test]
    fn in_doubt_it_is_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".looked");
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 100;
        let long = "9".repeat(10_000);
        for text in
            ["", "\n", "what", &format!("{later} 3600 512 1073741824\n"), "7 3600 512 1073741824\n", &long]
        {
            fs::write(&file, text).unwrap();
            assert!(is_turn(dir.path(), &LIMITS, HOUR), "{text:.50}");
            assert!(!is_turn(dir.path(), &LIMITS, HOUR), "{text:.50}");
        }
        fs::write(&file, [0xff; 9]).unwrap();
        assert!(is_turn(dir.path(), &LIMITS, HOUR) && !is_turn(dir.path(), &LIMITS, HOUR));
        fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(is_turn(dir.path(), &LIMITS, HOUR) && is_turn(dir.path(), &LIMITS, HOUR));
        assert!(is_turn(Path::new("/nowhere"), &LIMITS, HOUR));
    }
}
