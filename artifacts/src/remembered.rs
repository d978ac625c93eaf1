//! The "files" of a command that is only played: bytes in memory, in which a piece that comes again and again is held once.

/// Shorter pieces are not worth a part of their own.
const REPEATED_MIN_BYTES: usize = 4 << 10;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    parts: Vec<Part>,
    length: u64,
}

#[derive(Debug)]
struct Part {
    from: u64,
    bytes: Vec<u8>,
    times: u64,
}
impl Part {
    fn length(&self) -> u64 {
        self.bytes.len() as u64 * self.times
    }
}

impl Remembered {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let from = self.length;
        self.length += bytes.len() as u64;
        let big = bytes.len() >= REPEATED_MIN_BYTES;
        match self.parts.last_mut() {
            Some(last) if big && last.bytes == bytes => last.times += 1,
            Some(last) if !big && last.times == 1 && last.bytes.len() < REPEATED_MIN_BYTES => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.parts.push(Part { from, bytes: bytes.to_vec(), times: 1 }),
        }
    }

    /// Fills the buffer from an offset, as far as there is something; how far that was.
    pub(crate) fn read_at(&self, to: &mut [u8], offset: u64) -> usize {
        let mut done = 0;
        let first = self.parts.partition_point(|part| part.from + part.length() <= offset);
        for part in &self.parts[first..] {
            while done < to.len() {
                let within = offset + done as u64 - part.from;
                if within >= part.length() {
                    break;
                }
                // Less than the length of a vector.
                let at = (within % part.bytes.len() as u64) as usize;
                let count = (part.bytes.len() - at).min(to.len() - done);
                to[done..done + count].copy_from_slice(&part.bytes[at..at + count]);
                done += count;
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_what_was_appended_at_every_offset() {
        let (mut remembered, mut all) = (Remembered::default(), Vec::new());
        let big: Vec<u8> = (0..REPEATED_MIN_BYTES).map(|n| (n % 251) as u8).collect();
        let pieces: [&[u8]; 10] = [b"a", b"", b"bc", &big, &big, &big, b"de", &big, &big[..5_00], &big[1..]];
        for piece in pieces {
            remembered.append(piece);
            all.extend_from_slice(piece);
        }
        assert_eq!(remembered.length(), all.len() as u64);
        for offset in (0..all.len() + 3).step_by(7) {
            for length in [0, 1, 100, 5_000, 20_000] {
                let mut read = vec![0; length];
                let count = remembered.read_at(&mut read, offset as u64);
                let there = all.get(offset..).unwrap_or(&[]);
                assert_eq!(&read[..count], &there[..length.min(there.len())], "{length} at {offset}");
            }
        }
    }

    #[test]
    fn a_flood_takes_no_more_memory_than_one_piece() {
        let mut remembered = Remembered::default();
        let piece = vec![b'x'; 1 << 20];
        (0..10 << 10).for_each(|_| remembered.append(&piece));
        assert_eq!((remembered.length(), remembered.parts.len()), (10 << 30, 1));
        let mut end = [0; 8];
        assert_eq!((remembered.read_at(&mut end, (10 << 30) - 3), &end[..4]), (3, b"xxx\0".as_slice()));
    }
}
