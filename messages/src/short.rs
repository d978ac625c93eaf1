//! Short texts, made without an allocation: names stand in each line of a trace, twice and more.

use std::str::from_utf8;

/// No name of ours is longer: `cmd_` with two numbers of 20 digits and one of 10.
const MAX_BYTES: usize = 64;

/// A text of at most 64 bytes; what is more is cut off.
pub(crate) struct Short {
    bytes: [u8; MAX_BYTES],
    length: usize,
}
impl Short {
    pub(crate) fn new() -> Short {
        Short { bytes: [0; MAX_BYTES], length: 0 }
    }
    /// ASCII, so that it can be cut anywhere.
    pub(crate) fn text(mut self, ascii: &str) -> Short {
        let room = &mut self.bytes[self.length..];
        let length = ascii.len().min(room.len());
        room[..length].copy_from_slice(&ascii.as_bytes()[..length]);
        self.length += length;
        self
    }
    pub(crate) fn number(self, number: u64) -> Short {
        self.digits(number, 10)
    }
    pub(crate) fn hex(self, number: u32) -> Short {
        self.digits(u64::from(number), 16)
    }
    fn digits(self, mut number: u64, base: u64) -> Short {
        let (mut digits, mut at) = ([0; 20], 20);
        loop {
            at -= 1;
            // A remainder is less than its base.
            digits[at] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
            if number == 0 {
                break;
            }
        }
        // Digits are ASCII.
        self.text(from_utf8(&digits[at..]).unwrap_or_default())
    }
    pub(crate) fn as_str(&self) -> &str {
        // ASCII alone goes in.
        from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_standard_library_has_them() {
        for number in [0, 9, 10, 0xdead_beef, u64::MAX] {
            assert_eq!(Short::new().text("a/").number(number).as_str(), format!("a/{number}"));
            assert_eq!(Short::new().hex(number as u32).as_str(), format!("{:x}", number as u32));
        }
        assert_eq!(Short::new().text(&"x".repeat(99)).as_str().len(), MAX_BYTES);
    }
}
