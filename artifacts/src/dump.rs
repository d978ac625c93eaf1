//! Files that a flight recorder has written: beside the directories of commands, named by time and host.
//!
//! * in: what is to stand in one; limits
//! * out: its path; those that are too old, or too many, are gone
//! * keeps: 0600; a file that could not be written to its end is removed; nothing with another name is touched

use crate::{Root, retention::Retained};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Newest files of all hosts of a root that stay, of some MiB each: a host that crashes again and again fills no disk.
pub const DUMPS_KEPT: usize = 32;

/// `trace_{unix nanoseconds}_{host pid}.jsonl`: names sort by time.
fn name(unix_ns: u128, host_pid: u32) -> String {
    format!("trace_{unix_ns}_{host_pid}.jsonl")
}
/// When it was made, if it is such a name.
fn time_of(name: &str) -> Option<u128> {
    let (unix_ns, host_pid) = name.strip_prefix("trace_")?.strip_suffix(".jsonl")?.split_once('_')?;
    let (unix_ns, host_pid) = (unix_ns.parse().ok()?, host_pid.parse().ok()?);
    (self::name(unix_ns, host_pid) == name).then_some(unix_ns)
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub struct DumpError {
    /// `making` or `writing`.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Root {
    /// Writes a new file, and makes the root if that is missing. The oldest go before it, so that there are [`DUMPS_KEPT`] with it: hosts that live for a
    /// moment and crash each time need no look through the root for that.
    ///
    /// # Errors
    /// It can't be made, or not be written to its end; then it is gone.
    pub fn write_dump(
        &self,
        host_pid: u32,
        unix_ns: u128,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<PathBuf, DumpError> {
        let path = self.path().join(name(unix_ns, host_pid));
        let failed = |doing| {
            let path = path.clone();
            move |source| DumpError { doing, path, source }
        };
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let made = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.make() {
                Ok(()) => open(),
                Err(refused) => Err(io::Error::new(error.kind(), refused)),
            },
            made => made,
        };
        let mut file = made.map_err(failed("making"))?;
        // What can't be removed now is found by the next retention.
        let newest = |place: usize, _: &fs::Metadata, other: &Path| place < DUMPS_KEPT || other == path;
        remove_but(self.path(), newest, &mut Retained::default());
        if let Err(error) = write(&mut file) {
            // The first error is the one to report.
            let _ = fs::remove_file(&path);
            return Err(failed("writing")(error));
        }
        Ok(path)
    }
}

/// Removes those of this user that are older, and the oldest beyond [`DUMPS_KEPT`].
pub(crate) fn retain_dumps(root: &Path, age: Duration, retained: &mut Retained) {
    let now = SystemTime::now();
    let stays = |place: usize, about: &fs::Metadata, _: &Path| {
        // A time in the future is a clock that was set back, not an old file.
        let changed = about.modified().and_then(|at| now.duration_since(at).map_err(io::Error::other));
        place < DUMPS_KEPT && !changed.is_ok_and(|past| past > age)
    };
    remove_but(root, stays, retained);
}

/// Removes those of this user that may not stay: by place, of which 0 is the newest, by what is known of the file, and by path.
fn remove_but(root: &Path, stays: impl Fn(usize, &fs::Metadata, &Path) -> bool, retained: &mut Retained) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let uid = nix::unistd::geteuid().as_raw();
    let mut found: Vec<(u128, PathBuf, fs::Metadata)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((time_of(entry.file_name().to_str()?)?, entry)))
        // Does not follow a symlink.
        .filter_map(|(unix_ns, entry)| Some((unix_ns, entry.path(), entry.metadata().ok()?)))
        .filter(|(_, _, about)| about.is_file() && about.uid() == uid)
        .collect();
    found.sort_by_key(|(unix_ns, ..)| std::cmp::Reverse(*unix_ns));
    for (place, (_, path, about)) in found.iter().enumerate() {
        if stays(place, about, path) {
            continue;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => retained.failed(path, &error),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, io::Write};

    fn root(dir: &Path) -> Root {
        Root::open(Some(dir.join("artifacts")), std::process::id()).unwrap()
    }
    fn names(root: &Root) -> BTreeSet<String> {
        let names = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| !name.starts_with('.')).collect()
    }

    #[test]
    fn a_file_is_for_its_owner_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let path = root.write_dump(7, 5, |file| file.write_all(b"one\n")).unwrap();
        assert_eq!(path, root.path().join("trace_5_7.jsonl"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = root.write_dump(7, 5, |file| file.write_all(b"two\n")).unwrap_err();
        assert_eq!((again.doing, again.source.kind()), ("making", ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
        // A root that was removed is made again.
        fs::remove_dir_all(root.path()).unwrap();
        assert!(root.write_dump(7, 6, |_| Ok(())).unwrap().exists());
    }

    #[test]
    fn a_file_that_is_not_whole_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let full = |file: &mut File| {
            file.write_all(b"half")?;
            Err(io::Error::from_raw_os_error(nix::libc::ENOSPC))
        };
        let error = root.write_dump(7, 5, full).unwrap_err().to_string();
        assert!(
            error.starts_with("writing /") && error.contains("trace_5_7.jsonl: No space left"),
            "{error}"
        );
        assert_eq!(names(&root), BTreeSet::new());
    }

    #[test]
    fn those_beyond_age_and_number_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let mut retained = Retained::default();
        // As hosts of before have left them.
        let name = |ns| root.path().join(format!("trace_{ns}_7.jsonl"));
        (1..=DUMPS_KEPT as u128 + 3).for_each(|ns| fs::write(name(ns), "").unwrap());
        let others = ["trace_x_7.jsonl", "trace_01_7.jsonl", "trace_1_7.jsonl.bak", "mine"];
        others.iter().for_each(|name| fs::write(root.path().join(name), "").unwrap());
        fs::create_dir(root.path().join("trace_2_8.jsonl")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("trace_3_8.jsonl")).unwrap();
        retain_dumps(root.path(), Duration::from_secs(60), &mut retained);
        let left = names(&root);
        assert!(!left.contains("trace_3_7.jsonl") && left.contains("trace_4_7.jsonl"), "{left:?}");
        assert_eq!(left.len(), DUMPS_KEPT + others.len() + 2);
        let old = File::options().write(true).open(root.path().join("trace_9_7.jsonl")).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
        retain_dumps(root.path(), Duration::from_secs(60), &mut retained);
        assert_eq!(names(&root).len(), left.len() - 1);
        assert_eq!(retained.errors, []);
    }

    /// Also if its clock was set back, so that the others are younger than it.
    #[test]
    fn whoever_crashes_again_and_again_fills_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        for ns in 100..200 {
            root.write_dump(7, ns, |_| Ok(())).unwrap();
            assert!(names(&root).len() <= DUMPS_KEPT, "{:?}", names(&root));
        }
        assert!(names(&root).contains("trace_199_7.jsonl") && names(&root).contains("trace_168_7.jsonl"));
        let early = root.write_dump(7, 5, |_| Ok(())).unwrap();
        assert!(early.exists());
    }
}
