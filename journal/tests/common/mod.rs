//! What the tests of rows are made of.
#![allow(dead_code, reason = "each test uses some of it")]

use ostler_journal::store::Host;
use ostler_messages::{
    CommandId, Content, Entry, HandleId, LaunchRequest, Record, SOURCE_EXIT, SessionId, Stamp, Status,
    TOOL_RESULT, TextOnDisk,
};
use std::sync::Arc;

/// Numbers that are the same on each run (xorshift64).
pub(crate) struct Dice(pub(crate) u64);
impl Dice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

pub(crate) fn host(pid: u32) -> Host {
    Host {
        pid,
        boot_id: "boot".into(),
        start_ticks: 5,
        pid_namespace: 6,
        artifact_root: "/artifacts".into(),
        root_lock: Some(".host-7-1.lock".into()),
        root_token: 9,
        alive_ticks: 5,
    }
}
pub(crate) fn command(n: u64) -> CommandId {
    CommandId { unix_ns: 1_795_496_554_781_606_000 + n, host_pid: 7, n }
}
pub(crate) fn request(session_id: &str) -> LaunchRequest {
    let mut request = LaunchRequest::new(SessionId::from(session_id), "make");
    request.launch_key = Some("key".into());
    request
}
pub(crate) fn blank(session_id: &str, n: u64) -> Record {
    Record::new(SessionId::from(session_id), command(n), HandleId { host_pid: 7, n })
}
pub(crate) fn result(session_id: &str, n: u64, on_disk: bool) -> Record {
    let mut record = blank(session_id, n);
    record.exit_code = Some(0);
    record.stdout = "said".into();
    record.end(Status::Completed, None);
    record.text_on_disk = TextOnDisk(on_disk);
    record
}
pub(crate) fn entry_of(session_id: &str, sequence: u64, record: Record) -> Entry {
    let content = Content::Record(Arc::new(record));
    Entry::new(
        sequence,
        session_id.into(),
        (TOOL_RESULT.into(), SOURCE_EXIT.into()),
        content,
        Stamp(sequence),
    )
}
