//! Which directory may be the root, and what retention removes.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::command;
use ostler_artifacts::{Paths, Retained, RetentionLimits, Root, RootError, Wanted, create, retain};
use ostler_messages::CommandId;
use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const HOUR: Duration = Duration::from_secs(3600);
/// Pids that no test process has: the kernel's highest is 4194304 (proc_sys_kernel(5)).
const DEAD_PID: u32 = 5_000_001;
const LIVING_PID: u32 = 5_000_002;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_root_is_made_with_its_parents_and_only_for_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Some(dir.path().join("a/b/./c/")), 7).unwrap();
    assert_eq!(root.path(), dir.path().join("a/b/c"));
    for path in ["a", "a/b", "a/b/c"] {
        assert_eq!(fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777, 0o700);
    }
}

#[test]
fn a_root_that_others_could_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &PathBuf| Root::open(Some(path.clone()), 7).unwrap_err();
    let (real, link, file) = (dir.path().join("real"), dir.path().join("link"), dir.path().join("file"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    fs::write(&file, "").unwrap();
    for path in [link.clone(), dir.path().join("link/"), dir.path().join("link/.")] {
        assert_eq!(open(&path), RootError::Symlink { path });
    }
    assert_eq!(open(&file), RootError::NotADirectory { path: file.clone() });
    assert!(matches!(open(&file.join("x")), RootError::Io { doing: "making", .. }));
    for mode in [0o720, 0o702, 0o1777] {
        fs::set_permissions(&real, PermissionsExt::from_mode(mode)).unwrap();
        let refused = open(&real);
        assert_eq!(refused, RootError::WritableByOthers { path: real.clone(), mode });
        assert!(refused.to_string().contains("chmod 700"));
    }
    fs::set_permissions(&real, PermissionsExt::from_mode(0o755)).unwrap();
    Root::open(Some(real), 7).unwrap();
}

#[test]
fn two_hosts_in_one_process_have_a_lock_each() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Root::open(Some(dir.path().to_owned()), 7).unwrap();
    let (first, second) = (open(), open());
    assert_eq!(names(dir.path()), [".host-7-1.lock", ".host-7-2.lock"]);
    drop(first);
    let third = open();
    assert_eq!(names(dir.path()), [".host-7-1.lock", ".host-7-2.lock"]);
    drop((second, third));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_lock_made_anew_after_the_root_was_wiped_outlives_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Root::open(Some(dir.path().join("root")), 7).unwrap();
    let first = open();
    fs::remove_dir_all(first.path()).unwrap();
    let second = open();
    drop(first);
    assert_eq!(names(second.path()), [".host-7-1.lock"]);
}

/// A command of some host, made so many hours ago.
fn made(root: &Path, host_pid: u32, n: u64, hours: u32) -> Paths {
    let paths = Paths::of(root, CommandId { host_pid, ..command(n) });
    create(&paths).unwrap();
    set_age(&paths.dir, hours);
    paths
}

/// Whatever of this process there is stays.
fn clean(root: &Path, age: Duration, commands: usize) -> Retained {
    retain(root, &RetentionLimits { age, commands, bytes: u64::MAX }, &Wanted::default())
}

fn set_age(path: &Path, hours: u32) {
    let times = FileTimes::new().set_modified(SystemTime::now() - HOUR * hours);
    File::open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn retention_takes_what_is_too_old_and_the_oldest_beyond_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let made: Vec<Paths> = (1..=6).map(|n| made(dir.path(), DEAD_PID, n, n as u32 * 10)).collect();
    // The age of a command that has ended is that of its result.
    fs::write(made[5].result(), "{}").unwrap();
    set_age(&made[5].result(), 1);
    set_age(&made[5].dir, 60);
    let exists = || made.iter().map(|paths| paths.dir.exists()).collect::<Vec<_>>();

    let retained = clean(dir.path(), HOUR * 45, 100);
    assert_eq!((retained.removed.len(), retained.kept, retained.errors), (1, 5, vec![]));
    assert_eq!(exists(), [true, true, true, true, false, true]);
    let retained = clean(dir.path(), HOUR * 45, 2);
    assert_eq!((retained.removed.len(), retained.kept, retained.errors), (3, 2, vec![]));
    assert_eq!(exists(), [true, false, false, false, false, true]);
    clean(dir.path(), Duration::ZERO, 0);
    assert_eq!(exists(), [false; 6]);
}

#[test]
fn retention_takes_the_oldest_beyond_the_bytes_and_of_this_process_only_what_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let own = std::process::id();
    let pids = [DEAD_PID, own, own, DEAD_PID, own];
    let made: Vec<Paths> = (1..).zip(pids).map(|(n, pid)| made(dir.path(), pid, n, 100 - n as u32)).collect();
    for paths in &made {
        fs::write(paths.combined(), [0; 100]).unwrap();
        fs::write(paths.result(), [0; 10]).unwrap();
        set_age(&paths.result(), 100 - made.iter().position(|other| other.dir == paths.dir).unwrap() as u32);
    }
    let exists = || made.iter().map(|paths| paths.dir.exists()).collect::<Vec<_>>();
    let keep = |bytes| RetentionLimits { age: HOUR * 1_000, commands: 100, bytes };
    let may_go =
        |n| Wanted { may_go: [CommandId { host_pid: own, ..command(n) }].into(), ..Wanted::default() };
    let ns = |retained: Retained| retained.removed.iter().map(|id| id.n).collect::<Vec<_>>();

    assert_eq!(ns(retain(dir.path(), &keep(550), &may_go(3))), [0; 0]);
    assert_eq!(ns(retain(dir.path(), &keep(549), &may_go(3))), [1]);
    // The second is older, and may not go.
    assert_eq!(ns(retain(dir.path(), &keep(400), &may_go(3))), [3]);
    assert_eq!(exists(), [false, true, false, true, true]);
    assert_eq!(ns(retain(dir.path(), &keep(0), &may_go(5))), [4, 5]);
    assert_eq!(exists(), [false, true, false, false, false]);
}

#[test]
fn retention_never_touches_what_lives_or_what_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Some(dir.path().join("root")), std::process::id()).unwrap();
    let living = Root::open(Some(root.path().to_owned()), LIVING_PID).unwrap();
    fs::write(root.path().join(format!(".host-{DEAD_PID}-1.lock")), "").unwrap();
    fs::write(root.path().join(".host-07-1.lock"), "").unwrap();
    let own = made(root.path(), std::process::id(), 1, 1000);
    let others = made(root.path(), LIVING_PID, 1, 1000);
    let extra = made(root.path(), DEAD_PID, 1, 1000);
    fs::write(extra.dir.join("notes"), "mine").unwrap();
    let sub = made(root.path(), DEAD_PID, 2, 1000);
    fs::create_dir(sub.dir.join("result.json")).unwrap();
    let dead = made(root.path(), DEAD_PID, 3, 1000);
    fs::write(dead.dir.join(".result.json.tmp"), "half").unwrap();

    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("combined.txt"), "mine").unwrap();
    symlink(&elsewhere, root.path().join(format!("cmd_5_{DEAD_PID}_5"))).unwrap();
    fs::create_dir(root.path().join(format!("cmd_5_0{DEAD_PID}_5"))).unwrap();
    fs::create_dir(root.path().join("mine")).unwrap();
    fs::write(root.path().join(format!("cmd_6_{DEAD_PID}_6")), "a file").unwrap();

    let before = names(root.path());
    let retained = clean(root.path(), Duration::ZERO, 0);
    assert_eq!((retained.removed.len(), retained.kept, retained.errors), (1, 4, vec![]));
    let after = names(root.path());
    let gone: Vec<_> = before.into_iter().filter(|name| !after.contains(name)).collect();
    let dead_name = dead.dir.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(gone, [format!(".host-{DEAD_PID}-1.lock"), dead_name]);
    for paths in [&own, &others, &extra] {
        assert!(paths.combined().exists() && paths.stdout().exists() && paths.stderr().exists());
    }
    assert!(extra.dir.join("notes").exists() && elsewhere.join("combined.txt").exists());

    drop(living);
    assert_eq!(clean(root.path(), Duration::ZERO, 0).removed.len(), 1);
    assert!(own.dir.exists() && !others.dir.exists());
}

#[test]
fn retention_leaves_the_directory_of_another_user_and_one_from_the_future() {
    let dir = tempfile::tempdir().unwrap();
    let future = made(dir.path(), DEAD_PID, 1, 1000);
    let tomorrow = FileTimes::new().set_modified(SystemTime::now() + HOUR * 24);
    File::open(&future.dir).unwrap().set_times(tomorrow).unwrap();
    let others = made(dir.path(), DEAD_PID, 2, 1000);
    let changed = std::os::unix::fs::chown(&others.dir, Some(54_321), None);
    let retained = clean(dir.path(), Duration::ZERO, 100);
    assert!(future.dir.exists(), "its time is not past");
    match changed {
        Ok(()) => {
            assert_eq!((retained.removed.len(), retained.kept), (0, 1), "another user's is not even counted");
            assert!(others.dir.exists());
        }
        Err(error) => eprintln!("SKIPPED another user's directory: {error}"),
    }
}

#[test]
fn f73_a_living_host_whose_lock_was_removed_keeps_its_directories() {
    let dir = tempfile::tempdir().unwrap();
    // A process that has no lock, as if a cleaner had removed it.
    let paths = made(dir.path(), std::process::id(), 1, 1000);
    assert_eq!(clean(dir.path(), Duration::ZERO, 0).removed.len(), 0);
    assert!(paths.dir.exists());
}

#[test]
fn f95_a_root_that_others_could_replace_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("shared");
    fs::create_dir(&parent).unwrap();
    let with = |mode: u32| {
        fs::set_permissions(&parent, fs::Permissions::from_mode(mode)).unwrap();
        Root::open(Some(parent.join("artifacts")), std::process::id()).map(drop)
    };
    let refused = RootError::WritableByOthers { path: parent.clone(), mode: 0o777 };
    assert_eq!(with(0o777), Err(refused));
    assert_eq!(with(0o1777), Ok(()), "as /tmp");
    assert_eq!(with(0o775), Ok(()), "as where each user has a group");
}

#[test]
fn a_lock_that_cannot_be_looked_at_is_a_living_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let paths = made(dir.path(), DEAD_PID, 1, 1000);
    symlink("nowhere", dir.path().join(format!(".host-{DEAD_PID}-1.lock"))).unwrap();
    let retained = clean(dir.path(), Duration::ZERO, 0);
    assert_eq!((retained.removed.len(), retained.errors.len()), (0, 1), "{:?}", retained.errors);
    assert!(paths.dir.exists());
}

#[test]
fn a_root_that_is_not_there_is_an_error_told_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let retained = clean(&dir.path().join("none"), HOUR, 1);
    assert_eq!((retained.removed.len(), retained.kept, retained.errors.len()), (0, 0, 1));
}

#[test]
fn a_lock_outlives_no_process_that_was_killed() {
    // The lock of a process that dies without dropping it: flock(1) is one that we can kill.
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join(format!(".host-{DEAD_PID}-1.lock"));
    let paths = made(dir.path(), DEAD_PID, 1, 1000);
    let mut command = std::process::Command::new("flock");
    // Without a fork, so that killing the child kills the holder.
    let Ok(mut holder) = command.args(["-xn", "--no-fork"]).arg(&lock).args(["sleep", "60"]).spawn() else {
        return eprintln!("SKIPPED: there is no flock(1)");
    };
    let held = || lock.exists() && File::open(&lock).unwrap().try_lock_shared().is_err();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !held() {
        assert!(std::time::Instant::now() < deadline, "flock(1) took no lock");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(clean(dir.path(), Duration::ZERO, 0).removed.len(), 0);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(clean(dir.path(), Duration::ZERO, 0).removed.len(), 1);
    assert!(!paths.dir.exists() && !lock.exists());
}
