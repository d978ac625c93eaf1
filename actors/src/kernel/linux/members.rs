//! Who is in a process group, from `/proc`.

use nix::libc;
use std::{fs, io};

/// Most processes that are named in a result: a fork bomb must not fill the memory.
pub(super) const NAMED: usize = 1_024;

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The processes of a group that are no zombies. A process that is forked while this looks may be missed; whoever acts on
/// the answer looks again.
///
/// # Errors
/// Without `/proc`, or a descriptor or memory to read it: an answer all the same would be a false claim.
pub(super) fn of_group(group: u32) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(error) if is_want(&error) => return Err(error),
            // Gone since it was listed, or another user's and hidden.
            Err(_) => continue,
        };
        if let Some(member) = parse(pid, &stat, group) {
            members.push(member);
        }
    }
    Ok(members)
}

fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// `pid (comm) state ppid pgrp …` (proc_pid_stat(5)); the name may hold spaces and parentheses.
fn parse(pid: u32, stat: &str, group: u32) -> Option<Member> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(end + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let pgrp = fields.nth(1)?.parse::<u32>().ok()?;
    let alive = !matches!(state, "Z" | "X" | "x");
    (alive && pgrp == group).then(|| Member { pid, name: stat[start + 1..end].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_hide_a_process() {
        let stat = "42 (a) b) S 1 7 7 0 -1 4194304 1 0";
        assert_eq!(parse(42, stat, 7), Some(Member { pid: 42, name: "a) b".into() }));
        assert_eq!(parse(42, stat, 8), None);
        assert_eq!(parse(42, "42 (x) Z 1 7 7 0", 7), None);
        assert_eq!(parse(42, "42 (x", 7), None);
    }
}
