//! Who has started whom.

use std::fs;

/// Longest line of ancestors that is looked at.
const ANCESTORS_MAX: usize = 64;

/// Whether this process and that host were started by the same program: the host's parent is an ancestor of this process. Init is
/// nobody's program: whoever has lost its parent is its child.
pub(crate) fn is_of_my_agent(host_pid: u32) -> bool {
    let above = parent(host_pid).filter(|pid| *pid > 1);
    above.is_some_and(|above| ancestors(std::process::id()).any(|pid| pid == above))
}

fn ancestors(of: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(parent(of), |pid| parent(*pid)).take(ANCESTORS_MAX)
}

/// proc_pid_stat(5), field 4. None: there is no such process, or it has no parent that can be seen.
fn parent(of: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{of}/stat")).ok()?;
    // The name, which can hold anything, ends with the last parenthesis; the state behind it is the third field.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(end + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_this_process_is_not_its_sibling() {
        let own = std::process::id();
        assert_eq!(parent(own), Some(std::os::unix::process::parent_id()));
        // Its own parent has started it, and stands above it.
        assert!(is_of_my_agent(own));
        assert!(!is_of_my_agent(u32::MAX) && !is_of_my_agent(1));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let (parent_of, is_kin) = (parent(child.id()), is_of_my_agent(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((parent_of, is_kin), (Some(own), false));
    }
}
