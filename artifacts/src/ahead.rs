//! How far a recording may be ahead of the reader that follows it.
//!
//! * in: how far the recording has come, from which byte on the follower reads
//! * out: how much may be recorded; a word when there is room again
//! * keeps: of a recording that was found without room its thread is told once there is some, however the two race

use crate::{Growth, OutputFile};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// See the [module](self).
pub(crate) struct Ahead {
    max: u64,
    place: Mutex<Place>,
    go_on: Box<dyn Fn() + Send + Sync>,
}

/// Where the follower is.
#[derive(Debug)]
struct Place {
    which: OutputFile,
    offset: u64,
    /// The recording was found without room.
    held: bool,
    /// Nobody is waited for any more.
    lifted: bool,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("max", &self.max).field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Ahead {
    fn place(&self) -> MutexGuard<'_, Place> {
        // Whoever panicked in `go_on` has left the place as it is.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn room(&self, place: &Place, growth: &Growth) -> u64 {
        // At least a byte: a reader that is nowhere behind must be able to be.
        self.max.max(1).saturating_sub(growth.length(place.which).saturating_sub(place.offset))
    }
    fn change(&self, growth: &Growth, change: impl FnOnce(&mut Place)) {
        let mut place = self.place();
        change(&mut place);
        if place.held && (place.lifted || self.room(&place, growth) > 0) {
            place.held = false;
            (self.go_on)();
        }
    }
}

impl Growth {
    /// From here on the recording is to be at most `max_ahead` bytes ahead of its follower, who begins at the beginning of the
    /// combined output. `go_on` is called, on whatever thread, when [`Growth::room`] was 0 and is not any more. To be called once,
    /// before the first byte; later calls change nothing.
    pub fn follow(&self, max_ahead: u64, go_on: impl Fn() + Send + Sync + 'static) {
        let place = Place { which: OutputFile::Combined, offset: 0, held: false, lifted: false };
        self.ahead.get_or_init(|| Ahead { max: max_ahead, place: Mutex::new(place), go_on: Box::new(go_on) });
    }

    /// How many bytes may be recorded now. None: any number. For the recording thread alone.
    pub fn room(&self) -> Option<u64> {
        let ahead = self.ahead.get()?;
        let mut place = ahead.place();
        if place.lifted || self.ended_of(place.which) {
            return None;
        }
        let room = ahead.room(&place, self);
        place.held = room == 0;
        Some(room)
    }

    /// The follower has done with everything before this byte, as far as it is there. It can go to another file; it never goes back.
    pub fn follower_at(&self, which: OutputFile, offset: u64) {
        let Some(ahead) = self.ahead.get() else { return };
        let offset = offset.min(self.length(which));
        ahead.change(self, |place| {
            place.offset = if place.which == which { place.offset.max(offset) } else { offset };
            place.which = which;
        });
    }

    /// Nobody is waited for any more: the command ends, and its last words are to be heard.
    pub fn lift(&self) {
        let Some(ahead) = self.ahead.get() else { return };
        ahead.change(self, |place| place.lifted = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_messages::Stream;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    fn followed(max_ahead: u64) -> (Growth, Arc<AtomicU64>) {
        let (growth, told) = (Growth::new(), Arc::new(AtomicU64::new(0)));
        let tell = told.clone();
        growth.follow(max_ahead, move || {
            tell.fetch_add(1, Ordering::Relaxed);
        });
        (growth, told)
    }

    #[test]
    fn a_recording_without_room_is_told_once_when_there_is_some() {
        let (growth, told) = followed(10);
        let told = || told.load(Ordering::Relaxed);
        assert_eq!(growth.room(), Some(10));
        growth.advance(Stream::Stdout, 10, 10);
        growth.follower_at(OutputFile::Combined, 4);
        assert_eq!((growth.room(), told()), (Some(4), 0), "nobody was held");
        growth.advance(Stream::Stdout, 14, 14);
        assert_eq!(growth.room(), Some(0));
        growth.follower_at(OutputFile::Combined, 3);
        assert_eq!((growth.room(), told()), (Some(0), 0), "it never goes back");
        growth.follower_at(OutputFile::Combined, 9);
        assert_eq!((growth.room(), told()), (Some(5), 1));
        growth.advance(Stream::Stderr, 19, 5);
        assert_eq!(growth.room(), Some(0));
        growth.follower_at(OutputFile::Stderr, u64::MAX);
        assert_eq!((growth.room(), told()), (Some(10), 2), "of its own file it has everything, and no more");
        growth.advance(Stream::Stderr, 29, 15);
        assert_eq!(growth.room(), Some(0));
        growth.lift();
        growth.lift();
        assert_eq!((growth.room(), told()), (None, 3));
    }

    #[test]
    fn one_that_may_not_be_ahead_at_all_goes_byte_by_byte() {
        let (growth, _) = followed(0);
        assert_eq!(growth.room(), Some(1));
        growth.advance(Stream::Stdout, 1, 1);
        assert_eq!(growth.room(), Some(0));
        growth.follower_at(OutputFile::Combined, 1);
        assert_eq!(growth.room(), Some(1));
    }

    /// A recorder and a follower that run freely: neither may wait for ever.
    #[test]
    fn no_word_is_lost_however_they_race() {
        const BYTES: u64 = 20_000;
        let (sender, words) = std::sync::mpsc::channel();
        let growth = Arc::new(Growth::new());
        growth.follow(3, move || {
            let _ = sender.send(());
        });
        let reader = growth.clone();
        let follower = std::thread::spawn(move || {
            let mut at = 0;
            while at < BYTES {
                at = reader.length(OutputFile::Combined);
                reader.follower_at(OutputFile::Combined, at);
                std::thread::yield_now();
            }
        });
        let mut written = 0;
        while written < BYTES {
            match growth.room() {
                Some(0) => words.recv_timeout(std::time::Duration::from_secs(60)).expect("a word was lost"),
                _ => {
                    written += 1;
                    growth.advance(Stream::Stdout, written, written);
                }
            }
        }
        follower.join().unwrap();
    }
}
