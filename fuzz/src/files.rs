//! The files that say what a command was and how it ended: `launch.json`, a line `--`, and `result.json`, in the directory of a host that is gone.

use ostler_artifacts::{LaunchFile, Store, reload_text};
use ostler_messages::{CommandId, LaunchRequest};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cell::OnceCell,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Names the command. No process has this number.
const COMMAND: CommandId = CommandId { host_pid: 4_194_305, unix_ns: 1_800_000_000_000_000_000, n: 1 };

thread_local! {
    static PLACE: OnceCell<TempDir> = const { OnceCell::new() };
}

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    PLACE.with(|place| {
        let place = place.get_or_init(|| made(tempfile::tempdir()));
        let root = place.path().join("artifacts");
        let dir = root.join(COMMAND.to_string());
        made(fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir));
        look(&root, &dir, bytes);
    });
}

fn look(root: &Path, dir: &Path, bytes: &[u8]) {
    let middle = bytes.windows(4).position(|part| part == b"\n--\n");
    let (launch, result) = match middle {
        Some(at) => (&bytes[..at], Some(&bytes[at + 4..])),
        None => (bytes, None),
    };
    made(fs::write(dir.join("launch.json"), launch));
    let path = dir.join("result.json");
    match result {
        Some(result) => made(fs::write(&path, result)),
        // It may not be there.
        None => drop(fs::remove_file(&path)),
    }
    let store = made(Store::look(root));
    assert_eq!(store.ids(), [COMMAND]);
    let [summary] = &store.summaries()[..] else { panic!("one command is there, and is not seen") };
    let Some(stored) = store.command(COMMAND) else { panic!("one command is there, and can't be had") };
    assert_eq!(summary.state, stored.state());
    let mut record = stored.record();
    is_the_same_again(&record);
    record.output_path = dir.join("combined.txt");
    let path: PathBuf = record.output_path.clone();
    reload_text(&mut record);
    assert_eq!(record.output_path, path);
    if let Some(launch) = LaunchFile::read(dir) {
        is_the_same_again(&launch);
        if let Ok(request) = serde_json::from_value::<LaunchRequest>(launch.request) {
            let again: LaunchRequest = made(serde_json::from_value(made(serde_json::to_value(&request))));
            assert_eq!(again, request);
        }
    }
}

/// Written and read.
pub(crate) fn is_the_same_again<T: Serialize + DeserializeOwned + std::fmt::Debug>(value: &T) {
    let first = made(serde_json::to_string(value));
    let again: T = made(serde_json::from_str(&first));
    // Not every part is compared by what it says, but all of it is written.
    assert_eq!(made(serde_json::to_string(&again)), first);
}

/// Of what a target needs for itself.
pub(crate) fn made<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
