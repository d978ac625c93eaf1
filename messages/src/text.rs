//! Strings as the system has them.

use serde::{Deserialize, Serialize};
use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// A string of bytes as the system has them; on the wire text, in which bytes that are not UTF-8 are escaped (`\xff`). A backslash that
/// would be read as such an escape is one itself (`\x5c`), so what is written is read as it was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub OsString);
impl Text {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
    /// As the system's own string type.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
    /// From any bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Text {
        Text(OsString::from_vec(bytes))
    }
}
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}
impl<T: Into<OsString>> From<T> for Text {
    fn from(text: T) -> Text {
        Text(text.into())
    }
}
impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            // Nearly all of them: no formatter, no copy.
            Some(text) if first_escape(text).is_none() => to.serialize_str(text),
            _ => to.collect_str(&Escaped(self)),
        }
    }
}
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        String::deserialize(from).map(read)
    }
}

/// As it is written.
struct Escaped<'a>(&'a Text);
impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_bytes().utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = first_escape(rest) {
                write!(f, "{}\\x5c", &rest[..at])?;
                rest = &rest[at + 1..];
            }
            f.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn read(text: String) -> Text {
    let Some(mut at) = first_escape(&text) else { return Text::from(text) };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    loop {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.extend(escaped(&rest[at..]));
        rest = &rest[at + ESCAPE_BYTES..];
        let Some(next) = first_escape(rest) else { break };
        at = next;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Text::from_bytes(bytes)
}

/// Length of `\xff`.
const ESCAPE_BYTES: usize = 4;

fn first_escape(text: &str) -> Option<usize> {
    text.match_indices('\\').map(|(at, _)| at).find(|at| escaped(&text[*at..]).is_some())
}

/// The byte for which a text's beginning stands.
fn escaped(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..2)?;
    let is_written = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(is_written))?;
    (byte == b'\\' || byte >= 0x80).then_some(byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod wire {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let parts: [&[u8]; 12] = [
            b"\\",
            b"x",
            b"5c",
            b"ff",
            b"FF",
            b"\xff",
            b"\xe2\x82",
            b"\\x5c",
            b"\\xff",
            b"\\x41",
            "ä".as_bytes(),
            b"8",
        ];
        // Each of four after the other.
        for n in 0..parts.len().pow(4) {
            let text: Vec<u8> =
                (0..4).flat_map(|place| parts[n / parts.len().pow(place) % parts.len()].to_vec()).collect();
            let text = Text::from_bytes(text);
            let written = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&written).unwrap(), text, "{written}");
        }
    }

    #[test]
    fn text_is_written_as_it_is() {
        for text in ["a\\b", "\\x41\\xg0\\xFF", "C:\\x", "ä\\"] {
            assert_eq!(serde_json::to_value(Text::from(text)).unwrap(), text);
        }
        assert_eq!(serde_json::to_value(Text::from("\\xff")).unwrap(), "\\x5cxff");
        assert_eq!(serde_json::to_value(Text::from_bytes(b"\xff".to_vec())).unwrap(), "\\xff");
    }
}
