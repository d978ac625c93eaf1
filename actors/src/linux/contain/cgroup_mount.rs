//! Where this process's own cgroup is.
//!
//! * in: what `/proc/self` says of mounts and cgroups
//! * out: a path, or why there is none

use crate::linux::sys::has_attribute;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the cgroups of a graph are made: in this process's own one, or in the one above, if that was delegated to it and has no
/// process itself (systemd's `Delegate=` and `DelegateSubgroup=`): only there controllers can be had.
pub(super) fn place() -> Result<PathBuf, String> {
    let own = own_cgroup()?;
    let above = own.parent().filter(|above| {
        let is_delegated =
            ["user.delegate", "trusted.delegate"].iter().any(|name| has_attribute(above, name));
        is_delegated && fs::read(above.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
    });
    Ok(above.map_or_else(|| own.clone(), Path::to_owned))
}

/// This process's own cgroup: the cgroup2 mount from `/proc/self/mountinfo`, the path in it from `/proc/self/cgroup`.
fn own_cgroup() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    locate(&mounts, &cgroups)
}

/// proc_pid_mountinfo(5): `id parent dev root mountpoint options… - type source options`.
fn locate(mounts: &str, cgroups: &str) -> Result<PathBuf, String> {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or("this process is in no cgroup of version 2")?;
    let mut reason = "no cgroup2 file system is mounted".to_owned();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if right.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let fields: Vec<&str> = left.split(' ').collect();
        let (Some(root), Some(point), Some(options)) = (fields.get(3), fields.get(4), fields.get(5)) else {
            continue;
        };
        if options.split(',').any(|option| option == "ro") {
            reason = format!("cgroup2 at {point} is mounted read-only");
            continue;
        }
        match Path::new(path).strip_prefix(root) {
            Ok(rest) => return Ok(Path::new(&unescape(point)).join(rest)),
            Err(_) => reason = format!("this process's cgroup {path} is not below {root}, which is mounted"),
        }
    }
    Err(reason)
}

/// Blanks in a mount point stand as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::locate;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_mount_is_found_and_not_assumed() {
        let found = locate(HYBRID, "9:name=systemd:/\n0::/user.slice/a b\n").unwrap();
        assert_eq!(found.to_str(), Some("/sys/fs/cgroup/unified/user.slice/a b"));
        let bound = "41 31 0:38 /docker/x /mnt/c\\040g rw - cgroup2 cgroup2 rw\n";
        assert_eq!(locate(bound, "0::/docker/x/y\n").unwrap().to_str(), Some("/mnt/c g/y"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(locate(HYBRID, "1:cpu:/\n").unwrap_err().contains("no cgroup of version 2"));
        assert!(locate("", "0::/\n").unwrap_err().contains("no cgroup2"));
        assert!(locate(&HYBRID.replace("rw,relatime", "ro"), "0::/\n").unwrap_err().contains("read-only"));
        let elsewhere = "41 31 0:38 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert!(locate(elsewhere, "0::/../other\n").unwrap_err().contains("not below"));
    }
}
