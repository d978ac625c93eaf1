//! How things are called in the engine: subjects, buckets, keys. Nothing that a host chose goes into one unchecked.

use ostler::HandleId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// Longest name of a pool or worker: the two together name a journal, whose name has 64 bytes at most.
pub const NAME_MAX_BYTES: usize = 30;
/// Longest session id or launch id that stands in a key as it is; others stand there as their digest.
const PLAIN_MAX_BYTES: usize = 64;

/// A name that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?}: it must have 1 to {NAME_MAX_BYTES} letters, digits, '-' or '_'")]
pub struct BadName {
    /// `pool`, `worker`.
    pub what: &'static str,
    /// What was given.
    pub name: String,
}

fn is_plain(text: &str, max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=max).contains(&text.len()) && text.bytes().all(fits)
}

fn name(what: &'static str, name: &str) -> Result<String, BadName> {
    if is_plain(name, NAME_MAX_BYTES) {
        Ok(name.to_owned())
    } else {
        Err(BadName { what, name: name.to_owned() })
    }
}

/// Workers that take the same launches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pool(String);
impl TryFrom<String> for Pool {
    type Error = BadName;
    fn try_from(text: String) -> Result<Pool, BadName> {
        text.parse()
    }
}
impl From<Pool> for String {
    fn from(name: Pool) -> String {
        name.0
    }
}
impl FromStr for Pool {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Pool, BadName> {
        name("pool", text).map(Pool)
    }
}
impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One worker of a pool. It is the same one after a restart, with what its journal knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(String);
impl TryFrom<String> for WorkerName {
    type Error = BadName;
    fn try_from(text: String) -> Result<WorkerName, BadName> {
        text.parse()
    }
}
impl From<WorkerName> for String {
    fn from(name: WorkerName) -> String {
        name.0
    }
}
impl FromStr for WorkerName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<WorkerName, BadName> {
        name("worker", text).map(WorkerName)
    }
}
impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one launch, and from then on its handle, in a pool. The host makes it before it asks anybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LaunchId(String);
impl TryFrom<String> for LaunchId {
    type Error = BadName;
    fn try_from(text: String) -> Result<LaunchId, BadName> {
        text.parse()
    }
}
impl From<LaunchId> for String {
    fn from(name: LaunchId) -> String {
        name.0
    }
}
impl LaunchId {
    /// Another one each time: two of one session meet once in 2^64 pairs, and then the requests differ, which is found out.
    pub(crate) fn make() -> LaunchId {
        let HandleId { host_pid, n } = handle_id(nuid::next().as_bytes());
        LaunchId(HandleId { host_pid, n: n >> 32 }.to_string())
    }
    /// The same key in the same session is the same launch.
    pub(crate) fn of_key(key: &str) -> LaunchId {
        LaunchId(handle_id(key.as_bytes()).to_string())
    }
    /// What the command's records have as their handle id, whoever runs it: the same as this one, where this has the form of one, as those have that are not made
    /// by the host itself.
    pub fn handle_id(&self) -> HandleId {
        self.0.parse().unwrap_or_else(|_| handle_id(self.0.as_bytes()))
    }
    /// The id itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for LaunchId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<LaunchId, BadName> {
        let fits = is_plain(text, PLAIN_MAX_BYTES);
        fits.then(|| LaunchId(text.to_owned()))
            .ok_or_else(|| BadName { what: "launch", name: text.to_owned() })
    }
}
impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 96 bits of a SHA-256.
fn handle_id(bytes: &[u8]) -> HandleId {
    let [a, b, c, d, rest @ ..] = <[u8; 32]>::from(Sha256::digest(bytes));
    let [e, f, g, h, i, j, k, l, ..] = rest;
    HandleId { host_pid: u32::from_be_bytes([a, b, c, d]), n: u64::from_be_bytes([e, f, g, h, i, j, k, l]) }
}

/// 128 bits of a SHA-256, in hexadecimal digits: two never meet by chance.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A session in a subject, key or consumer's name: as it is where it can stand there, else its digest, which begins with what no plain id
/// begins with.
pub(crate) fn session_token(session: &str) -> String {
    if is_plain(session, PLAIN_MAX_BYTES) && !session.starts_with('_') {
        session.to_owned()
    } else {
        format!("_{}", digest(session.as_bytes()))
    }
}

/// Up to which message everything of a session was read that has ended, in the bucket of sessions: its consumer is gone.
pub(crate) fn read_key(session_token: &str) -> String {
    format!("{session_token}.read")
}

/// The key of a launch, in the bucket of claims and in that of results.
pub(crate) fn launch_key(session: &str, launch: &LaunchId) -> String {
    format!("{}.{launch}", session_token(session))
}

impl Pool {
    pub(crate) fn bucket(&self, of: &str) -> String {
        format!("ostler_{self}_{of}")
    }
    /// Where launches are asked for; whichever worker has a free slot takes the next one.
    pub(crate) fn launches(&self) -> String {
        format!("ostler.{self}.launch")
    }
    /// Where every worker listens.
    pub(crate) fn everybody(&self) -> String {
        format!("ostler.{self}.all")
    }
    /// Where one worker is asked for what it runs.
    pub(crate) fn worker(&self, worker: &WorkerName) -> String {
        format!("ostler.{self}.worker.{worker}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sessions_share_a_token_and_none_has_a_meaning_to_the_engine() {
        let long = "x".repeat(65);
        let ids = ["chat-17", "chat.17", "chat.*", ">", "", " ", "_a", "ä", &long, "chat/17", "a\nb", "=x"];
        let tokens: Vec<String> = ids.iter().map(|id| session_token(id)).collect();
        for (n, token) in tokens.iter().enumerate() {
            assert!(is_plain(token, PLAIN_MAX_BYTES), "{token}");
            assert!(!tokens[..n].contains(token), "{token}");
        }
        assert_eq!(tokens[0], "chat-17");
        // Not even one that tries.
        assert_ne!(session_token(&tokens[1]), tokens[1]);
    }

    #[test]
    fn a_launch_is_called_as_its_records_are() {
        let (made, of_key) = (LaunchId::make(), LaunchId::of_key("build"));
        for launch in [&made, &of_key, &"hto-5-3".parse().unwrap()] {
            assert_eq!(launch.handle_id().to_string(), launch.as_str());
        }
        assert_ne!(made, LaunchId::make());
        assert_eq!(of_key, LaunchId::of_key("build"));
        let chosen = |id: &str| id.parse::<LaunchId>().unwrap().handle_id();
        assert_eq!(chosen("nightly"), chosen("nightly"));
        assert_ne!(chosen("nightly"), chosen("nightly-2"));
    }

    #[test]
    fn names_are_checked() {
        assert!("gpu-pool_1".parse::<Pool>().is_ok());
        for bad in ["", "a.b", "*", "a b", &"x".repeat(31)] {
            let error = bad.parse::<Pool>().unwrap_err();
            assert!(error.to_string().starts_with("pool "), "{error}");
            assert!(bad.parse::<WorkerName>().is_err());
        }
    }
}
