//! Who a host is, so that another one that has its pid is not taken for it: containers that share a root all have a first process, and
//! pids come again.
//!
//! * in: what a command's `launch.json` says of its host
//! * out: whether that host lives
//! * keeps: a lock that is there and is its own decides; without one its process does, by pid, boot and time of start

use crate::lock;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Who a host is: by its lock, and where that is gone by its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// The name of its lock in the root; none where it could have none.
    pub lock: Option<String>,
    /// What stands in the lock: no other one's has it.
    pub token: u64,
    /// Of the kernel that it runs on (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When its process was started, in clock ticks after the boot (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
}

impl HostIdentity {
    /// Of this process, with this lock.
    pub(crate) fn own(lock: Option<(String, u64)>) -> HostIdentity {
        static PROCESS: OnceLock<(String, u64)> = OnceLock::new();
        let (boot_id, start_ticks) =
            PROCESS.get_or_init(|| (boot_id(), start_ticks(std::process::id()).unwrap_or(0))).clone();
        let (lock, token) = lock.map_or((None, 0), |(lock, token)| (Some(lock), token));
        HostIdentity { lock, token, boot_id, start_ticks }
    }

    /// Whether it is a graph of this process.
    pub(crate) fn is_here(&self) -> bool {
        own_tokens().contains(&self.token)
    }

    /// Whether it lives; its root and its pid are those of the command.
    pub(crate) fn lives(&self, root: &Path, host_pid: u32) -> bool {
        let lock = self.lock.as_deref().and_then(|name| lock::is_held_by(root, name, host_pid, self.token));
        lock.unwrap_or_else(|| self.boot_id == boot_id() && start_ticks(host_pid) == Some(self.start_ticks))
    }
}

/// The tokens of the locks that this process holds.
pub(crate) fn own_tokens() -> MutexGuard<'static, BTreeSet<u64>> {
    static TOKENS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    // A set is whole, whoever has panicked.
    TOKENS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of the kernel that runs (`/proc/sys/kernel/random/boot_id`): another one after each boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process was started, in clock ticks after the boot (proc_pid_stat(5), field 22). None: nobody has the number, or that can't be told.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, which can hold anything, ends with the last parenthesis; the state behind it is the third field.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(end + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;

    #[test]
    fn a_host_is_known_by_its_lock_and_without_one_by_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root");
        let own = std::process::id();
        let root = Root::open(Some(path.clone()), own).unwrap();
        let identity = root.identity();
        assert!(identity.lives(&path, own) && identity.is_here());
        // Another one that has its pid, and its lock's name.
        let other = HostIdentity { token: 7, start_ticks: 7, ..identity.clone() };
        assert!(!other.lives(&path, own) && !other.is_here());
        // Somebody has removed its lock.
        fs::remove_file(path.join(identity.lock.clone().unwrap())).unwrap();
        assert!(identity.lives(&path, own));
        assert!(!HostIdentity { boot_id: "another".into(), ..identity.clone() }.lives(&path, own));
        drop(root);
        assert!(!identity.is_here());
        let again = Root::open(Some(path.clone()), own).unwrap();
        let old = HostIdentity { start_ticks: 7, ..identity };
        assert!(!old.lives(&path, own), "the name is another one's by now");
        assert_ne!(again.identity().token, old.token);
    }

    #[test]
    fn a_process_has_a_time_of_start() {
        assert!(start_ticks(std::process::id()).is_some_and(|ticks| ticks > 0) && !boot_id().is_empty());
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
