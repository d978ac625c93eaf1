//! What a host puts into an inbox itself: any JSON, of which a trace has the value or the size.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use std::io;

/// Largest pushed entry, in bytes: its content as JSON, and its kind and source. The inbox is for notes; whatever is
/// longer belongs in a file, as a command's output does.
pub const PUSH_MAX_BYTES: usize = 1 << 20;

/// The name that stands in a trace in place of what is withheld.
pub(crate) const WITHHELD: &str = "withheld_bytes";

/// What is pushed. In a trace it stands as it is, or as `{"withheld_bytes": n}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    value: Value,
    bytes: u64,
    withheld: bool,
}
impl Pushed {
    /// Counts its bytes, on the thread of whoever pushes. A trace shows it.
    pub fn new(value: Value) -> Pushed {
        let mut count = Counting(0);
        // The only error is the one that `Counting` makes, and then the count tells.
        let _ = serde_json::to_writer(&mut count, &value);
        Pushed { value, bytes: count.0, withheld: false }
    }
    /// A trace has only its size.
    pub fn withheld(self) -> Pushed {
        Pushed { withheld: true, ..self }
    }
    /// Its bytes as JSON; beyond [`PUSH_MAX_BYTES`] a lower bound.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// What was pushed.
    pub fn into_value(self) -> Value {
        self.value
    }
}
impl<T: Into<Value>> From<T> for Pushed {
    fn from(value: T) -> Pushed {
        Pushed::new(value.into())
    }
}
impl Serialize for Pushed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.withheld {
            true => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry(WITHHELD, &self.bytes)?;
                map.end()
            }
            false => self.value.serialize(to),
        }
    }
}
impl<'de> Deserialize<'de> for Pushed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pushed, D::Error> {
        let value = Value::deserialize(from)?;
        // A host's own value of this form comes out again as it went in, too.
        let size =
            value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get(WITHHELD));
        Ok(match size.and_then(Value::as_u64) {
            Some(bytes) => Pushed { value: Value::Null, bytes, withheld: true },
            None => Pushed::new(value),
        })
    }
}

/// Counts what is written and keeps nothing; it ends when there is too much, so that a value of any size costs no more than one of that size.
struct Counting(u64);
impl io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        match self.0 > PUSH_MAX_BYTES as u64 {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes.len()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_withheld_is_a_size_which_comes_back() {
        let pushed = Pushed::new(json!({ "token": "needle" }));
        let shown = serde_json::to_string(&pushed).unwrap();
        assert_eq!((shown.as_str(), pushed.bytes()), (r#"{"token":"needle"}"#, shown.len() as u64));
        assert_eq!(serde_json::from_str::<Pushed>(&shown).unwrap(), pushed);
        let text = serde_json::to_string(&pushed.withheld()).unwrap();
        assert_eq!(text, r#"{"withheld_bytes":18}"#);
        let read: Pushed = serde_json::from_str(&text).unwrap();
        assert_eq!((read.bytes(), serde_json::to_string(&read).unwrap()), (18, text));
    }

    #[test]
    fn counting_ends_where_there_is_too_much() {
        let all = Pushed::new(vec!["x".repeat(1_000); 2_000].into());
        assert!((PUSH_MAX_BYTES as u64..PUSH_MAX_BYTES as u64 + 2_000).contains(&all.bytes()));
    }
}
