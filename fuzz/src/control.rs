//! A question to a host, over the socket beside its artifacts; and the answer of one. A first byte `a` is an answer. In a question `@id@` stands for
//! a command that has ended.

use crate::{files::is_the_same_again, files::made, pieces};
use ostler::{Command, Config, Containment, Control, ControlAnswer, ControlAsk, Ostler, connect_to_host};
use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

/// A host answers a question about what has ended at once, and never later than it may wait for a line.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// A host of its own, as long as the program runs.
struct Host {
    ostler: Ostler,
    _control: Control,
    dir: TempDir,
    ended: String,
}
impl Host {
    fn new() -> Host {
        let dir = made(tempfile::tempdir());
        let config = Config::new().artifact_root(dir.path().join("artifacts"));
        // It runs nothing but `true`.
        let ostler = made(Ostler::start(config.containment([Containment::Group])));
        let control = made(ostler.control());
        let mut host = Host { ostler, _control: control, dir, ended: String::new() };
        host.one_has_ended();
        host
    }
    fn one_has_ended(&mut self) {
        let session = made(self.ostler.open_session().wait());
        let handle = made(session.launch(Command::new("true")).wait());
        self.ended = made(handle.result().wait()).record.command_id.to_string();
    }
}

static HOST: Mutex<Option<Host>> = Mutex::new(None);

/// # Panics
/// A promise does not hold.
pub fn run(bytes: &[u8]) {
    if let Some(answer) = bytes.strip_prefix(b"a") {
        if let Ok(answer) = serde_json::from_slice::<ControlAnswer>(answer) {
            is_the_same_again(&answer);
        }
        return;
    }
    if let Ok(ask) = serde_json::from_slice::<ControlAsk>(bytes) {
        is_the_same_again(&ask);
    }
    let mut host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host.get_or_insert_with(Host::new);
    let question = String::from_utf8_lossy(bytes).replace("@id@", &host.ended);
    let root = host.dir.path().join("artifacts");
    let sockets = made(connect_to_host(&root, std::process::id()));
    let [socket] = &sockets[..] else { panic!("{} sockets of one host", sockets.len()) };
    let answers = asked(socket, question.as_bytes());
    assert!(!answers.is_empty(), "no answer to {question:?}");
    for answer in &answers {
        is_the_same_again(answer);
        match answer {
            ControlAnswer::Refused { why } => assert!(why.contains(' '), "{why:?} is no reason"),
            ControlAnswer::Removed => host.one_has_ended(),
            _ => {}
        }
    }
    assert!(answers.len() <= 2 && (answers.len() == 1 || answers[0] == ControlAnswer::Heard), "{answers:?}");
}

fn asked(mut socket: &UnixStream, question: &[u8]) -> Vec<ControlAnswer> {
    made(socket.set_read_timeout(Some(ANSWER_LIMIT)));
    for piece in pieces(question) {
        // It may have read enough.
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    let mut said = String::new();
    // What is not read of the question makes an error of the end (unix(7)).
    if let Err(error) = socket.read_to_string(&mut said) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    assert!(said.ends_with('\n'), "half a line: {said:?}");
    said.lines().map(|line| made(serde_json::from_str(line))).collect()
}
