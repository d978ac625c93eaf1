//! A host starts again: what the ones before it have left becomes its own.
//!
//! * in: databases of dead hosts, and the artifacts of their commands
//! * out: a database of its own; a result for each command that had none
//! * keeps: killed at whatever moment, the next one does the same again; no process is signalled that is not proven to be theirs

use super::leftovers::{Led, end_what_is_left};
use crate::{
    backend::{Recovery, lost, request_of},
    config::Journal,
};
use ostler_artifacts::{LaunchFile, Paths, Root, abandoned_result, boot_id, said_until_now, seal_abandoned};
use ostler_journal::{
    Claims, Command, Image,
    folder::{Folder, FolderError, Own, default_base},
    store::{Host, now_ticks, pid_namespace},
};
use ostler_messages::{CommandId, Record, Recovered, SessionId, Stamp, TextOnDisk};
use std::{collections::BTreeSet, fs, sync::Arc};

/// A journal that is open.
pub(crate) struct Opened {
    pub(crate) folder: Folder,
    pub(crate) own: Own,
    pub(crate) claims: Claims,
    pub(crate) host: Host,
    /// Sessions that are open.
    pub(crate) open: BTreeSet<SessionId>,
    /// None: there was no life before this one.
    pub(crate) recovered: Option<Recovered>,
    pub(crate) recovery: Recovery,
    /// The highest number of a command in any database of the name.
    pub(crate) last_n: u64,
}

/// Opens it, and takes over what dead hosts have left.
///
/// # Errors
/// What stood in the way; nothing is lost then, and the next one does the same again.
pub(crate) fn open(journal: &Journal, root: &Root, host_pid: u32) -> Result<Opened, FolderError> {
    let base = journal.base.clone().or_else(default_base);
    let base = base.ok_or_else(|| FolderError::NoHome { name: journal.name.clone() })?;
    let folder = Folder::open(&base, &journal.name)?;
    let host = host(root, host_pid);
    let claims = Claims::open(&folder)?;
    let mut take_over = folder.take_over()?;
    let mut trouble = take_over.trouble().to_vec();
    let (mut image, mut fresh) = (take_over.beginning(), BTreeSet::new());
    let left = take_over.take();
    let had_past = !left.is_empty();
    // A look at every process that there is.
    let led = if had_past { Led::look() } else { None };
    for (dead, mut left) in left {
        adopt_unwritten(&dead, &journal.name, &mut left);
        finish(&dead, &mut left, &mut fresh, led.as_ref());
        image.merge(left);
    }
    image.deliver_owed(now());
    for (session_id, session) in image.sessions.iter_mut().filter(|(_, session)| !session.ended) {
        match claims.claim(session_id) {
            Ok(true) => {}
            // Somebody has opened it anew, before he could know what its old host had left in it.
            Ok(false) => {
                session.ended = true;
                trouble.push(format!(
                    "session {session_id} is open in another host; what was unread in it can be read here"
                ));
            }
            Err(error) => trouble.push(format!("session {session_id} can't be locked: {error}")),
        }
    }
    let own = take_over.into_own(&host, journal.durability, &image)?;
    let recovered = had_past.then(|| Recovered {
        sessions: image.recovered_sessions(&|command_id| fresh.contains(&command_id)),
        commands: image.recovered_commands(),
        anonymous: image.anonymous,
        last_n: image.last_n,
    });
    let mut recovery = recovered.as_ref().map(Recovery::of).unwrap_or_default();
    recovery.trouble = trouble;
    let open = image.sessions.iter().filter(|(_, session)| !session.ended);
    let open = open.map(|(session_id, _)| session_id.clone()).collect();
    Ok(Opened { folder, own, claims, host, open, recovered, recovery, last_n: image.last_n })
}

fn host(root: &Root, pid: u32) -> Host {
    let identity = root.identity();
    Host {
        pid,
        boot_id: identity.boot_id,
        start_ticks: identity.start_ticks,
        pid_namespace: pid_namespace(),
        artifact_root: root.path().to_owned(),
        root_lock: identity.lock,
        root_token: identity.token,
        alive_ticks: now_ticks(),
    }
}

fn now() -> Stamp {
    crate::linux::clock::stamp()
}

/// Commands whose asking was still on its way to the journal when its host died: their directories say whose they were.
fn adopt_unwritten(dead: &Host, journal: &str, left: &mut Image) {
    let Ok(entries) = fs::read_dir(&dead.artifact_root) else { return };
    let last_n = left.last_n;
    for entry in entries.flatten() {
        let command_id = entry.file_name().to_str().and_then(|name| name.parse::<CommandId>().ok());
        // Numbers up to the last one were written, and those that are not there any more are forgotten.
        let is_new = |id: &CommandId| id.host_pid == dead.pid && id.n > last_n;
        let Some(command_id) = command_id.filter(is_new) else { continue };
        let Some(launch) = LaunchFile::read(&Paths::find(&dead.artifact_root, command_id).dir) else {
            continue;
        };
        let by_it = (launch.host.token, &launch.host.lock, launch.host.start_ticks)
            == (dead.root_token, &dead.root_lock, dead.start_ticks)
            && launch.host.boot_id == dead.boot_id;
        if by_it && launch.journal.as_deref() == Some(journal) && launch.command_id == command_id {
            left.adopt(command_id, launch.session_id, launch.request.to_string().into());
        }
    }
}

/// Gives each command a result that has none.
fn finish(dead: &Host, left: &mut Image, fresh: &mut BTreeSet<CommandId>, led: Option<&Led>) {
    let unfinished: Vec<CommandId> = left.unfinished().map(|(command_id, _)| command_id).collect();
    for command_id in unfinished {
        let Some(command) = left.commands.get(&command_id) else { continue };
        let (record, is_new) = result_of(dead, command_id, command, led);
        left.finish(&Arc::new(record), now());
        // Who was told of one that its host has written nobody knows: the journal may have failed then.
        if is_new {
            fresh.insert(command_id);
        }
    }
}

/// What its host has written, or what its files say; and whether it is that.
fn result_of(dead: &Host, command_id: CommandId, command: &Command, led: Option<&Led>) -> (Record, bool) {
    let paths = Paths::find(&dead.artifact_root, command_id);
    if let Some(mut record) = abandoned_result(&paths).filter(|record| record.command_id == command_id) {
        record.text_on_disk = TextOnDisk(true);
        return (record, false);
    }
    let request = request_of(command);
    let output = said_until_now(&paths, request.capture);
    let leftovers = |record: &Record| match dead.boot_id == boot_id() {
        // A number means somebody else in another namespace of processes.
        true if dead.pid_namespace == pid_namespace() => {
            led.and_then(|led| end_what_is_left(record, command.start_ticks, dead.alive_ticks, led))
        }
        true => None,
        // Nothing outlives the machine.
        false => Some(Vec::new()),
    };
    let mut record = lost((command_id, command), &request, &paths, output, leftovers);
    match seal_abandoned(&paths, &record) {
        Ok(()) => record.text_on_disk = TextOnDisk(true),
        Err(error) => record.artifact_error = Some(format!("{}: {error}", paths.result().display())),
    }
    (record, true)
}
