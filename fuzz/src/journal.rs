//! The database of a dead host, as the next one finds it. Each line of the input changes it:
//!
//! ```text
//! TABLE<tab>COLUMN=VALUE<tab>…    a row, in place of one with its key
//! @OFFSET TEXT                    bytes of the file, wherever that is
//! ```
//!
//! A value is a whole number, `~` for null, or a text.

use crate::{files::made, says_why};
use ostler_journal::{
    Durability, Image, Reader,
    folder::Folder,
    store::{self, Host, Store},
};
use rusqlite::{Connection, types::Value};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Of a host that is gone: no process has this number.
const FILE: &str = "host-4194305-1.db";
const NAME: &str = "agent";
/// Most lines that are looked at.
const LINES_MAX: usize = 100;

fn host() -> Host {
    Host {
        pid: 4_194_305,
        boot_id: "another".to_owned(),
        start_ticks: 1,
        pid_namespace: 1,
        artifact_root: PathBuf::from("/nowhere/artifacts"),
        root_lock: None,
        root_token: 0,
        alive_ticks: 1,
    }
}

/// A folder of its own, gone with the value.
struct Place {
    dir: TempDir,
}
impl Place {
    fn new() -> Place {
        let dir = made(tempfile::tempdir());
        made(fs::DirBuilder::new().mode(0o700).create(dir.path().join(NAME)));
        Place { dir }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(NAME).join(name)
    }
}

thread_local! {
    /// An empty database.
    static EMPTY: Vec<u8> = {
        let place = Place::new();
        let path = place.path(FILE);
        let nothing: (&Image, &[String]) = (&Image::default(), &[]);
        made(made(Store::create(&path, &host(), Durability::HostDeath, nothing)).close());
        made(fs::read(&path))
    };
}

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    let place = Place::new();
    let path = place.path(FILE);
    EMPTY.with(|empty| made(fs::write(&path, empty)));
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        match line.strip_prefix(b"@") {
            Some(damage) => overwrite(&path, damage),
            None => insert(&path, &String::from_utf8_lossy(line)),
        }
    }
    let loaded = store::load(&path);
    let reader = made(Reader::open(NAME, Some(place.dir.path())));
    match (&loaded, reader.hosts()) {
        (Ok(loaded), Ok(hosts)) => {
            let commands: usize = hosts.iter().map(|host| host.commands.len()).sum();
            assert!(hosts.is_empty() || commands == loaded.image.commands.len(), "{commands} commands");
        }
        (_, Err(error)) => says_why(&error),
        (Err(error), Ok(_)) => panic!("a reader sees nothing of this: {error}"),
    }
    if let Err(error) = &loaded {
        says_why(error);
    }
    if let Ok(loaded) = loaded {
        is_told(&loaded.image);
        is_the_same_again(&place, &loaded.image);
    }
    match made(Folder::open(place.dir.path(), NAME)).take_over() {
        Ok(mut taken) => {
            for trouble in taken.trouble() {
                assert!(trouble.contains(' '), "{trouble:?}");
            }
            let mut image = taken.beginning();
            for (_, other) in taken.take() {
                image.merge(other);
            }
            is_told(&image);
        }
        Err(error) => says_why(&error),
    }
}

fn overwrite(path: &Path, damage: &[u8]) {
    let text = String::from_utf8_lossy(damage);
    let Some((at, bytes)) = text.split_once(' ') else { return };
    let mut file = made(fs::read(path));
    let Ok(at) = at.parse::<usize>() else { return };
    let at = at % (file.len() + 1);
    for (byte, new) in file[at..].iter_mut().zip(bytes.bytes()) {
        *byte = new;
    }
    made(fs::write(path, file));
}

/// A row that the schema refuses is none.
fn insert(path: &Path, line: &str) {
    let mut fields = line.split('\t');
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let table = fields.next().unwrap_or_default();
    let fields: Vec<(&str, &str)> = fields.filter_map(|field| field.split_once('=')).collect();
    let columns: Vec<String> = fields.iter().map(|(column, _)| name(column)).collect();
    let values = fields.iter().map(|(_, value)| match value.parse::<i64>() {
        Ok(number) => Value::Integer(number),
        Err(_) if *value == "~" => Value::Null,
        Err(_) => Value::Text((*value).to_owned()),
    });
    let holes = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT OR REPLACE INTO {} ({}) VALUES ({holes})", name(table), columns.join(", "));
    let _ = Connection::open(path)
        .and_then(|connection| connection.execute(&sql, rusqlite::params_from_iter(values)));
}

/// What the graph of a next life would be told.
fn is_told(image: &Image) {
    let entries: usize = image.entries.values().map(|entries| entries.len()).sum();
    let sessions = image.recovered_sessions(&|_| true);
    let told: usize = sessions.iter().map(|session| session.entries.len()).sum();
    assert!(told <= entries, "{told} of {entries} entries are told");
    assert!(image.recovered_commands().len() <= image.commands.len());
    for session in sessions {
        let numbers = session.entries.iter().map(|entry| entry.entry.sequence);
        assert!(numbers.is_sorted(), "entries of {} are not in order", session.session_id);
    }
}

fn is_the_same_again(place: &Place, image: &Image) {
    let path = place.path("host-4194306-1.db");
    match Store::create(&path, &host(), Durability::HostDeath, (image, &[])) {
        Ok(store) => {
            made(store.close());
            let again = made(store::load(&path));
            assert_eq!(again.image, *image, "what was taken over reads otherwise");
        }
        Err(error) => says_why(&error),
    }
    for end in ["db", "db-wal", "db-shm", "lock"] {
        let _ = fs::remove_file(path.with_extension(end));
    }
}
