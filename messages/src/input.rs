//! What goes into a command: its stdin at the launch, what is written to it later, its terminal, signals. A trace has the sizes of what
//! is written only.

use crate::Text;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// Most bytes that are queued for one command, and most that a launch brings along: more than a person or a model writes, and
/// little enough for each of a thousand commands. Whoever has more to say writes as it is taken, or gives a file.
pub const INPUT_MAX_BYTES: u64 = 1 << 20;
/// Most writes that are queued for one command: each costs about 100 bytes beside its own.
pub const INPUT_MAX_WRITES: u64 = 1_024;
/// The newest `write_id`s of a command that are remembered: more than a caller has on their way.
pub const WRITE_IDS: usize = 256;
/// Longest `write_id`: a UUID has 36 bytes.
pub const WRITE_ID_MAX_BYTES: usize = 256;

/// Where a command's stdin comes from. On the wire `"null"`, `{"bytes": "text"}` or `"open"`; in a trace the bytes are a number.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stdin {
    /// `/dev/null`: at its end from the start.
    #[default]
    Null,
    /// These bytes, then the end. At most [`INPUT_MAX_BYTES`].
    Bytes(#[serde(deserialize_with = "text_or_size")] Text),
    /// A pipe that is written to while the command runs.
    Open,
}
impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stdin::Null => f.write_str("Null"),
            Stdin::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.as_bytes().len()),
            Stdin::Open => f.write_str("Open"),
        }
    }
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// At least 1.
    pub rows: u16,
    /// At least 1.
    pub columns: u16,
}
impl TerminalSize {
    /// Whether there is a row and a column.
    pub fn is_valid(self) -> bool {
        self.rows > 0 && self.columns > 0
    }
}

/// A signal that a host can send to a command, or have it stopped with. On the wire by its name: `SIGINT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum UnixSignal {
    /// As Ctrl-C sends it.
    SigInt,
    /// As a terminal that goes away sends it; daemons read their settings again.
    SigHup,
    /// As Ctrl-\ sends it.
    SigQuit,
    /// The command's own.
    SigUsr1,
    /// The command's own.
    SigUsr2,
    /// To end in order.
    SigTerm,
}
impl UnixSignal {
    /// Its name: `SIGINT`.
    pub fn name(self) -> &'static str {
        match self {
            UnixSignal::SigInt => "SIGINT",
            UnixSignal::SigHup => "SIGHUP",
            UnixSignal::SigQuit => "SIGQUIT",
            UnixSignal::SigUsr1 => "SIGUSR1",
            UnixSignal::SigUsr2 => "SIGUSR2",
            UnixSignal::SigTerm => "SIGTERM",
        }
    }
}
impl fmt::Display for UnixSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A size, from a trace: so many zeros.
fn text_or_size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(Text),
        Size(u64),
    }
    match Form::deserialize(from)? {
        Form::Text(text) => Ok(text),
        Form::Size(size) => match usize::try_from(size) {
            Ok(bytes) if size <= INPUT_MAX_BYTES => Ok(Text::from_bytes(vec![0; bytes])),
            _ => {
                let said = format!("{size} bytes of input are over the limit of {INPUT_MAX_BYTES}");
                Err(serde::de::Error::custom(said))
            }
        },
    }
}

/// Bytes on their way to a command. Serialized as their number: what is written to a command stands in no trace.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Arc<[u8]>,
    size: u64,
}
impl Payload {
    /// The bytes. Of a trace so many zeros; none if they are more than [`INPUT_MAX_BYTES`], which are refused for their number.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// How many.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Tells it from others, as far as 64 bits can.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        hasher.finish()
    }
}
impl<T: Into<Vec<u8>>> From<T> for Payload {
    fn from(bytes: T) -> Payload {
        let bytes: Arc<[u8]> = bytes.into().into();
        Payload { size: bytes.len() as u64, bytes }
    }
}
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}
impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.size())
    }
}
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Payload, D::Error> {
        // Nobody's number takes all memory.
        let size = u64::deserialize(from)?;
        let held = if size <= INPUT_MAX_BYTES { usize::try_from(size).unwrap_or(0) } else { 0 };
        Ok(Payload { bytes: vec![0; held].into(), size })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use super::*;
    use crate::{LaunchRequest, SessionId};

    #[test]
    fn a_trace_has_sizes_and_a_request_has_the_bytes() {
        let mut request = LaunchRequest::new(SessionId::new("s"), "cat");
        request.stdin = Stdin::Bytes("secret".into());
        let wire = serde_json::to_value(&request).unwrap();
        assert_eq!(wire["stdin"], serde_json::json!({ "bytes": "secret" }));
        assert_eq!(serde_json::from_value::<LaunchRequest>(wire).unwrap(), request);
        let (call, result_within_ms) = (crate::CallId(1), None);
        let traced = crate::Launch { call, request: request.clone().into(), result_within_ms };
        let traced = serde_json::to_value(&traced).unwrap();
        assert_eq!(traced["request"]["stdin"], serde_json::json!({ "bytes": 6 }));
        let read: LaunchRequest = serde_json::from_value(traced["request"].clone()).unwrap();
        assert_eq!(read.stdin, Stdin::Bytes("\0\0\0\0\0\0".into()));
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn a_signal_is_its_name() {
        let all = ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"];
        for name in all {
            let signal: UnixSignal = serde_json::from_value(name.into()).unwrap();
            assert_eq!((signal.name(), serde_json::to_value(signal).unwrap()), (name, name.into()));
        }
    }

    #[test]
    fn a_launch_that_contradicts_itself_is_refused() {
        let mut request = LaunchRequest::new(SessionId::new("s"), "cat");
        request.terminal = Some(TerminalSize { rows: 0, columns: 80 });
        assert!(
            matches!(request.validate(), Err(crate::LaunchError::ZeroLimit { field }) if field == "terminal.rows")
        );
        request.terminal = Some(TerminalSize { rows: 24, columns: 80 });
        assert_eq!(request.validate(), Ok(()));
        request.stdin = Stdin::Bytes("x".into());
        assert!(
            matches!(request.validate(), Err(crate::LaunchError::Excluded { field, .. }) if field == "stdin.bytes")
        );
    }

    #[test]
    fn a_payload_is_its_size() {
        let payload = Payload::from("secret");
        assert_eq!(
            (serde_json::to_string(&payload).unwrap().as_str(), format!("{payload:?}")),
            ("6", "6 bytes".into())
        );
        assert_eq!(serde_json::from_str::<Payload>("3").unwrap(), Payload::from([0, 0, 0]));
        // One that was refused stands in a trace as well.
        let large: Payload = serde_json::from_str("18446744073709551615").unwrap();
        assert_eq!((large.size(), large.as_bytes().len()), (u64::MAX, 0));
        assert_eq!(serde_json::to_string(&large).unwrap(), "18446744073709551615");
    }
}
