//! The names of things: sessions, handles, commands, calls, and the actors themselves.

use crate::short::Short;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Longest session id that is taken, in bytes: an id stands in every entry and record of its session.
pub const SESSION_ID_MAX_BYTES: usize = 256;

/// A session: the host's own string, or one made by `OpenSession`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Wraps the host's own string; whether it may be used is decided by `OpenSession`.
    pub fn new(id: impl AsRef<str>) -> SessionId {
        SessionId(id.as_ref().into())
    }
    /// The string itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl From<&str> for SessionId {
    fn from(id: &str) -> SessionId {
        SessionId::new(id)
    }
}
impl From<String> for SessionId {
    fn from(id: String) -> SessionId {
        SessionId::new(id)
    }
}

/// A string that is not an id of ostler's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {form}")]
pub struct BadId {
    /// What was expected.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
    /// What one looks like.
    pub form: &'static str,
}

/// One running or finished command: `hto-{host pid, hex}-{n}`, n from 1, unique in the host process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId {
    /// Process id of the host.
    pub host_pid: u32,
    /// Counts from 1 in the host process.
    pub n: u64,
}
impl HandleId {
    fn short(&self) -> Short {
        Short::new().text("hto-").hex(self.host_pid).text("-").number(self.n)
    }
}
impl FromStr for HandleId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<HandleId, BadId> {
        let parse = || {
            let (pid, n) = text.strip_prefix("hto-")?.split_once('-')?;
            Some(HandleId { host_pid: u32::from_str_radix(pid, 16).ok()?, n: n.parse().ok()? })
        };
        parse().filter(|id| id.to_string() == text).ok_or_else(|| BadId {
            kind: "handle id",
            text: text.to_owned(),
            form: "hto-{host pid, hex}-{n}",
        })
    }
}

/// What was asked to run, and the name of its artifact directory: `cmd_{unix nanoseconds}_{host pid}_{n}`. In the order of time, as a value and as
/// text (until the year 2286).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId {
    /// Wall time at which the command was asked for.
    pub unix_ns: u64,
    /// Process id of the host.
    pub host_pid: u32,
    /// Counts from 1 in the host process.
    pub n: u64,
}
impl CommandId {
    fn short(&self) -> Short {
        let begin = Short::new().text("cmd_").number(self.unix_ns).text("_");
        begin.number(u64::from(self.host_pid)).text("_").number(self.n)
    }
    /// As directories were named once, with the process id first. They can still be read.
    pub fn old_form(&self) -> String {
        format!("cmd_{}_{}_{}", self.host_pid, self.unix_ns, self.n)
    }
}
impl FromStr for CommandId {
    type Err = BadId;
    /// Only the exact form is taken, or the old one, so that a parsed id can safely name a directory.
    fn from_str(text: &str) -> Result<CommandId, BadId> {
        let parse = || {
            let mut parts = text.strip_prefix("cmd_")?.split('_').map(str::parse::<u64>);
            let (first, second, n) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
            // Nanoseconds since 1970 are no process id for more than the first four seconds.
            let is_old = u32::try_from(first).is_ok() && u32::try_from(second).is_err();
            let (unix_ns, pid) = if is_old { (second, first) } else { (first, second) };
            let id = CommandId { unix_ns, host_pid: u32::try_from(pid).ok()?, n };
            parts.next().is_none().then_some(id)
        };
        parse().filter(|id| id.to_string() == text || id.old_form() == text).ok_or_else(|| BadId {
            kind: "command id",
            text: text.to_owned(),
            form: "cmd_{unix nanoseconds}_{host pid}_{n}",
        })
    }
}

/// One of a command's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}
impl Stream {
    /// Both, in the order of their descriptors.
    pub const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];
    /// 0 for stdout, 1 for stderr.
    pub fn index(self) -> usize {
        self as usize
    }
}
impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A host's call that waits for its answer; counts from 1 in one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

/// Who reads entries and acknowledges them; counts from 1 in one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReaderId(pub u64);

/// Who is told of the entries of a session; counts from 1 in one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(pub u64);

/// Who speaks and who is spoken to. Ordinals instead of pids, so that a trace reads the same on every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ActorName {
    /// The agent program: its requests come from here, its answers go here.
    Host,
    /// What stands for the operating system, or for the scripted world.
    Kernel,
    /// Owner of sessions and handles.
    Supervisor,
    /// Owner of the deliveries.
    Inbox,
    /// Has written what is to survive the host.
    Journal,
    /// Follows one command from launch to result; n is that of its [`HandleId`].
    Process(u64),
    /// Steers one stream of a command.
    Drain(u64, Stream),
    /// Reports to the session that a command is running.
    Ticker(u64),
    /// Waits for what a call of the host's has asked for; its number is the call's.
    Wait(u64),
}
impl ActorName {
    fn short(&self) -> Short {
        let short = Short::new();
        match self {
            ActorName::Host => short.text("host"),
            ActorName::Kernel => short.text("kernel"),
            ActorName::Supervisor => short.text("supervisor"),
            ActorName::Inbox => short.text("inbox"),
            ActorName::Journal => short.text("journal"),
            ActorName::Process(n) => short.text("process/").number(*n),
            ActorName::Drain(n, stream) => short.text("drain/").number(*n).text(".").text(stream.name()),
            ActorName::Ticker(n) => short.text("ticker/").number(*n),
            ActorName::Wait(n) => short.text("wait/").number(*n),
        }
    }
}
impl FromStr for ActorName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<ActorName, BadId> {
        let parse = || {
            Some(match text.split_once('/') {
                None => match text {
                    "host" => ActorName::Host,
                    "kernel" => ActorName::Kernel,
                    "supervisor" => ActorName::Supervisor,
                    "inbox" => ActorName::Inbox,
                    "journal" => ActorName::Journal,
                    _ => return None,
                },
                Some(("process", n)) => ActorName::Process(n.parse().ok()?),
                Some(("ticker", n)) => ActorName::Ticker(n.parse().ok()?),
                Some(("wait", n)) => ActorName::Wait(n.parse().ok()?),
                Some(("drain", rest)) => match rest.split_once('.')? {
                    (n, "stdout") => ActorName::Drain(n.parse().ok()?, Stream::Stdout),
                    (n, "stderr") => ActorName::Drain(n.parse().ok()?, Stream::Stderr),
                    _ => return None,
                },
                Some(_) => return None,
            })
        };
        parse().ok_or_else(|| BadId {
            kind: "actor name",
            text: text.to_owned(),
            form: "host, kernel, supervisor, inbox, journal, process/n, drain/n.stdout, ticker/n, wait/n",
        })
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short().as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.short().as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(HandleId, CommandId, ActorName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_wire_and_nothing_else_is_taken() {
        let handle = HandleId { host_pid: 0x1f, n: 7 };
        assert_eq!(handle.to_string(), "hto-1f-7");
        assert_eq!("hto-1f-7".parse(), Ok(handle));
        let command = CommandId { host_pid: 31, unix_ns: 5, n: 7 };
        assert_eq!("cmd_5_31_7".parse(), Ok(command));
        for bad in ["", "hto-1f", "hto-1F-7", "hto-01f-7", "hto-1f-+7", "hto-1f-7/.."] {
            assert!(bad.parse::<HandleId>().is_err(), "{bad}");
        }
        let old = CommandId { unix_ns: 1_795_496_554_781_606_000, host_pid: 31, n: 7 };
        assert_eq!("cmd_31_1795496554781606000_7".parse(), Ok(old));
        assert_eq!("cmd_1795496554781606000_31_7".parse(), Ok(old));
        for bad in ["cmd_5_31", "cmd_5_31_7_9", "cmd_05_31_7", "../cmd_5_31_7", "cmd_5_31_7/"] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad}");
        }
        for name in ["host", "journal", "process/12", "drain/3.stderr", "ticker/1", "wait/4"] {
            assert_eq!(name.parse::<ActorName>().map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }
}
