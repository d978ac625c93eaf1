//! Whose is what: hosts that live, that die, that take over, and that are killed while they do.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

mod common;

use common::{command, entry_of, host, request, result};
use ostler_journal::{
    Claims, Durability, Image, Reader,
    folder::{Folder, FolderError, Own},
};
use ostler_messages::{CommandId, Row, SessionId};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    sync::Arc,
};

fn folder(dir: &Path) -> Folder {
    Folder::open(&dir.join("journals"), "agent").unwrap()
}
fn start(folder: &Folder, pid: u32) -> (Own, Image) {
    let mut take_over = folder.take_over().unwrap();
    assert_eq!(take_over.trouble(), &[] as &[String]);
    let mut image = take_over.beginning();
    take_over.take().into_iter().for_each(|(_, left)| image.merge(left));
    (take_over.into_own(&host(pid), Durability::HostDeath, &image).unwrap(), image)
}
fn write(own: &mut Own, session_id: &str, n: u64) {
    let rows = [
        Row::SessionOpened { session_id: session_id.into(), anonymous: Some(n) },
        Row::Asked { command_id: command(n), request: Arc::new(request(session_id)) },
        Row::Delivered(entry_of(session_id, 1, result(session_id, n, true))),
    ];
    own.store.write(&rows).unwrap();
}
/// As a process that is killed leaves it: the files are there, and nobody has the lock.
fn dies(own: Own) {
    drop(own);
}
fn names(folder: &Folder) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("host-"));
    names.sort();
    names
}

#[test]
fn what_dead_hosts_have_left_is_taken_over_and_what_living_ones_have_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 1);
    write(&mut first, "a", 1);
    let (mut second, image) = start(&folder, 2);
    assert_eq!((image.last_n, image.anonymous, image.sessions.len()), (1, 1, 0), "only its numbers");
    write(&mut second, "b", 2);
    assert_eq!(folder.holder_of(&"a".into()), Some(1));
    assert_eq!(folder.holder_of(&"c".into()), None);
    dies(first);
    let living: Vec<_> = folder.members().unwrap().into_iter().map(|m| (m.pid, m.lives)).collect();
    assert_eq!(living, [(1, false), (2, true)]);
    let (third, image) = start(&folder, 3);
    assert_eq!((image.last_n, image.entries.len()), (2, 1));
    assert!(image.sessions.contains_key(&SessionId::from("a")));
    assert_eq!(folder.members().unwrap().into_iter().map(|m| m.pid).collect::<Vec<_>>(), [2, 3]);
    second.close().unwrap();
    third.close().unwrap();
    assert_eq!(names(&folder).len(), 4, "a database and a lock each");
    let (last, image) = start(&folder, 4);
    assert_eq!(image.sessions.len(), 2);
    assert_eq!(names(&folder).len(), 2 + 2, "{:?}", names(&folder));
    last.remove();
    assert_eq!(names(&folder), [] as [&str; 0]);
}

#[test]
fn a_clock_that_is_set_back_gives_no_number_twice() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 1);
    // The later one seems older by an hour.
    let set_back = CommandId { unix_ns: command(6).unix_ns - 3_600_000_000_000, ..command(6) };
    for command_id in [command(5), set_back] {
        first.store.write(&[Row::Asked { command_id, request: Arc::new(request("a")) }]).unwrap();
    }
    let (second, image) = start(&folder, 2);
    assert_eq!(image.last_n, 6, "of one that lives");
    second.remove();
    dies(first);
    let (_third, image) = start(&folder, 3);
    assert_eq!((image.last_n, image.commands.len()), (6, 2));
}

#[test]
fn whoever_is_killed_while_he_takes_over_leaves_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 1);
    write(&mut first, "a", 1);
    dies(first);
    let before: Vec<_> = names(&folder)
        .into_iter()
        .map(|name| (name.clone(), fs::read(folder.path().join(name)).unwrap()))
        .collect();
    let (mut second, _) = start(&folder, 2);
    // It has acknowledged what it had taken over, and what it should have removed is there still.
    second.store.write(&[Row::Acknowledged { session_id: "a".into(), sequences: vec![1] }]).unwrap();
    before.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    dies(second);
    // The next one dies while he removes it: its first page is gone. He is the only one who knows now.
    let (third, _) = start(&folder, 3);
    before
        .iter()
        .for_each(|(name, bytes)| fs::write(folder.path().join(name), &bytes[..bytes.len() / 2]).unwrap());
    dies(third);
    let (_fourth, image) = start(&folder, 4);
    assert_eq!(image.entries.len(), 0, "it does not come again");
    assert!(image.commands[&command(1)].taken);
    assert_eq!(folder.members().unwrap().len(), 1);
}

#[test]
fn what_a_database_was_made_anew_in_place_of_counts_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut old, _) = start(&folder, 1);
    write(&mut old, "a", 1);
    let mut new = folder.own(&host(1), Durability::HostDeath, (&Image::default(), &[])).unwrap();
    // It dies between the two: the old one is all there is.
    let name = old.store.path().file_name().unwrap().to_str().unwrap().to_owned();
    let rows = [Row::Reset, Row::Counted { session_id: "a".into(), next: 9 }];
    new.store.write_instead_of(&rows, Some(&name)).unwrap();
    let hosts = Reader::open("agent", Some(&dir.path().join("journals"))).unwrap().hosts().unwrap();
    assert_eq!((hosts.len(), hosts[0].sessions[0].next), (1, 9), "it is read once");
    dies(old);
    // Also while the new one lives, for whoever starts beside it.
    let (beside, image) = start(&folder, 2);
    assert!(image.entries.is_empty() && !folder.path().join(&name).exists());
    beside.remove();
    dies(new);
    let (_own, image) = start(&folder, 3);
    assert_eq!((image.entries.len(), image.sessions[&SessionId::from("a")].next), (0, 9));
}

#[test]
fn whoever_only_looks_holds_up_no_takeover() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 1);
    write(&mut first, "a", 1);
    let lock = first.store.path().with_extension("lock");
    dies(first);
    let looks = fs::File::open(&lock).unwrap();
    looks.lock_shared().unwrap();
    let let_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(looks);
    });
    let (_own, image) = start(&folder, 2);
    assert_eq!(image.entries.len(), 1);
    let_go.join().unwrap();
}

#[test]
fn what_others_may_be_asked_for_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 7);
    write(&mut first, "a", 3);
    dies(first);
    let others = folder.of_others(8).unwrap();
    // What it has written, and what was on its way; what it has forgotten is not.
    assert_eq!([3, 4, 2].map(|n| others.has(command(n))), [true, true, false]);
    assert_eq!(folder.next_of(&"a".into(), "".as_ref()), Some(2));
    let path = folder.members().unwrap()[0].path.clone();
    assert_eq!(folder.next_of(&"a".into(), &path), None, "its own");
    fs::write(&path, "damaged, and long enough to be looked at").unwrap();
    assert!(folder.of_others(8).is_err(), "then it may be any");
}

#[test]
fn a_database_that_cannot_be_read_stays_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    fs::write(folder.path().join("host-4000000-1.db"), "no database, though it has the name of one").unwrap();
    // Names that only look like it are nobody's.
    for stranger in ["host-04-1.db", "host-4.db", "host-4-1.db.bak", "4-1.db"] {
        fs::write(folder.path().join(stranger), "").unwrap();
    }
    let take_over = folder.take_over().unwrap();
    assert!(take_over.trouble()[0].contains("host-4000000-1.db: opening it: file is not a database"));
    assert_eq!(take_over.trouble().len(), 1);
    let image = take_over.beginning();
    let own = take_over.into_own(&host(5), Durability::HostDeath, &image).unwrap();
    assert_eq!(folder.members().unwrap().len(), 2);
    drop(own);
}

#[test]
fn a_session_is_open_in_one_host_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (one, other) = (Claims::open(&folder).unwrap(), Claims::open(&folder).unwrap());
    let (a, b) = (SessionId::from("a"), SessionId::from("b"));
    assert!(one.claim(&a).unwrap() && one.claim(&a).unwrap(), "it is its own already");
    assert!(!other.claim(&a).unwrap() && other.claim(&b).unwrap() && !one.claim(&b).unwrap());
    one.release(&a);
    assert!(other.claim(&a).unwrap());
    drop(other);
    assert!(one.claim(&a).unwrap() && one.claim(&b).unwrap(), "its host is gone");
}

#[test]
fn a_reader_sees_hosts_that_live_and_that_are_gone_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (mut first, _) = start(&folder, 1);
    write(&mut first, "a", 1);
    let (mut second, _) = start(&folder, 2);
    write(&mut second, "b", 2);
    dies(first);
    // What SQLite has beside a database, also to read it, is not told apart here.
    let databases = || {
        let mut names = names(&folder);
        names.retain(|name| name.ends_with(".db") || name.ends_with(".lock"));
        names
    };
    let before = databases();
    let reader = Reader::open("agent", Some(&dir.path().join("journals"))).unwrap();
    let hosts = reader.hosts().unwrap();
    let brief: Vec<_> = hosts.iter().map(|host| (host.pid, host.lives, host.sessions.len())).collect();
    assert_eq!(brief, [(1, false, 1), (2, true, 1)]);
    let session = &hosts[0].sessions[0];
    assert_eq!((session.session_id.as_str(), session.next, session.unread.len()), ("a", 2, 1));
    assert_eq!((hosts[0].commands[0].command_id, hosts[0].commands[0].taken), (command(1), false));
    assert_eq!(databases(), before);
    assert!(Reader::open("none", Some(dir.path())).unwrap().hosts().unwrap().is_empty());
}

#[test]
fn names_and_folders_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(65);
    for name in ["", ".", "..", ".hidden", "a/b", "a b", "ü", &long] {
        assert!(matches!(Folder::open(dir.path(), name), Err(FolderError::Name { .. })), "{name:?}");
    }
    let open = Folder::open(dir.path(), "open").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Folder::open(dir.path(), "open"), Err(FolderError::NotPrivate { .. })));
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o700)).unwrap();
    match chown(open.path(), Some(54_321), None) {
        Ok(()) => assert!(matches!(Folder::open(dir.path(), "open"), Err(FolderError::NotPrivate { .. }))),
        Err(error) => eprintln!("SKIPPED: giving a journal to another user: {error}"),
    }
    symlink(dir.path(), dir.path().join("link")).unwrap();
    assert!(matches!(Folder::open(dir.path(), "link"), Err(FolderError::NotPrivate { .. })));
    assert_eq!(Folder::named(dir.path(), "absent").unwrap().members().unwrap(), []);
}

#[test]
fn a_folder_behind_links_is_used_as_any_other_and_a_database_that_is_a_link_is_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    // As where /home is a link, and a part of it another one.
    symlink("disk", dir.path().join("home")).unwrap();
    fs::create_dir(dir.path().join("disk/state")).unwrap();
    symlink("state", dir.path().join("home/linked")).unwrap();
    let behind = folder(&dir.path().join("home/linked"));
    let real = folder(&dir.path().join("disk/state"));
    let (mut first, _) = start(&behind, 1);
    write(&mut first, "a", 1);
    assert_eq!(real.holder_of(&"a".into()), Some(1));
    dies(first);
    let (second, image) = start(&real, 2);
    assert_eq!(image.entries.len(), 1);
    let reader = Reader::open("agent", Some(&dir.path().join("home/linked/journals"))).unwrap();
    assert_eq!(reader.hosts().unwrap()[0].sessions[0].unread.len(), 1);
    dies(second);
    let (third, image) = start(&behind, 3);
    assert_eq!(image.entries.len(), 1);
    third.close().unwrap();

    // Put there in its place: nothing behind it is read, or written to.
    let [own] = &*behind.members().unwrap() else { panic!("one database") };
    let moved = dir.path().join("moved.db");
    fs::rename(&own.path, &moved).unwrap();
    symlink(&moved, &own.path).unwrap();
    let before = fs::read(&moved).unwrap();
    assert!(reader.hosts().is_err());
    assert_eq!(behind.take_over().unwrap().trouble().len(), 1);
    assert_eq!(fs::read(&moved).unwrap(), before);
}
